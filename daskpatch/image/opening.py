"""From whatever the user has to an `ImageStack`, reading metadata only."""

from __future__ import annotations

import operator
import os
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from inspect import getattr_static
from typing import Any, TypeGuard

import numpy as np

from ..formats import Facts, FileArray, FileSequence, find_file, matching, places_along
from ..geometry import Coordinates, Dimensions, check_axes, check_count, example_axes
from ..model import module_of
from ..store import (
    OmeImage,
    Places,
    StoreLike,
    check_single,
    find_array,
    is_stored,
)
from ..support import holds_numbers, is_integer, said_by, shown, what_is
from ..values import check_padding
from .array_image import ArrayImage
from .arraylike import ArrayLike, IndexedArray, dtype_of
from .channels import Channels, chosen_channels, named_channels
from .readable import Readable

_NAMES = {
    "sample": "S",
    "samples": "S",
    "time": "T",
    "channel": "C",
    "channels": "C",
    **{letter.lower(): letter for letter in "STCZYX"},
}

_COLOURS = (3, 4)

_LONGEST = 2**62 - 2
"""Voxels along an axis: what tensorstore has, and positions that NumPy can count."""


def open_image(
    source: StoreLike | IndexedArray,
    *,
    axes: str | None = None,
    channels: Channels | None = None,
    padding: str | float = "reflect",
    level: int = 0,
    image: int | str | None = None,
) -> ArrayImage:
    """Open an array as an `ImageStack`; nothing is read but metadata.

    Parameters
    ----------
    source
        Path or URL of a Zarr v2 or v3 array (`volume.zarr`, `volume.zarr/raw`,
        `s3://bucket/volume.zarr`) or of an OME-Zarr image (0.4 to 0.6); path of a TIFF, HDF5
        (`volume.h5:/raw`), Imaris, NIfTI or CZI file; a zarr array, group or store; a NumPy, Dask,
        xarray or tensorstore array; any object with `shape`, `dtype` and `__getitem__`. URLs take
        credentials and endpoint from the environment.
    axes
        The array's axes in its own order, a subset of STCZYX that holds Y and X. By default from
        the array's dimension names (xarray's dims, tensorstore's labels) or OME metadata.
    channels
        Indices along C, or names (of OME metadata, Imaris, CZI, of xarray's coordinate), or a
        slice; None takes all.
    padding
        What stands for voxels outside the image: `"reflect"`, `"edge"` or a number.
    level
        Of a pyramid (OME-Zarr, TIFF, Imaris): 0 is the finest, the others follow by their scales.
    image
        Of several images in one OME-Zarr group (multiscales), TIFF (series) or CZI (scenes): index
        or name.

    Raises
    ------
    FileNotFoundError
        If there is no array.
    ImportError
        If the package that reads the file is missing; the extra to install is named.
    ValueError
        If axes, channels or padding don't fit the array, it does not say its axes, or there is no
        such level or image.
    TypeError
        If the source is no array.

    Examples
    --------
    >>> import numpy as np
    >>> image = open_image(np.arange(24).reshape(2, 3, 4), axes="TYX")
    >>> image.data_shape
    (2, 1, 3, 4)
    >>> image.extract_patch(1, None, coords=(-1, 0), patch_size=(2, 2))
    array([[[16, 17],
            [12, 13]]])
    """
    return open_stack(
        source, axes=axes, channels=channels, padding=padding, level=level, image=image
    )


