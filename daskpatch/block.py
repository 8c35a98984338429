"""From a region of the prediction to its voxels: read, tile, batch, model, crop, stitch.

```
region ──▶ the tiles that touch it ──▶ one read of their bounding box (padded)
       ──▶ batches of tiles ──▶ model ──▶ each crop's part of the region, into place
```
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .axis import AxisTile
from .buffers import BufferPool
from .conversion import convert, has_nan, is_number, store_values
from .dimensions import Dimensions
from .image import ImageStack, chunks_of
from .model import LoadedModel, ModelError, Signature, load
from .model.errors import describe_tile
from .model.handles import SharedModel
from .patching import TileGrid
from .region import Region, RegularGrid

Tile = tuple[AxisTile, ...]


@dataclass(frozen=True)
class Prediction:
    """A series of images and the model that predicts them: what every region needs."""

    images: tuple[ImageStack, ...]
    grids: tuple[TileGrid, ...]
    model: SharedModel
    signature: Signature
    outputs: tuple[Dimensions, ...]
    input_dtype: np.dtype[Any]
    dtype: np.dtype[Any]
    batch_size: int


def block_grids(prediction: Prediction, block_shape: tuple[int, ...]) -> tuple[RegularGrid, ...]:
    """The blocks of every image of a series."""
    return tuple(
        block_grid(prediction, data_idx, block_shape) for data_idx in range(len(prediction.images))
    )


def block_grid(prediction: Prediction, data_idx: int, block_shape: tuple[int, ...]) -> RegularGrid:
    """The blocks of one image.

    A last block that only the end of the last tile touches joins the one before: its voxels
    come out of a tile that is computed there anyway.
    """
    dims, grid = prediction.outputs[data_idx], prediction.grids[data_idx]
    last = _last_start(prediction.signature, grid)
    starts = dims.spread(-1, -1, last)
    merge = tuple(
        0 <= start < size // block * block
        for start, size, block in zip(starts, dims.shape, block_shape, strict=True)
    )
    return RegularGrid(dims.shape, block_shape, merge)


def _last_start(signature: Signature, grid: TileGrid) -> tuple[int, ...]:
    """Where the crop of the last tile lands along each spatial axis."""
    tile = tuple(axis.tile(axis.n_tiles - 1) for axis in grid.axes)
    return signature.kept(tile).start


@dataclass
class Tally:
    """What a region cost."""

    tiles: int = 0
    nan_tiles: int = 0
    bytes_read: int = 0


def predict_region(prediction: Prediction, data_idx: int, region: Region) -> NDArray[Any]:
    """The prediction of one box of one image, in the stored dtype and order of axes.

    Raises
    ------
    ModelError
        If the model fails on a tile, or gives another shape or a dtype that cannot be stored.
    """
    values = np.empty(region.shape, prediction.dtype)
    fill_region(prediction, data_idx, region, values, Tally(), BufferPool())
    return values


def fill_region(
    prediction: Prediction,
    data_idx: int,
    region: Region,
    values: NDArray[Any],
    tally: Tally,
    buffers: BufferPool,
) -> None:
    """`predict_region` into an array that is there already."""
    model = load(prediction.model)
    dims = prediction.outputs[data_idx]
    by_sample = dims.canonical(values)
    spatial, channels = dims.spatial_part(region), dims.channel_part(region)
    for sample_idx, position in dims.samples_of(region):
        sample = _Sample(prediction, model, data_idx, sample_idx, tally, buffers)
        sample.predict(spatial, channels, by_sample[position])


@dataclass(frozen=True)
class _Sample:
    """One sample of one image, while a region of it is predicted."""

    prediction: Prediction
    model: LoadedModel
    data_idx: int
    sample_idx: int
    tally: Tally
    buffers: BufferPool

    def predict(self, region: Region, channels: slice, target: NDArray[Any]) -> None:
        """Predict a (Z)YX region into `target`, an array of `C(Z)YX`."""
        signature = self.prediction.signature
        grid = self.prediction.grids[self.data_idx]
        ranges = touching(grid, signature.input_region(region))
        box = span(grid, ranges)
        patch = self._read(box)
        tiles = (tuple(grid.tiles(position)) for position in product(*ranges))
        for group in _grouped(tiles, self.prediction.batch_size):
            shape = (len(group), len(patch), *_sizes(group[0]))
            with self.buffers.lend(shape, self.prediction.input_dtype) as batch:
                cuts = [cut(patch, box, tile) for tile in group]
                for values, given in zip(batch, cuts, strict=True):
                    convert(values, given)
                results = self._call(batch, group)
                for tile, result, given in zip(group, results, cuts, strict=True):
                    self._stitch(tile, result[channels], given, (region, target))
            self.tally.tiles += len(group)

    def _read(self, box: Region) -> NDArray[Any]:
        image = self.prediction.images[self.data_idx]
        self.tally.bytes_read += bytes_decoded(image, box)
        return image.extract_patch(self.sample_idx, None, box.start, box.shape)

    def _call(self, batch: NDArray[Any], tiles: list[Tile]) -> NDArray[Any]:
        try:
            results = self.model(batch)
        except Exception as error:
            specs = self._specs(tiles[0])
            also = f" and {len(tiles) - 1} more in its batch" if len(tiles) > 1 else ""
            raise ModelError(
                f"The model failed on the tile at {describe_tile(specs)}{also}, given "
                f"{batch.dtype} {batch.shape}: {type(error).__name__}: {error}",
                specs,
                error,
            ) from error
        self._check(batch, results, tiles)
        return results

    def _check(self, batch: NDArray[Any], results: NDArray[Any], tiles: list[Tile]) -> None:
        signature = self.prediction.signature
        spatial = signature.tile_shape(batch.shape[2:])
        needed = (batch.shape[0], signature.channels, *spatial)
        check_result(results, batch.shape, needed, self._specs(tiles[0]))
        if results.dtype != signature.dtype:
            specs = self._specs(tiles[0])
            raise ModelError(
                f"The model gave {results.dtype} for the tile at {describe_tile(specs)}; on the "
                f"trial tile it gave {signature.dtype}. It must always give the same dtype.",
                specs,
            )

    def _stitch(
        self,
        tile: Tile,
        result: NDArray[Any],
        given: NDArray[Any],
        destination: tuple[Region, NDArray[Any]],
    ) -> None:
        """Copy what a tile keeps of the region into the target."""
        region, target = destination
        signature = self.prediction.signature
        kept, covered = signature.kept(tile), signature.given(tile)
        start = tuple(map(max, kept.start, region.start))
        stop = tuple(map(min, kept.stop, region.stop))
        part = Region(start, stop)
        crop = result[(slice(None), *part.slices_within(covered))]
        found = store_values(target[(slice(None), *part.slices_within(region))], crop)
        if found and (target.dtype.kind != "f" or not has_nan(given)):
            self.tally.nan_tiles += 1

    def _specs(self, tile: Tile) -> dict[str, Any]:
        grid = self.prediction.grids[self.data_idx]
        return dict(grid.specs_of(self.data_idx, self.sample_idx, tile))


def cut(patch: NDArray[Any], box: Region, tile: Tile) -> NDArray[Any]:
    """A tile's view of the `C(Z)YX` patch that holds `box`."""
    region = Region(tuple(t.start for t in tile), tuple(t.start + t.size for t in tile))
    return patch[(slice(None), *region.slices_within(box))]


