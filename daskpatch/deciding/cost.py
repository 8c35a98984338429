"""What a layout makes a run compute and read, counted before it starts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from ..block import Recipe, block_grid, needed_along
from ..geometry import AxisTiling, Dimensions
from ..image import chunks_of

_ENDS, _INSIDE = 16, 64
"""Blocks at each end of an axis, and between them, that are counted one by one."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Voxels and bytes of a whole run.

    `compute_ratio`: voxels of the input computed per voxel of the image. `read_ratio`: decoded
    bytes of the source's chunks that blocks touch, per byte of the image; a cache of decoded
    chunks spares a part.
    """

    bytes_in: int
    bytes_out: int
    compute_ratio: float
    read_ratio: float


def cost_of(recipe: Recipe, block_shape: tuple[int, ...]) -> Cost:
    """The cost of a prediction cut into blocks, in O(axes) for images of any size.

    Blocks and tiles repeat along an axis. Of more than 96 blocks the first and last 16 are
    counted, and one period for those between; where the pattern does not repeat within 64
    blocks, 64 stand for all.
    """
    kept = computed = read = bytes_in = bytes_out = 0.0
    for data_idx, image in enumerate(recipe.images):
        dims = recipe.outputs[data_idx][0]
        channels = image.data_shape[1]
        samples, *spatial = recipe.covered(data_idx)
        voxels = float(samples)
        # Blocks that share out the channels each compute them all.
        tile_voxels = chunk_voxels = float(samples * _blocks_of_channels(dims, block_shape))
        for axis, size in enumerate(spatial):
            computed_along, read_along = _along_axis(recipe, data_idx, axis, block_shape)
            voxels *= size
            tile_voxels *= computed_along
            chunk_voxels *= read_along
        kept += voxels
        computed += tile_voxels
        read += chunk_voxels * channels * image.data_dtype.itemsize
        bytes_in += voxels * channels * image.data_dtype.itemsize
        bytes_out += sum(
            math.prod(array.shape) * dtype.itemsize
            for array, dtype in zip(recipe.outputs[data_idx], recipe.dtypes, strict=True)
        )
    return Cost(int(bytes_in), int(bytes_out), computed / kept, read / bytes_in)


def visiting_order(recipe: Recipe, block_shape: tuple[int, ...]) -> tuple[int, ...]:
    """The axes of the output, the one along which blocks share most of what they read last.

    Blocks that come one after another are neighbours along it, and find the source's chunks
    that they share in the cache.
    """
    dims = recipe.outputs[0][0]
    shared = dict.fromkeys(dims.axes, 0.0) | {"C": float("inf")}
    for axis, name in enumerate(dims.spatial_axes):
        _, read = _along_axis(recipe, 0, axis, block_shape)
        shared[name] = read / recipe.covered(0)[1 + axis]
    return tuple(sorted(range(len(dims.axes)), key=lambda i: shared[dims.axes[i]]))


def _blocks_of_channels(dims: Dimensions, block_shape: tuple[int, ...]) -> int:
    if "C" not in dims.axes:
        return 1
    return -(-dims.n_channels // block_shape[dims.axes.index("C")])


def _along_axis(
    recipe: Recipe, data_idx: int, axis: int, block_shape: tuple[int, ...]
) -> tuple[float, float]:
    """Voxels computed and read along one axis, over all blocks of one row."""
    dims = recipe.outputs[data_idx][0]
    image = recipe.images[data_idx]
    tiling = recipe.grids[data_idx].axes[axis]
    chunks = chunks_of(image)
    chunk = 1 if chunks is None else chunks[axis]
    blocks = block_grid(recipe, data_idx, block_shape)
    place = dims.axes.index(dims.spatial_axes[axis])
    count = blocks.counts[place]
    finest = recipe.signature.finest
    scale = finest.scale[axis]
    computed = read = 0.0
    # After so many blocks the places of tiles and chunks in a block come again.
    block = blocks.cell_shape[place]
    period = math.lcm(block * scale.denominator, tiling.step * scale.numerator, chunk) // block
    for index, weight in _counted(count, period):
        first, end = (n + dims.spatial_origin[axis] for n in blocks.along(place, index))
        start = first * scale.denominator // scale.numerator
        stop = (end - 1) * scale.denominator // scale.numerator + 1
        indices = needed_along(recipe, data_idx, finest, axis, start, stop)
        voxels, extent = _tiles_of(tiling, indices)
        computed += weight * voxels
        read += weight * _decoded(extent, chunk, tiling.size)
    return computed, read


def _counted(count: int, period: int) -> Iterator[tuple[int, float]]:
    """The blocks that are counted, and how many each stands for."""
    between = count - 2 * _ENDS
    if between <= _INSIDE:
        yield from ((index, 1.0) for index in range(count))
        return
    yield from ((index, 1.0) for index in range(_ENDS))
    if period <= _INSIDE:
        yield from ((_ENDS + i, -((i - between) // period)) for i in range(period))
    else:
        yield from ((_ENDS + i, between / _INSIDE) for i in range(_INSIDE))
    yield from ((index, 1.0) for index in range(count - _ENDS, count))


def _tiles_of(tiling: AxisTiling, indices: range) -> tuple[int, tuple[int, int]]:
    """Voxels of some tiles, and the interval they span."""
    first, last = tiling.tile(indices[0]), tiling.tile(indices[-1])
    # Tiles of one image have one size, save for those of strategies from elsewhere.
    if len(indices) > _INSIDE:
        voxels = first.size * len(indices)
    else:
        voxels = sum(tiling.tile(i).size for i in indices)
    return voxels, (first.start, last.start + last.size)


def _decoded(extent: tuple[int, int], chunk: int, size: int) -> int:
    start = max(extent[0], 0) // chunk * chunk
    stop = min(-(-min(extent[1], size) // chunk) * chunk, size)
    return max(stop - start, 0)