def open_sequence(
    files: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    axis: str,
    axes: str | None = None,
    channels: Channels | None = None,
    padding: str | float = "reflect",
    level: int = 0,
    image: int | str | None = None,
) -> ArrayImage:
    """Open files that are planes, or times, as one `ImageStack`: stacked, and read as needed.

    Parameters
    ----------
    files
        A pattern (`"run/*.tif"`), whose matches are taken in the order of the numbers in their
        names (`t2` before `t10`), or a list of paths, in its order. TIFF, HDF5, NIfTI and CZI, all
        of one shape and dtype. What matches later is no part of it.
    axis
        What is stacked: `"T"` or `"Z"`. It comes first.
    axes
        The axes of each file; by default from its metadata.
    channels, padding, level, image
        As in `open_image`.

    Raises
    ------
    FileNotFoundError
        If nothing matches, or a file is gone.
    ValueError
        If the files are not alike, have the axis already, or do not say their axes.
    ImportError
        If the package that reads them is missing.

    Examples
    --------
    >>> import numpy as np, tempfile, tifffile
    >>> folder = tempfile.mkdtemp()
    >>> for t in range(3):
    ...     tifffile.imwrite(f"{folder}/t{t}.tif", np.full((16, 24), t, "u1"))
    >>> open_sequence(f"{folder}/*.tif", axis="T").data_shape
    (3, 1, 16, 24)
    """
    if not isinstance(axis, str) or axis not in ("T", "Z"):
        raise ValueError(f"axis is {shown(axis)}; needed is 'T' or 'Z', what the files are.")
    paths = matching(files) if isinstance(files, str | os.PathLike) else _as_paths(files)
    if not paths:
        raise ValueError("The list of files is empty; give at least one.")
    stacked = FileSequence(
        paths, axis, level=as_level("level", level), image=as_image("image", image)
    )
    own = Found(stacked, stacked.axis_names and stacked.axis_names[1:], "").axes
    inner = own if axes is None else axes
    if inner is None:
        raise ValueError(
            f"The files of {stacked.name} do not say what their axes are; the shape of each is "
            f"{stacked.shape[1:]}. Pass axes=, those of a file, for example "
            f"{example_axes(len(stacked.shape) - 1)!r}."
        )
    if axis in inner:
        raise ValueError(
            f"axis is {axis!r}, and the axes of each file are {shown(inner)}, with it; needed is "
            "one that they lack, or other axes= for the files."
        )
    whole = None if axes is None else f"{axis}{axes}"
    return open_stack(stacked, axes=whole, channels=channels, padding=padding)


def _as_paths(files: object) -> list[str | os.PathLike[str]]:
    is_scalar = isinstance(files, bytes) or getattr(files, "shape", None) == ()
    is_one = is_scalar or is_stored(files)
    items: list[Any] = list(files) if isinstance(files, Iterable) and not is_one else [files]
    for item in items:
        if not isinstance(item, str | os.PathLike):
            raise TypeError(
                f"files is {shown(files)}; needed is a pattern, for example 'run/*.tif', or a list "
                "of paths. Arrays are stacked by dask.array.stack."
            )
    return items


def open_stack(
    source: StoreLike | IndexedArray | FileSequence,
    *,
    axes: str | None = None,
    channels: Channels | None = None,
    padding: str | float = "reflect",
    level: int = 0,
    image: int | str | None = None,
    ndim: int | None = None,
) -> ArrayImage:
    """`open_image`, for a model of `ndim` spatial axes: with 2, Z counts samples."""
    found = find(source, level=as_level("level", level), image=as_image("image", image))
    array, known, name = found.array, found.axes, found.name
    shape = array.shape
    _check_dtype(array.dtype, name)
    check_count(len(shape), name)
    named = axes if axes is not None else known
    if named is None:
        called = shown(", ".join(found.axis_names or ())).strip("'")
        calls = f"calls its axes {called}" if called else ""
        raise ValueError(
            f"{name} {calls or 'does not say what its axes are'}; its shape is {shape}. Pass one "
            f"letter of STCZYX per axis, for example axes={example_axes(len(shape))!r}."
        )
    try:
        checked = check_axes(named, shape)
    except ValueError as error:
        if axes is not None:
            raise
        raise ValueError(f"What {name} says of its axes does not fit it: {error}") from None
    _warn_of_axes(checked, found, shape, is_told=axes is None)
    if 0 in shape:
        raise ValueError(f"{name} is empty: its shape is {shape}.")
    if max(shape) > _LONGEST:
        raise ValueError(
            f"{name} has an axis of {max(shape):.3g} voxels, by its metadata; needed are at most "
            f"{_LONGEST:.3g}. Are the metadata broken?"
        )
    if array.chunks is not None and 0 in array.chunks:
        raise ValueError(
            f"{name} has chunks of {array.chunks} voxels, by its metadata; needed is one at least "
            "along every axis. Are the metadata broken?"
        )
    if ndim == 3 and "Z" not in checked:
        raise ValueError(
            f"Three sizes were given for (Z)YX (patch_size, patching or probe), but axes "
            f"{checked!r} has no Z; give two sizes (YX), or axes that hold Z."
        )
    dimensions = Dimensions(checked, shape, ndim or (3 if "Z" in checked else 2))
    names = found.names_along(checked)
    chosen = chosen_channels(channels, dimensions, names)
    return ArrayImage(
        array=array,
        dimensions=dimensions,
        channels=chosen,
        padding=check_padding(padding, array.dtype),
        source=name,
        coordinates=found.coordinates_along(checked),
        channel_names=named_channels(chosen, dimensions, names),
        ome_version=None if found.ome is None else found.ome.version,
    )


