"""Ids that a model gives the objects of each tile anew: stitched, they mean nothing."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from ..geometry import AxisTile
from ..model import Results, Signature, Sizing
from ..values import are_renumbered, may_be_ids
from .trial_tile import TrialTile

Tile = tuple[AxisTile, ...]


def warn_of_labels(
    results: Results, signature: Signature, tile: TrialTile, predict: Callable[[Tile], Results]
) -> None:
    """Warn where a tile and a neighbour show the same objects under other ids.

    `results` are those of the tile; `predict` gives those of another one.
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
            _are_renumbered(values, theirs[name], signature.of(name), here, there)
            for name, values in ours.items()
            if name in theirs
        ):
            warnings.warn(
                "The model numbers the objects of each tile by itself: two overlapping tiles agree "
                "in the objects' shapes and disagree in their ids. In the stitched result objects "
                "change their id at seams, and one id is of several objects. Predict a mask or "
                "scores, and number the objects of the stitched result.",
                stacklevel=2,
            )
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
