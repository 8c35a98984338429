"""Ids that a model gives the objects of each tile anew: stitched, they mean nothing."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from ..geometry import AxisTile, Region
from ..model import Results, Signature
from ..values import are_renumbered
from .trial_tile import TrialTile

Tile = tuple[AxisTile, ...]


def warn_of_labels(
    results: Results, signature: Signature, tile: TrialTile, predict: Callable[[Tile], Results]
) -> None:
    """Warn where a tile and a neighbour show the same objects under other ids.

    `results` are those of the tile; `predict` gives those of another one.
    """
    if all(values.dtype.kind not in "iu" for values in results.values()):
        return
    here = tile.tiles
    for there in _neighbours(tile):
        shared = signature.given(here).intersection(signature.given(there))
        if shared is None:
            continue
        # Copied: a model may give the same arrays each time.
        ours = {name: _cut(v, signature, here, shared).copy() for name, v in results.items()}
        try:
            theirs = predict(there)
        except Exception:  # noqa: BLE001 (this is advice: a run sets a block aside that fails)
            continue
        if any(
            name in theirs and are_renumbered(values, _cut(theirs[name], signature, there, shared))
            for name, values in ours.items()
        ):
            warnings.warn(
                "The model numbers the objects of each tile by itself: two overlapping tiles agree "
                "in the objects' shapes and disagree in their ids. In the stitched result objects "
                "change their id at seams, and one id is of several objects. Predict a mask or "
                "scores, and number the objects of the stitched result.",
                stacklevel=2,
            )
            return


def _cut(values: NDArray[Any], signature: Signature, tile: Tile, region: Region) -> NDArray[Any]:
    """A (Z)YX region of what a tile gave, `C(Z)YX`."""
    cut: NDArray[Any] = values[0][(slice(None), *region.slices_within(signature.given(tile)))]
    return cut


def _neighbours(tile: TrialTile) -> list[Tile]:
    """The tiles of the same size before a tile along each axis."""
    position = tile.position
    before = [
        tuple(tile.grid.tiles([at - (i == axis) for i, at in enumerate(position)]))
        for axis in range(len(position))
        if position[axis]
    ]
    return [there for there in before if tuple(along.size for along in there) == tile.shape]
