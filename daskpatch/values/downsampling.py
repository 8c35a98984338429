"""Coarser levels of an array: each voxel made of a cell of voxels of the level before.

A cell at an end has the voxels that exist. Results are those of `tensorstore.downsample`, save that
means of floats are summed in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

Downsample = Literal["mean", "mode", "max", "stride"]
"""How a voxel is made of its cell: see `downsampled`."""

DOWNSAMPLES: tuple[Downsample, ...] = get_args(Downsample)

Values = NDArray[Any]

_MOST_SMALL = 2**15
"""Integers of 16 bits whose sum has 32."""

_HALF_BITS = 32
"""Of a 64-bit integer: sums of halves do not overflow."""


def downsampled(values: Values, factors: tuple[int, ...], how: Downsample) -> Values:
    """The level after an array, `ceil(n / factor)` voxels along each axis, in the same dtype.

    `mean` is rounded half to even in integers, and true in booleans where most are. `mode` is the
    most frequent value, the smallest of equals; NaN is one value, larger than all others. `max` is
    the largest (NaN, where there is one).
    `stride` is the first of each cell.

    >>> downsampled(np.array([[1, 1, 2], [1, 4, 2]]), (2, 2), "mean")
    array([[2, 2]])
    """
    if how == "stride" or max(factors) == 1:
        return np.ascontiguousarray(values[tuple(slice(None, None, f) for f in factors)])
    shape = tuple(-(-n // f) for n, f in zip(values.shape, factors, strict=True))
    made = np.empty(shape, values.dtype)
    with np.errstate(all="ignore"):  # of infinities, and NaN
        for target, cells in _cells(values, factors):
            made[target] = _OF_CELLS[how](cells)
    return made


def _cells(
    values: Values, factors: tuple[int, ...]
) -> Iterator[tuple[tuple[slice, ...], list[Values]]]:
    """Parts of the result, and their cells: an array per voxel of a cell, in C order.

    Cells inside are whole, those at the end of an axis are shorter.
    """
    parts = [list(_parts(n, f)) for n, f in zip(values.shape, factors, strict=True)]
    for chosen in product(*parts):
        places = [range(size) for _, _, size in chosen]
        source = [(start, stop, size) for start, stop, size in chosen]
        yield (
            tuple(
                slice(start // f, start // f + (stop - start) // size)
                for (start, stop, size), f in zip(source, factors, strict=True)
            ),
            [
                values[
                    tuple(
                        slice(start + at, stop, size)
                        for at, (start, stop, size) in zip(place, source, strict=True)
                    )
                ]
                for place in product(*places)
            ],
        )


def _parts(n: int, factor: int) -> Iterator[tuple[int, int, int]]:
    """Begin, end and cell size of the whole cells of an axis, and of what remains."""
    whole = n // factor * factor
    if whole:
        yield 0, whole, factor
    if whole < n:
        yield whole, n, n - whole


def _mean(cells: list[Values]) -> Values:
    dtype = cells[0].dtype
    if dtype.kind == "b":
        return 2 * _sum(cells, np.dtype("i8")) > len(cells)
    if dtype.kind == "f":
        mean: Values = (_sum(cells, np.dtype("f8")) / len(cells)).astype(dtype)
        return mean
    if dtype.itemsize < 8:
        is_small = dtype.itemsize <= 2 and len(cells) <= _MOST_SMALL
        return _divided(_sum(cells, np.dtype("i4" if is_small else "i8")), len(cells))
    # The upper half of the sum is divided first; what remains of it goes on with the lower half.
    upper, rest = np.divmod(_sum([each >> _HALF_BITS for each in cells], dtype), len(cells))
    lower = _sum([each & (2**_HALF_BITS - 1) for each in cells], dtype)
    return (upper << _HALF_BITS) + _divided((rest << _HALF_BITS) + lower, len(cells))


def _sum(cells: list[Values], dtype: np.dtype[Any]) -> Values:
    total = cells[0].astype(dtype)
    for each in cells[1:]:
        total += each
    return total


def _divided(total: Values, n: int) -> Values:
    """Integers divided, rounded half to even."""
    quotient, rest = np.divmod(total, n)
    rest *= 2
    quotient += (rest > n) | ((rest == n) & (quotient % 2 == 1))
    return quotient


def _max(cells: list[Values]) -> Values:
    largest = cells[0].copy()
    for each in cells[1:]:
        np.maximum(largest, each, out=largest)
    return largest


def _mode(cells: list[Values]) -> Values:
    first, *others = cells
    made = first.copy()
    # Most cells lie inside one object, or outside all: only the others are counted.
    differ = np.zeros(made.shape, bool)
    for each in others:
        differ |= each != first
    if differ.any():
        made[differ] = _most_frequent(np.stack([each[differ] for each in cells], axis=-1))
    return made


def _most_frequent(cells: Values) -> Values:
    """Of each row the value that comes most often, the smallest of equals."""
    ordered = np.sort(cells, axis=-1)
    run = np.ones(len(ordered), np.intp)
    best, longest = ordered[:, 0].copy(), run.copy()
    for at in range(1, ordered.shape[1]):
        run = np.where(_are_alike(ordered[:, at], ordered[:, at - 1]), run + 1, 1)
        is_longer = run > longest
        best[is_longer], longest[is_longer] = ordered[is_longer, at], run[is_longer]
    return best


def _are_alike(one: Values, other: Values) -> Values:
    """Where values are the same; NaN is the same as NaN."""
    alike: Values = one == other
    if one.dtype.kind == "f":
        alike |= np.isnan(one) & np.isnan(other)
    return alike


_OF_CELLS: dict[str, Callable[[list[Values]], Values]] = {
    "mean": _mean,
    "mode": _mode,
    "max": _max,
}


def downsampling_bytes(
    shape: tuple[int, ...], factors: tuple[int, ...], itemsize: int, how: Downsample
) -> int:
    """What `downsampled` holds beside its argument, at most: the result, sums, sorted cells."""
    cells = math.prod(-(-n // f) for n, f in zip(shape, factors, strict=True))
    holds_halves = itemsize == 8  # of integers
    held = 2 * math.prod(shape) * itemsize if how == "mode" or holds_halves else 0
    return cells * (itemsize + 3 * 8) + held
