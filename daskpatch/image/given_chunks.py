"""An array whose chunks a cluster holds, as one of its tasks has it: those that it was given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import accumulate, pairwise, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import Region
from ..support import as_voxels, checked_shape, within_xarray
from .array_image import ArrayImage
from .arraylike import ArrayLike
from .stack import ImageStack


@dataclass(frozen=True)
class GivenChunks:
    """Some chunks of an array in the place of the whole; boxes of others are an error.

    Attributes
    ----------
    shape, dtype, chunks
        Of the whole, as Dask tells them.
    given
        Chunks by their place in the grid of chunks.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[tuple[int, ...], ...]
    given: Mapping[tuple[int, ...], Any] = field(default_factory=dict)

    def positions(self, box: tuple[slice, ...]) -> list[tuple[int, ...]]:
        """The chunks that a box touches."""
        return [position for position, _ in self._touched(box)]

    def __getitem__(self, box: tuple[slice, ...]) -> NDArray[Any]:
        asked = Region(tuple(s.start for s in box), tuple(s.stop for s in box))
        there = {chunk: self._chunk(position, chunk) for position, chunk in self._touched(box)}
        # What a chunk is of counts, not what Dask was told that it would be.
        kinds = [values.dtype for values in there.values()] or [self.dtype]
        found = np.empty(asked.shape, np.result_type(*kinds))
        for chunk, values in there.items():
            shared = asked.intersection(chunk)
            assert shared is not None, "it is touched"
            found[shared.slices_within(asked)] = values[shared.slices_within(chunk)]
        return found

    def _chunk(self, position: tuple[int, ...], place: Region) -> NDArray[Any]:
        values = as_voxels(self.given[position], "the source")
        return checked_shape(values, place.shape, f"The chunk {position}")

    def _touched(self, box: tuple[slice, ...]) -> Iterator[tuple[tuple[int, ...], Region]]:
        for cell in product(*map(_cells, self.chunks, box)):
            position, starts, stops = zip(*cell, strict=True)
            yield position, Region(starts, stops)


def _cells(sizes: tuple[int, ...], asked: slice) -> list[tuple[int, int, int]]:
    """Number, start and stop of each chunk along an axis that an interval touches."""
    edges = pairwise((0, *accumulate(sizes)))
    return [(i, a, b) for i, (a, b) in enumerate(edges) if a < asked.stop and asked.start < b]


def held_array_of(image: ImageStack) -> Any | None:
    """The Dask array that an image is of, where a cluster holds its chunks; else None."""
    array = image.array if isinstance(image, ArrayImage) else None
    if isinstance(array, ArrayLike) and array.is_held_by_cluster:
        return within_xarray(array.array)
    return None


def without_chunks(image: ImageStack) -> ImageStack:
    """An image without what a cluster holds of it; any other as it is."""
    array = held_array_of(image)
    if array is None:
        return image
    return _of(image, GivenChunks(array.shape, array.dtype, array.chunks))


def given_chunks_of(image: ImageStack) -> GivenChunks | None:
    """What an image `without_chunks` is of; None of any other."""
    array = image.array if isinstance(image, ArrayImage) else None
    given = array.array if isinstance(array, ArrayLike) else None
    return given if isinstance(given, GivenChunks) else None


def with_chunks(image: ImageStack, given: Mapping[tuple[int, ...], Any]) -> ImageStack:
    """An image `without_chunks` with some of them; any other as it is."""
    empty = given_chunks_of(image)
    return image if empty is None else _of(image, replace(empty, given=given))


def _of(image: ImageStack, chunks: GivenChunks) -> ImageStack:
    assert isinstance(image, ArrayImage), "others are held by no cluster"
    return replace(image, array=ArrayLike(chunks))
