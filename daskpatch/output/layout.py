"""The output's chunks and shards, and the blocks that own them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import NamedTuple

from ..geometry import Dimensions, Sizes, plain_sizes
from ..support import shown

_CHUNK = {2: 512, 3: 64}
"""Voxels along a spatial axis that a chunk should have."""

_TASK_SECONDS = 2.0
_TASK_VOXELS = (2**19, 2**23)
"""A block is worth a task from the first number of voxels on; the second is always worth one."""

_BLOCKS_PER_THREAD = 2
"""Fewer leave threads idle at the end; a shard spans many tiles, and few are computed twice."""

_EXCESS, _LONG_TASK_SECONDS = 1.15, 120.0
"""Blocks of blended tiles grow until they compute no more than this per voxel of their own, or
would take too long: what is interrupted is lost."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Sizes per axis of the output: what a store writes, and what a task owns."""

    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None
    block_shape: tuple[int, ...]

    @property
    def write_unit(self) -> tuple[int, ...]:
        """The smallest box that is written atomically: a shard, else a chunk."""
        return self.shards or self.chunks

    def counterpart(self, dims: Dimensions, other: Dimensions) -> Layout:
        """The layout of an array that differs in channels and scale: channels are in one chunk.

        Of another scale, what is written at once is no larger than here, and whole in its block.
        """
        ratios = dict(zip(dims.spatial_axes, other.ratios_to(dims), strict=True))
        ends = dict(zip(other.axes, other.shape, strict=True))
        units = zip(self.chunks, self.write_unit, self.block_shape, strict=True)
        converted = {
            axis: _Sizes(*sizes).scaled(ratios.get(axis, Fraction(1)), size, ends.get(axis, 1))
            for axis, size, sizes in zip(dims.axes, dims.shape, units, strict=True)
        }
        converted["C"] = _Sizes(*(other.n_channels,) * 3)
        chunks, shards, blocks = zip(*(converted[axis] for axis in other.axes), strict=True)
        return Layout(chunks, None if self.shards is None else shards, blocks)

    def of_each(self, outputs: Sequence[Dimensions]) -> list[Layout]:
        """Of each of several arrays; this one is the first's."""
        first, *others = outputs
        return [self, *(self.counterpart(first, dims) for dims in others)]


