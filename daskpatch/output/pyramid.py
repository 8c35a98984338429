"""The levels of an output beside the first: shapes, layouts and blocks, from what was asked for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from ..block import Recipe
from ..geometry import (
    Coordinates,
    Dimensions,
    Factors,
    Region,
    coarser_shape,
    factors_along,
    finer_region,
    halvings,
)
from ..image import coordinates_of
from ..model import OutputArray
from ..values import Downsample, downsampling_bytes
from .layout import BlockBudget, Layout, count_blocks, grown
from .output import Output

_MOST_VOXELS = 2**23
"""Of the level before, which a block reads."""

_BLOCKS_PER_THREAD = 4


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
    """

    number: int
    factors: tuple[Factors, ...]
    outputs: tuple[Dimensions, ...]
    layout: Layout


@dataclass(frozen=True)
class Pyramid:
    """The levels of each image beside the first, and how each array is made coarser.

    `bytes_per_thread` is what a thread holds while it computes the block that takes most,
    `bytes_read` what all blocks read of the levels before.
    """

    images: tuple[tuple[Level, ...], ...]
    methods: tuple[Downsample, ...]
    bytes_per_thread: int = 0
    bytes_read: int = 0

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
    known: Mapping[int, Sequence[Factors]] | None = None,
) -> Pyramid:
    """The levels that are built of an output: none where it is no OME-Zarr image.

    `known` are the factors of some images, by their numbers, whatever was asked for.

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
    chosen = known or {}
    factors = [
        _factors(output, recipe, data_idx) if data_idx not in chosen else chosen[data_idx]
        for data_idx in range(len(recipe.images))
    ]
    images = tuple(
        _levels(outputs, each, layout, recipe, budget)
        for outputs, each in zip(recipe.outputs, factors, strict=True)
    )
    methods = methods_of(output, recipe)
    needed = [_bytes_of(level, recipe) for levels in images for level in levels]
    read = sum(
        math.prod(dims.shape) * dtype.itemsize
        for outputs, levels in zip(recipe.outputs, images, strict=True)
        for finer in [outputs, *(level.outputs for level in levels)][: len(levels)]
        for dims, dtype in zip(finer, recipe.dtypes, strict=True)
    )
    return Pyramid(images, methods, max(needed, default=0), read)


def methods_of(output: Output, recipe: Recipe) -> tuple[Downsample, ...]:
    """How each array is made coarser: labels by their mode, all else by the mean.

    Labels are integers of the model's own (or of `post`) that were not called quantities by a
    `dtype`.
    """
    if output.downsample is not None:
        return (output.downsample,) * len(recipe.stored)
    made: Sequence[OutputArray] = recipe.made or recipe.signature.outputs
    are_quantities = output.dtype is not None
    return tuple(
        "mode" if np.dtype(each.dtype).kind in "biu" and not are_quantities else "mean"
        for each in made
    )


def result_coordinates(recipe: Recipe, data_idx: int, output: int) -> Coordinates:
    """Where the voxels of an array of results lie, by where those of its source do."""
    dims = recipe.outputs[data_idx][output]
    cells: dict[str, Fraction] = {
        axis: 1 / scale
        for axis, scale in zip(dims.spatial_axes, recipe.signature.scale, strict=True)
    }
    return coordinates_of(recipe.images[data_idx]).on(dims.axes).of_cells(cells)


def level_coordinates(finer: Coordinates, factors: Factors, how: Downsample) -> Coordinates:
    """Where the voxels of a level lie, by those of the level before."""
    along = dict(zip(finer.axes, factors, strict=True))
    return finer.every(along) if how == "stride" else finer.of_cells(along)


def _levels(
    outputs: tuple[Dimensions, ...],
    each: Sequence[Factors],
    layout: Layout,
    recipe: Recipe,
    budget: BlockBudget,
) -> tuple[Level, ...]:
    dims, *others = outputs
    levels: list[Level] = []
    for factors in each:
        finer = dims
        dims = replace(dims, shape=coarser_shape(dims.shape, factors))
        along = [factors, *(_counterpart(factors, finer, other) for other in others)]
        others = [
            replace(other, shape=coarser_shape(other.shape, f))
            for other, f in zip(others, along[1:], strict=True)
        ]
        layout = _layout(dims, factors, layout, recipe, budget)
        levels.append(Level(len(levels) + 1, tuple(along), (dims, *others), layout))
    return tuple(levels)


def _factors(output: Output, recipe: Recipe, data_idx: int) -> tuple[Factors, ...]:
    dims = recipe.outputs[data_idx][0]
    n_levels = output.pyramid if isinstance(output.pyramid, int) else None
    if output.pyramid is None:
        return ()
    if output.factors is None:
        return halvings(
            result_coordinates(recipe, data_idx, 0),
            dims.shape,
            n_levels=n_levels,
            keeps_planes=dims.ndim == 2,
        )
    given = factors_along(dims.axes, output.factors)
    if n_levels not in (None, len(given)):
        raise ValueError(
            f"pyramid is {n_levels}, and factors are those of {len(given)} levels; give factors "
            "alone."
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


def _layout(
    dims: Dimensions, factors: Factors, finer: Layout, recipe: Recipe, budget: BlockBudget
) -> Layout:
    """That of the level before, no larger than the level; blocks that are worth a task."""
    chunks = tuple(map(min, finer.chunks, dims.shape))
    shards = finer.shards and tuple(
        min(s, -(-n // c) * c) for s, n, c in zip(finer.shards, dims.shape, chunks, strict=True)
    )
    unit = shards or chunks
    covering = tuple(-(-n // u) * u for n, u in zip(dims.shape, unit, strict=True))
    most = min(_MOST_VOXELS, budget.bytes_per_thread / (4 * recipe.stored_itemsize))
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
    return Layout(chunks, shards, block)


def _bytes_of(level: Level, recipe: Recipe) -> int:
    """What a thread holds for a block: chunks being decoded, voxels read, the result."""
    needed = []
    for dims, factors, dtype in zip(level.outputs, level.factors, recipe.dtypes, strict=True):
        layout = level.layout.counterpart(level.outputs[0], dims)
        block = Region((0,) * len(dims.shape), tuple(map(min, layout.block_shape, dims.shape)))
        finer = tuple(n * f for n, f in zip(dims.shape, factors, strict=True))
        read = finer_region(block, factors, finer)
        written = math.prod(map(max, block.shape, layout.write_unit))
        decoded = read.n_voxels + 2 * math.prod(layout.write_unit)
        needed.append(
            (decoded + 2 * written) * dtype.itemsize
            + downsampling_bytes(read.shape, factors, dtype.itemsize)
        )
    return max(needed)
