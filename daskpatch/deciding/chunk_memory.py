"""How much of the source is decoded at a time: what blocks hold, and what is kept between them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from ..block import BlockRows, Recipe, block_grid
from ..image import ArrayImage, chunk_nbytes_of, is_chunked
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
    faster axes are gone along; no more than the limits allow.
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
        name: _along(rows, axis, chunks[name], sizes[name])
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
        kept = min(nbytes * alive, limits.nbytes // _SHARE, _MOST)
    else:
        kept = min(nbytes * whole, int(limits.cache))
    if held > kept:  # tile by tile
        held = nbytes * math.prod(
            -(-size // chunks[name]) + 1 for size, name in zip(tile, dims.spatial_axes, strict=True)
        )
    return ChunkMemory(held + in_flight, kept)


def _along(rows: BlockRows, axis: int, chunk: int, size: int) -> _Along:
    count = rows.grid.counts[axis]
    first = max(count - _ROWS, 0) // 2
    touched = [
        (start // chunk, -(-stop // chunk))
        for start, stop in (rows.interval(axis, i) for i in range(count)[first : first + _ROWS])
    ]
    pairs = pairwise(touched)
    return _Along(
        count=count,
        block=max(stop - start for start, stop in touched),
        shared=max((max(stop - start, 0) for (_, stop), (start, _) in pairs), default=0),
        whole=-(-size // chunk),
    )
