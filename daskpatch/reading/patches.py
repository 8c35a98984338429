"""Voxels of a box of an image, for the time that tiles are filled from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..geometry import Region
from ..image import ArrayImage, ImageStack, LocatedImage, absent_value_of, is_chunked
from ..store import noticing
from ..support import unmasked
from ..values import read_padded
from .chunk_cache import ChunkCache, Voxels
from .chunk_places import ChunkPlace, chunk_places, chunk_region, positions_in, region_of
from .mosaic import Mosaic, Put
from .uses import Chunk


class Patch(Protocol):
    """A (Z)YX box of a sample, padded where it lies outside of the image.

    Attributes
    ----------
    n_absent
        How many chunks were absent, of what was read so far.
    """

    @property
    def n_absent(self) -> int: ...

    def read(self, box: Region) -> NDArray[Any]:
        """A box in it, `C(Z)YX`, which the caller does not change."""

    def fill(self, given: NDArray[Any], box: Region, put: Put) -> None:
        """Fill an array, `C(Z)YX`, from a box in it."""


@contextmanager
def patch_of(
    cache: ChunkCache, image: ImageStack, data_idx: int, sample_idx: int, box: Region
) -> Iterator[Patch]:
    """A box of a sample, read once; chunks of it come from the cache.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    if not is_chunked(image):
        with noticing() as absence:
            voxels = image.extract_patch(sample_idx, None, box.start, box.shape)
        yield PatchOfBox(box, unmasked(voxels, "the source"), absence.count)
        return
    patch = PatchOfChunks(cache, image, data_idx, sample_idx)
    places = list(chunk_places(image, sample_idx, box))
    if len(places) * image.chunk_nbytes > cache.limit:
        # Tile by tile: some of them are decoded again, rather than all held at a time.
        yield patch
        return
    # All at once: behind a slow network they are under way together.
    with patch.held(places) as mosaic:
        yield replace(patch, mosaic=mosaic)


@dataclass(frozen=True)
class PatchOfBox:
    """A box that was read whole."""

    box: Region
    voxels: NDArray[Any]
    n_absent: int

    def read(self, box: Region) -> NDArray[Any]:
        return self.voxels[(slice(None), *box.slices_within(self.box))]

    def fill(self, given: NDArray[Any], box: Region, put: Put) -> None:
        put(given, self.read(box), slice(0, len(given)))


@dataclass(frozen=True)
class PatchOfChunks:
    """A sample whose voxels come from chunks in a cache; those of `mosaic` are held."""

    cache: ChunkCache
    image: ArrayImage
    data_idx: int
    sample_idx: int
    mosaic: Mosaic | None = None
    _absent: set[Chunk] = field(default_factory=set)

    @property
    def n_absent(self) -> int:
        return len(self._absent)

    def read(self, box: Region) -> NDArray[Any]:
        values = self._empty(box)
        self.fill(values, box, copied)
        return values

    def fill(self, given: NDArray[Any], box: Region, put: Put) -> None:
        shape = self.image.data_shape[2:]
        if box.lies_in(shape):
            self._fill_inside(given, box, put)
            return
        empty = self._empty(Region(box.start, box.start))
        put(
            given,
            read_padded(self._read_inside, box, shape, self.image.padding, empty),
            slice(0, len(given)),
        )

    def _read_inside(self, box: Region) -> NDArray[Any]:
        values = self._empty(box)
        self._fill_inside(values, box, copied)
        return values

    def _empty(self, box: Region) -> NDArray[Any]:
        return np.empty((self.image.data_shape[1], *box.shape), self.image.data_dtype)

    def _fill_inside(self, given: NDArray[Any], box: Region, put: Put) -> None:
        if self.mosaic is not None and self.mosaic.has(box):
            self.mosaic.fill(given, box, put)
            return
        with self.held(list(chunk_places(self.image, self.sample_idx, box))) as mosaic:
            mosaic.fill(given, box, put)

    @contextmanager
    def held(self, places: Sequence[ChunkPlace]) -> Iterator[Mosaic]:
        """Chunks that stay for the time of the `with` block.

        Raises
        ------
        OSError
            If one cannot be read.
        """
        chunks = [(self.data_idx, place.position) for place in places]
        with _held(self.cache, self.image, chunks, self._absent) as found:
            yield Mosaic(self.image, places, found)


def read_box(
    cache: ChunkCache, image: LocatedImage, number: int, box: tuple[slice, ...]
) -> NDArray[Any]:
    """A box of an array, in its own axes, from chunks that are kept under some number.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    if not is_chunked(image):
        return image.read_box(box)
    values = np.empty([s.stop - s.start for s in box], image.data_dtype)
    region, absent_value = region_of(box), absent_value_of(image)
    chunks = [(number, at) for at in positions_in(image, region)]
    with _held(cache, image, chunks, set()) as found:
        for (_, at), voxels in zip(chunks, found, strict=True):
            chunk = chunk_region(image, at)
            shared = chunk.intersection(region)
            assert shared is not None, "it touches the box"
            inside = shared.slices_within(chunk)
            values[shared.slices_within(region)] = (
                absent_value if voxels is None else voxels[inside]
            )
    return values


def read_all(image: ArrayImage, chunks: Sequence[Chunk]) -> list[Voxels]:
    """Chunks of an image, read together.

    Raises
    ------
    OSError
        If one cannot be read.
    """
    return image.read_chunks([chunk_region(image, at).slices for _, at in chunks])


@contextmanager
def _held(
    cache: ChunkCache, image: ArrayImage, chunks: Sequence[Chunk], known: set[Chunk]
) -> Iterator[list[Voxels]]:
    """Chunks, of which absent ones are added to those known: the array was there after them."""
    met: set[Chunk] = set()

    def fetch(missing: Sequence[Chunk]) -> list[Voxels]:
        found = read_all(image, missing)
        met.update(c for c, voxels in zip(missing, found, strict=True) if voxels is None)
        return found

    with cache.hold(chunks, fetch) as found:
        absent = {c for c, voxels in zip(chunks, found, strict=True) if voxels is None}
        if not absent <= met | known:  # others met them, a while ago
            image.array.look()
        known.update(absent)
        yield found


def copied(given: NDArray[Any], voxels: NDArray[Any], channels: slice) -> None:  # noqa: ARG001
    """Voxels put as they are."""
    given[...] = voxels
