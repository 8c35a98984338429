"""The levels of an output beside the first: shapes, layouts and blocks, from what was asked for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from ..block import Recipe, block_grid
from ..geometry import (
    Coordinates,
    Dimensions,
    Factors,
    Region,
    RegularGrid,
    coarser_shape,
    factors_along,
    finer_region,
    halvings,
    whole_voxels,
)
from ..image import coordinates_of
from ..model import OutputArray
from ..support import counted
from ..values import Downsample, downsampling_bytes
from .layout import BlockBudget, Layout, count_blocks, grown
from .output import DTypes, Output

_MOST_VOXELS = 2**23
"""Of the level before, which a block reads."""

_BLOCKS_PER_THREAD = 4

_LEAST_CHUNK = {2: 64, 3: 16}
"""Voxels along an axis of space below which no chunk is halved."""


@dataclass(frozen=True)
class Level:
    """One level of an image, computed from the one before.

    Attributes
    ----------
    number
        From 1 on; 0 is full resolution.
    factors
        Voxels of the level before per voxel: of each array, along its axes.
    outputs
        Dimensions of each array.
    layout
        Of the first array; of the others as of a prediction.
    grid
        The blocks of the first array.
    is_fused
        Whether a block of the prediction makes the block of the same index.
    """

    number: int
    factors: tuple[Factors, ...]
    outputs: tuple[Dimensions, ...]
    layout: Layout
    grid: RegularGrid
    is_fused: bool


@dataclass(frozen=True)
class KnownLevels:
    """What a run began with: factors of each level of some images, by their numbers, and methods.

    Methods are one per array, or none.
    """

    factors: Mapping[int, Sequence[Factors]]
    methods: tuple[Downsample, ...]


@dataclass(frozen=True)
class Pyramid:
    """The levels of each image beside the first, and how each array is made coarser.

    `bytes_per_thread` is what a thread holds while it computes the block that takes most,
    `bytes_read` what all blocks read of the levels before; `bytes_fused` what a thread holds beside
    a block of the prediction to make those of levels of it.
    """

    images: tuple[tuple[Level, ...], ...]
    methods: tuple[Downsample, ...]
    bytes_per_thread: int = 0
    bytes_read: int = 0
    bytes_fused: int = 0

    @property
    def n_levels(self) -> int:
        """Of the image that has most, beside the first."""
        return max(map(len, self.images), default=0)


def pyramid_of(
    output: Output,
    recipe: Recipe,
    layout: Layout,
    budget: BlockBudget,
    *,
    is_ome: bool,
    around: Sequence[int | None] = (),
    known: KnownLevels | None = None,
) -> Pyramid:
    """The levels that are built of an output: none where it is no OME-Zarr image.

    `around` says how many the images have that get label images, which by default have as many;
    `known` are those that a run began with, whatever would be chosen now.

    Raises
    ------
    ValueError
        If levels are asked for that cannot be, or of a bare array.
    """
    if not is_ome:
        asked = {"pyramid": output.pyramid, "factors": output.factors}
        named = [word for word, value in asked.items() if value not in ("auto", None)]
        if named:
            raise ValueError(
                f"{named[0]} is {asked[named[0]]!r}, and the output is a bare array, which has no "
                "place for further levels; give ome=True, or leave it out."
            )
        return Pyramid(((),) * len(recipe.images), ())
    chosen = {} if known is None else known.factors
    factors = [
        chosen[data_idx] if data_idx in chosen else _factors(output, recipe, data_idx, count)
        for data_idx, count in enumerate(around or [None] * len(recipe.images))
    ]
    images = tuple(
        _levels(data_idx, each, layout, recipe, budget, are_ours=output.chunks is None)
        for data_idx, each in enumerate(factors)
    )
    methods = methods_of(output, recipe) if known is None or not known.methods else known.methods
    made_of = [
        (level, finer)
        for outputs, levels in zip(recipe.outputs, images, strict=True)
        for level, finer in zip(levels, [outputs, *(each.outputs for each in levels)], strict=False)
    ]
    separate = [(level, finer) for level, finer in made_of if not level.is_fused]
    dtypes = recipe.dtypes
    needed = [_bytes_of(level, finer, dtypes, methods) for level, finer in separate]
    # Of the first of them alone: the voxels that the next is made of are those of its result.
    fused = [
        _bytes_of(level, finer, dtypes, methods)
        for level, finer in made_of
        if level.is_fused and level.number == 1
    ]
    read = sum(
        math.prod(dims.shape) * dtype.itemsize
        for _, finer in separate
        for dims, dtype in zip(finer, recipe.dtypes, strict=True)
    )
    return Pyramid(images, methods, max(needed, default=0), read, max(fused, default=0))


def pyramid_over(
    dims: Dimensions,
    dtype: np.dtype[Any],
    factors: Sequence[Factors],
    layout: Layout,
    budget: BlockBudget,
    *,
    method: Downsample,
    first: int,
) -> Pyramid:
    """The levels over an array that is there, the first of which has a number.

    Chunks and shards are those of `layout`, where levels are not smaller.
    """
    levels: list[Level] = []
    needed = [0]
    for number, along in enumerate(factors, first):
        finer = dims
        dims = finer.coarser(coarser_shape(finer.shape, along))
        layout = _unblocked(dims, layout)
        whole = (1,) * len(dims.axes)
        grid = _separate(dims, along, layout, dtype.itemsize, budget, whole)
        layout = replace(layout, block_shape=grid.cell_shape)
        levels.append(Level(number, (along,), (dims,), layout, grid, is_fused=False))
        needed.append(_bytes_of(levels[-1], (finer,), (dtype,), (method,)))
    return Pyramid((tuple(levels),), (method,), max(needed))


def methods_of(output: Output, recipe: Recipe) -> tuple[Downsample, ...]:
    """How each array is made coarser: labels by their mode, all else by the mean.

    Labels are those of a label image, and integers of the model's own (or of `post`) that were not
    called quantities by a `dtype`.
    """
    asked = output.downsample or (None if output.label_image is None else "mode")
    if asked is not None:
        return (asked,) * len(recipe.stored)
    made: Sequence[OutputArray] = recipe.made or recipe.signature.outputs
    return tuple("mode" if _are_labels(each, output.dtype) else "mean" for each in made)


def _are_labels(made: OutputArray, dtype: DTypes | None) -> bool:
    asked = dtype.get(made.name) if isinstance(dtype, Mapping) else dtype
    return np.dtype(made.dtype).kind in "biu" and asked is None


def result_coordinates(recipe: Recipe, data_idx: int, output: int) -> Coordinates:
    """Where the voxels of an array of results lie, by where those of its source do."""
    dims = recipe.outputs[data_idx][output]
    cells: dict[str, Fraction] = {
        axis: 1 / scale
        for axis, scale in zip(dims.spatial_axes, recipe.sizings[output].scale, strict=True)
    }
    places = coordinates_of(recipe.images[data_idx]).on(dims.axes).of_cells(cells)
    return places.from_voxel(dict(zip(dims.axes, dims.origin, strict=False)))


def level_coordinates(finer: Coordinates, factors: Factors, how: Downsample) -> Coordinates:
    """Where the voxels of a level lie, by those of the level before."""
    along = dict(zip(finer.axes, factors, strict=True))
    return finer.every(along) if how == "stride" else finer.of_cells(along)


def _levels(
    data_idx: int,
    each: Sequence[Factors],
    layout: Layout,
    recipe: Recipe,
    budget: BlockBudget,
    *,
    are_ours: bool,
) -> tuple[Level, ...]:
    dims, *others = recipe.outputs[data_idx]
    grid: RegularGrid | None = block_grid(recipe, data_idx, layout.block_shape)
    whole = whole_voxels((dims, *others))
    levels: list[Level] = []
    for factors in each:
        finer = dims
        dims = dims.coarser(coarser_shape(dims.shape, factors))
        along = [factors, *(_counterpart(factors, finer, other) for other in others)]
        others = [
            other.coarser(coarser_shape(other.shape, f))
            for other, f in zip(others, along[1:], strict=True)
        ]
        cells = None if grid is None else _fused_cells(grid, factors, dims.shape, whole)
        if cells is not None and are_ours:
            layout = _halved(layout, cells, dims)
        layout = _unblocked(dims, layout)
        if grid is not None:
            grid = _fused_grid(grid, cells, layout.write_unit, dims.shape)
        is_fused = grid is not None
        blocks = grid or _separate(dims, factors, layout, recipe.stored_itemsize, budget, whole)
        layout = replace(layout, block_shape=blocks.cell_shape)
        outputs = (dims, *others)
        levels.append(Level(len(levels) + 1, tuple(along), outputs, layout, blocks, is_fused))
    return tuple(levels)


def _fused_cells(
    finer: RegularGrid, factors: Factors, shape: tuple[int, ...], whole: tuple[int, ...]
) -> tuple[int, ...] | None:
    """What the cells of a grid become in the next level; None where they hold no whole voxels."""
    per_axis = zip(finer.cell_shape, finer.counts, factors, shape, whole, strict=True)
    cells = tuple(
        n if count == 1 else c // f if c % (f * w) == 0 else 0 for c, count, f, n, w in per_axis
    )
    return cells if all(cells) else None


def _fused_grid(
    finer: RegularGrid, cells: tuple[int, ...] | None, unit: tuple[int, ...], shape: tuple[int, ...]
) -> RegularGrid | None:
    """The grid of a level whose blocks are made by those of the level before, index by index.

    None where a write unit would belong to two of them.
    """
    if cells is None:
        return None
    grid = RegularGrid(shape, cells, finer.merge)
    are_whole = all(
        count == 1 or cell % u == 0
        for cell, u, count in zip(cells, unit, finer.counts, strict=True)
    )
    return grid if are_whole and grid.counts == finer.counts else None


def _halved(layout: Layout, cells: tuple[int, ...], dims: Dimensions) -> Layout:
    """With chunks along axes of space halved until blocks hold whole ones; not below the least."""
    if layout.shards is not None:
        return layout

    def halved(chunk: int, cell: int) -> int:
        smaller = chunk
        while cell % smaller and smaller % 2 == 0 and smaller // 2 >= _LEAST_CHUNK[dims.ndim]:
            smaller //= 2
        return chunk if cell % smaller else smaller

    along = zip(dims.axes, layout.chunks, cells, strict=True)
    return replace(
        layout,
        chunks=tuple(halved(c, n) if axis in dims.spatial_axes else c for axis, c, n in along),
    )


def _factors(
    output: Output, recipe: Recipe, data_idx: int, around: int | None
) -> tuple[Factors, ...]:
    dims = recipe.outputs[data_idx][0]
    n_levels = output.pyramid if isinstance(output.pyramid, int) else None
    if output.pyramid is None:
        return ()
    if output.factors is None:
        return halvings(
            result_coordinates(recipe, data_idx, 0),
            dims.shape,
            # A label image is to have as many levels as the image that it is of.
            n_levels=around if n_levels is None else n_levels,
            keeps_planes=dims.ndim == 2,
            is_strict=n_levels is not None,
        )
    given = factors_along(dims.axes, dims.shape, output.factors)
    if n_levels not in (None, len(given)):
        raise ValueError(
            f"pyramid is {n_levels}, and factors are those of {counted(len(given), 'level')}; give "
            "factors alone."
        )
    if len(recipe.stored) > 1 and "C" in dims.axes and any(_of_channels(dims, given)):
        raise ValueError(
            f"factors {output.factors!r} join channels, of which each output has its own number; "
            "give factors of space alone."
        )
    return given


def _of_channels(dims: Dimensions, factors: Sequence[Factors]) -> list[bool]:
    return [each[dims.axes.index("C")] > 1 for each in factors]


def _counterpart(factors: Factors, dims: Dimensions, other: Dimensions) -> Factors:
    by_axis = dict(zip(dims.axes, factors, strict=True))
    return tuple(by_axis.get(axis, 1) for axis in other.axes)


def _unblocked(dims: Dimensions, finer: Layout) -> Layout:
    """Chunks and shards of the level before, no larger than the level."""
    chunks = tuple(map(min, finer.chunks, dims.shape))
    shards = finer.shards and tuple(
        min(s, -(-n // c) * c) for s, n, c in zip(finer.shards, dims.shape, chunks, strict=True)
    )
    return Layout(chunks, shards, shards or chunks)


def _separate(
    dims: Dimensions,
    factors: Factors,
    layout: Layout,
    itemsize: int,
    budget: BlockBudget,
    whole: tuple[int, ...],
) -> RegularGrid:
    """Blocks of whole write units, and voxels of all arrays, that are worth a task of their own."""
    unit = tuple(map(math.lcm, layout.write_unit, whole))
    covering = tuple(-(-n // u) * u for n, u in zip(dims.shape, unit, strict=True))
    most = min(_MOST_VOXELS, budget.bytes_per_thread / (4 * itemsize))
    block = tuple(
        c if axis == "C" else u for axis, u, c in zip(dims.axes, unit, covering, strict=True)
    )
    larger = grown(block, covering, dims)
    while (
        larger is not None
        and math.prod(larger) * math.prod(factors) <= most
        and count_blocks(larger, dims) >= _BLOCKS_PER_THREAD * budget.threads
    ):
        block, larger = larger, grown(larger, covering, dims)
    return RegularGrid.clipped(dims.shape, block)


def _bytes_of(
    level: Level,
    finer: Sequence[Dimensions],
    dtypes: Sequence[np.dtype[Any]],
    methods: tuple[Downsample, ...],
) -> int:
    """What a thread holds for a block: the result, and where it is read, what it is made of."""
    needed: list[int] = []
    layouts = level.layout.of_each(level.outputs)
    for dims, before, layout, factors, dtype, how in zip(
        level.outputs, finer, layouts, level.factors, dtypes, methods, strict=True
    ):
        block = Region((0,) * len(dims.shape), tuple(map(min, layout.block_shape, dims.shape)))
        read = finer_region(block, factors, before.shape)
        written = math.prod(map(max, block.shape, layout.write_unit))
        decoded = 0 if level.is_fused else read.n_voxels + 2 * math.prod(layout.write_unit)
        needed.append(
            (decoded + 2 * written) * dtype.itemsize
            + downsampling_bytes(read.shape, factors, dtype.itemsize, how)
        )
    return max(needed)
