"""Where the chunks of an array lie in its image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

from numpy.typing import NDArray

from ..geometry import Region
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
    for box in image.boxes(sample_idx, region):
        count = 1 if channel < 0 else box[channel].stop - box[channel].start
        for position in positions_in(image, box):
            chunk = chunk_box(image, position)
            shared = Region(
                tuple(max(s.start, c.start) for s, c in zip(box, chunk, strict=True)),
                tuple(min(s.stop, c.stop) for s, c in zip(box, chunk, strict=True)),
            )
            # Along space all of the chunk: one place serves all tiles.
            inside = tuple(
                slice(None) if axis in dims.spatial_axes else slice(a - c.start, b - c.start)
                for axis, a, b, c in zip(dims.axes, shared.start, shared.stop, chunk, strict=True)
            )
            low, high = 0, count
            if channel >= 0:
                low = shared.start[channel] - box[channel].start
                high = shared.stop[channel] - box[channel].start
            spatial = Region(
                dims.spatial_entries(tuple(c.start for c in chunk)),
                dims.spatial_entries(tuple(c.stop for c in chunk)),
            )
            yield ChunkPlace(position, slice(first + low, first + high), spatial, inside)
        first += count


def chunk_positions(image: ArrayImage, sample_idx: int, region: Region) -> list[tuple[int, ...]]:
    """The chunks that a (Z)YX region of a sample is read from, each once."""
    boxes = image.boxes(sample_idx, region)
    return list(dict.fromkeys(at for box in boxes for at in positions_in(image, box)))


def source_of(image: ImageStack, region: Region) -> Region:
    """The part of an image that a (Z)YX region, which may exceed it, is read from."""
    padding, shape = padding_of(image), tuple(image.data_shape[2:])
    return region.clipped_to(shape) if padding is None else source_box(region, shape, padding)


def positions_in(image: ArrayImage, box: Slices) -> Iterator[tuple[int, ...]]:
    """The chunks that a box of the array touches, in its own axes."""
    if any(s.start >= s.stop for s in box):
        return
    yield from product(
        *(range(s.start // u, -(-s.stop // u)) for s, u in zip(box, _chunks(image), strict=True))
    )


def chunk_box(image: ArrayImage, position: tuple[int, ...]) -> Slices:
    """A chunk as a box of the array."""
    return tuple(
        slice(i * u, min((i + 1) * u, n))
        for i, u, n in zip(position, _chunks(image), image.array.shape, strict=True)
    )


def _chunks(image: ArrayImage) -> tuple[int, ...]:
    chunks = image.array.chunks
    assert chunks is not None, "a Zarr array has chunks"
    return chunks
