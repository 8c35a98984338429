"""The layout of an output and its levels: a block that holds whole chunks of one makes it, too."""

from __future__ import annotations

import math
from dataclasses import replace

from ..block import Recipe
from ..geometry import Dimensions, whole_voxels
from ..output import (
    BlockBudget,
    KnownLevels,
    Layout,
    Output,
    Pyramid,
    Target,
    check_fits,
    choose_layout,
    larger_blocks,
    pyramid_of,
)
from .agreement import check_channels

_LITTLE = 0.01
"""Of an output that its levels may read again: larger blocks for less are not worth the memory."""


def layout_with_levels(
    output: Output,
    recipe: Recipe,
    target: Target | None,
    budget: BlockBudget,
    *,
    is_ome: bool,
    known: KnownLevels | None,
) -> tuple[Layout, Pyramid]:
    """Chunks, shards and blocks, given or by default, and the levels that are made of them.

    Blocks that are not given grow until they make the levels that would read much again.
    """

    def with_levels(layout: Layout) -> tuple[Layout, Pyramid]:
        around = () if target is None else target.n_levels
        return layout, pyramid_of(
            output, recipe, layout, budget, is_ome=is_ome, around=around, known=known
        )

    chosen = with_levels(_layout(recipe, target, output, budget))
    if output.block_shape is not None:
        return chosen
    little = _LITTLE * _bytes_of(recipe)
    for larger in larger_blocks(chosen[0], _largest(recipe.primary), budget):
        if chosen[1].bytes_read <= little:
            break
        other = with_levels(larger)
        if other[1].bytes_read < chosen[1].bytes_read:
            chosen = other
    return chosen


def _bytes_of(recipe: Recipe) -> int:
    """Of all arrays of all images."""
    return sum(
        math.prod(dims.shape) * dtype.itemsize
        for outputs in recipe.outputs
        for dims, dtype in zip(outputs, recipe.dtypes, strict=True)
    )


def _layout(recipe: Recipe, target: Target | None, output: Output, budget: BlockBudget) -> Layout:
    dims = _largest(recipe.primary)
    chunks, shards = output.chunks, output.shards
    if target is not None and target.array is not None:
        if chunks is not None or shards is not None:
            raise ValueError(
                f"chunks and shards are those of the output array {target.name}; leave them out."
            )
        check_fits(target.array, dims, target.name)
        chunks, shards = target.array.chunks, target.array.shards
    layout = choose_layout(
        dims,
        _steps(recipe),
        chunks=chunks,
        shards=shards,
        block_shape=output.block_shape,
        budget=budget,
        whole=whole_voxels(recipe.outputs[0]),
    )
    if len(recipe.stored) > 1 and "C" in dims.axes:
        check_channels(dims, layout)
    return layout


def _largest(outputs: tuple[Dimensions, ...]) -> Dimensions:
    """Axes of a series with the largest size along each: one layout serves all images."""
    shape = tuple(map(max, zip(*(dims.shape for dims in outputs), strict=True)))
    return replace(outputs[0], shape=shape)


def _steps(recipe: Recipe) -> tuple[int, ...]:
    """Distance of neighbouring crops in the output, per spatial axis."""
    steps = (recipe.signature.finest.output_shape(grid.step) for grid in recipe.grids)
    return tuple(map(max, zip(*steps, strict=True)))
