"""How much of the source is decoded at a time: what blocks hold, and what is kept between them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..block import BlockRows, Recipe, block_grid
from ..image import ArrayImage, chunk_nbytes_of, is_chunked
from ..reading import AT_A_TIME, is_read_ahead
from .cost import visiting_order
from .limits import Limits

_ROWS = 8
"""Blocks along an axis that are looked at: places repeat, or nearly, after so many."""

_SHARE, _MOST = 4, 1_000_000_000
"""Which part of the memory may be kept for blocks to come, and how many bytes at most."""

_IN_FLIGHT = 2**25
"""Bytes of chunks that a back end has twice for a moment, at most, while it reads them."""


@dataclass(frozen=True, slots=True)
class ChunkMemory:
    """Bytes of decoded chunks: `held` by a block while its tiles are filled, `kept` by a process.

    What is kept includes what is held, unless that alone is more.
    """

    held: int
    kept: int


@dataclass(frozen=True, slots=True)
class _Along:
    """Along one axis: how many blocks there are; chunks of one, of two neighbours, and of all."""

    count: int
    block: int
    shared: int
    whole: int


def chunk_memory(
    recipe: Recipe,
    block_shape: tuple[int, ...],
    tile: tuple[int, ...],
    threads: int,
    limits: Limits,
) -> ChunkMemory:
    """What reading takes: of all images, what the one that needs most of it needs.

    Blocks are visited row by row. For each axis, the chunks that two rows share are kept while the
    faster axes are gone along, and what is read ahead; no more than the limits allow.
    """
    kinds = {
        (image.data_shape, str(image.data_dtype), image.array.chunks): (data_idx, image)
        for data_idx, image in enumerate(recipe.images)
        if is_chunked(image)
    }
    each = [_of_image(recipe, block_shape, tile, threads, limits, *one) for one in kinds.values()]
    return ChunkMemory(
        held=max((one.held for one in each), default=0),
        kept=max((one.kept for one in each), default=0),
    )


def _of_image(
    recipe: Recipe,
    block_shape: tuple[int, ...],
    tile: tuple[int, ...],
    threads: int,
    limits: Limits,
    data_idx: int,
    image: ArrayImage,
) -> ChunkMemory:
    dims = recipe.outputs[data_idx][0]
    rows = BlockRows(recipe, data_idx, block_grid(recipe, data_idx, block_shape))
    chunks = dict(zip(image.dimensions.axes, image.array.chunks or (), strict=True))
    sizes = dict(zip(image.dimensions.axes, image.array.shape, strict=True))
    along = {
        name: _along(
            rows,
            axis,
            chunks[name],
            sizes[name],
            _period(recipe, data_idx, name, block_shape[axis], chunks[name]),
        )
        for axis, name in enumerate(dims.axes)
        if name != "C"
    }
    nbytes = chunk_nbytes_of(image) * -(-sizes.get("C", 1) // chunks.get("C", 1))
    held = nbytes * math.prod(along[name].block for name in dims.spatial_axes)
    names = [dims.axes[axis] for axis in visiting_order(recipe, block_shape)]
    in_order = [along[name] for name in names if name != "C"]
    alive = whole = blocks = 1
    for one in reversed(in_order):
        # Of what blocks share with the row before or behind, a whole row is kept; of the rest,
        # what the faster axes keep, for each row that is in work: where threads are in several, one
        # more, for those that are late.
        in_work = -(-threads // blocks)
        in_work = min(in_work + (in_work > 1), one.count)
        alive = one.shared * whole + (one.block - one.shared) * in_work * alive
        whole *= one.whole
        blocks *= one.count
    in_flight = min(held, _IN_FLIGHT)
    if limits.cache is None:
        # The next block along the fastest axis finds there what both touch.
        next_one, ahead = in_order[-1], 0
        if recipe.reads_all and is_read_ahead(image):
            new = held * max(next_one.block - next_one.shared, 1) // next_one.block
            ahead = (threads + AT_A_TIME) * new
        kept = min(nbytes * alive + ahead, nbytes * whole, limits.nbytes // _SHARE, _MOST)
    else:
        kept = min(nbytes * whole, int(limits.cache))
    if held > kept:  # tile by tile
        held = nbytes * math.prod(
            -(-size // chunks[name]) + 1 for size, name in zip(tile, dims.spatial_axes, strict=True)
        )
    return ChunkMemory(held + in_flight, kept)


def _along(rows: BlockRows, axis: int, chunk: int, size: int, period: int) -> _Along:
    """`period` is after how many blocks places in chunks come again; 0 where that is not known."""
    count = rows.grid.counts[axis]
    middle = max(count - _ROWS, 0) // 2
    # Those in the middle stand for all but the ends, where tiles are moved inside.
    looked_at = {0, 1, *range(middle, middle + _ROWS), count - 2, count - 1}
    read = {i: rows.interval(axis, i) for i in looked_at if 0 <= i < count}
    lengths = [stop - start for start, stop in read.values()]
    overlaps = [read[i][1] - read[i + 1][0] for i in read if i + 1 in read]
    if len(read) == count or 0 < period <= _ROWS:
        touched = {i: (start // chunk, -(-stop // chunk)) for i, (start, stop) in read.items()}
        block = max(stop - start for start, stop in touched.values())
        shared = max((touched[i][1] - touched[i + 1][0] for i in read if i + 1 in read), default=0)
    else:
        block, shared = _most_touched(max(lengths), chunk), _most_touched(max(overlaps), chunk)
    whole = -(-size // chunk)
    return _Along(count, min(block, whole), min(max(shared, 0), whole), whole)


def _most_touched(length: int, chunk: int) -> int:
    """Chunks that an interval touches, wherever it lies; one of no length lies in one."""
    return (max(length, 0) + chunk - 2) // chunk + 1


def _period(recipe: Recipe, data_idx: int, name: str, block: int, chunk: int) -> int:
    """After how many blocks along an axis places in tiles and chunks come again; 0 if not known."""
    spatial = recipe.outputs[data_idx][0].spatial_axes
    if name not in spatial:
        return math.lcm(block, chunk) // block
    axis = spatial.index(name)
    if recipe.signature.finest.scale[axis] != 1:
        return 0
    return math.lcm(block, recipe.grids[data_idx].step[axis], chunk) // block