def as_level(name: str, level: object) -> int:
    """A level by its number, the finest being 0.

    Raises
    ------
    ValueError
        If it is none.
    """
    if not is_integer(level) or operator.index(level) < 0:
        raise ValueError(f"{name} is {shown(level)}; needed is a number, 0 or more.")
    return operator.index(level)


def as_image(name: str, image: object) -> int | str | None:
    """One of several images, by its index or name; None where it is not chosen.

    Raises
    ------
    ValueError
        If it is neither.
    """
    if image is None or isinstance(image, str):
        return image
    if not is_integer(image):
        raise ValueError(f"{name} is {shown(image)}; needed is an index or a name.")
    return operator.index(image)


def _warn_of_axes(axes: str, found: Found, shape: tuple[int, ...], *, is_told: bool) -> None:
    """`is_told`: by the source itself, which may have them from tifffile."""
    name, letters = found.name, found.letters
    is_colours = letters[-1:] == ("S",) and axes.endswith("C")
    said = letters[:-1] if is_colours else letters
    if any(said_one not in (None, axis) for said_one, axis in zip(said, axes, strict=False)):
        known = found.axes or ", ".join(map(str, found.axis_names or ()))
        warnings.warn(
            f"axes is {axes!r}, and {name} says of itself that it is {known!r}; axes counts. Leave "
            "it out if that is right.",
            stacklevel=2,
        )
    place = axes.find("S")
    # Elsewhere than in the end many have samples; with a capital letter it is tifffile's.
    is_tifffiles = is_told and "S" in (found.axis_names or ())
    may_be_colours = place >= 0 and shape[place] in _COLOURS and "C" not in axes
    if may_be_colours and (axes.endswith("S") or is_tifffiles):
        warnings.warn(
            f"Axis {place} of {name} is S, {shape[place]} samples: images that are predicted one "
            "by one. The S of tifffile, colours of a pixel, are channels here: "
            f"axes={axes.replace('S', 'C')}.",
            stacklevel=2,
        )


@dataclass(frozen=True, slots=True)
class Found:
    """The array behind a source, what it says of axes and channels, and what to call it."""

    array: Readable
    axis_names: tuple[str, ...] | None
    name: str
    channel_names: tuple[str, ...] = ()
    places: Places | None = None
    ome: OmeImage | None = None
    file: Facts | None = None

    @property
    def letters(self) -> tuple[str | None, ...]:
        """A letter for each axis that has a name which is understood, None for the others."""
        return tuple(_NAMES.get(name.lower()) for name in self.axis_names or ())

    @property
    def axes(self) -> str | None:
        """Letters for the names of axes, if all of them are understood."""
        letters = self.letters
        if not letters or None in letters or len(set(letters)) != len(letters):
            return None
        return "".join(map(str, letters))

    def coordinates_along(self, axes: str) -> Coordinates | None:
        """Where voxels lie, if that is told; the axes may be called otherwise than they say."""
        by_letter = {} if self.file is None else self.file.sizes
        places = self.places or places_along(axes, by_letter)
        if places is None or len(places) != len(axes):
            return None
        scale, translation, units = zip(*places, strict=True)
        return Coordinates(axes, scale, translation, units)

    def names_along(self, axes: str) -> tuple[str, ...]:
        """Of the channels, where axes has C where the array says that its channels are."""
        same = self.axes is None or self.axes.find("C") == axes.find("C")
        return self.channel_names if same else ()


def find(
    source: StoreLike | IndexedArray | FileSequence,
    *,
    level: int = 0,
    image: int | str | None = None,
) -> Found:
    """The array behind a source; metadata are read, nothing else.

    Raises
    ------
    TypeError
        If the source is no array.
    """
    file = source if isinstance(source, FileSequence) else find_file(source, level, image)
    if file is not None:
        return _of_file(file)
    if is_stored(source):
        found = find_array(source, level=level, image=image)
        if found.ome is None or found.level is None:
            return Found(found.array, found.axis_names, found.name)
        return Found(
            found.array,
            found.axis_names,
            found.name,
            found.ome.channel_names,
            found.level.places(found.ome.units),
            found.ome,
        )
    if _is_array(source):
        _check_array_like(source)
        array = ArrayLike(source)
        check_single(repr(array), level, image)
        return Found(array, array.axis_names, repr(array), array.channel_names, array.places)
    raise TypeError(
        f"The source is {what_is(source)}; needed is a path, a URL, a Zarr, NumPy or Dask "
        f"array, or an object with shape, dtype and __getitem__{_held_by(source)}."
    )


