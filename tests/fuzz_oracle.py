"""What a prediction is, in plain NumPy on whole images: without tiles, blocks or passes.

```
picture ─▶ channels ─▶ N C (Z) Y X ─▶ padded ─▶ normalised ─▶ model ─▶ mapped back ─▶ its own axes
```

Percentiles of floats are known to some digits, and sums in another order end in other ones: so what
is expected are two arrays between which results lie. Models never fall where their input rises.
"""

import itertools
import math
from dataclasses import dataclass
from fnmatch import fnmatchcase
from fractions import Fraction

import numpy as np
from fuzz_levels import levels_of, method_of

ROUNDING = 1e-5
"""Of sums of float32 in another order, where there are such."""

BIN = 1 / 4096
"""By how much of itself a percentile of floats may be off (docs/seams.md)."""


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


@dataclass(frozen=True)
class Statistics:
    """Offset and scale of each channel, or one of each for all."""

    offset: np.ndarray
    scale: np.ndarray

    def apply(self, values):
        return (values.astype("f8") - _upright(self.offset, values)) / _upright(self.scale, values)

    def undo(self, values):
        return values.astype("f8") * _upright(self.scale, values) + _upright(self.offset, values)


def _upright(numbers, values):
    """Along the channels of `N C (Z) Y X`."""
    return numbers.reshape(-1, *(1,) * (values.ndim - 2))


def expected_of(source, model, given):
    """What is expected of each image.

    None where it is open: what was said of the model is not true, or percentiles lie so close that
    what is known of them is no more than how far they are apart.
    """
    if _is_wrong(given.get("scale"), model.scale) or _is_wrong(given.get("margin"), model.margin):
        return None
    pictures = _chosen(source, given)
    ndim = _n_spatial(pictures[0].axes.upper(), given["patch_size"])
    images = [_canonical(picture, ndim, given.get("channels")) for picture in pictures]
    chunks = [_spatial_chunks(picture, ndim) for picture in pictures]
    known = _measured(images, chunks, given)
    if any((maps.scale <= 0).any() for of_image in known for maps in of_image or ()):
        return None
    return [
        _expected(picture, _predicted(image, maps, model, given), model.scale, source, given)
        for picture, image, maps in zip(pictures, images, known, strict=True)
    ]


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


def _n_spatial(axes, patch_size):
    """How many axes tiles have: as many as sizes are given, else all of space."""
    return len(patch_size) if np.ndim(patch_size) else sum(axis in "ZYX" for axis in axes)


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
    return [picture.chunks[picture.axes.index(axis)] for axis in "ZYX"[-ndim:]]


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


def _predicted(values, known, model, given):
    """Between what results `N C (Z) Y X` lie, in the dtype that they have before it is chosen."""
    dtype = np.dtype(given.get("input_dtype", "f4"))
    around = _padded(values, model, given.get("padding", "reflect"))
    if known is None:
        return _averaged(Between(around, around), dtype, model, given)
    found = None
    for statistics in known:
        fed = statistics.apply(around)
        results = _averaged(Between(fed, fed).widened(1e-6), dtype, model, given)
        if given.get("denormalize"):
            results = _undone(results, statistics)
        found = results if found is None else found.joined(results)
    return found


def _averaged(fed, dtype, model, given):
    """What the model gives; means of it, over positions and overlapping tiles, are floats."""
    results = fed.mapped(lambda each: model.call(converted(each, dtype)))
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
    return np.pad(values, widths, constant_values=np.asarray(padding).astype(values.dtype))


# Normalisation


def _measured(images, chunks, given):
    """Per image, what its values may be normalised by; None where they are not."""
    how = given.get("normalize")
    if how is None:
        return [None] * len(images)
    if isinstance(how, dict):
        return [[_constants(how)]] * len(images)
    fraction = given.get("normalize_fraction", 1)
    read = [_read(values, fraction, each) for values, each in zip(images, chunks, strict=True)]
    if not given.get("normalize_per_channel", True):
        read = [values.reshape(1, -1) for values in read]
    if given.get("normalize_over") == "series":
        read = [np.concatenate(read, axis=1)] * len(images)
    return [_statistics(values, how) for values in read]


def _constants(how):
    known = {name: np.atleast_1d(np.asarray(numbers, "f8")) for name, numbers in how.items()}
    if "mean" in known:
        return Statistics(known["mean"], known["std"])
    return Statistics(known["low"], known["high"] - known["low"])


def _read(values, fraction, chunks):
    """The values of each channel, of single chunks: `fraction` of them, each amid an equal part."""
    if fraction == 1:
        return values.swapaxes(0, 1).reshape(values.shape[1], -1)
    space = values.shape[2:]
    chunks = space if chunks is None else chunks
    starts = [range(0, n, c) for n, c in zip(space, chunks, strict=True)]
    cells = list(itertools.product(range(len(values)), *starts))
    count = max(1, round(fraction * len(cells)))
    found = []
    for at in range(count):
        sample, *start = cells[(2 * at + 1) * len(cells) // (2 * count)]
        box = tuple(slice(a, a + c) for a, c in zip(start, chunks, strict=True))
        found.append(values[(sample, slice(None), *box)].reshape(values.shape[1], -1))
    return np.concatenate(found, axis=1)


def _statistics(values, how):
    """What values `(C, n)` are normalised by: of percentiles of floats, the ends of what may be."""
    x = values.astype("f8")
    if how == "zscore":
        return [_scaled(x.mean(axis=1), x.std(axis=1), x)]
    ranks = (0, 100) if how == "minmax" else (1, 99.8) if how == "percentile" else how[1:]
    low, high = np.percentile(x, ranks, axis=1)
    if how == "minmax" or (values.dtype.kind in "biu" and values.dtype.itemsize <= 2):
        return [_scaled(low, high - low, x)]
    error = np.maximum(np.abs(low), np.abs(high)) * BIN
    return [
        _scaled(low + a * error, high - low + (b - a) * error, x)
        for a, b in itertools.product((-1, 1), repeat=2)
    ]


def _scaled(offset, scale, values):
    """Values that are all the same are shifted, not divided."""
    is_flat = (scale == 0) | (values.min(axis=1) == values.max(axis=1))
    return Statistics(offset, np.where(is_flat, 1, scale))
