"""How much of the source is decoded at a time, what is kept between blocks, and fetched again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..block import BlockRows, Recipe, block_grid
from ..image import ArrayImage, chunk_nbytes_of, is_chunked
from ..reading import AT_A_TIME, MOST_AHEAD, is_read_ahead
from .cost import cost_of, visiting_order
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

    What is kept includes what is held, unless that alone is more. `fetches` is how often each chunk
    is fetched by a process, on average, at most; `ahead` for how many blocks before they begin.
    """

    held: int = 0
    kept: int = 0
    fetches: float = 1.0
    ahead: int = 0


NOTHING_KEPT = ChunkMemory()


@dataclass(frozen=True, slots=True)
class _Along:
    """Along one axis: how many blocks there are; chunks of one, of two neighbours, and of all.

    `again` is how often each chunk is touched, on average.
    """

    count: int
    block: int
    shared: int
    whole: int
    again: float


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
        fetches=max((one.fetches for one in each), default=1.0),
        ahead=max((one.ahead for one in each), default=0),
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
    spatial = dims.spatial_axes
    held = nbytes * math.prod(along[name].block for name in spatial)
    names = [dims.axes[axis] for axis in visiting_order(recipe, block_shape)]
    in_order = [along[name] for name in names if name != "C"]
    needed = _needed(in_order, threads)
    alive, whole = nbytes * needed[0], nbytes * math.prod(one.whole for one in in_order)
    # The next block along the fastest axis finds there what both touch.
    next_one = in_order[-1]
    new = held * max(next_one.block - next_one.shared, 1) // next_one.block
    reads_ahead = recipe.is_told_ahead and is_read_ahead(image)
    ahead = (threads + AT_A_TIME) * new if reads_ahead else 0
    if limits.cache is None:
        kept = min(alive + ahead, whole, limits.nbytes // _SHARE, _MOST)
    else:
        kept = min(whole, int(limits.cache))
    # What is wanted again last goes first: rows along a slow axis lose what they share before
    # neighbours along a fast one do.
    n_lost = sum(min(nbytes * each, whole) > kept for each in needed)
    fetches = math.prod(one.again for one in in_order[:n_lost])
    in_flight = min(held, _IN_FLIGHT)
    if held > kept:  # tile by tile
        touched = [-(-n // chunks[name]) + 1 for n, name in zip(tile, spatial, strict=True)]
        held = nbytes * math.prod(touched)
        # Of a chunk of several samples, each sample's tiles decode the whole.
        decoded = math.prod(touched) * math.prod(min(chunks[n], sizes[n]) for n in along)
        computed = cost_of(recipe, block_shape).compute_ratio
        fetches = max(fetches, computed * decoded / math.prod(tile))
    room = whole if kept == whole else max(kept - alive, 0)
    blocks = math.prod(one.count for one in in_order)
    n_ahead = min(room // new, MOST_AHEAD, blocks - 1) if reads_ahead else 0
    return ChunkMemory(held + in_flight, kept, fetches, n_ahead)


def _needed(in_order: Sequence[_Along], threads: int) -> list[int]:
    """Chunks that are kept where rows along an axis, and all faster ones, share what they touch.

    The slowest axis first.
    """
    needed = []
    alive = whole = blocks = 1
    for number, one in reversed(list(enumerate(in_order))):
        # Of what blocks share with the row before or behind, a whole row is kept; of the rest,
        # what the faster axes keep, for each row that is in work: where threads are in several, one
        # more, for those that are late.
        in_work = -(-threads // blocks)
        in_work = min(in_work + (in_work > 1), one.count)
        alive = one.shared * whole + (one.block - one.shared) * in_work * alive
        whole *= one.whole
        blocks *= one.count
        needed.append(alive * math.prod(slower.block for slower in in_order[:number]))
    return needed[::-1]


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
    again = _times_touched(read, count, chunk)
    return _Along(count, min(block, whole), min(max(shared, 0), whole), whole, again)


def _times_touched(read: Mapping[int, tuple[int, int]], count: int, chunk: int) -> float:
    """How often a chunk is touched by blocks, on average, as told by intervals of some of them."""
    touched = {i: -(-stop // chunk) - start // chunk for i, (start, stop) in read.items()}
    ends = [touched[i] for i in {0, 1, count - 2, count - 1} if i in touched]
    between = [n for i, n in touched.items() if 2 <= i < count - 2]
    total = sum(ends) + (count - len(ends)) * (sum(between) / len(between) if between else 0)
    return max(total / (-(-read[count - 1][1] // chunk) - read[0][0] // chunk), 1.0)


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
