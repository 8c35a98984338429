"""Boxes of voxels, and regular grids of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from operator import le, lt


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
        """The box as slices of an array that holds `outer`."""
        return tuple(
            slice(a - o, b - o) for a, b, o in zip(self.start, self.stop, outer.start, strict=True)
        )

    def lies_in(self, shape: tuple[int, ...]) -> bool:
        """Whether it is all inside an array of `shape`."""
        return min(self.start) >= 0 and all(map(le, self.stop, shape))

    def clipped_to(self, shape: tuple[int, ...]) -> Region:
        """What of it lies inside an array of `shape`; without voxels where nothing does.

        >>> Region((-2, 5), (3, 9)).clipped_to((8, 8))
        Region(start=(0, 5), stop=(3, 8))
        """
        start = tuple(min(max(a, 0), n) for a, n in zip(self.start, shape, strict=True))
        stop = tuple(max(min(b, n), a) for b, n, a in zip(self.stop, shape, start, strict=True))
        return Region(start, stop)

    def rounded_out(self, unit: tuple[int, ...], shape: tuple[int, ...]) -> Region:
        """The smallest box of whole units around this one, inside an array of `shape`."""
        start = tuple(a // u * u for a, u in zip(self.start, unit, strict=True))
        stop = tuple(min(-(-b // u) * u, n) for b, u, n in zip(self.stop, unit, shape, strict=True))
        return Region(start, stop)

    def intersection(self, other: Region) -> Region | None:
        """What both share; None where that is nothing.

        >>> Region((0, 0), (4, 4)).intersection(Region((2, 1), (6, 3)))
        Region(start=(2, 1), stop=(4, 3))
        """
        start = tuple(map(max, self.start, other.start))
        stop = tuple(map(min, self.stop, other.stop))
        return Region(start, stop) if all(map(lt, start, stop)) else None

    @classmethod
    def whole(cls, shape: tuple[int, ...]) -> Region:
        return cls((0,) * len(shape), tuple(shape))


@dataclass(frozen=True, slots=True)
class RegularGrid:
    """An array's shape cut into equal cells; flat index, C order.

    Along each axis the last cell is what remains, or, where `merge` says so, the remainder
    belongs to the cell before it.

    ```
    shape 10, cell 4:           [0 ─ 4)[4 ─ 8)[8 ─ 10)
    shape 10, cell 4, merged:   [0 ─ 4)[4  ──  10)
    ```

    >>> grid = RegularGrid((10, 6), (4, 6), merge=(True, False))
    >>> grid.n_cells, grid.cell(1)
    (2, Region(start=(4, 0), stop=(10, 6)))
    """

    shape: tuple[int, ...]
    cell_shape: tuple[int, ...]
    merge: tuple[bool, ...]

    @classmethod
    def clipped(cls, shape: tuple[int, ...], cell_shape: tuple[int, ...]) -> RegularGrid:
        """A grid whose remainders are cells of their own."""
        return cls(shape, cell_shape, (False,) * len(shape))

    @property
    def counts(self) -> tuple[int, ...]:
        """Cells along each axis."""
        return tuple(map(self._count, range(len(self.shape))))

    @property
    def n_cells(self) -> int:
        return math.prod(self.counts)

    def along(self, axis: int, index: int) -> tuple[int, int]:
        """One cell's interval along one axis."""
        start = index * self.cell_shape[axis]
        last = index == self._count(axis) - 1
        return start, self.shape[axis] if last else start + self.cell_shape[axis]

    def sizes(self, axis: int) -> tuple[int, ...]:
        """The cells' sizes along one axis, as Dask's chunks."""
        count = self.counts[axis]
        start, stop = self.along(axis, count - 1)
        return (self.cell_shape[axis],) * (count - 1) + (stop - start,)

    @property
    def largest(self) -> tuple[int, ...]:
        """The largest size of a cell along each axis: that of the first or of the last."""
        ends = ((0, n - 1) for n in self.counts)
        return tuple(
            max(b - a for a, b in (self.along(axis, i) for i in pair))
            for axis, pair in enumerate(ends)
        )

    def cell(self, index: int) -> Region:
        intervals = [self.along(axis, i) for axis, i in enumerate(unravel(index, self.counts))]
        return Region(tuple(a for a, _ in intervals), tuple(b for _, b in intervals))

    def _count(self, axis: int) -> int:
        n, c = self.shape[axis], self.cell_shape[axis]
        return max(n // c, 1) if self.merge[axis] else -(-n // c)

    def n_voxels_before(self, index: int) -> int:
        """Voxels of all cells in front of a flat index, in O(axes).

        >>> RegularGrid.clipped((10, 6), (4, 6)).n_voxels_before(2)
        48
        """
        if index >= self.n_cells:
            return math.prod(self.shape)
        voxels, row = 0, 1  # of whole rows so far; of the cell's extent along earlier axes
        for axis, at in enumerate(unravel(index, self.counts)):
            start, stop = self.along(axis, at)
            voxels += row * start * math.prod(self.shape[axis + 1 :])
            row *= stop - start
        return voxels

    def ranges(self, region: Region) -> tuple[range, ...]:
        """Per axis, the cells that touch a (non-empty) region."""
        return tuple(
            range(min(a // c, n - 1), min((b - 1) // c, n - 1) + 1)
            for a, b, c, n in zip(
                region.start, region.stop, self.cell_shape, self.counts, strict=True
            )
        )

    def indices(self, ranges: tuple[range, ...], order: tuple[int, ...]) -> Iterator[int]:
        """Flat indices of a product of ranges, lazily; the last axis of `order` runs fastest."""
        *slower, fastest = ((ranges[axis], math.prod(self.counts[axis + 1 :])) for axis in order)
        row, stride = fastest
        for position in product(*(along for along, _ in slower)):
            first = sum(i * s for i, (_, s) in zip(position, slower, strict=True))
            # A range at a time: of millions of blocks, one by one takes seconds.
            yield from range(first + row.start * stride, first + row.stop * stride, stride)

    def indices_at(
        self, places: range, ranges: tuple[range, ...], order: tuple[int, ...]
    ) -> Iterator[int]:
        """Some of those that `indices` gives, by their places.

        >>> grid, ranges = RegularGrid.clipped((4, 6), (2, 2)), (range(2), range(1, 3))
        >>> list(grid.indices_at(range(1, 4), ranges, (1, 0)))
        [4, 2, 5]
        """
        strides = [math.prod(self.counts[axis + 1 :]) for axis in order]
        rows = [ranges[axis] for axis in order]
        place = places.start
        while place < places.stop:
            *slower, at = unravel(place, tuple(map(len, rows)))
            count = min(len(rows[-1]) - at, places.stop - place)
            start = sum(
                row[i] * stride for row, i, stride in zip(rows, [*slower, at], strides, strict=True)
            )
            yield from range(start, start + count * strides[-1], strides[-1])
            place += count


def unravel(index: int, counts: tuple[int, ...]) -> tuple[int, ...]:
    """The position of a flat C-order index; exact for integers of any size."""
    position = []
    for count in reversed(counts):
        index, i = divmod(index, count)
        position.append(i)
    return tuple(reversed(position))
