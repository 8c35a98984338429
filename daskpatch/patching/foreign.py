"""Strategies from elsewhere: checked once, then held as a product of 1-D tilings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

from ..geometry import AxisTile, TableAxis
from .grid import TileGrid
from .tiling import TileStrategy
from .types import Patching, TileSpecs, is_tile_specs

_MOST_SAID = 200
"""Letters of what a strategy's own error says."""


def grids_of(patching: Patching, data_shapes: Sequence[Sequence[int]]) -> tuple[TileGrid, ...]:
    """The grids of a strategy for images of the given `SC(Z)YX` shapes.

    Ours are arithmetic. Any other strategy that returns `TileSpecs` is checked, spec by spec,
    in O(n) time and O(sum of the axes' tiles) memory: within an image its indices are
    contiguous, samples slowest, then C order on a grid whose starts, sizes and crops are
    products of per-axis ones, and the crops partition the image.

    Raises
    ------
    ValueError
        If it does not fit the images; the first offending index is named.
    """
    _check_shapes(patching, data_shapes)
    if isinstance(patching, TileStrategy):
        return patching.grids
    name = type(patching).__name__
    try:
        return tuple(
            _checked_grid(patching, data_idx, tuple(shape))
            for data_idx, shape in enumerate(data_shapes)
        )
    except ValueError as error:
        raise ValueError(
            f"patching is a {name}, which does not tile the images: {error}"
        ) from error
    except Exception as error:
        said = str(error)[:_MOST_SAID]
        raise ValueError(
            f"patching is a {name}, which failed: {type(error).__name__}: {said}"
        ) from error


def _check_shapes(patching: Patching, data_shapes: Sequence[Sequence[int]]) -> None:
    """Compare samples and spatial sizes; channels don't change a tiling."""
    stated: Any = getattr(patching, "data_shapes", None)
    if stated is None:
        return
    tiled = [(shape[0], *shape[2:]) for shape in stated]
    if tiled != [(shape[0], *shape[2:]) for shape in data_shapes]:
        raise ValueError(
            f"patching was made for data_shapes {[tuple(s) for s in stated]}, the source has "
            f"{[tuple(s) for s in data_shapes]} (SC(Z)YX); make it with the source's shapes."
        )


def _checked_grid(patching: Patching, data_idx: int, shape: tuple[int, ...]) -> TileGrid:
    n_samples, spatial = shape[0], shape[2:]
    indices = _contiguous(patching, data_idx)
    axes = tuple(
        TableAxis(tiles)
        for tiles in _tiles_along_axes(patching, indices, (data_idx, n_samples), spatial)
    )
    grid = TileGrid(n_samples, axes)
    if grid.n_tiles != len(indices):
        raise ValueError(
            f"patching gives image {data_idx} {len(indices)} tiles; {n_samples} samples of a grid "
            f"of {grid.counts} tiles need {grid.n_tiles}."
        )
    for index, (sample_idx, position) in zip(indices, _positions(grid), strict=True):
        expected = grid.specs_of(data_idx, sample_idx, grid.tiles(position))
        _check_equal(index, _tile(patching, index), expected)
    return grid


def _contiguous(patching: Patching, data_idx: int) -> range:
    indices = patching.get_patch_indices(data_idx)
    if len(indices) == 0:
        raise ValueError(f"patching gives no tile for image {data_idx}; every image needs tiles.")
    # Contiguous, so that a tile's number follows from its place and no table is kept.
    span = range(int(indices[0]), int(indices[0]) + len(indices))
    for position, index in enumerate(indices):
        if index != span[position]:
            raise ValueError(
                f"patching's indices of image {data_idx} are not contiguous: {index} where "
                f"{span[position]} was needed."
            )
    return span


def _tiles_along_axes(
    patching: Patching, indices: range, image: tuple[int, int], spatial: tuple[int, ...]
) -> list[list[AxisTile]]:
    """Each axis's tiles, read off the first sample by walking along one axis at a time."""
    n_axes = len(spatial)
    per_sample = len(indices) // max(image[1], 1)
    axes: list[list[AxisTile]] = [[] for _ in spatial]
    stride = 1
    for axis in reversed(range(n_axes)):
        for offset in range(0, per_sample, stride):
            index = indices[offset]
            tile = _axis_tile(_tile(patching, index), axis, n_axes, index)
            reached = axes[axis][-1].keep_stop if axes[axis] else 0
            if tile.keep_start != reached:
                break
            _check_inside(index, axis, tile, spatial[axis])
            axes[axis].append(tile)
        last = axes[axis][-1].keep_stop if axes[axis] else 0
        if last != spatial[axis]:
            raise ValueError(
                f"patching's tile {indices[min(len(axes[axis]) * stride, len(indices) - 1)]} "
                f"leaves a gap or an overlap along spatial axis {axis}: the crops before it reach "
                f"voxel {last} of {spatial[axis]}; they must partition the axis, in C order."
            )
        stride *= len(axes[axis])
    return axes


def _tile(patching: Patching, index: int) -> TileSpecs:
    specs = patching.get_patch_spec(index)
    if not is_tile_specs(specs):
        raise ValueError(
            f"patching's spec {index} is no TileSpecs: it has {sorted(specs)}. Prediction needs "
            "crop_coords, crop_size, stitch_coords and total_tiles too; use a tiling strategy."
        )
    return specs


def _axis_tile(specs: TileSpecs, axis: int, n_axes: int, index: int) -> AxisTile:
    if len(specs["coords"]) != n_axes:
        raise ValueError(
            f"patching's tile {index} has {len(specs['coords'])} coordinates; the source has "
            f"{n_axes} spatial axes."
        )
    keep = int(specs["stitch_coords"][axis])
    return AxisTile(
        int(specs["coords"][axis]),
        int(specs["patch_size"][axis]),
        keep,
        keep + int(specs["crop_size"][axis]),
    )


def _check_inside(index: int, axis: int, tile: AxisTile, size: int) -> None:
    inside = tile.start <= tile.keep_start < tile.keep_stop <= tile.start + tile.size
    if not inside or tile.keep_stop > size:
        raise ValueError(
            f"patching's tile {index} is stitched to [{tile.keep_start}, {tile.keep_stop}) along "
            f"spatial axis {axis}, which must be a part of the tile "
            f"[{tile.start}, {tile.start + tile.size}) and of the image [0, {size})."
        )


def _positions(grid: TileGrid) -> Iterator[tuple[int, tuple[int, ...]]]:
    for sample_idx in range(grid.n_samples):
        for position in product(*map(range, grid.counts)):
            yield sample_idx, position


def _check_equal(index: int, specs: TileSpecs, expected: TileSpecs) -> None:
    for name, value in expected.items():
        got: Any = specs[name]  # type: ignore[literal-required]
        plain = int(got) if isinstance(value, int) else tuple(map(int, got))
        if plain != value:
            raise ValueError(
                f"patching's tile {index} has {name} {plain}; on a grid that is a product of "
                f"per-axis tilings, samples slowest, it is {value}."
            )
