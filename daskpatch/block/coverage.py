"""Which tiles a region needs, and what they read."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

from ..geometry import AxisTile, AxisTiling, Region, counterparts
from ..image import ImageStack, chunks_of
from ..model import Sizing
from ..patching import TileGrid
from .recipe import Recipe

Tile = tuple[AxisTile, ...]


def needed_tiles(
    recipe: Recipe, data_idx: int, parts: Iterable[tuple[Sizing, Region]]
) -> tuple[range, ...]:
    """Per axis, the tiles that (Z)YX regions of arrays are made of, each with its array's sizing.

    They are of one place: all tiles between the first and the last are needed.
    """
    each = [_needed_tiles(recipe, data_idx, sizing, region) for sizing, region in set(parts)]
    return tuple(
        range(min(along.start for along in one), max(along.stop for along in one))
        for one in zip(*each, strict=True)
    )


def _needed_tiles(
    recipe: Recipe, data_idx: int, sizing: Sizing, region: Region
) -> tuple[range, ...]:
    inside = sizing.input_region(region)
    return tuple(
        needed_along(recipe, data_idx, sizing, axis, start, stop)
        for axis, (start, stop) in enumerate(zip(inside.start, inside.stop, strict=True))
    )


def parts_of(recipe: Recipe, data_idx: int, region: Region) -> list[tuple[Sizing, Region]]:
    """A box of the first array as (Z)YX regions of each, with their sizings."""
    outputs = recipe.outputs[data_idx]
    boxes = zip(recipe.sizings, outputs, counterparts(outputs, region), strict=True)
    return [(sizing, dims.spatial_part(box)) for sizing, dims, box in boxes if box.n_voxels]


def count_tiles(recipe: Recipe, data_idx: int) -> int:
    """The tiles that the prediction of an image is made of, samples included."""
    dims, grid = recipe.outputs[data_idx][0], recipe.grids[data_idx]
    if not dims.is_part:
        return grid.n_tiles
    needed = needed_tiles(recipe, data_idx, parts_of(recipe, data_idx, Region.whole(dims.shape)))
    return dims.n_samples * math.prod(map(len, needed))


def needed_along(
    recipe: Recipe, data_idx: int, sizing: Sizing, axis: int, start: int, stop: int
) -> range:
    """The tiles that an interval of the input along one axis is predicted from."""
    tiling = recipe.grids[data_idx].axes[axis]
    if recipe.assembly.blends:
        return reaching(tiling, start, stop, sizing.margin[axis])
    return tiling.touching(start, stop)


def touching(grid: TileGrid, region: Region) -> tuple[range, ...]:
    """Per axis, the tiles that keep voxels of a (Z)YX region of the input."""
    return tuple(
        axis.touching(a, b) for axis, a, b in zip(grid.axes, region.start, region.stop, strict=True)
    )


def reaching(tiling: AxisTiling, start: int, stop: int, margin: tuple[int, int]) -> range:
    """The tiles whose results cover a voxel of an interval, cropped away or not; O(log n).

    >>> from daskpatch.geometry import AlignedAxis
    >>> reaching(AlignedAxis(100, 16, 8), 16, 24, (0, 0))
    range(1, 4)
    """
    before, behind = margin

    def end(index: int) -> int:
        tile = tiling.tile(index)
        return tile.start + tile.size - behind

    def begin(index: int) -> int:
        return tiling.tile(index).start + before

    indices = range(tiling.n_tiles)
    # Tiles of any tiling are in order, so both ends are found by bisection, without a list.
    return range(bisect_right(indices, start, key=end), bisect_left(indices, stop, key=begin))


def bounding_box(grid: TileGrid, ranges: tuple[range, ...]) -> Region:
    """The smallest box that holds these tiles whole; it may exceed the image."""
    extents = [
        _extent([axis.tile(i) for i in indices])
        for axis, indices in zip(grid.axes, ranges, strict=True)
    ]
    return Region(tuple(a for a, _ in extents), tuple(b for _, b in extents))


def _extent(tiles: list[AxisTile]) -> tuple[int, int]:
    return min(t.start for t in tiles), max(t.start + t.size for t in tiles)


def tile_box(tile: Tile) -> Region:
    """The (Z)YX box that a tile is given."""
    return Region(tuple(t.start for t in tile), tuple(t.start + t.size for t in tile))


def batches(tiles: Iterator[Tile], size: int) -> Iterator[list[Tile]]:
    """At most `size` tiles at a time, all of the same shape."""
    group: list[Tile] = []
    for tile in tiles:
        if group and (len(group) == size or tile_sizes(group[0]) != tile_sizes(tile)):
            yield group
            group = []
        group.append(tile)
    if group:
        yield group


def tile_sizes(tile: Tile) -> tuple[int, ...]:
    return tuple(t.size for t in tile)


def bytes_decoded(image: ImageStack, box: Region) -> int:
    """Bytes of the source's chunks that a (Z)YX box touches, for all channels of a sample."""
    channels, spatial = image.data_shape[1], image.data_shape[2:]
    inside = box.clipped_to(tuple(spatial))
    chunks = chunks_of(image)
    if chunks is not None and inside.n_voxels:
        inside = inside.rounded_out(chunks, spatial)
    return inside.n_voxels * channels * image.data_dtype.itemsize