class _Sizes(NamedTuple):
    """Sizes along one axis; without shards these are chunks."""

    chunk: int
    shard: int
    block: int

    def scaled(self, ratio: Fraction, size: int, end: int) -> _Sizes:
        """Those of an array of so many voxels for one of these; both arrays' ends are given."""
        if ratio == 1:
            return self
        if self.block >= size:  # one block, of whatever units
            chunk = min(self.chunk, end)
            return _Sizes(chunk, -(-min(self.shard, end) // chunk) * chunk, end)
        block = int(self.block * ratio)
        shard = _largest_divisor(block, self.shard)
        return _Sizes(_largest_divisor(shard, self.chunk), shard, block)


@dataclass(frozen=True, slots=True)
class BlockBudget:
    """What the choice of a block is measured against.

    `shared` holds the voxels per spatial axis that a block computes beyond its own: of tiles that
    are blended, those that reach into it from its neighbours.
    """

    seconds_per_voxel: float
    bytes_per_voxel: float
    bytes_per_thread: float
    threads: int
    has_cache: bool
    shared: tuple[int, ...] = ()


def choose_layout(
    dims: Dimensions,
    step: tuple[int, ...],
    *,
    chunks: Sizes | None,
    shards: Sizes | None,
    block_shape: Sizes | None,
    budget: BlockBudget,
    whole: tuple[int, ...] = (),
) -> Layout:
    """Chunks, shards and blocks of an output, given or by default.

    A chunk is the multiple or divisor of the crops' step nearest 64 voxels (3-D) or 512 (2-D),
    1 along samples, all of C. A block is the smallest multiple of write unit and step that is
    worth a task and fits memory. Where further arrays of other scales are made, it holds `whole`
    voxels of each.

    Raises
    ------
    ValueError
        If chunks don't divide shards, or write units don't divide the block.
    """
    given_shards = None if shards is None else per_axis("shards", shards, dims)
    if chunks is not None:
        chosen = per_axis("chunks", chunks, dims)
    else:
        chosen = default_chunks(dims, step, given_shards)
    if given_shards is not None:
        given_shards = _whole_chunks(given_shards, chosen, dims)
    unit = given_shards or chosen
    if whole:
        # One that covers its axis is all of every array.
        along = zip(unit, whole, dims.shape, strict=True)
        unit = tuple(u if u >= n else math.lcm(u, w) for u, w, n in along)
    if block_shape is not None:
        block = given_block(block_shape, unit, dims)
    else:
        block = choose_block(dims, unit, step, budget, is_sharded=given_shards is not None)
    return Layout(chosen, given_shards, block)


def per_axis(name: str, value: Sizes, dims: Dimensions) -> tuple[int, ...]:
    """One size per axis of the output, no larger than the axis; one number serves for all."""
    plain = plain_sizes(value)
    if plain is None:
        raise ValueError(
            f"{name} is {shown(value)}; needed is an integer, or one per axis of the output."
        )
    sizes = (plain,) * len(dims.shape) if isinstance(plain, int) else plain
    if len(sizes) != len(dims.shape):
        raise ValueError(
            f"{name} is {sizes}, {len(sizes)} numbers; the output has {len(dims.shape)} axes "
            f"({dims.axes}, shape {dims.shape}). Give one number per axis, or one for all."
        )
    if min(sizes) < 1:
        raise ValueError(f"{name} is {value}; every size must be at least 1.")
    return tuple(map(min, sizes, dims.shape))


def default_chunks(
    dims: Dimensions, step: tuple[int, ...], shards: tuple[int, ...] | None
) -> tuple[int, ...]:
    """Chunks that fit the crops' step, or divide the shards that were asked for."""
    goal = _CHUNK[dims.ndim]
    if shards is not None:
        return tuple(
            nearest(_divisors(shard, goal), goal) if axis in "ZYX" else shard
            for axis, shard in zip(dims.axes, shards, strict=True)
        )
    spatial = tuple(nearest(_fitting(s, goal), goal) for s in step)
    sizes = dims.spread(1, dims.n_channels, spatial)
    return tuple(min(c, n) for c, n in zip(sizes, dims.shape, strict=True))


def nearest(candidates: Sequence[int], goal: int) -> int:
    """The candidate nearest to a goal; of two, the larger.

    >>> nearest([32, 96], 64)
    96
    """
    return min(candidates, key=lambda c: (abs(c - goal), -c))


def _fitting(step: int, goal: int) -> list[int]:
    """Divisors of a step, and its multiples around a goal."""
    below = goal // step * step
    return [*_divisors(step, goal), *(m for m in (below, below + step) if m)]


def _largest_divisor(number: int, most: int) -> int:
    """The largest divisor of a number up to another one."""
    return max(d for d in range(1, min(number, most) + 1) if number % d == 0)


def _divisors(number: int, goal: int) -> list[int]:
    """Divisors up to twice a goal: any larger one is further from it than 1 is."""
    return [d for d in range(1, min(number, 2 * goal) + 1) if number % d == 0]


def _whole_chunks(
    shards: tuple[int, ...], chunks: tuple[int, ...], dims: Dimensions
) -> tuple[int, ...]:
    """Shards that hold whole chunks; one that covers its axis is rounded up to that."""
    fitting = tuple(-(-s // c) * c for s, c in zip(shards, chunks, strict=True))
    covers = (s == n for s, n in zip(shards, dims.shape, strict=True))
    if any(s != f and not c for s, f, c in zip(shards, fitting, covers, strict=True)):
        raise ValueError(
            f"shards {shards} must be whole chunks {chunks}; the next that fit are {fitting}."
        )
    return fitting


def given_block(value: Sizes, unit: tuple[int, ...], dims: Dimensions) -> tuple[int, ...]:
    """A block shape that was asked for, if every write unit belongs to one block.

    Raises
    ------
    ValueError
        If a write unit would be shared by two blocks.
    """
    sizes = per_axis("block_shape", value, dims)
    fitting = tuple(-(-b // u) * u for b, u in zip(sizes, unit, strict=True))
    covers = [b >= n for b, n in zip(sizes, dims.shape, strict=True)]
    if any(b != f and not c for b, f, c in zip(sizes, fitting, covers, strict=True)):
        raise ValueError(
            f"block_shape {sizes} must be whole write units {unit} (shards, else chunks, of all "
            "arrays): two tasks would write into one unit and lose voxels. The next that fits is "
            f"{fitting}."
        )
    return fitting


def choose_block(
    dims: Dimensions,
    unit: tuple[int, ...],
    step: tuple[int, ...],
    budget: BlockBudget,
    *,
    is_sharded: bool = False,
) -> tuple[int, ...]:
    """The smallest box of whole write units and steps that is worth a task and fits memory.

    Of one shard, where whole steps would leave threads without work.
    """
    steps = dims.spread(1, dims.n_channels, step)
    covering = tuple(-(-n // u) * u for n, u in zip(dims.shape, unit, strict=True))
    most = budget.bytes_per_thread / budget.bytes_per_voxel
    # The model gives all channels at once: a block takes them all.
    block = tuple(
        c if axis == "C" else min(math.lcm(u, s), c) if axis in dims.spatial_axes else u
        for axis, u, s, c in zip(dims.axes, unit, steps, covering, strict=True)
    )
    if is_sharded and count_blocks(block, dims) < _BLOCKS_PER_THREAD * budget.threads:
        sizes = zip(dims.axes, unit, covering, strict=True)
        block = tuple(c if axis == "C" else u for axis, u, c in sizes)
    # Steps and units without common divisors: their multiple may be larger than the volume.
    if math.prod(block) > max(most, _TASK_VOXELS[1]):
        block = unit  # steps that don't fit: a block computes the tiles at its edges once more
    worth = _worth_a_task(dims, budget)
    while True:
        larger = grown(block, covering, dims)
        if larger is None or math.prod(larger) > most:
            return block
        if math.prod(block) >= worth and not _gains(block, larger, dims, budget):
            return block
        block = larger


def larger_blocks(layout: Layout, dims: Dimensions, budget: BlockBudget) -> Iterator[Layout]:
    """The same with ever larger blocks, as long as threads have work, and memory to spare."""
    covering = tuple(-(-n // u) * u for n, u in zip(dims.shape, layout.write_unit, strict=True))
    # Half of what a block may take: the voxels of levels come beside it.
    most = min(
        budget.bytes_per_thread / budget.bytes_per_voxel / 2,
        _LONG_TASK_SECONDS / max(budget.seconds_per_voxel, 1e-12),
    )
    block = grown(layout.block_shape, covering, dims)
    while (
        block is not None
        and math.prod(block) <= most
        and count_blocks(block, dims) >= _BLOCKS_PER_THREAD * budget.threads
    ):
        yield replace(layout, block_shape=block)
        block = grown(block, covering, dims)


def count_blocks(block: tuple[int, ...], dims: Dimensions) -> int:
    return math.prod(-(-n // b) for n, b in zip(dims.shape, block, strict=True))


def _gains(
    block: tuple[int, ...], larger: tuple[int, ...], dims: Dimensions, budget: BlockBudget
) -> bool:
    """Whether a larger block spares much of what is computed twice, and threads stay busy."""
    if not any(budget.shared):
        return False
    most = min(
        _LONG_TASK_SECONDS / budget.seconds_per_voxel, math.prod(dims.shape) / budget.threads
    )
    return _excess(block, dims, budget.shared) > _EXCESS and math.prod(larger) <= most


def _excess(block: tuple[int, ...], dims: Dimensions, shared: tuple[int, ...]) -> float:
    """Voxels that a block needs per voxel that it owns."""
    sizes = zip(dims.spatial_entries(block), dims.spatial_shape, shared, strict=True)
    return math.prod(1 + o / b if b < n else 1.0 for b, n, o in sizes)


def _worth_a_task(dims: Dimensions, budget: BlockBudget) -> float:
    """Voxels (channels included) from which on a block needs no company."""
    least, enough = _TASK_VOXELS
    if not budget.has_cache:
        enough *= 2  # every block decodes its halo's chunks anew: larger ones read less
    timed = _TASK_SECONDS / max(budget.seconds_per_voxel, 1e-12)
    share = math.prod(dims.shape) / (4 * budget.threads)  # something to do for every thread
    return min(max(timed, least), enough, share)


def grown(
    block: tuple[int, ...], covering: tuple[int, ...], dims: Dimensions
) -> tuple[int, ...] | None:
    """Twice the block along its shortest spatial axis, then along samples; None for all of it."""
    growing = [i for i in range(len(block)) if block[i] < covering[i]]
    spatial = [i for i in growing if dims.axes[i] in dims.spatial_axes]
    if not growing:
        return None
    axis = min(spatial or growing, key=lambda i: (block[i], -i))
    return (*block[:axis], min(2 * block[axis], covering[axis]), *block[axis + 1 :])
