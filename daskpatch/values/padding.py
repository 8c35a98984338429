"""Boxes that reach outside an image: which voxels are read, and what stands for the rest."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import Region
from ..support import shown

Padding = str | float
Read = Callable[[Region], NDArray[np.generic]]


def check_padding(padding: object, dtype: np.dtype[Any] | None = None) -> Padding:
    """`"reflect"`, `"edge"`, or a number; one that the dtype can hold, where it is known.

    Raises
    ------
    ValueError
        If it is none of these.
    """
    if isinstance(padding, str) and padding in ("reflect", "edge"):
        return padding
    # As records have them: JSON has no such numbers.
    is_named = isinstance(padding, str) and padding in ("nan", "inf", "-inf")
    number = float(str(padding)) if is_named else _as_number(padding)
    if number is None:
        raise ValueError(f"padding is {shown(padding)}; needed is 'reflect', 'edge' or a number.")
    if dtype is not None and dtype.kind in "iub" and not _fits(number, dtype):
        raise ValueError(f"padding {shown(padding)} cannot be stored as the image's {dtype}.")
    return number


def read_padded(
    read: Read,
    region: Region,
    shape: tuple[int, ...],
    padding: Padding,
    nothing: NDArray[np.generic],
) -> NDArray[np.generic]:
    """Read a box that may reach outside an image of `shape`, in one read.

    `read` takes a box inside the image and returns an array whose last axes are spatial;
    `nothing` is what it would return for one without voxels.
    """
    if region.lies_in(shape):
        return read(region)
    if isinstance(padding, str):
        return _read_mirrored(read, region, shape, padding)
    return _read_filled(read, region, shape, padding, nothing)


def _read_mirrored(
    read: Read, region: Region, shape: tuple[int, ...], padding: str
) -> NDArray[np.generic]:
    sources = _sources(region, shape, padding)
    box = _around(sources)
    values = read(box)
    for axis, (source, first) in enumerate(zip(sources, box.start, strict=True)):
        offset = axis + values.ndim - len(sources)
        local = source - first
        if not np.array_equal(local, np.arange(values.shape[offset])):
            values = np.take(values, local, axis=offset)
    return values


def _read_filled(
    read: Read,
    region: Region,
    shape: tuple[int, ...],
    padding: float,
    nothing: NDArray[np.generic],
) -> NDArray[np.generic]:
    inside = region.clipped_to(shape)
    leading = nothing.shape[: nothing.ndim - len(shape)]
    padded = np.full((*leading, *region.shape), padding, dtype=nothing.dtype)
    if inside.n_voxels:
        place: Any = (..., *inside.slices_within(region))
        padded[place] = read(inside)
    return padded


def source_box(region: Region, shape: tuple[int, ...], padding: Padding) -> Region:
    """The part of an image of `shape` that `read_padded` reads for a box.

    >>> source_box(Region((2,), (6,)), (4,), "reflect"), source_box(Region((2,), (6,)), (4,), 0)
    (Region(start=(1,), stop=(4,)), Region(start=(2,), stop=(4,)))
    """
    if region.lies_in(shape) or not isinstance(padding, str):
        return region.clipped_to(shape)
    return _around(_sources(region, shape, padding))


def _sources(region: Region, shape: tuple[int, ...], padding: str) -> list[NDArray[np.intp]]:
    along = zip(region.start, region.stop, shape, strict=True)
    return [source_indices(a, b, n, padding) for a, b, n in along]


def _around(sources: list[NDArray[np.intp]]) -> Region:
    return Region(tuple(int(s.min()) for s in sources), tuple(int(s.max()) + 1 for s in sources))


def source_indices(start: int, stop: int, size: int, padding: str) -> NDArray[np.intp]:
    """For each voxel of `[start, stop)`, the voxel of an axis that stands for it.

    `reflect` mirrors about the edge voxels without repeating them, again and again for an axis
    smaller than its padding, as `numpy.pad` does.

    >>> source_indices(-2, 6, 4, "reflect").tolist()
    [2, 1, 0, 1, 2, 3, 2, 1]
    """
    indices = np.arange(start, stop)
    if padding == "edge" or size == 1:
        return np.clip(indices, 0, size - 1)
    period = 2 * (size - 1)
    indices %= period
    return np.where(indices < size, indices, period - indices)


def _as_number(value: object) -> float | None:
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return None
    number: float = value.item() if isinstance(value, np.generic) else value
    # Records and arrays of floats hold no integers beyond floats.
    return number if isinstance(number, float) or abs(number) <= sys.float_info.max else None


def _fits(number: float, dtype: np.dtype[Any]) -> bool:
    # Integers may be beyond what floats hold.
    if isinstance(number, float) and not number.is_integer():
        return False
    if dtype.kind == "b":
        return number in (0, 1)
    info = np.iinfo(dtype)
    return bool(info.min <= number <= info.max)
