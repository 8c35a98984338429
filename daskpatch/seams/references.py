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

from ..axis import AxisTile, AxisTiling, TableAxis
from ..block import Prediction, predicted_tile
from ..model import ModelError, Results
from ..region import Region
from .places import Place

_USUAL = 32
"""What total strides of networks divide."""


@dataclass(frozen=True)
class References:
    """Results for a place: from a larger tile, and from one that is shifted, where there is room.

    `size` is in voxels along the place's axis.
    """

    plain: Results
    shifted: Results | None
    size: int


def references(
    prediction: Prediction, place: Place, *, steps: int = 1, must_shift: bool = False
) -> References:
    """Compute a place in larger tiles.

    Parameters
    ----------
    prediction, place
        What, and where.
    steps
        Of how many steps of the grid the shift is.
    must_shift
        Whether tiles are made longer for it; else there is none where it would leave little
        context on one side.

    Raises
    ------
    ModelError
        If the model takes no larger tile, nor one of the same size.
    """
    tiling = prediction.grids[place.data_idx].axes[place.axis]
    shift = steps * grid_of(tiling)
    failure: ModelError | None = None
    for size in _sizes(tiling, shift if must_shift else 0):
        starts = list(_starts(tiling, place, size, shift))
        try:
            plain, *others = (_from_tile(prediction, place, start, size) for start in starts)
        except ModelError as error:
            failure = failure or error
            continue
        return References(plain, others[0] if others else None, size)
    assert failure is not None
    raise failure


def usual_shift(tiling: AxisTiling) -> int:
    """Steps of the grid of a shift that any usual network answers with the same result."""
    grid = grid_of(tiling)
    return math.lcm(grid, _USUAL) // grid


def grid_of(tiling: AxisTiling) -> int:
    """The largest number of voxels that divides the distances of all tiles' starts."""
    starts = [tile.start for tile in _telling(tiling)]
    return math.gcd(*(b - starts[0] for b in starts[1:])) or tiling.step


def _telling(tiling: AxisTiling) -> list[AxisTile]:
    """Tiles whose starts tell all starts: of an arithmetic tiling the first three and the last."""
    if isinstance(tiling, TableAxis):
        return list(tiling.tiles)
    n = tiling.n_tiles
    return [tiling.tile(i) for i in sorted({0, *range(min(n, 3)), max(n - 2, 0), n - 1})]


def _extent(tiling: AxisTiling) -> tuple[int, int]:
    """The interval that all tiles cover."""
    last = tiling.tile(tiling.n_tiles - 1)
    return tiling.tile(0).start, last.start + last.size


def _sizes(tiling: AxisTiling, shift: int) -> Iterator[int]:
    """Of tiles that the model may take, the largest first; in the end the tiling's own."""
    patch = tiling.tile(0).size
    grid = grid_of(tiling)
    step = math.lcm(grid, _USUAL)
    step = step if step <= patch else grid
    start, stop = _extent(tiling)
    for size in (patch + -(-(patch + 2 * shift) // step) * step, 2 * patch, patch):
        yield min(size, stop - start)


def _starts(tiling: AxisTiling, place: Place, size: int, shift: int) -> Iterator[int]:
    """Where tiles of a size begin that hold the place in their middle, on the grid.

    The second one, shifted, has no less than half the context of the first.
    """
    first, stop = _extent(tiling)
    grid = grid_of(tiling)
    most = (stop - size - first) // grid * grid
    box = place.region

    def context(start: int) -> int:
        """On the narrower side; what reaches the end of the image needs no more."""
        before = box.start[place.axis] - start if start > first else size
        behind = start + size - box.stop[place.axis] if start + size < stop else size
        return min(before, behind)

    plain = first + min(max((place.seam - size // 2 - first) // grid * grid, 0), most)
    yield plain
    for start in (plain + shift, plain - shift):
        if first <= start <= first + most and 2 * context(start) >= min(context(plain), size):
            yield start
            return


def _from_tile(prediction: Prediction, place: Place, start: int, size: int) -> Results:
    along = AxisTile(start, size, place.region.start[place.axis], place.region.stop[place.axis])
    tile = (*place.tile[: place.axis], along, *place.tile[place.axis + 1 :])
    region = output_region(prediction, place)
    return predicted_tile(prediction, place.data_idx, place.sample_idx, tile, region)


def output_region(prediction: Prediction, place: Place) -> Region:
    """A place's box in the output."""
    shape_of = prediction.signature.output_shape
    return Region(shape_of(place.region.start), shape_of(place.region.stop))
