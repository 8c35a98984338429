"""Which blocks need which chunks of their images: the geometry of blocks, and its inverse."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from itertools import accumulate

from ..geometry import Region, RegularGrid
from ..image import is_chunked
from ..reading import Chunk, chunk_positions, chunk_region, source_of
from ..store import Occupancy
from .coverage import bounding_box, needed_tiles, parts_of
from .emptiness import may_be_stored
from .recipe import Recipe, block_grids

_MOST_BLOCKS = 4096
"""That need a chunk, and are counted one by one."""


class ChunkNeeds:
    """The chunks that blocks need, and the blocks that need a chunk: see `reading.Needs`.

    Parameters
    ----------
    is_left
        Whether a block, by its flat index, is to be computed here, as `Needs.is_left`.
    occupancy
        What is stored of an image, by its number; None where that is not known.
    """

    def __init__(
        self,
        recipe: Recipe,
        block_shape: tuple[int, ...],
        is_left: Callable[[int], bool],
        occupancy: Callable[[int], Occupancy | None] = lambda _: None,
    ) -> None:
        self.is_left, self._occupancy = is_left, occupancy
        self._recipe = recipe
        self._rows = tuple(
            BlockRows(recipe, data_idx, grid)
            for data_idx, grid in enumerate(block_grids(recipe, block_shape))
        )
        self._firsts = (0, *accumulate(rows.grid.n_cells for rows in self._rows[:-1]))

    def blocks_of(self, chunk: Chunk) -> list[tuple[int, list[int]]] | None:
        data_idx, position = chunk
        if data_idx < 0:  # of a mask
            return None
        rows, first = self._rows[data_idx], self._firsts[data_idx]
        image = self._recipe.images[data_idx]
        assert is_chunked(image), "others have no chunks"
        box = chunk_region(image, position)
        along = dict(zip(image.dimensions.axes, zip(box.start, box.stop, strict=True), strict=True))
        ranges = tuple(
            rows.touching(axis, *along[name]) if name != "C" else range(rows.grid.counts[axis])
            for axis, name in enumerate(rows.dims.axes)
        )
        if math.prod(map(len, ranges)) > _MOST_BLOCKS:
            return None
        order = tuple(range(len(ranges)))
        return [
            (first + index, rows.samples(index, along))
            for index in rows.grid.indices(ranges, order)
        ]

    def samples_of(self, index: int) -> Iterator[int]:
        data_idx = bisect_right(self._firsts, index) - 1
        yield from self._rows[data_idx].samples(index - self._firsts[data_idx], {})

    def chunks_of(self, index: int, sample_idx: int) -> list[Chunk]:
        data_idx = bisect_right(self._firsts, index) - 1
        image = self._recipe.images[data_idx]
        if not is_chunked(image):
            return []
        region = self._rows[data_idx].read_by(index - self._firsts[data_idx])
        return [(data_idx, at) for at in chunk_positions(image, sample_idx, region)]

    def is_stored(self, index: int, sample_idx: int) -> bool:
        data_idx = bisect_right(self._firsts, index) - 1
        occupancy = self._occupancy(data_idx)
        if occupancy is None:
            return True
        region = self._rows[data_idx].read_by(index - self._firsts[data_idx])
        return may_be_stored(self._recipe.images[data_idx], occupancy, sample_idx, region)


class BlockRows:
    """The blocks of one image, axis by axis: what those in a row read along it."""

    def __init__(self, recipe: Recipe, data_idx: int, grid: RegularGrid) -> None:
        self.grid, self.dims = grid, recipe.outputs[data_idx][0]
        self._recipe, self._data_idx = recipe, data_idx
        self._image = recipe.images[data_idx]
        self._intervals: dict[tuple[int, int], tuple[int, int]] = {}

    def read_by(self, index: int) -> Region:
        """The (Z)YX box of tiles that a block is made of; it may exceed the image."""
        parts = parts_of(self._recipe, self._data_idx, self.grid.cell(index))
        tiles = needed_tiles(self._recipe, self._data_idx, parts)
        return bounding_box(self._recipe.grids[self._data_idx], tiles)

    def interval(self, axis: int, row: int) -> tuple[int, int]:
        """What blocks of a row need of the image along an axis of the output, samples too."""
        key = (axis, row)
        if key not in self._intervals:
            self._intervals[key] = self._interval(axis, row)
        return self._intervals[key]

    def touching(self, axis: int, start: int, stop: int) -> range:
        """The rows that need something of an interval."""
        rows = range(self.grid.counts[axis])
        first = bisect_right(rows, start, key=lambda row: self.interval(axis, row)[1])
        return range(first, bisect_left(rows, stop, key=lambda row: self.interval(axis, row)[0]))

    def samples(self, index: int, along: dict[str, tuple[int, int]]) -> list[int]:
        """The samples of a block that lie in intervals of the image's axes; others are whole."""
        if not self.dims.sample_axes:
            return [0]
        cell = self.grid.cell(index)
        origin = self.dims.origin or (0,) * len(cell.start)
        start, stop = list(cell.start), list(cell.stop)
        for axis, name in enumerate(self.dims.axes):
            if name in self.dims.sample_axes and name in along:
                low, high = (n - origin[axis] for n in along[name])
                start[axis], stop[axis] = max(start[axis], low), min(stop[axis], high)
        return [each for each, _ in self.dims.samples_of(Region(tuple(start), tuple(stop)))]

    def _interval(self, axis: int, row: int) -> tuple[int, int]:
        name = self.dims.axes[axis]
        if name not in self.dims.spatial_axes:
            origin = self.dims.origin[axis] if self.dims.is_part else 0
            start, stop = self.grid.along(axis, row)
            return origin + start, origin + stop
        # Axes know nothing of each other: any block of the row tells.
        region = self.read_by(row * math.prod(self.grid.counts[axis + 1 :]))
        source = source_of(self._image, region)
        place = self.dims.spatial_axes.index(name)
        return source.start[place], source.stop[place]
