"""The same voxels computed in one tile with a much larger context, at different places of it.

```
tiles      ├──────── tile ────────┤
                        ├──────── tile ────────┤
seam                        │
reference  ├──────────────── one tile ───────────────────┤
shifted       ├──────────────── one tile ───────────────────┤
```

References begin on the grid that the tiles begin on (the largest step that divides all their
starts): where that is not a multiple of the network's own, the shifted one differs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from ..block import Prediction, predicted_tile
from ..geometry import AxisTile, AxisTiling, representatives
from ..model import ModelError, Results
from .places import Place

_USUAL = 32
"""What total strides of networks divide."""

_CONTEXT = {2: 128, 3: 64}
"""Voxels on either side of a place that a larger tile has at least, by the number of axes."""


@dataclass(frozen=True)
class References:
    """Results for a place: from a larger tile, and from one that is shifted, where there is room.

    `size` is in voxels along the place's axis.
    """

    plain: Results
    shifted: Results | None
    size: int


def references(prediction: Prediction, place: Place) -> References:
    """Compute a place in larger tiles.

    Raises
    ------
    ModelError
        If the model takes no larger tile, nor one of the same size.
    """
    line = _Line.of(prediction, place)
    failure: ModelError | None = None
    for size in line.sizes():
        start = line.centred(size)
        shifted = line.shifted(start, size)
        try:
            plain = _from_tile(prediction, place, start, size)
            other = None if shifted is None else _from_tile(prediction, place, shifted, size)
        except ModelError as error:
            failure = failure or error
            continue
        return References(plain, other, size)
    assert failure is not None
    raise failure


def shortened(prediction: Prediction, place: Place, size: int) -> Results | None:
    """The place from a tile that begins where the larger one does, and ends earlier.

    None where there is no room for that.
    """
    line = _Line.of(prediction, place)
    start = line.centred(size)
    cut = math.lcm(line.grid, _USUAL)
    for shorter in (size - cut, size - line.grid):
        if start + shorter >= place.region.stop[place.axis] + line.context(start, size) // 2:
            try:
                return _from_tile(prediction, place, start, shorter)
            except ModelError:
                continue
    return None


def grid_of(tiling: AxisTiling) -> int:
    """The largest number of voxels that divides the distances of all tiles' starts."""
    starts = [tile.start for tile in representatives(tiling)]
    return math.gcd(*(b - starts[0] for b in starts[1:])) or tiling.step


@dataclass(frozen=True)
class _Line:
    """The axis of a place: all tiles lie in [first, end), and begin on a grid from `first` on."""

    first: int
    end: int
    grid: int
    patch: int
    start: int
    stop: int
    least_context: int

    @classmethod
    def of(cls, prediction: Prediction, place: Place) -> _Line:
        tiling = prediction.grids[place.data_idx].axes[place.axis]
        last = tiling.tile(tiling.n_tiles - 1)
        return cls(
            first=tiling.tile(0).start,
            end=last.start + last.size,
            grid=grid_of(tiling),
            patch=tiling.tile(0).size,
            start=place.region.start[place.axis],
            stop=place.region.stop[place.axis],
            least_context=_CONTEXT[len(place.tile)],
        )

    def sizes(self) -> Iterator[int]:
        """Of tiles that the model may take, the largest first; in the end the tiling's own."""
        patch, step = self.patch, math.lcm(self.grid, _USUAL)
        step = step if step <= patch else self.grid
        wanted = max(2 * patch, self.stop - self.start + 2 * self.least_context)
        # The model may refuse a size, or its memory: the next smaller one still tells something.
        for size in (patch + -(-(wanted - patch) // step) * step, 2 * patch, patch):
            yield min(size, self.end - self.first)

    def centred(self, size: int) -> int:
        """Where a tile begins that holds the place in its middle."""
        wanted = (self.start + self.stop - size) // 2 - self.first
        most = self.end - size - self.first
        return self.first + min(max(wanted, 0), most) // self.grid * self.grid

    def shifted(self, start: int, size: int) -> int | None:
        """The same, a step of the grid further, if half of the context is left on either side."""
        for other in (start + self.grid, start - self.grid):
            inside = self.first <= other <= self.end - size
            if inside and 2 * self.context(other, size) >= self.context(start, size):
                return other
        return None

    def context(self, start: int, size: int) -> int:
        """Voxels around the place on the narrower side; at the image's end there are enough."""
        before = self.start - start if start > self.first else size
        behind = start + size - self.stop if start + size < self.end else size
        return min(before, behind, size)


def _from_tile(prediction: Prediction, place: Place, start: int, size: int) -> Results:
    along = AxisTile(start, size, place.region.start[place.axis], place.region.stop[place.axis])
    tile = (*place.tile[: place.axis], along, *place.tile[place.axis + 1 :])
    return predicted_tile(prediction, place.data_idx, place.sample_idx, tile, place.region)
