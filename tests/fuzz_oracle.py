"""What a prediction is, in plain NumPy on whole images: without tiles, blocks or passes.

```
picture ─▶ channels ─▶ N C (Z) Y X ─▶ padded ─▶ normalised ─▶ model ─▶ mapped back ─▶ post
        ─▶ its own axes
```

Percentiles of floats are known to some digits, and sums in another order end in other ones: so what
is expected are two arrays between which results lie. Models never fall where their input rises.
"""

import math
from dataclasses import dataclass
from fnmatch import fnmatchcase
from fractions import Fraction

import numpy as np
from fuzz_levels import levels_of, method_of
from fuzz_pools import PROBE
from fuzz_statistics import measured

ROUNDING = 1e-5
"""Of sums of float32 in another order, where there are such."""


@dataclass(frozen=True)
class Between:
    """Values that are known from below and from above."""

    low: np.ndarray
    high: np.ndarray

    def mapped(self, function):
        """By a function that never falls."""
        return Between(function(self.low), function(self.high))

    def widened(self, share):
        by = share * np.maximum(1, np.maximum(np.abs(self.low), np.abs(self.high)))
        return Between(self.low - by, self.high + by)

    def joined(self, other):
        return Between(np.minimum(self.low, other.low), np.maximum(self.high, other.high))


@dataclass(frozen=True)
class Expected:
    """One array, and how it goes on.

    Attributes
    ----------
    is_image
        Whether it is of an OME-Zarr image.
    levels, how
        Factors of each further level along the array's axes, and how it is made.
    """

    values: Between
    is_image: bool
    levels: tuple[tuple[int, ...], ...] = ()
    how: str = "mean"


def expected_of(source, model, given):
    """What is expected of each image, and of each of a model's arrays by name.

    None where it is open: what was said of the model is not true, or percentiles lie so close that
    what is known of them is no more than how far they are apart.
    """
    if _is_wrong(given.get("scale"), model.scale) or _is_wrong(given.get("margin"), model.margin):
        return None
    pictures = _chosen(source, given)
    ndim = _n_spatial(pictures[0].axes.upper(), given)
    images = [_canonical(picture, ndim, given.get("channels")) for picture in pictures]
    chunks = [_spatial_chunks(picture, ndim) for picture in pictures]
    known = measured(images, chunks, given)
    if any((maps.scale <= 0).any() for of_image in known for maps in of_image or ()):
        return None
    return [
        {
            name: _expected(picture, found, model.scale, source, {**given, "dtype": dtype})
            for name, dtype in _dtypes(model.names, given.get("dtype"))
            for found in [_posted(_predicted(image, maps, model, given, name), given.get("post"))]
        }
        for picture, image, maps in zip(pictures, images, known, strict=True)
    ]


def _dtypes(names, said):
    """What is said of the dtype of each array: for all, or by name."""
    return [(name, said.get(name) if isinstance(said, dict) else said) for name in names]


def _is_wrong(said, true):
    """Whether an option of a model says another thing than is true of it."""
    flat = () if said is None else np.asarray(said, dtype=object).ravel()
    return any(Fraction(number) != true for number in flat)


def chosen_fields(source, given):
    """The paths of a plate's fields that are asked for; none of what is no plate."""
    if source.kind != "plate":
        return []
    return [path for path in source.pictures if fnmatchcase(path, given.get("fields") or "*")]


def _chosen(source, given):
    """The pictures: of a plate by their paths, of a group by index or name, and by level."""
    if source.kind == "plate":
        return [source.pictures[path] for path in chosen_fields(source, given)]
    image = given.get("image") or 0
    image = ("first", "second").index(image) if image in ("first", "second") else int(image)
    return [source.pictures[image, given.get("level", 0)]]


# Axes


def _n_spatial(axes, given):
    """How many axes tiles have: as many as are said by sizes, or by a probe; else all of space."""
    strategy = given.get("patching") or given.get("tiles")
    if strategy is None and np.ndim(given["patch_size"]):
        return len(given["patch_size"])
    if hasattr(strategy, "data_shapes") and not isinstance(strategy, type):
        return len(strategy.data_shapes[0]) - 2
    if strategy is None and given.get("probe") is not None:
        return PROBE.ndim
    return sum(axis in "ZYX" for axis in axes)