def _of_file(array: FileArray | FileSequence) -> Found:
    facts = array.facts
    if facts.note:
        warnings.warn(f"{array.name} {facts.note}.", stacklevel=4)
    return Found(array, array.axis_names, array.name, facts.channel_names, array.places, file=facts)


def _is_array(source: object) -> TypeGuard[IndexedArray]:
    """Whether it is an array, not only an object that has any attribute, or one that is closed.

    Raises
    ------
    ValueError
        If it is closed.
    """
    try:
        return isinstance(source, IndexedArray) and isinstance(source.shape, tuple)
    except Exception as error:  # what it raises is its library's own
        raise ValueError(
            f"The source is a {type(source).__name__} whose shape cannot be read "
            f"({type(error).__name__}: {said_by(error)}); is its file closed?"
        ) from error


_HOLD = ("xarray_dask_data", "dask_data", "dataobj", "data")
"""Where images of other libraries have their arrays, those first that are read lazily."""


def _held_by(source: object) -> str:
    """What to pass of an object that holds an array; empty where none is known."""
    # Looked up without asking: `data` may read all of it.
    if isinstance(getattr_static(source, "data_vars", None), property):
        return ". Name one of its variables: dataset['name']"
    if isinstance(source, Mapping):  # files of HDF5, archives of NumPy, dicts
        return ". Name one of its arrays: source['name']"
    if callable(getattr(type(source), "result", None)):  # tensorstore's, and Python's futures
        return ". Wait for it: source.result()"
    if hasattr(type(source), "aszarr"):
        return ". Pass zarr.open(source.aszarr(level=0), mode='r')"
    if isinstance(source, list | tuple) or hasattr(type(source), "__array_interface__"):
        return ". Make an array of it: numpy.asarray(source)"
    found = next((name for name in _HOLD if getattr_static(source, name, None) is not None), None)
    if found is None and hasattr(type(source), "__dask_graph__"):
        return ". Make an array of it: dask.array.from_delayed(value, shape, dtype)"
    return "" if found is None else f". Pass its {found}"


def _check_array_like(source: IndexedArray) -> None:
    """Refuse what would be read wrongly: masks, unknown sizes, dtypes that are not NumPy's."""
    kind = type(source).__name__
    if isinstance(source, np.ma.MaskedArray):
        raise ValueError("The source is a masked array; fill it first: source.filled(value).")
    if hasattr(type(source), "nnz"):
        dense = "toarray" if hasattr(source, "toarray") else "todense"
        raise TypeError(
            f"The source is a {kind}, a sparse array; needed is a dense one: source.{dense}()."
        )
    is_tensorstores = module_of(type(source)).partition(".")[0] == "tensorstore"
    if is_tensorstores and not hasattr(type(source), "read"):  # a Spec
        raise TypeError(
            f"The source is a {kind}, which says where an array is; needed is the array: "
            "tensorstore.open(source).result()."
        )
    if any(n != n for n in source.shape):
        raise ValueError(
            f"The source is a {kind} of unknown shape {source.shape}; compute its chunk sizes."
        )
    try:
        dtype_of(source)
    except TypeError:
        raise TypeError(
            f"The source is a {kind} of dtype {source.dtype}; needed is an array with a NumPy "
            f"dtype, for example source.detach(){_widened(source.dtype)}.numpy()."
        ) from None


def _widened(dtype: object) -> str:
    """What makes a tensor's dtype one that NumPy has."""
    return ".float()" if re.search(r"bfloat16|float8", str(dtype)) else ""


def _check_dtype(dtype: np.dtype[Any], name: str) -> None:
    if holds_numbers(dtype):
        return
    wider = _wider(dtype)
    way = (
        f"tensorstore.cast(source, '{wider}')"
        if name.startswith("<TensorStore")
        else f"source.astype('{wider}')"
    )
    raise ValueError(
        f"{name} has dtype {dtype}; needed are integers of 8 to 64 bits, floats of 16 to 64, or "
        f"booleans.{f' Cast it: {way}.' if wider else ''}"
    )


def _wider(dtype: np.dtype[Any]) -> str:
    """A dtype of numbers that another one of real numbers can be cast to; empty where it cannot."""
    if dtype.kind == "f":
        return "float64"
    if dtype.isbuiltin != _REGISTERED:
        return ""
    integer = re.match(r"u?int", dtype.name)
    return f"{integer[0]}8" if integer else "float32"


_REGISTERED = 2
"""What NumPy says of dtypes that a library has added to it, such as ml_dtypes' bfloat16."""
