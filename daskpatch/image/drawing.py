"""An array and the pieces that it is cut into, drawn as Dask draws its arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_SIDE = 160
"""Pixels of the longer side."""


def drawing_of(
    shape: tuple[int, ...], pieces: Sequence[int] | Sequence[tuple[int, ...]] | None
) -> str:
    """An SVG of an array of some shape, cut into pieces; of each axis all sizes may be given.

    >>> drawing_of((64, 64), (32, 32)) == drawing_of((64, 64), [(32, 32), (32, 32)])
    True
    """
    import dask.array as da  # takes a while, and only notebooks need it

    chunks: Any = shape if pieces is None else tuple(pieces)
    drawing: str = da.empty(shape, chunks=chunks, dtype="u1").to_svg(size=_SIDE)
    return drawing
