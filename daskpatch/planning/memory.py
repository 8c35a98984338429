"""What one worker will hold at its peak, and what the machine has."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from dask.utils import format_bytes, parse_bytes

from ..block import Prediction, block_grid, bytes_decoded, needed, span
from ..geometry import Region
from ..image import ImageStack, chunks_of
from ..model import Output
from ..store import CACHE_BYTES
from .layout import Layout

_ALLOWANCE = 1.25
"""Allocators keep more than they hand out: measured, benchmarks/results.md (memory)."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes at the peak of one worker, beyond what its process holds when idle.

    Per thread: `source` (decoded chunks in flight), `box` (the input of a block), `batches` (in
    and out), `working` (what the model needed beyond these on the trial tile), `block` (the
    output, twice: the back end copies it; and what is blended or given to `post`). Per process:
    `cache` and `model`; before the run, `statistics`. `knob` says in words what to turn.
    """

    threads: int
    source: int
    box: int
    batches: int
    working: int
    block: int
    cache: int
    model: int
    statistics: int
    knob: str

    @property
    def per_thread(self) -> int:
        return self.source + self.box + self.batches + self.working + self.block

    @property
    def peak(self) -> int:
        run = self.threads * self.per_thread + self.cache
        return int(_ALLOWANCE * max(run, self.statistics) + self.model)


def memory_of(
    prediction: Prediction,
    layout: Layout,
    *,
    threads: int,
    working: int,
    statistics: int,
    has_cache: bool,
) -> Memory:
    """The memory of a run: of each part, what the image that needs most of it needs."""
    kinds = {
        (image.data_shape, str(image.data_dtype), chunks_of(image)): data_idx
        for data_idx, image in enumerate(prediction.images)
    }
    parts = [_per_thread(prediction, layout, i, has_cache=has_cache) for i in kinds.values()]
    source, box, batches, block = (max(part[i] for part in parts) for i in range(4))
    working = prediction.batch_size * working
    smaller = "lower batch_size" if prediction.batch_size > 1 else "give a smaller patch_size"
    tile_is_larger = batches + working > source + block
    return Memory(
        threads=threads,
        source=source,
        box=box,
        batches=batches,
        working=working,
        block=block,
        cache=min(CACHE_BYTES, _decoded_bytes(prediction)) if has_cache else 0,
        model=prediction.model.handle.nbytes(),
        statistics=statistics,
        knob=smaller if tile_is_larger else "give smaller block_shape and chunks",
    )


def _per_thread(
    prediction: Prediction, layout: Layout, data_idx: int, *, has_cache: bool
) -> tuple[int, int, int, int]:
    """Bytes of source chunks in flight, of the input box, of the batches, of the output."""
    image, signature = prediction.images[data_idx], prediction.signature
    channels, itemsize = image.data_shape[1], image.data_dtype.itemsize
    dims = prediction.primary[data_idx]
    largest = block_grid(prediction, data_idx, layout.block_shape).largest
    box = block_box(prediction, data_idx, largest)
    tile = _largest_tile(prediction, data_idx)
    # Chunks of a box that is being read stay in the cache, also beyond its limit.
    in_flight = 2 * math.prod(chunks_of(image) or (0,)) * itemsize
    if has_cache:
        in_flight = bytes_decoded(image, box)
    # A back end encodes whole units, also where they reach beyond the image.
    written = math.prod(map(max, largest, layout.write_unit)) + math.prod(largest)
    results = _bytes_per_voxel(signature.outputs)
    result = results * math.prod(signature.tile_shape(tile))
    batch = math.prod(tile) * channels * prediction.input_dtype.itemsize
    if len(prediction.positions) > 1:
        batch, result = 2 * batch, 3 * result  # turned, and turned back, and their sums
    return (
        in_flight,
        box.n_voxels * channels * itemsize,
        prediction.batch_size * (batch + result),
        written * prediction.stored_itemsize
        + math.prod(dims.spatial_entries(largest)) * stitched_bytes(prediction),
    )


def _bytes_per_voxel(outputs: Iterable[Output]) -> int:
    return sum(output.channels * np.dtype(output.dtype).itemsize for output in outputs)


def stitched_bytes(prediction: Prediction) -> int:
    """Bytes per voxel of a block that hold what is not stored as it comes from the model."""
    outputs = prediction.signature.outputs
    held = 0
    if prediction.blends:  # sums and weights in float64
        held += 8 * (1 + sum(output.channels for output in outputs))
    if prediction.post is not None:
        held += _bytes_per_voxel(outputs) + _bytes_per_voxel(prediction.stored)
    return held


def check_tile(
    image: ImageStack, tile: tuple[int, ...], input_dtype: np.dtype[Any], limit: int
) -> None:
    """Refuse a tile that does not fit even alone, before it is read.

    Raises
    ------
    MemoryError
        If reading it and handing it to the model takes more than the limit.
    """
    needed = math.prod(tile) * image.data_shape[1]
    needed *= image.data_dtype.itemsize + 2 * input_dtype.itemsize
    if needed > limit:
        raise MemoryError(
            f"One tile of {tile} takes {format_bytes(needed)} (read, converted, predicted), the "
            f"memory_limit is {format_bytes(limit)}: give a smaller patch_size."
        )


def block_box(prediction: Prediction, data_idx: int, block: tuple[int, ...]) -> Region:
    """The input box of a block in the middle of an image: with a halo on every side."""
    dims = prediction.primary[data_idx]
    grid = prediction.grids[data_idx]
    start, stop = [], []
    for size, length in zip(dims.spatial_shape, dims.spatial_entries(block), strict=True):
        begin = size // 2 // length * length
        begin = begin if begin + length <= size else 0
        start.append(begin)
        stop.append(min(begin + length, size))
    return span(grid, needed(prediction, data_idx, Region(tuple(start), tuple(stop))))


def _largest_tile(prediction: Prediction, data_idx: int) -> tuple[int, ...]:
    grid = prediction.grids[data_idx]
    return tuple(
        max(axis.tile(i).size for i in {0, axis.n_tiles // 2, axis.n_tiles - 1})
        for axis in grid.axes
    )


def _decoded_bytes(prediction: Prediction) -> int:
    return sum(
        math.prod(image.data_shape) * image.data_dtype.itemsize for image in prediction.images
    )


def available_memory() -> int:
    """Bytes that this machine has for us: its memory, or its control group's limit."""
    total = int(psutil.virtual_memory().total)
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        limit = Path("/sys/fs/cgroup") / name
        try:
            total = min(total, int(limit.read_text()))
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return total


def as_bytes(value: Any) -> int:
    """A number of bytes, or text such as `"8 GB"`.

    Raises
    ------
    ValueError
        If it is neither.
    """
    try:
        number = 0 if value == "" else int(parse_bytes(value))
    except (TypeError, ValueError, AttributeError, OverflowError):
        number = 0
    if number < 1:
        raise ValueError(f"memory_limit is {value!r}; needed are bytes, for example '8 GB'.")
    return number


def check_memory(memory: Memory, limit: int, what: str) -> None:
    """Refuse what cannot fit.

    Raises
    ------
    MemoryError
        If the peak is above the limit; the message says which knob to turn.
    """
    if memory.peak <= limit:
        return
    fewer = "lower threads or " if memory.threads > 1 else ""
    raise MemoryError(
        f"The plan needs {format_bytes(memory.peak)} per worker with {memory.threads} threads, "
        f"{what} is {format_bytes(limit)}: {fewer}{memory.knob}."
    )


def at_least_one(name: str, value: Any) -> int:
    """An integer of at least 1.

    Raises
    ------
    ValueError
        If it is none.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = 0
    if number < 1:
        raise ValueError(f"{name} is {value!r}; needed is an integer of at least 1.")
    return number