def _order(axes, ndim):
    """Samples, slowest first; channels; space."""
    space = "ZYX"[-ndim:]
    samples = [axis for axis in "STZ" if axis in axes and axis not in space]
    return "".join(samples), "C" if "C" in axes else "", space


def _canonical(picture, ndim, channels):
    """`N C (Z) Y X`, of the channels that were chosen."""
    axes = picture.axes.upper()
    order = "".join(_order(axes, ndim))
    moved = picture.values.transpose([axes.index(axis) for axis in order])
    n_channels = picture.values.shape[axes.index("C")] if "C" in axes else 1
    values = moved.reshape(-1, n_channels, *moved.shape[moved.ndim - ndim :])
    if channels is None:
        return values
    return values[:, [picture.names.index(c) if isinstance(c, str) else c for c in channels]]


def _spatial_chunks(picture, ndim):
    if picture.chunks is None:
        return None
    return [picture.chunks[picture.axes.upper().index(axis)] for axis in "ZYX"[-ndim:]]


def _along_own_axes(values, picture, axes):
    """From `N C (Z) Y X` to the axes of the result, most of which are those of the picture."""
    ndim = values.ndim - 2
    own = picture.axes.upper()
    samples, channels, space = _order(axes, ndim)
    shape = [picture.values.shape[own.index(axis)] for axis in samples]
    shape += [values.shape[1]] if channels else []
    made = values.reshape(*shape, *values.shape[2:])
    order = samples + channels + space
    return made.transpose([order.index(axis) for axis in axes])


def _result_axes(axes, n_channels, *, is_image):
    """Those of the picture; C in front of space, where there are channels now; OME-Zarr's order."""
    if "C" not in axes and n_channels > 1:
        first = min(axes.index(axis) for axis in "ZYX" if axis in axes)
        axes = f"{axes[:first]}C{axes[first:]}"
    return "".join(axis for axis in "TCZYX" if axis in axes) if is_image else axes


def _expected(picture, found, scale, source, given):
    own, ome = picture.axes.upper(), given.get("ome")
    is_image = source.is_ome and "S" not in own if ome is None else ome is not False
    axes = _result_axes(own, found.low.shape[1], is_image=is_image)
    ndim = found.low.ndim - 2
    box = _box(picture, axes, dict.fromkeys("ZYX"[-ndim:], scale), given.get("box"))
    values = found.mapped(lambda each: _along_own_axes(each, picture, axes))
    stored = values.mapped(lambda each: converted(each, given.get("dtype") or each.dtype))
    inside = _inside(picture, axes, dict.fromkeys("ZYX"[-ndim:], scale), stored.low.shape, given)
    stored = stored.mapped(lambda each: _masked(each, inside, given.get("fill", 0))[box])
    if not is_image:
        return Expected(stored, is_image)
    sizes = {axis: picture.sizes.get(axis, 1.0) for axis in "ZYX"}
    sizes |= {axis: sizes[axis] / float(scale) for axis in "ZYX"[-ndim:]}
    levels = levels_of(stored.low.shape, axes, sizes, given, keeps_planes=ndim == 2)
    return Expected(stored, is_image, levels, method_of(found.low.dtype, given))


def _masked(values, inside, fill):
    return values if inside is None else np.where(inside, values, fill).astype(values.dtype)


def _inside(picture, axes, scales, shape, given):
    """Which voxels of a result share some of a voxel of the mask that is set; None for all."""
    mask = given.get("mask")
    if mask is None:
        return None
    own, there = picture.axes.upper(), mask != 0
    names = own if there.ndim == len(own) else "ZYX"[-there.ndim :]
    for axis in set(names) - set(own):  # of one voxel
        there, names = there.squeeze(names.index(axis)), names.replace(axis, "")
    for number, axis in enumerate(names):
        if axis not in axes:
            continue
        size, other = picture.values.shape[own.index(axis)], there.shape[number]
        per = 1 / Fraction(scales.get(axis, 1))
        touched = [
            [
                j
                for j in range(other)
                if j * size < (i + 1) * per * other and (j + 1) * size > i * per * other
            ]
            for i in range(shape[axes.index(axis)])
        ]
        there = np.stack([there.take(at, number).any(number) for at in touched], number)
    there = there.transpose([names.index(axis) for axis in axes if axis in names])
    return np.expand_dims(there, [i for i, axis in enumerate(axes) if axis not in names])


