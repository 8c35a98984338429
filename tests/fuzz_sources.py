"""What is predicted in tries: arrays of NumPy, Dask and xarray, and images of OME-Zarr on disk."""

from __future__ import annotations

from dataclasses import dataclass, field

import dask.array as da
import numpy as np
import xarray as xr
import zarr
from fuzz_pools import DTYPES
from fuzzing import some_axes, some_shape

_MOST_VOXELS = 4_000


@dataclass(frozen=True)
class Picture:
    """An image, as its maker knows it.

    Attributes
    ----------
    sizes
        Of voxels, by axis; 1 where nothing is said.
    chunks
        Along each axis; None where it lies in memory.
    """

    values: np.ndarray
    axes: str | None
    sizes: dict[str, float] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    chunks: tuple[int, ...] | None = None


@dataclass(frozen=True)
class FuzzSource:
    """A source and the pictures in it: by number of image and level, or by path of a plate.

    `told` are options that it needs.
    """

    place: object
    kind: str
    pictures: dict[object, Picture]
    told: dict[str, object] = field(default_factory=dict)

    @property
    def is_ome(self):
        return self.kind != "array"


def in_memory(rng):
    axes = some_axes(rng)
    dtype = rng.choice(DTYPES if rng.random() < 0.2 else DTYPES[:10])
    shape = _small(some_shape(axes, rng))
    made = np.random.default_rng(rng.randrange(2**32)).random(shape)
    is_number = dtype not in ("S3", "M8[s]", "O")
    values = (made * 50).astype(dtype) if is_number else np.empty(shape, dtype)
    kind = rng.choice([_of_numpy] * 3 + [_of_dask, _of_xarray])
    return kind(values, axes, rng)


def _of_numpy(values, axes, rng):
    return FuzzSource(values, "array", {(0, 0): Picture(values, axes)}, {"axes": axes})


def _of_dask(values, axes, rng):
    chunks = tuple(min(n, rng.choice([3, 8, 20])) for n in values.shape)
    picture = Picture(values, axes, chunks=chunks)
    return FuzzSource(da.from_array(values, chunks), "array", {(0, 0): picture}, {"axes": axes})


def _of_xarray(values, axes, rng):
    """One that says its axes, how far voxels of X are apart, and what its channels are called."""
    dims = axes.lower() if isinstance(axes, str) else ""
    if len(dims) != values.ndim or len(set(dims)) != len(dims):
        return _of_numpy(values, axes, rng)
    lengths = dict(zip(dims, values.shape, strict=True))
    places = {"x": np.arange(lengths["x"]) / 2} if lengths.get("x", 0) > 1 else {}
    names = [f"stain{number}" for number in range(lengths.get("c", 0))]
    array = xr.DataArray(values, dims=tuple(dims), coords=places | ({"c": names} if names else {}))
    picture = Picture(values, axes, {"X": 0.5} if places else {}, tuple(names))
    return FuzzSource(array, "array", {(0, 0): picture})


def _small(shape):
    """The same, with fewer voxels along the longest axes where there are many."""
    shape = list(shape)
    while np.prod(shape) > _MOST_VOXELS:
        longest = shape.index(max(shape))
        shape[longest] = -(-shape[longest] // 2)
    return tuple(shape)


def on_disk(folder, rng):
    """Images of OME-Zarr: one with two levels, volumes, two in one group, a plate of three."""
    return [
        _levels(folder / "levels.zarr", rng),
        _volume(folder / "volume.zarr", rng),
        _volume(folder / "old.zarr", rng, version="0.4"),
        _two(folder / "two.zarr", rng),
        _plate(folder / "plate.zarr", rng),
    ]


def _levels(path, rng):
    fine = (rng.random((2, 20, 13)) * 50).astype("u2")
    coarse = np.ascontiguousarray(fine[:, ::2, ::2])
    names = ("DAPI", "GFP")
    pictures = {
        (0, 0): Picture(fine, "CYX", {"Y": 0.5, "X": 0.5}, names, (1, 8, 8)),
        (0, 1): Picture(coarse, "CYX", {"Y": 1.0, "X": 1.0}, names, (1, 8, 8)),
    }
    _save(path, {"multiscales": [_multiscale("levels", "cyx", pictures)], "omero": _omero(names)})
    _save_arrays(path, pictures)
    return FuzzSource(path, "image", pictures)


def _volume(path, rng, version="0.5"):
    values = (rng.random((2, 5, 20, 13)) * 50).astype("f4")
    pictures = {(0, 0): Picture(values, "TZYX", {"Z": 2.0, "Y": 0.5, "X": 0.5}, (), (1, 2, 8, 8))}
    _save(path, {"multiscales": [_multiscale("volume", "tzyx", pictures)]}, version)
    _save_arrays(path, pictures, version)
    return FuzzSource(path, "image", pictures)


def _two(path, rng):
    """Two images in one group: the second has arrays of its own."""
    images = [(rng.random((13, 20)) * 50).astype("f4"), (rng.random((8, 8)) * 50).astype("u1")]
    pictures = {
        (number, 0): Picture(values, "YX", {"Y": 1.0, "X": 1.0}, (), (8, 8))
        for number, values in enumerate(images)
    }
    multiscales = [
        _multiscale(name, "yx", {place: picture})
        for name, (place, picture) in zip(("first", "second"), pictures.items(), strict=True)
    ]
    _save(path, {"multiscales": multiscales})
    _save_arrays(path, pictures)
    return FuzzSource(path, "two images", pictures)


def _plate(path, rng):
    wells = {"A/1": "01", "B/2": "0"}
    told = {
        "rows": [{"name": "A"}, {"name": "B"}],
        "columns": [{"name": "1"}, {"name": "2"}],
        "wells": [{"path": w, "rowIndex": i, "columnIndex": i} for i, w in enumerate(wells)],
    }
    _save(path, {"plate": told})
    pictures = {}
    for well, fields in wells.items():
        _save(path / well, {"well": {"images": [{"path": field} for field in fields]}})
        for number in fields:
            values = (rng.random((2, 8, 13)) * 50).astype("u1")
            picture = Picture(values, "CYX", {"Y": 1.0, "X": 1.0}, (), (1, 8, 8))
            pictures[f"{well}/{number}"] = picture
            place = {(0, 0): picture}
            _save(path / well / number, {"multiscales": [_multiscale(number, "cyx", place)]})
            _save_arrays(path / well / number, place)
    return FuzzSource(path, "plate", pictures)


def _multiscale(name, axes, pictures):
    datasets = [
        {
            "path": _path(place),
            "coordinateTransformations": [
                {"type": "scale", "scale": [picture.sizes.get(a.upper(), 1.0) for a in axes]}
            ],
        }
        for place, picture in pictures.items()
    ]
    types = {"t": "time", "c": "channel"}
    named = [{"name": a, "type": types.get(a, "space")} for a in axes]
    return {"name": name, "axes": named, "datasets": datasets}


def _omero(names):
    return {"channels": [{"label": name} for name in names]}


def _path(place):
    image, level = place
    return str(2 * image + level)


def _save(path, told, version="0.5"):
    if version == "0.4":
        old = [{**each, "version": version} for each in told["multiscales"]]
        zarr.create_group(str(path), attributes={"multiscales": old}, zarr_format=2)
        return
    zarr.create_group(str(path), attributes={"ome": {"version": version, **told}})


def _save_arrays(path, pictures, version="0.5"):
    told = {} if version == "0.5" else {"zarr_format": 2}
    for place, picture in pictures.items():
        name = str(path / _path(place))
        zarr.create_array(name, data=picture.values, chunks=picture.chunks, **told)
