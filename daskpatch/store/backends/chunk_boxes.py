"""Boxes of an array and the chunks in them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from .protocol import Box


def cells_of(box: Box, unit: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """The units of a regular grid that a box touches, each counted along the axes."""
    return product(
        *(range((s.start or 0) // n, -(-s.stop // n)) for s, n in zip(box, unit, strict=True))
    )


def chunk_parts(box: Box, chunk: tuple[int, ...]) -> Iterator[Box]:
    """The parts of a box that lie in a chunk each.

    >>> list(chunk_parts((slice(2, 6),), (4,)))
    [(slice(2, 4, None),), (slice(4, 6, None),)]
    """
    for at in cells_of(box, chunk):
        yield tuple(
            slice(max(s.start or 0, i * n), min(s.stop, (i + 1) * n))
            for s, n, i in zip(box, chunk, at, strict=True)
        )


def is_of_whole_chunks(box: Box, chunk: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether a box holds all of each chunk that it touches, as far as the array goes."""
    return all(
        (s.start or 0) % n == 0 and (s.stop % n == 0 or s.stop == size)
        for s, n, size in zip(box, chunk, shape, strict=True)
    )


def slices_inside(box: Box, outer: Box) -> Box:
    """A box as slices of another one around it."""
    return tuple(
        slice(s.start - (o.start or 0), s.stop - (o.start or 0))
        for s, o in zip(box, outer, strict=True)
    )
