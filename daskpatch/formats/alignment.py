"""The same voxels under shapes that differ by axes of length 1."""

from __future__ import annotations

from collections.abc import Sequence

from .reader import Box


def aligned_box(box: Box, shape: Sequence[int], other: Sequence[int]) -> Box:
    """A box of an array, in another shape of it.

    >>> aligned_box((slice(0, 1), slice(2, 4)), (1, 8), (8, 1))
    (slice(2, 4, None), slice(0, 1, None))
    """
    remaining = [part for part, n in zip(box, shape, strict=True) if n != 1]
    parts = iter(remaining)
    return tuple(slice(0, 1) if n == 1 else next(parts) for n in other)
