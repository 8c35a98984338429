"""Voxels that lie in a file one after another, as they are: any part of them can be read."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .descriptor import Descriptor
from .reader import Box


@dataclass(frozen=True, slots=True)
class PixelRows:
    """An array of five axes, the last two of which are columns and colours, from an offset on."""

    file: Descriptor
    offset: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    def read(self, box: Box, out: NDArray[Any]) -> None:
        """Fill an array with a box."""
        first, second, rows, columns, colours = box
        # Rows whole where most of each is wanted: one request instead of one a row.
        is_wide = 2 * (columns.stop - columns.start) >= self.shape[3]
        planes = product(range(first.start, first.stop), range(second.start, second.stop))
        for plane, target in zip(planes, out.reshape(-1, *out.shape[2:]), strict=True):
            start = (plane[0] * self.shape[1] + plane[1]) * self.shape[2]
            if is_wide:
                values = self._values(start + rows.start, 0, (len(target), *self.shape[3:]))
                target[...] = values[:, columns, colours]
                continue
            for row, line in enumerate(target, start + rows.start):
                values = self._values(row, columns.start, (len(line), self.shape[4]))
                line[...] = values[:, colours]

    def _values(self, row: int, column: int, shape: tuple[int, ...]) -> NDArray[Any]:
        """So many voxels from a column of a row on."""
        at = (row * self.shape[3] + column) * self.shape[4]
        count = int(np.prod(shape)) * self.dtype.itemsize
        data = self.file.read(self.offset + at * self.dtype.itemsize, count)
        return np.frombuffer(data, self.dtype).reshape(shape)
