"""1-D tilings: how one axis is cut into tiles, as pure arithmetic.

A tiling of an axis of `size` voxels is a sequence of `AxisTile`s whose kept intervals
partition `[0, size)` exactly. A tile may exceed the axis; what lies outside is padding.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol


class AxisTile(NamedTuple):
    """One tile along one axis, in voxels of the image.

    ```
    start            keep_start          keep_stop       start + size
      ├── halo ─────────┼──────── kept ──────┼──── halo ──────┤
    ```
    """

    start: int
    size: int
    keep_start: int
    keep_stop: int


class AxisTiling(Protocol):
    """A sequence of tiles over one axis; every method costs O(1) or O(log n)."""

    @property
    def size(self) -> int:
        """Voxels along the axis."""

    @property
    def step(self) -> int:
        """Distance of neighbouring crops: blocks cut at its multiples compute nothing twice."""

    @property
    def n_tiles(self) -> int: ...

    def tile(self, index: int) -> AxisTile: ...

    def touching(self, start: int, stop: int) -> range:
        """The tiles that keep some voxel of `[start, stop)`, an interval of the axis."""


@dataclass(frozen=True, slots=True)
class TiledAxis:
    """Tiles every `patch - overlap` voxels, the last one moved back inside.

    With n the size, p the patch, o the overlap and s = p - o: one tile at 0 if n <= p; else
    k = ceil((n - o) / s) tiles, tile i at min(i*s, n - p), keeping
    [i*s + o//2, (i+1)*s + o//2), the first from 0, the last to n.

    ```
    n = 12, p = 6, o = 2     tile 0 [0  ─  6)   keeps [0 ─ 5)
                             tile 1    [4 ─ 10)        keeps [5 ─ 9)
                             tile 2      [6  ─ 12)            keeps [9 ─ 12)
    ```

    >>> TiledAxis(12, 6, 2).tile(2)
    AxisTile(start=6, size=6, keep_start=9, keep_stop=12)
    """

    size: int
    patch: int
    overlap: int

    @property
    def step(self) -> int:
        return self.patch - self.overlap

    @property
    def n_tiles(self) -> int:
        if self.size <= self.patch:
            return 1
        return -((self.overlap - self.size) // self.step)

    def tile(self, index: int) -> AxisTile:
        size, patch = self.size, self.patch
        if size <= patch:
            return AxisTile(0, patch, 0, size)
        step = patch - self.overlap
        begin = index * step
        keep_start = begin + self.overlap // 2 if index else 0
        # The last tile is the first one that reaches the end.
        keep_stop = size if begin + patch >= size else begin + step + self.overlap // 2
        return AxisTile(min(begin, size - patch), patch, keep_start, keep_stop)

    def touching(self, start: int, stop: int) -> range:
        last, front, step = self.n_tiles - 1, self.overlap // 2, self.step
        first = min(max((start - front) // step, 0), last)
        return range(first, min(max((stop - 1 - front) // step, 0), last) + 1)


@dataclass(frozen=True, slots=True)
class AlignedAxis:
    """Tiles that start on multiples of `align` and keep intervals that start on multiples of s.

    With f = o // 2 and N the size rounded up to `align` and up to `min_size`: one tile [0, N)
    if N <= p; else tile i, for i from f // s to ceil((N - p + f) / s), starts at
    min(max(i*s - f, 0), N - p) and keeps [i*s, (i+1)*s), the first from 0, the last to n.
    What lies between n and N is padding.

    ```
    n = 13, p = 8, o = 4, align = 2 (N = 14)     tile 0 [0 ─  8)    keeps [0 ─ 4)
                                                 tile 1   [2 ─ 10)      keeps [4 ─ 8)
                                                 tile 2       [6 ─ 14)      keeps [8 ─ 13)
    ```

    A model whose result lacks a `margin` of (a, b) voxels of its tile gives of a tile of p voxels
    q = p - a - b. Then all this is said of what it gives, with q for p and o - a - b for o; N is
    congruent to q modulo `align`, f the multiple of `align` below, and tiles begin a voxels
    before and end b voxels behind what they give: outside the image at its ends.

    A `front` that is given takes the place of f.

    >>> AlignedAxis(13, 8, 4, align=2).tile(2)
    AxisTile(start=6, size=8, keep_start=8, keep_stop=13)
    >>> AlignedAxis(13, 8, 4, margin=(2, 2)).tile(0)
    AxisTile(start=-2, size=8, keep_start=0, keep_stop=4)
    """

    size: int
    patch: int
    overlap: int
    align: int = 1
    min_size: int = 1
    margin: tuple[int, int] = (0, 0)
    front: int | None = None
    step: int = field(init=False, repr=False, compare=False)
    _front: int = field(init=False, repr=False, compare=False)
    _furthest: int = field(init=False, repr=False, compare=False)
    _first: int = field(init=False, repr=False, compare=False)
    _last: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        cut, align = sum(self.margin), self.align
        given, step = self.patch - cut, self.patch - self.overlap
        least = max(self.size, self.min_size - cut)
        padded = least + (given - least) % align
        front = self.front
        if front is None:
            front = (self.overlap - cut) // 2 // align * align
        single = padded <= given
        object.__setattr__(self, "step", max(step, padded) if single else step)
        object.__setattr__(self, "_front", front)
        object.__setattr__(self, "_furthest", padded - given)  # where the last tile starts
        object.__setattr__(self, "_first", 0 if single else front // step)
        last = 0 if single else -((given - padded - front) // step)
        object.__setattr__(self, "_last", last)

    @property
    def n_tiles(self) -> int:
        return self._last - self._first + 1

    def tile(self, index: int) -> AxisTile:
        # Comparisons instead of min and max: this is the inner loop of everything.
        furthest, before = self._furthest, self.margin[0]
        if furthest <= 0:
            return AxisTile(-before, self.patch + furthest, 0, self.size)
        position = index + self._first
        keep = position * self.step
        start = keep - self._front
        if start < 0:
            start = 0
        elif start > furthest:
            start = furthest
        keep_stop = self.size if position == self._last else keep + self.step
        return AxisTile(start - before, self.patch, keep if index else 0, keep_stop)

    def touching(self, start: int, stop: int) -> range:
        first, last, step = self._first, self._last, self.step
        begin = min(max(start // step, first), last)
        end = min(max((stop - 1) // step, first), last)
        return range(begin - first, end - first + 1)


@dataclass(frozen=True, slots=True)
class WholeAxis:
    """One tile that is the axis.

    >>> WholeAxis(7).tile(0)
    AxisTile(start=0, size=7, keep_start=0, keep_stop=7)
    """

    size: int

    @property
    def step(self) -> int:
        return self.size

    @property
    def n_tiles(self) -> int:
        return 1

    def tile(self, index: int) -> AxisTile:  # noqa: ARG002 (there is only one)
        return AxisTile(0, self.size, 0, self.size)

    def touching(self, start: int, stop: int) -> range:  # noqa: ARG002 (there is only one)
        return range(1)


class TableAxis:
    """A tiling given tile by tile, as a strategy from elsewhere made it.

    >>> TableAxis([AxisTile(0, 4, 0, 3), AxisTile(2, 4, 3, 6)]).touching(3, 5)
    range(1, 2)
    """

    def __init__(self, tiles: Iterable[AxisTile]) -> None:
        self.tiles = tuple(tiles)
        self._stops = [tile.keep_stop for tile in self.tiles]

    def __repr__(self) -> str:
        return f"TableAxis({list(self.tiles)})"

    @property
    def size(self) -> int:
        return self._stops[-1]

    @property
    def step(self) -> int:
        """The first crop's width: where it is regular, blocks cut at its multiples fit."""
        return self._stops[0]

    @property
    def n_tiles(self) -> int:
        return len(self.tiles)

    def tile(self, index: int) -> AxisTile:
        return self.tiles[index]

    def touching(self, start: int, stop: int) -> range:
        return range(bisect_right(self._stops, start), bisect_right(self._stops, stop - 1) + 1)


def representatives(tiling: AxisTiling) -> Sequence[AxisTile]:
    """Tiles that stand for all: some of an arithmetic tiling, every tile of a table.

    The first three and the last two tell all starts, sizes and crops.

    >>> [tile.start for tile in representatives(AlignedAxis(100, 16, 8))]
    [0, 4, 12, 44, 76, 84]
    """
    if isinstance(tiling, TableAxis):
        return tiling.tiles
    n = tiling.n_tiles
    return [tiling.tile(i) for i in sorted({*range(min(n, 3)), n // 2, max(n - 2, 0), n - 1})]
