"""Chunks that lie side by side, read together: for back ends that read boxes best."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...support import DaemonThreads
from ..absence import counting
from .chunk_boxes import slices_inside
from .protocol import Box

_MOST_BYTES, MOST_CHUNKS = 2**23, 10
"""Of chunks that are put together: they are in memory twice for a moment.

zarr asks for ten at a time, unless it is told otherwise.
"""

Read = Callable[[Box], NDArray[np.generic]]


def read_merged(
    read: Read,
    boxes: Sequence[Box],
    itemsize: int,
    shard: tuple[int, ...] | None,
    at_a_time: int = 1,
) -> list[NDArray[Any] | None]:
    """Chunks, None where absent, by a function that reads a box and tells of absent objects.

    An object is a chunk; of an array with shards it is one of these, and boxes that are put
    together lie in one. So many of these are read `at_a_time`.
    """
    found: list[NDArray[Any] | None] = [None] * len(boxes)
    groups = list(_groups(boxes, itemsize, shard))

    def read_group(group: Sequence[int]) -> list[NDArray[Any] | None]:
        return _read_group(read, [boxes[i] for i in group], shard)

    with DaemonThreads(at_a_time, "daskpatch-io") if at_a_time > 1 else nullcontext() as pool:
        each = map(read_group, groups) if pool is None else pool.map(read_group, groups)
        for group, chunks in zip(groups, each, strict=True):
            for i, values in zip(group, chunks, strict=True):
                found[i] = values
    return found


def _read_group(
    read: Read, boxes: Sequence[Box], shard: tuple[int, ...] | None
) -> list[NDArray[Any] | None]:
    """Chunks that make up a box."""
    whole = tuple(
        slice(min(s.start for s in along), max(s.stop for s in along))
        for along in zip(*boxes, strict=True)
    )
    with counting() as absence:
        values = read(whole)
    if absence.count == (len(boxes) if shard is None else 1):
        return [None] * len(boxes)
    if absence.count:
        return [each for box in boxes for each in _read_group(read, [box], shard)]
    if len(boxes) == 1:
        return [values]
    # Copies: a view would keep the whole box in memory for as long as any chunk of it is kept.
    return [values[slices_inside(box, whole)].copy() for box in boxes]


def _groups(
    boxes: Sequence[Box], itemsize: int, shard: tuple[int, ...] | None
) -> Iterator[list[int]]:
    """Numbers of boxes that together are a box, of one shard."""
    numbers = sorted(range(len(boxes)), key=lambda i: _starts(boxes[i]))
    if shard is None:
        yield from _merged(boxes, numbers, itemsize)
        return

    def shard_of(i: int) -> tuple[int, ...]:
        return tuple(s.start // n for s, n in zip(boxes[i], shard, strict=True))

    for _, some in groupby(sorted(numbers, key=shard_of), shard_of):
        yield from _merged(boxes, list(some), itemsize)


def _merged(boxes: Sequence[Box], numbers: list[int], itemsize: int) -> list[list[int]]:
    """Along one axis after the other, the last first: what is alike on all others and adjoins."""
    groups = [(boxes[i], [i]) for i in numbers]
    for axis in reversed(range(len(boxes[0]))):
        merged: list[tuple[Box, list[int]]] = []
        # Neighbours along the axis come one after the other.
        groups.sort(key=lambda group: (_others(group[0], axis), group[0][axis].start))
        for box, members in groups:
            is_room = merged and len(merged[-1][1]) + len(members) <= MOST_CHUNKS
            if is_room and _adjoins(merged[-1][0], box, axis, itemsize):
                before, theirs = merged.pop()
                box = (*box[:axis], slice(before[axis].start, box[axis].stop), *box[axis + 1 :])
                members = theirs + members
            merged.append((box, members))
        groups = merged
    return [members for _, members in groups]


def _adjoins(before: Box, box: Box, axis: int, itemsize: int) -> bool:
    if _others(before, axis) != _others(box, axis) or before[axis].stop != box[axis].start:
        return False
    sizes = [s.stop - s.start for s in box]
    sizes[axis] = box[axis].stop - before[axis].start
    return bool(math.prod(sizes) * itemsize <= _MOST_BYTES)


def _others(box: Box, axis: int) -> tuple[tuple[int, int], ...]:
    return tuple((s.start, s.stop) for i, s in enumerate(box) if i != axis)


def _starts(box: Box) -> tuple[int, ...]:
    return tuple(s.start for s in box)
