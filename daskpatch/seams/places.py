"""Where seams are looked at: around edges of crops, where the image has structure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..block import Prediction, Tile
from ..geometry import Region
from ..values import finite_mean_and_deviation

_WIDTH = 32
"""Voxels on either side of a seam that are compared, at most."""

_ACROSS = 24
"""Voxels along the other axes, at most."""

_CANDIDATES = 8
"""Places that are read for each one that is taken."""


@dataclass(frozen=True)
class Place:
    """A seam of one sample: the edge between the crops of two tiles along an axis.

    `tile` is the one behind the seam; `region` the box of the input around the seam, which
    reaches into the crops of these two tiles only.
    """

    data_idx: int
    sample_idx: int
    axis: int
    seam: int
    tile: Tile
    region: Region
    is_last: bool


def choose_places(prediction: Prediction, axis: int, count: int, seed: int) -> list[Place]:
    """Some seams across an axis, those of the candidates around which values differ the most."""
    rng = np.random.default_rng((seed, axis))
    candidates = list(_candidates(prediction, axis, count * _CANDIDATES, rng))
    candidates.sort(key=lambda place: -_structure(prediction, place))
    # The last tile is often moved or padded: a seam there may show where no other does.
    last = [place for place in candidates if place.is_last][: count // 2]
    others = [place for place in candidates if place not in last]
    return [*others[: count - len(last)], *last]


def _candidates(
    prediction: Prediction, axis: int, count: int, rng: np.random.Generator
) -> Iterator[Place]:
    """Different seams at random; all of them, where there are no more."""
    with_seams = [i for i, grid in enumerate(prediction.grids) if grid.counts[axis] > 1]
    seen = set()
    for number in range(count if with_seams else 0):
        data_idx = int(rng.choice(with_seams))
        grid = prediction.grids[data_idx]
        sample_idx = int(rng.integers(grid.n_samples))
        at = [int(rng.integers(n)) for n in grid.counts]
        # The last tile often lies otherwise than all the others: half of the places are there.
        last = grid.counts[axis] - 1
        at[axis] = last if number % 2 else int(rng.integers(1, last + 1))
        if (data_idx, sample_idx, *at) not in seen:
            seen.add((data_idx, sample_idx, *at))
            yield _place(prediction, data_idx, sample_idx, axis, at)


def _place(
    prediction: Prediction, data_idx: int, sample_idx: int, axis: int, at: Sequence[int]
) -> Place:
    grid = prediction.grids[data_idx]
    tile = tuple(grid.tiles(at))
    seam = tile[axis].keep_start
    before = grid.axes[axis].tile(at[axis] - 1)
    start, stop = [], []
    for i, along in enumerate(tile):
        cell = prediction.signature.cells[i]
        if i == axis:
            reach = max(min(_WIDTH, grid.axes[i].step // 2) // cell, 1) * cell
            start.append(max(seam - reach, before.keep_start))
            stop.append(min(seam + reach, along.keep_stop))
        else:
            middle = (along.keep_start + along.keep_stop) // 2 // cell * cell
            reach = max(_ACROSS // 2 // cell, 1) * cell
            start.append(max(middle - reach, along.keep_start))
            stop.append(min(middle + reach, along.keep_stop))
    region = Region(tuple(start), tuple(stop))
    is_last = at[axis] == grid.counts[axis] - 1
    return Place(data_idx, sample_idx, axis, seam, tile, region, is_last)


def _structure(prediction: Prediction, place: Place) -> float:
    """The standard deviation of the image around a place."""
    image = prediction.images[place.data_idx]
    box = place.region
    values = image.extract_patch(place.sample_idx, None, box.start, box.shape)
    return finite_mean_and_deviation(values)[1]
