"""What one worker will hold at its peak, and what the machine has."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from dask.utils import format_bytes, parse_bytes

from ..block import Prediction, block_grid, span, touching
from ..image import ArrayImage
from ..region import Region
from ..store import CACHE_BYTES

_ALLOWANCE = 1.25
"""Allocators keep more than they hand out; measured, see benchmarks/README.md."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes at the peak of one worker, beyond what its process holds when idle.

    Per thread: `source` (decoded chunks in flight), `box` (the input of a block), `batches` (in
    and out), `working` (what the model needed beyond these on the trial tile), `block` (the
    output, twice: the back end copies it). Per process: `cache` and `model`.
    """

    threads: int
    source: int
    box: int
    batches: int
    working: int
    block: int
    cache: int
    model: int

    @property
    def per_thread(self) -> int:
        return self.source + self.box + self.batches + self.working + self.block

    @property
    def peak(self) -> int:
        return int(_ALLOWANCE * (self.threads * self.per_thread + self.cache) + self.model)

    def largest_part(self) -> str:
        """The knob that helps most, in words."""
        parts = {
            "lower batch_size": self.batches + self.working,
            "give a smaller block_shape (or chunks)": self.source + self.box + self.block,
        }
        return max(parts, key=lambda name: parts[name])


def memory_of(
    prediction: Prediction,
    block_shape: tuple[int, ...],
    *,
    threads: int,
    working: int,
    uses_cache: bool,
) -> Memory:
    """The memory of a run, from the largest block of the largest image."""
    largest = max(
        range(len(prediction.images)),
        key=lambda i: math.prod(prediction.images[i].data_shape),
    )
    image = prediction.images[largest]
    channels = image.data_shape[1]
    block = block_grid(prediction, largest, block_shape).largest
    box = block_box(prediction, largest, block)
    tile = _largest_tile(prediction, largest)
    per_voxel = channels * prediction.input_dtype.itemsize
    given = prediction.signature
    result = given.channels * given.dtype.itemsize * math.prod(given.tile_shape(tile))
    itemsize = image.data_dtype.itemsize
    chunks = image.chunk_shape if isinstance(image, ArrayImage) else None
    in_flight = 0 if chunks is None else math.prod(chunks) * itemsize * 2
    cache = CACHE_BYTES if uses_cache else 0
    return Memory(
        threads=threads,
        source=in_flight,
        box=box.n_voxels * channels * itemsize,
        batches=prediction.batch_size * (math.prod(tile) * per_voxel + result),
        working=prediction.batch_size * working,
        block=2 * math.prod(block) * prediction.dtype.itemsize,
        cache=min(cache, _decoded_bytes(prediction)),
        model=prediction.model.handle.nbytes(),
    )


def block_box(prediction: Prediction, data_idx: int, block: tuple[int, ...]) -> Region:
    """The input box of a block in the middle of an image: with a halo on every side."""
    dims = prediction.outputs[data_idx]
    grid = prediction.grids[data_idx]
    start, stop = [], []
    for size, length in zip(dims.spatial_shape, dims.spatial_entries(block), strict=True):
        begin = size // 2 // length * length
        begin = begin if begin + length <= size else 0
        start.append(begin)
        stop.append(min(begin + length, size))
    region = prediction.signature.input_region(Region(tuple(start), tuple(stop)))
    return span(grid, touching(grid, region))


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
        number = int(parse_bytes(value))
    except (TypeError, ValueError, AttributeError):
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
    fewer = "lower threads" if memory.threads > 1 else memory.largest_part()
    other = f" or {memory.largest_part()}" if memory.threads > 1 else ""
    raise MemoryError(
        f"The plan needs {format_bytes(memory.peak)} per worker with {memory.threads} threads, "
        f"{what} is {format_bytes(limit)}: {fewer}{other}."
    )