def _grouped(tiles: Iterator[Tile], size: int) -> Iterator[list[Tile]]:
    """At most `size` tiles at a time, all of the same shape."""
    group: list[Tile] = []
    for tile in tiles:
        if group and (len(group) == size or _sizes(group[0]) != _sizes(tile)):
            yield group
            group = []
        group.append(tile)
    if group:
        yield group


def _sizes(tile: Tile) -> tuple[int, ...]:
    return tuple(t.size for t in tile)


def touching(grid: TileGrid, region: Region) -> tuple[range, ...]:
    """Per axis, the tiles that keep voxels of a (Z)YX region."""
    return tuple(
        axis.touching(a, b) for axis, a, b in zip(grid.axes, region.start, region.stop, strict=True)
    )


def span(grid: TileGrid, ranges: tuple[range, ...]) -> Region:
    """The smallest box that holds these tiles whole; it may exceed the image."""
    extents = [
        _extent([axis.tile(i) for i in indices])
        for axis, indices in zip(grid.axes, ranges, strict=True)
    ]
    return Region(tuple(a for a, _ in extents), tuple(b for _, b in extents))


def _extent(tiles: list[AxisTile]) -> tuple[int, int]:
    return min(t.start for t in tiles), max(t.start + t.size for t in tiles)


def bytes_decoded(image: ImageStack, box: Region) -> int:
    """Bytes of the source's chunks that a (Z)YX box touches, for all channels of a sample."""
    channels, spatial = image.data_shape[1], image.data_shape[2:]
    start = tuple(min(max(a, 0), n) for a, n in zip(box.start, spatial, strict=True))
    stop = tuple(max(min(b, n), a) for b, n, a in zip(box.stop, spatial, start, strict=True))
    inside = Region(start, stop)
    chunks = chunks_of(image)
    if chunks is not None and inside.n_voxels:
        inside = inside.rounded_out(chunks, spatial)
    return inside.n_voxels * channels * image.data_dtype.itemsize


def check_result(
    results: NDArray[Any],
    given: tuple[int, ...],
    needed: tuple[int, ...],
    specs: dict[str, Any],
) -> None:
    """Refuse a model's result of another shape or of a dtype that is no number."""
    if results.shape != needed:
        raise ModelError(
            f"The model gave shape {results.shape} for the tile at {describe_tile(specs)}, given "
            f"{given}; needed is {needed}: (N, C, (Z), Y, X) with the tile's own spatial shape.",
            specs,
        )
    if not is_number(results.dtype):
        raise ModelError(
            f"The model gave dtype {results.dtype} for the tile at {describe_tile(specs)}; needed "
            "are integers, floats of up to 64 bits, or booleans.",
            specs,
        )
