"""Boxes of voxels, and regular grids of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product


@dataclass(frozen=True, slots=True)
class Region:
    """A box of voxels, `start` included, `stop` excluded, one entry per axis.

    >>> Region((0, 4), (2, 10)).shape
    (2, 6)
    """

    start: tuple[int, ...]
    stop: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(b - a for a, b in zip(self.start, self.stop, strict=True))

    @property
    def n_voxels(self) -> int:
        return math.prod(self.shape)

    @property
    def slices(self) -> tuple[slice, ...]:
        return tuple(map(slice, self.start, self.stop))

    def slices_within(self, outer: Region) -> tuple[slice, ...]:
        """This box as slices of an array that holds `outer`."""
        return tuple(
            slice(a - o, b - o)
            for a, b, o in zip(self.start, self.stop, outer.start, strict=True)
        )

    def rounded_out(self, unit: tuple[int, ...], shape: tuple[int, ...]) -> Region:
        """The smallest box of whole units around this one, inside an array of `shape`."""
        start = tuple(a // u * u for a, u in zip(self.start, unit, strict=True))
        stop = tuple(
            min(-(-b // u) * u, n) for b, u, n in zip(self.stop, unit, shape, strict=True)
        )
        return Region(start, stop)

    @classmethod
    def whole(cls, shape: tuple[int, ...]) -> Region:
        return cls((0,) * len(shape), tuple(shape))


@dataclass(frozen=True, slots=True)
class RegularGrid:
    """An array's shape cut into equal cells, the last ones clipped; flat index, C order.

    ```
    shape 10, cell 4:   [0 ─ 4)[4 ─ 8)[8 ─ 10)
    ```

    >>> grid = RegularGrid((10, 6), (4, 6))
    >>> grid.n_cells, grid.cell(2)
    (3, Region(start=(8, 0), stop=(10, 6)))
    """

    shape: tuple[int, ...]
    cell_shape: tuple[int, ...]

    @property
    def counts(self) -> tuple[int, ...]:
        """Cells along each axis."""
        return tuple(-(-n // c) for n, c in zip(self.shape, self.cell_shape, strict=True))

    @property
    def n_cells(self) -> int:
        return math.prod(self.counts)

    def cell(self, index: int) -> Region:
        position = unravel(index, self.counts)
        start = tuple(i * c for i, c in zip(position, self.cell_shape, strict=True))
        stop = tuple(
            min(a + c, n) for a, c, n in zip(start, self.cell_shape, self.shape, strict=True)
        )
        return Region(start, stop)

    def ranges(self, region: Region) -> tuple[range, ...]:
        """Per axis, the cells that touch a (non-empty) region."""
        return tuple(
            range(a // c, -(-b // c))
            for a, b, c in zip(region.start, region.stop, self.cell_shape, strict=True)
        )

    def indices(self, ranges: tuple[range, ...]) -> Iterator[int]:
        """Flat indices of a product of ranges, lazily, in C order."""
        strides = [math.prod(self.counts[axis + 1 :]) for axis in range(len(self.counts))]
        for position in product(*ranges):
            yield sum(i * s for i, s in zip(position, strides, strict=True))


def unravel(index: int, counts: tuple[int, ...]) -> tuple[int, ...]:
    """The position of a flat C-order index; exact for integers of any size."""
    position = []
    for count in reversed(counts):
        index, i = divmod(index, count)
        position.append(i)
    return tuple(reversed(position))
