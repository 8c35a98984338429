"""Chunks of a sample beside each other, and boxes that are filled from them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import Region
from ..image import ArrayImage, absent_value_of
from .chunk_cache import Voxels
from .chunk_places import ChunkPlace

Put = Callable[[NDArray[Any], NDArray[Any], slice], None]
"""Takes an array to be filled, voxels of its shape, and which channels these are."""


class Mosaic:
    """Chunks of one sample, by their place along (Z)YX: each is turned to `C(Z)YX` once.

    Parameters
    ----------
    places, chunks
        Where each of them lies, and its voxels, in the axes of the array; None where absent.
    """

    def __init__(
        self, image: ArrayImage, places: Sequence[ChunkPlace], chunks: Sequence[Voxels]
    ) -> None:
        sizes = image.array.chunks
        assert sizes is not None, "a Zarr array has chunks"
        self._sizes = image.dimensions.spatial_entries(sizes)
        self._absent = np.asarray(absent_value_of(image))
        self._pieces: defaultdict[tuple[int, ...], list[tuple[slice, Voxels]]] = defaultdict(list)
        for place, chunk in zip(places, chunks, strict=True):
            voxels = None if chunk is None else place.voxels_of(image, chunk)
            at = image.dimensions.spatial_entries(place.position)
            self._pieces[at].append((place.channels, voxels))

    def has(self, box: Region) -> bool:
        """Whether all chunks of a (Z)YX box of the image are among these."""
        ranges = (
            range(a // n, -(-b // n))
            for a, b, n in zip(box.start, box.stop, self._sizes, strict=True)
        )
        return all(at in self._pieces for at in product(*ranges))

    def fill(self, given: NDArray[Any], box: Region, put: Put) -> None:
        """Fill an array, `C(Z)YX`, from a (Z)YX box of the image whose chunks are all there.

        Raises
        ------
        RuntimeError
            If one of them is not.
        """
        n_filled = 0
        for cells in product(*map(_along, box.start, box.stop, self._sizes)):
            at, targets, sources = zip(*cells, strict=True)
            for channels, voxels in self._pieces.get(at, ()):
                target = given[(channels, *targets)]
                n_filled += target.size
                if voxels is None:
                    source = np.broadcast_to(self._absent, target.shape)
                else:
                    source = voxels[(slice(None), *sources)]
                put(target, source, channels)
        if n_filled != given.size:
            raise RuntimeError(f"{n_filled} of {given.size} voxels of {box} were filled.")


def _along(start: int, stop: int, size: int) -> list[tuple[int, slice, slice]]:
    """The chunks that an interval touches along one axis: where they go in it, and what of them.

    >>> _along(3, 9, 4)
    [(0, slice(0, 1, None), slice(3, 4, None)), (1, slice(1, 5, None), slice(0, 4, None)), \
(2, slice(5, 6, None), slice(0, 1, None))]
    """
    found = []
    for i in range(start // size, -(-stop // size)):
        low, high = max(start, i * size), min(stop, (i + 1) * size)
        found.append((i, slice(low - start, high - start), slice(low - i * size, high - i * size)))
    return found
