"""What one worker will hold at its peak, and what the machine has."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from dask.utils import format_bytes

from ..block import KEPT, Recipe, block_grid, bounding_box, needed_tiles
from ..geometry import Region, representatives
from ..image import ImageStack, chunk_nbytes_of, chunks_of, is_chunked
from ..model import OutputArray
from ..output import Layout
from ..patching import TileGrid
from ..store import MOST_CELLS
from ..support import counted
from .chunk_memory import NOTHING_KEPT, ChunkMemory, chunk_memory
from .limits import Limits, limited
from .working_memory import LARGE, CallMemory

_ALLOWANCE = 1.25
"""Allocators keep more than they hand out: measured, benchmarks/results.md (memory)."""

_PLANNED = 45_000_000
"""What a plan leaves in its process, which is there when the run begins: libraries that are loaded
then, and ends of heaps. Measured, 30 to 45 MB."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes at the peak of one worker, beyond what its process holds when idle.

    Per thread: `source` (decoded chunks that a block holds), `box` (the input of a block that is
    not filled from chunks), `batches` (in and out), `working` (what the model needed beyond these
    on the trial tile), `block` (the output, twice: the back end copies it; what is blended or given
    to `post`, and the levels that are made of it). Per process: `chunks` (decoded, all that is
    kept; what blocks hold is part of it: see `reading`), `cache` (what `skip_empty` and `mask`
    keep) and `model` (weights, and what calls leave); before the run, `statistics`; after it,
    `levels` per thread. `knob` says in words what to turn.
    """

    threads: int
    source: int
    box: int
    batches: int
    working: int
    block: int
    chunks: int
    cache: int
    model: int
    statistics: int
    levels: int
    knob: str
    reading: ChunkMemory = NOTHING_KEPT

    @property
    def per_thread(self) -> int:
        return self.source + self.box + self.batches + self.working + self.block

    @property
    def peak(self) -> int:
        # The model is not allocated over and over: the allowance is for what comes and goes.
        return int(_ALLOWANCE * max(self._of_run, self.statistics) + self.model)

    @property
    def beside_statistics(self) -> int:
        """What may be held for the run before it begins, where statistics are measured first."""
        return max(self._of_run - self.statistics, 0)

    @property
    def _of_run(self) -> int:
        kept = max(self.chunks - self.threads * self.source, 0)
        return self.threads * max(self.per_thread, self.levels) + kept + self.cache

    @property
    def before_a_call(self) -> float:
        """What there may be before a call of the model; infinity where calls take little.

        Beyond what the process held when it had loaded the model.
        """
        if self.working < LARGE:
            return math.inf
        one = _ALLOWANCE * (self.batches + self.working)
        return max(self.peak - self.model - one - _PLANNED, 0)


def memory_of(
    recipe: Recipe,
    layout: Layout,
    *,
    threads: int,
    calls: CallMemory,
    statistics: int,
    levels: int,
    fused: int,
    limits: Limits,
) -> Memory:
    """The memory of a run: of each part, what the image that needs most of it needs."""
    kinds = {
        (image.data_shape, str(image.data_dtype), chunks_of(image)): data_idx
        for data_idx, image in enumerate(recipe.images)
    }
    parts = [_per_thread(recipe, layout, i) for i in kinds.values()]
    tile = _largest_tile(recipe.grids[0])
    chunks = chunk_memory(recipe, layout.block_shape, tile, threads, limits)
    source, box, batches, block = (max(part[i] for part in parts) for i in range(4))
    working = recipe.batch_size * calls.working
    n_tiles = recipe.batch_size
    smaller = f"lower batch_size ({n_tiles})" if n_tiles > 1 else "give a smaller patch_size"
    source = max(source, chunks.held)
    tile_is_larger = batches + working > source + block
    return Memory(
        threads=threads,
        source=source,
        box=box,
        batches=batches,
        working=working,
        block=block + fused,
        chunks=chunks.kept,
        cache=_stand_in_bytes(recipe) + (MOST_CELLS if recipe.masks else 0),
        model=recipe.model.handle.nbytes() + calls.left,
        statistics=statistics,
        levels=levels,
        knob=smaller if tile_is_larger else "give smaller block_shape= and chunks=",
        reading=chunks,
    )


def _per_thread(recipe: Recipe, layout: Layout, data_idx: int) -> tuple[int, int, int, int]:
    """Bytes of source chunks in flight, of the input box, of the batches, of the output."""
    image, signature = recipe.images[data_idx], recipe.signature
    channels, itemsize = image.data_shape[1], image.data_dtype.itemsize
    dims = recipe.outputs[data_idx][0]
    largest = block_grid(recipe, data_idx, layout.block_shape).largest
    box = block_box(recipe, data_idx, largest)
    tile = _largest_tile(recipe.grids[data_idx])
    # A back end decodes one chunk while it copies from the one before.
    in_flight = 2 * chunk_nbytes_of(image)
    read = math.prod(tile)  # of tiles at the edge, before they are padded
    if not is_chunked(image) or recipe.emptiness is not None:
        read = box.n_voxels
    # A back end encodes whole units, also where they reach beyond the image.
    written = math.prod(map(max, largest, layout.write_unit)) + math.prod(largest)
    result = signature.nbytes(tile)
    batch = math.prod(tile) * channels * recipe.input_dtype.itemsize
    if len(recipe.positions) > 1:
        batch, result = 2 * batch, 3 * result  # turned, and turned back, and their sums
    return (
        in_flight,
        read * channels * itemsize + _mask_bytes(recipe, data_idx, largest),
        recipe.batch_size * (batch + result),
        written * recipe.stored_itemsize
        + math.ceil(math.prod(dims.spatial_entries(largest)) * stitched_bytes(recipe)),
    )


def _mask_bytes(recipe: Recipe, data_idx: int, block: tuple[int, ...]) -> int:
    """What a block holds of its mask."""
    if not recipe.masks:
        return 0
    shape = recipe.outputs[data_idx][0].spatial_entries(block)
    return math.prod(shape) + recipe.masks[data_idx].nbytes_of(shape, recipe.signature.scale)


def _stand_in_bytes(recipe: Recipe) -> int:
    """What is kept of results for tiles in which nothing is, and of what is stored where."""
    if recipe.emptiness is None:
        return 0
    tiles = map(_largest_tile, recipe.grids)
    return KEPT * max(map(recipe.signature.nbytes, tiles)) + MOST_CELLS


def stitched_bytes(recipe: Recipe) -> Fraction:
    """Bytes per voxel of a block that hold what is not stored as it comes from the model."""
    signature, held = recipe.signature, Fraction(0)
    if recipe.assembly.blends:  # sums and weights in float64
        sums = [OutputArray(output.channels, "f8") for output in signature.outputs]
        sizes = dict.fromkeys(signature.sizings)
        held += recipe.nbytes_of(sums, signature.sizings)
        held += recipe.nbytes_of([OutputArray(1, "f8")] * len(sizes), sizes)
    if recipe.assembly.function is not None:
        held += recipe.nbytes_of(signature.outputs, signature.sizings)
        held += recipe.nbytes_of(recipe.stored, recipe.sizings)
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
            f"One tile of {tile}, of channels {image.data_shape[1]}, takes {format_bytes(needed)} "
            f"(read, converted, predicted), the memory_limit is {limited(limit)}: give a smaller "
            "patch_size."
        )


def check_chunks(images: Sequence[ImageStack], limits: Limits, what: str = "source") -> None:
    """Refuse chunks that do not fit, of sources or masks, before the first of them is read.

    Raises
    ------
    MemoryError
        If as many as there are threads take more than the limit.
    """
    for image in images:
        nbytes, threads = chunk_nbytes_of(image), limits.threads or 1
        if nbytes * threads > limits.nbytes:
            fewer = "lower threads, or " if threads > 1 and nbytes <= limits.nbytes else ""
            decode = "decodes" if threads == 1 else "decode"
            raise MemoryError(
                f"One chunk of the {what} {image.source} is {format_bytes(nbytes)} when it is "
                f"decoded, and {counted(threads, 'thread')} {decode} as many at a time; the "
                f"memory_limit is {limited(limits.nbytes)}: {fewer}store the {what} in smaller "
                "chunks (or is its metadata broken?)."
            )


def block_box(recipe: Recipe, data_idx: int, block: tuple[int, ...]) -> Region:
    """The input box of a block in the middle of an image: with a halo on every side."""
    dims = recipe.outputs[data_idx][0]
    grid = recipe.grids[data_idx]
    start, stop = [], []
    along = zip(dims.spatial_shape, dims.spatial_entries(block), dims.spatial_origin, strict=True)
    for size, length, origin in along:
        begin = size // 2 // length * length
        begin = begin if begin + length <= size else 0
        start.append(origin + begin)
        stop.append(origin + min(begin + length, size))
    part = [(recipe.signature.finest, Region(tuple(start), tuple(stop)))]
    return bounding_box(grid, needed_tiles(recipe, data_idx, part))


def _largest_tile(grid: TileGrid) -> tuple[int, ...]:
    return tuple(max(tile.size for tile in representatives(axis)) for axis in grid.axes)


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
        f"The plan needs {format_bytes(memory.peak)} per worker with "
        f"{counted(memory.threads, 'thread')}, {what} is {limited(limit)}: "
        f"{fewer}{memory.knob}."
    )
