"""Which blocks a run is over: all of them, or those that touch a region."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate

from ..block import Recipe, block_grids
from ..geometry import Region, RegionLike, RegularGrid, ranges_of, unravel
from ..receipts import Part
from ..support import shown
from .cost import visiting_order


@dataclass(frozen=True)
class Selection:
    """A product of ranges of blocks for each image; nothing is listed.

    Iterates over flat block indices, images one after another, the last axis of `order`
    fastest; over a `share` of them, where there is one, in C order. Voxels along the axis
    `channels` of each grid don't count.
    """

    grids: tuple[RegularGrid, ...]
    channels: tuple[int | None, ...]
    ranges: tuple[tuple[range, ...], ...]
    order: tuple[int, ...]
    share: range | None = None

    @classmethod
    def of(
        cls,
        grids: tuple[RegularGrid, ...],
        channels: tuple[int | None, ...] | None = None,
        order: tuple[int, ...] | None = None,
    ) -> Selection:
        """All blocks of some grids, by default in C order."""
        ranges = tuple(tuple(map(range, grid.counts)) for grid in grids)
        return cls(
            grids,
            (None,) * len(grids) if channels is None else channels,
            ranges,
            tuple(range(len(grids[0].shape))) if order is None else order,
        )

    @classmethod
    def everything(cls, recipe: Recipe, block_shape: tuple[int, ...]) -> Selection:
        """All blocks of a prediction."""
        channels = tuple(
            dims.axes.index("C") if "C" in dims.axes else None for dims in recipe.primary
        )
        order = visiting_order(recipe, block_shape)
        return cls.of(block_grids(recipe, block_shape), channels, order)

    @cached_property
    def firsts(self) -> tuple[int, ...]:
        """The flat index of each grid's first block."""
        return (0, *accumulate(grid.n_cells for grid in self.grids[:-1]))

    def within(self, region: RegionLike) -> Selection:
        """The blocks that touch a region of a single image, given as slices of the output.

        Raises
        ------
        ValueError
            If the region is empty, has steps, does not fit the axes, or there is a series.
        """
        if len(self.grids) != 1:
            raise ValueError(
                f"region is {shown(region)}, which selects blocks of one image; the source is a "
                "series. Leave it out, or predict one of its images."
            )
        grid = self.grids[0]
        limits = ranges_of(region, grid.shape)
        touched = Region(tuple(r.start for r in limits), tuple(r.stop for r in limits))
        blocks = grid.ranges(touched)
        return replace(self, ranges=(blocks,))

    def part(self, part: Part) -> Selection:
        """A part's static share of all blocks, in C order."""
        return replace(self, share=part.share(self.n_blocks))

    @property
    def is_whole(self) -> bool:
        """Whether it holds all blocks, or a share of all."""
        return all(
            len(blocks) == count
            for grid, ranges in zip(self.grids, self.ranges, strict=True)
            for blocks, count in zip(ranges, grid.counts, strict=True)
        )

    @property
    def n_blocks(self) -> int:
        if self.share is not None:
            # Shares are of flat indices, whatever the order of visits: parts must agree without
            # talking.
            return len(self.share)
        return sum(math.prod(map(len, ranges)) for ranges in self.ranges)

    @property
    def n_voxels(self) -> int:
        """Voxels of space and samples in the selected blocks; channels don't count."""
        if self.share is not None:
            return self._voxels_before(self.share.stop) - self._voxels_before(self.share.start)
        return sum(
            math.prod(
                grid.along(axis, blocks[-1])[1] - grid.along(axis, blocks[0])[0]
                for axis, blocks in enumerate(ranges)
                if axis != channels
            )
            for channels, grid, ranges in zip(self.channels, self.grids, self.ranges, strict=True)
        )

    def _voxels_before(self, index: int) -> int:
        """Voxels of the blocks in front of a flat index."""
        voxels = 0
        for channels, grid in zip(self.channels, self.grids, strict=True):
            n_channels = 1 if channels is None else grid.shape[channels]
            voxels += grid.n_voxels_before(min(index, grid.n_cells)) // n_channels
            index = max(index - grid.n_cells, 0)
        return voxels

    def __contains__(self, index: int) -> bool:
        if self.share is not None:
            return index in self.share
        number = bisect_right(self.firsts, index) - 1
        grid = self.grids[number]
        at = unravel(index - self.firsts[number], grid.counts)
        return all(i in blocks for i, blocks in zip(at, self.ranges[number], strict=True))

    def at(self, places: range) -> Iterator[int]:
        """The blocks at some places of the order in which they are iterated over.

        >>> grids = RegularGrid.clipped((4, 4), (2, 2)), RegularGrid.clipped((2, 4), (2, 2))
        >>> list(Selection.of(grids).at(range(3, 5)))
        [3, 4]
        """
        if self.share is not None:
            yield from self.share[places.start : places.stop]
            return
        number = bisect_right(self._begins, places.start) - 1
        while number < len(self.grids) and self._begins[number] < places.stop:
            begin, end = self._begins[number : number + 2]
            of_grid = range(max(places.start, begin) - begin, min(places.stop, end) - begin)
            grid, ranges, first = self.grids[number], self.ranges[number], self.firsts[number]
            yield from (first + i for i in grid.indices_at(of_grid, ranges, self.order))
            number += 1

    @cached_property
    def _begins(self) -> tuple[int, ...]:
        """At which place the blocks of each grid begin, and where the last ones end."""
        return (0, *accumulate(math.prod(map(len, ranges)) for ranges in self.ranges))

    def turn(self, index: int) -> tuple[int, ...]:
        """When a block comes in the order in which they are iterated over, to be compared.

        >>> of = Selection.of((RegularGrid.clipped((4, 4), (2, 2)),))
        >>> sorted(range(4), key=of.turn)
        [0, 1, 2, 3]
        """
        if self.share is not None:
            return (index,)
        number = bisect_right(self.firsts, index) - 1
        at = unravel(index - self.firsts[number], self.grids[number].counts)
        return number, *(at[axis] for axis in self.order)

    def __iter__(self) -> Iterator[int]:
        if self.share is not None:
            yield from self.share
            return
        first = 0
        for grid, ranges in zip(self.grids, self.ranges, strict=True):
            for index in grid.indices(ranges, self.order):
                yield first + index
            first += grid.n_cells
