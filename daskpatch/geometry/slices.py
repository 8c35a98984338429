"""Boxes as users give them: slices and integers, one per axis, in voxels of an array."""

from __future__ import annotations

import operator
from types import EllipsisType
from typing import Any

from .short_repr import given

Index = int | slice
"""Of one axis."""

RegionLike = Index | EllipsisType | tuple[Index | EllipsisType, ...]
"""Slices without steps, and integers, which keep their axis; missing axes are whole."""


def ranges_of(
    region: RegionLike, shape: tuple[int, ...], *, word: str = "region", of: str = "the output"
) -> list[range]:
    """The indices that slices select along each axis; the option `word` holds them.

    Raises
    ------
    ValueError
        If they select nothing, have steps, or are more than there are axes.

    Examples
    --------
    >>> ranges_of((..., slice(-4, None)), (8, 8))
    [range(0, 8), range(4, 8)]
    """
    entries: list[Any] = list(region) if isinstance(region, tuple) else [region]
    at = next((at for at, entry in enumerate(entries) if entry is Ellipsis), None)
    if at is not None:
        entries[at : at + 1] = [slice(None)] * (len(shape) - len(entries) + 1)
    entries += [slice(None)] * (len(shape) - len(entries))
    if len(entries) > len(shape):
        raise ValueError(
            f"{word} has {len(entries)} parts, {of} has {len(shape)} axes: its shape is {shape}. "
            "Give one slice per axis, or fewer for the first ones."
        )
    ranges = [_range_of(entry, size, word) for entry, size in zip(entries, shape, strict=True)]
    if not all(map(len, ranges)):
        raise ValueError(f"{word} {given(region)} selects nothing of {of}'s shape {shape}.")
    return ranges


def _range_of(entry: Index, size: int, word: str) -> range:
    try:
        if isinstance(entry, slice):
            indices = range(*entry.indices(size))
        else:
            index = operator.index(entry)
            if not -size <= index < size:
                raise ValueError(f"{word} holds {index}, out of range for an axis of {size}.")
            indices = range(index % size, index % size + 1)
    except TypeError:
        indices = range(0, 0, 2)
    if indices.step != 1:
        raise ValueError(
            f"{word} holds {given(entry)}; needed are slices without steps, or integers."
        )
    return indices
