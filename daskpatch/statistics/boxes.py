"""Images cut into boxes, each of which is read and summed up on its own."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import numpy as np

from ..geometry import Region, RegularGrid
from ..image import ImageStack, chunks_of
from ..support import unmasked
from ..values import Normalize
from .accumulation import Accumulator, fresh
from .percentiles import Percentiles

_BYTES_PER_VOXEL = 64
"""Of the limit for each voxel of a box: several times what it takes."""

_SLICES = 2**22
"""Bytes of the slices of a box that are looked at at a time."""

BOX = 2**23
"""Voxels that are read at a time, where all are read; else a chunk."""


@dataclass(frozen=True)
class Boxes:
    """The boxes of all images that are read for their statistics.

    Whole chunks, of about so many `voxels` (channels count); where a `fraction` is asked for, so
    many single chunks, evenly spread.
    """

    images: tuple[ImageStack, ...]
    normalize: Normalize
    voxels: int = BOX

    def __call__(self, index: int) -> tuple[int, list[Accumulator], int]:
        """A box's image, what is known of each of its channels, and its voxels."""
        data_idx, cell = self._place(index)
        image = self.images[data_idx]
        patch = image.extract_patch(cell.start[0], None, cell.start[1:], cell.shape[1:])
        values = unmasked(patch, "the source")
        found = self.nothing(data_idx)
        for accumulator, channel in zip(found, values, strict=True):
            accumulator.add(np.asarray(channel))
        return data_idx, found, cell.n_voxels

    def image_of(self, index: int) -> int:
        """The number of a box's image."""
        return bisect_right(self._ends, index) - 1

    def __len__(self) -> int:
        return self._ends[-1]

    def nothing(self, data_idx: int) -> list[Accumulator]:
        """What is known of an image's channels before anything is read."""
        image = self.images[data_idx]
        return [fresh(image.data_dtype, self.normalize) for _ in range(image.data_shape[1])]

    @property
    def fractions(self) -> list[float]:
        """The share of each image that is read."""
        return [count / grid.n_cells for count, grid in zip(self._counts, self.grids, strict=True)]

    @property
    def n_voxels(self) -> int:
        """Voxels of space and samples that are read."""
        sizes = (image.data_shape[0] * math.prod(image.data_shape[2:]) for image in self.images)
        return round(sum(n * f for n, f in zip(sizes, self.fractions, strict=True)))

    @cached_property
    def grids(self) -> tuple[RegularGrid, ...]:
        """The boxes of each image, those that are not read too."""
        return tuple(_grid(image, self.normalize.fraction, self.voxels) for image in self.images)

    @cached_property
    def _counts(self) -> tuple[int, ...]:
        """Boxes that are read of each image."""
        return tuple(max(1, round(self.normalize.fraction * grid.n_cells)) for grid in self.grids)

    @cached_property
    def _ends(self) -> tuple[int, ...]:
        return (0, *accumulate(self._counts))

    def _place(self, index: int) -> tuple[int, Region]:
        data_idx = self.image_of(index)
        grid, count = self.grids[data_idx], self._counts[data_idx]
        at = index - self._ends[data_idx]
        # In the middle of equal parts: the first and last chunks of a volume are often empty.
        return data_idx, grid.cell((2 * at + 1) * grid.n_cells // (2 * count))


def box_voxels(limit: int, threads: int) -> int:
    """Voxels that may be read at a time, channels included, for a limit of bytes."""
    return max(min(BOX, limit // (_BYTES_PER_VOXEL * threads)), 1)


def bytes_needed(
    images: Sequence[ImageStack], normalize: Normalize, *, voxels: int, threads: int
) -> int:
    """What a measurement holds at its peak: a box for each thread, slices of it, and counts."""
    needed = 0
    for image in images:
        n_channels, itemsize = image.data_shape[1], image.data_dtype.itemsize
        boxes = _grid(image, normalize.fraction, voxels)
        busy = min(threads, boxes.n_cells)
        chunk = math.prod(chunks_of(image) or (0,))
        box = n_channels * (math.prod(boxes.largest) + 2 * chunk) * itemsize
        counts = 0
        if normalize.name == "percentile":
            counts = 2 * n_channels * Percentiles(image.data_dtype, (0, 100)).nbytes
        needed = max(needed, busy * (box + counts + _SLICES))
    return needed


def _grid(image: ImageStack, fraction: float, voxels: int) -> RegularGrid:
    """Whole chunks: single ones where a part is read, else as many as are worth a task."""
    samples, n_channels, *spatial = image.data_shape
    shape = tuple(spatial)
    chunks = chunks_of(image) or tuple(min(64, n) for n in shape)
    box = tuple(map(min, chunks, shape))
    while fraction == 1 and n_channels * math.prod(box) < voxels and box != shape:
        axis = min((i for i in range(len(box)) if box[i] < shape[i]), key=lambda i: (box[i], -i))
        box = (*box[:axis], min(2 * box[axis], shape[axis]), *box[axis + 1 :])
    return RegularGrid.clipped((samples, *shape), (1, *box))
