"""Levels of a pyramid in plain NumPy: factors by docs/ome-zarr.md, voxels of their cells."""

import numpy as np

_SMALL = 256


def levels_of(shape, axes, sizes, given, *, keeps_planes):
    """The factors of each level beside the first, along an image's axes.

    `sizes` are those of voxels by axis; `keeps_planes` says that the model is 2-D.
    """
    if given.get("pyramid", "auto") is None:
        return ()
    if given.get("factors") is not None:
        return tuple(_along(axes, entry) for entry in given["factors"])
    n_levels = given.get("pyramid", "auto")
    if n_levels == "auto":
        assert max(shape[axes.index("Y") :]) <= _SMALL, "pictures are small"
        n_levels = 0
    return _halvings(shape, axes, sizes, n_levels, keeps_planes)


def _along(axes, entry):
    n_space = sum(axis in "ZYX" for axis in axes)
    numbers = [entry] * n_space if isinstance(entry, int) else list(entry)
    if len(numbers) == len(axes):
        return tuple(numbers)
    return tuple(numbers.pop(0) if axis in "ZYX" else 1 for axis in axes)


def _halvings(shape, axes, sizes, n_levels, keeps_planes):
    """Axes of short voxels are halved, until voxels are alike."""
    space = [axis for axis in "ZYX" if axis in axes]
    n = {axis: shape[axes.index(axis)] for axis in space}
    sizes = dict(sizes)
    levels = []
    for number in range(n_levels):
        left_alone = "Z" if keeps_planes and number == 0 else ""
        longer = [axis for axis in space if n[axis] > 1 and axis not in left_alone]
        shortest = min(sizes[axis] for axis in longer)
        halved = [axis for axis in longer if sizes[axis] < 1.5 * shortest]
        levels.append(tuple(2 if axis in halved else 1 for axis in axes))
        for axis in halved:
            n[axis], sizes[axis] = -(-n[axis] // 2), sizes[axis] * 2
    return tuple(levels)


def method_of(dtype, given):
    """Integers of the model's own are labels, unless a `dtype` says that they are quantities."""
    if given.get("downsample") is not None:
        return given["downsample"]
    return "mode" if dtype.kind in "biu" and given.get("dtype") is None else "mean"


def coarser(values, factors, how):
    """The next level; the last cell along an axis has the voxels that exist."""
    if how == "stride":
        return values[tuple(slice(None, None, f) for f in factors)]
    if how == "max":
        return _reduced(np.maximum, values, factors)
    if how == "mode":
        return _modes(values, factors)
    count = _reduced(np.add, np.ones(values.shape), factors)
    total = _reduced(np.add, values.astype("f8"), factors)
    if values.dtype.kind == "b":
        return total * 2 > count
    mean = total / count
    return (np.rint(mean) if values.dtype.kind in "iu" else mean).astype(values.dtype)


def _reduced(ufunc, values, factors):
    for axis, factor in enumerate(factors):
        starts = np.arange(0, values.shape[axis], factor)
        values = ufunc.reduceat(values, starts, axis=axis)
    return values


def _modes(values, factors):
    """The value that comes most often, the smallest of equals."""
    made = np.empty([-(-n // f) for n, f in zip(values.shape, factors, strict=True)], values.dtype)
    for place in np.ndindex(made.shape):
        cell = tuple(slice(i * f, i * f + f) for i, f in zip(place, factors, strict=True))
        found, counts = np.unique(values[cell], return_counts=True)
        made[place] = found[counts.argmax()]
    return made