def _box(picture, axes, scales, given):
    """Of a result with some axes, the part that a box of the picture asks for."""
    entries = [] if given is None else list(np.index_exp[given])
    if Ellipsis in entries:
        at = entries.index(Ellipsis)
        entries[at : at + 1] = [slice(None)] * (picture.values.ndim - len(entries) + 1)
    entries += [slice(None)] * (picture.values.ndim - len(entries))
    box = {}
    for axis, n, entry in zip(picture.axes.upper(), picture.values.shape, entries, strict=True):
        kept = range(n)[entry] if isinstance(entry, slice) else [range(n)[entry]]
        scale = scales.get(axis, 1)
        box[axis] = slice(math.ceil(kept[0] * scale), math.ceil((kept[-1] + 1) * scale))
    return tuple(box.get(axis, slice(None)) if axis != "C" else slice(None) for axis in axes)


# Voxels


def converted(values, dtype):
    """Rounded half to even and clipped, for integers; NaN is 0."""
    dtype = np.dtype(dtype)
    if dtype.kind == "f" or np.can_cast(values.dtype, dtype, "safe"):
        return values.astype(dtype)
    if dtype.kind == "b":
        return np.nan_to_num(np.clip(np.rint(values.astype("f8")), 0, 1)).astype(bool)
    info = np.iinfo(dtype)
    return np.clip(np.rint(np.nan_to_num(values.astype("f8"))), info.min, info.max).astype(dtype)


def _posted(found, post):
    """What comes after the model, sample by sample; with or without an axis of channels."""
    if post is None:
        return found
    ndim = found.low.ndim - 1
    return found.mapped(
        lambda each: np.stack(
            [made if made.ndim == ndim else made[None] for made in map(post, each)]
        )
    )


def _predicted(values, known, model, given, name):
    """Between what results `N C (Z) Y X` lie, in the dtype that they have before it is chosen."""
    dtype = np.dtype(given.get("input_dtype", "f4"))
    around = _padded(values, model, given.get("padding", "reflect"))
    if known is None:
        return _averaged(Between(around, around), dtype, model, given, name)
    found = None
    for statistics in known:
        fed = statistics.apply(around)
        results = _averaged(Between(fed, fed).widened(1e-6), dtype, model, given, name)
        if given.get("denormalize"):
            results = _undone(results, statistics)
        found = results if found is None else found.joined(results)
    return found


def _averaged(fed, dtype, model, given, name):
    """What the model gives; means of it, over positions and overlapping tiles, are floats."""
    results = fed.mapped(lambda each: model.array(converted(each, dtype), name))
    blends = given.get("stitch", "crop") != "crop"
    averages = bool(given.get("augment"))
    if not (blends or averages or given.get("normalize") is not None):
        return results
    made = np.result_type(results.low.dtype, "f4") if averages else results.low.dtype
    if made.kind != "f":
        return results
    return results.mapped(lambda each: each.astype(made)).widened(ROUNDING)


def _undone(results, statistics):
    made = np.result_type(results.low.dtype, "f4")
    undone = results.mapped(lambda each: statistics.undo(each).astype(made))
    return undone.widened(ROUNDING)


def _padded(values, model, padding):
    """An image with what the model takes around it: its margin, and what completes its cells."""
    cell = model.scale.denominator
    space = [(model.margin, model.margin + -n % cell) for n in values.shape[2:]]
    widths = [(0, 0), (0, 0), *space]
    if padding in ("reflect", "edge"):
        return np.pad(values, widths, mode=padding)
    with np.errstate(over="ignore"):  # infinity, in half floats
        return np.pad(values, widths, constant_values=np.asarray(padding).astype(values.dtype))
