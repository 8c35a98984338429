"""Ids that a model gives the objects of each tile anew: stitched, they mean nothing."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from ..geometry import AxisTile
from ..model import Results, Sizing
from ..values import are_renumbered, may_be_ids
from .trial_tile import TrialTile

Tile = tuple[AxisTile, ...]

_SHOWN = (
    "by itself: two overlapping tiles agree in the objects' shapes and disagree in their ids. In "
    "the stitched result objects change their id at seams, and one id is of several objects."
)

_MODEL = (
    f"The model numbers the objects of each tile {_SHOWN} Predict a mask or scores, and number the "
    "objects of the stitched result."
)

_POST = (
    "post numbers the objects of each block, or keeps ids that the model gives those of each tile, "
    f"{_SHOWN} Store a mask or scores, and number the objects of the whole result."
)


def warn_of_labels(
    results: Results,
    sizing_of: Callable[[str], Sizing],
    tile: TrialTile,
    predict: Callable[[Tile], Results],
    *,
    by_post: bool = False,
) -> None:
    """Warn where a tile and a neighbour show the same objects under other ids.

    `results` are those of the tile, as large as `sizing_of` says by their names; `predict` gives
    those of another one. `by_post`: they are what `post` makes of a tile, as it will of a block.
    """
    if not any(may_be_ids(values[0]) for values in results.values()):
        return
    here = tile.tiles
    for there in _neighbours(tile):
        # Copied: a model may give the same arrays each time.
        ours = {name: values.copy() for name, values in results.items()}
        try:
            theirs = predict(there)
        except Exception:  # noqa: BLE001 (this is advice: a run sets a block aside that fails)
            continue
        if any(
            _are_renumbered(values, theirs[name], sizing_of(name), here, there)
            for name, values in ours.items()
            if name in theirs
        ):
            warnings.warn(_POST if by_post else _MODEL, stacklevel=2)
            return


def _are_renumbered(
    ours: NDArray[Any], theirs: NDArray[Any], sizing: Sizing, here: Tile, there: Tile
) -> bool:
    """Whether two tiles show the same objects under other ids where both see them."""
    shared = sizing.given(here).intersection(sizing.given(there))
    if shared is None:
        return False
    one, other = (
        values[0][(slice(None), *shared.slices_within(sizing.given(tile)))]
        for values, tile in ((ours, here), (theirs, there))
    )
    return are_renumbered(one, other)


def _neighbours(tile: TrialTile) -> list[Tile]:
    """The tiles of the same size before a tile along each axis."""
    position = tile.position
    before = [
        tuple(tile.grid.tiles([at - (i == axis) for i, at in enumerate(position)]))
        for axis in range(len(position))
        if position[axis]
    ]
    return [there for there in before if tuple(along.size for along in there) == tile.shape]
