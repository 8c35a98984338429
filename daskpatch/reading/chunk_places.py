"""Where the chunks of an array lie in its image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

from numpy.typing import NDArray

from ..geometry import Region, RegularGrid
from ..image import ArrayImage, ImageStack, padding_of
from ..values import source_box

Slices = tuple[slice, ...]


@dataclass(frozen=True, slots=True)
class ChunkPlace:
    """What a chunk has of a sample.

    `position` is the chunk's in the grid of the array's chunks, `channels` are those of the image,
    counted among those it was opened with, `region` is (Z)YX, and `inside` where that lies in the
    chunk.
    """

    position: tuple[int, ...]
    channels: slice
    region: Region
    inside: Slices

    def voxels_of(self, image: ArrayImage, chunk: NDArray[Any]) -> NDArray[Any]:
        """What the chunk has of the sample, `C(Z)YX`; a view."""
        values: Any = image.dimensions.canonical(chunk[self.inside])
        sample: NDArray[Any] = values[(0,) * len(image.dimensions.sample_axes)]
        return sample


def chunk_places(image: ArrayImage, sample_idx: int, region: Region) -> Iterator[ChunkPlace]:
    """The chunks that a (Z)YX region of a sample is read from, one after another."""
    dims = image.dimensions
    channel = dims.axes.find("C")
    first = 0
    for box in map(region_of, image.boxes(sample_idx, region)):
        for position in positions_in(image, box):
            chunk = chunk_region(image, position)
            shared = chunk.intersection(box)
            assert shared is not None, "it touches the box"
            # Along space all of the chunk: one place serves all tiles.
            inside = tuple(
                slice(None) if axis in dims.spatial_axes else each
                for axis, each in zip(dims.axes, shared.slices_within(chunk), strict=True)
            )
            channels = slice(first, first + 1)
            if channel >= 0:
                among = shared.slices_within(box)[channel]
                channels = slice(first + among.start, first + among.stop)
            spatial = Region(dims.spatial_entries(chunk.start), dims.spatial_entries(chunk.stop))
            yield ChunkPlace(position, channels, spatial, inside)
        first += 1 if channel < 0 else box.shape[channel]


def chunk_positions(image: ArrayImage, sample_idx: int, region: Region) -> list[tuple[int, ...]]:
    """The chunks that a (Z)YX region of a sample is read from, each once."""
    boxes = map(region_of, image.boxes(sample_idx, region))
    return list(dict.fromkeys(at for box in boxes for at in positions_in(image, box)))


def source_of(image: ImageStack, region: Region) -> Region:
    """The part of an image that a (Z)YX region, which may exceed it, is read from."""
    padding, shape = padding_of(image), tuple(image.data_shape[2:])
    return region.clipped_to(shape) if padding is None else source_box(region, shape, padding)


def positions_in(image: ArrayImage, box: Region) -> Iterator[tuple[int, ...]]:
    """The chunks that a box of the array touches, in its own axes."""
    if box.n_voxels:
        yield from product(*_grid(image).ranges(box))


def chunk_region(image: ArrayImage, position: tuple[int, ...]) -> Region:
    """A chunk as a box of the array."""
    grid = _grid(image)
    along = [grid.along(axis, i) for axis, i in enumerate(position)]
    return Region(tuple(a for a, _ in along), tuple(b for _, b in along))


def region_of(box: Slices) -> Region:
    return Region(tuple(s.start for s in box), tuple(s.stop for s in box))


def _grid(image: ArrayImage) -> RegularGrid:
    chunks = image.array.chunks
    assert chunks is not None, "a Zarr array has chunks"
    return RegularGrid.clipped(image.array.shape, chunks)
