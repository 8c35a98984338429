"""Chunks that were read before a run, to tell its images from others: its blocks need them, too."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import Region
from ..image import ArrayImage, ImageStack, is_chunked
from .chunk_cache import Voxels
from .chunk_places import chunk_places
from .mosaic import Mosaic
from .patches import copied, read_all
from .uses import Chunk

SAMPLED_BYTES = 64_000_000
"""What is kept of them, where memory allows it."""


class SampledChunks:
    """Reads boxes of images, and keeps their chunks until somebody takes them.

    Parameters
    ----------
    limit
        Bytes that are kept: of the chunks that were read first, which are needed first.
    """

    def __init__(self, limit: int = 0) -> None:
        self._room = limit
        self._kept: dict[Chunk, Voxels] = {}
        self._changing = threading.Lock()

    def read(
        self, image: ImageStack, number: int, sample_idx: int, box: Region
    ) -> NDArray[np.generic]:
        """A (Z)YX box of a sample, as `C(Z)YX`, of the image of that number.

        Raises
        ------
        OSError
            If it cannot be read.
        """
        if not is_chunked(image):
            return image.extract_patch(sample_idx, None, box.start, box.shape)
        places = list(chunk_places(image, sample_idx, box))
        chunks = [(number, place.position) for place in places]
        found = read_all(image, chunks)
        self._keep(image, chunks, found)
        values: NDArray[Any] = np.empty((image.data_shape[1], *box.shape), image.data_dtype)
        Mosaic(image, places, found).fill(values, box, copied)
        return values

    def take(self) -> dict[Chunk, Voxels]:
        """The chunks that are kept; they are no more."""
        with self._changing:
            kept, self._kept = self._kept, {}
        return kept

    def _keep(self, image: ArrayImage, chunks: Sequence[Chunk], found: Sequence[Voxels]) -> None:
        # What is absent takes nothing, and whether it still is must be asked again.
        there = {c: voxels for c, voxels in zip(chunks, found, strict=True) if voxels is not None}
        with self._changing:
            if len(there) * image.chunk_nbytes <= self._room:
                self._room -= len(there.keys() - self._kept.keys()) * image.chunk_nbytes
                self._kept |= there
