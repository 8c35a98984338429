"""What it takes to encode voxels as new arrays are encoded, tried in memory."""

from __future__ import annotations

import time
from typing import Any

from numpy.typing import NDArray
from zarr.storage import MemoryStore

from .location import locate
from .nodes import create_array

_VOXELS = 2**18
"""That are encoded to see it, at most."""


def encoding_seconds(values: NDArray[Any]) -> float:
    """Seconds for a byte of an array, of which a part is encoded twice: the faster counts."""
    part = values[_part_of(values.shape)]
    array = create_array(
        locate(MemoryStore()),
        shape=part.shape,
        dtype=part.dtype,
        chunks=part.shape,
        shards=None,
        dimension_names=[f"{axis}" for axis in range(part.ndim)],
        attributes={},
    )
    box = tuple(slice(0, n) for n in part.shape)

    def once() -> float:
        begin = time.perf_counter()
        array.write(box, part)
        return time.perf_counter() - begin

    return min(once(), once()) / max(part.nbytes, 1)


def _part_of(shape: tuple[int, ...]) -> tuple[slice, ...]:
    """A box in front, of so many voxels at most: whole along the last axes.

    >>> _part_of((3, 1000, 1000))
    (slice(0, 1, None), slice(0, 262, None), slice(0, 1000, None))
    """
    room, part = _VOXELS, []
    for n in reversed(shape):
        part.append(slice(0, min(n, max(room, 1))))
        room //= n
    return tuple(reversed(part))
