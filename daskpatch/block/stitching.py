"""Results of tiles put together in the region that a block owns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..geometry import Region
from ..model import Results, Sizing
from ..values import has_nan, store_values, weights
from .coverage import Tile

Slices = tuple[slice, ...]
Constants = dict[str, NDArray[Any]]
"""Of arrays that are alike everywhere, by name: the value of each channel."""


@dataclass(frozen=True)
class Destination:
    """Where one array of the results goes: some of its channels, `C(Z)YX` values of a region."""

    name: str
    channels: slice
    sizing: Sizing
    region: Region
    values: NDArray[Any]


class Stitcher(Protocol):
    """Takes the result of one tile after the other."""

    def add(self, tile: Tile, results: Results) -> bool:
        """Take a tile's results, `C(Z)YX`; whether there was a NaN in what is used of them."""

    def fill(self, results: Constants) -> bool:
        """Take the same for all tiles; False where they have to be added one by one."""

    def finish(self) -> None:
        """Called after the last tile."""


@dataclass(frozen=True)
class Crop:
    """Each voxel from the one tile that keeps it."""

    destinations: Sequence[Destination]

    def add(self, tile: Tile, results: Results) -> bool:
        found = False
        for to in self.destinations:
            part = to.sizing.kept(tile).intersection(to.region)
            if part is None:
                continue
            source = part.slices_within(to.sizing.given(tile))
            crop = results[to.name][to.channels][(slice(None), *source)]
            place = part.slices_within(to.region)
            found |= store_values(to.values[(slice(None), *place)], crop)
        return found

    def fill(self, results: Constants) -> bool:
        for to in self.destinations:
            constants = results[to.name][to.channels]
            stored = np.empty_like(constants, to.values.dtype)
            store_values(stored, constants)
            to.values[...] = stored.reshape(-1, *(1 for _ in to.region.shape))
        return True

    def finish(self) -> None:
        pass


@dataclass
class Blend:
    """Each voxel from all tiles whose results cover it, weighted; sums are in float64."""

    destinations: Sequence[Destination]
    stitch: str
    step: tuple[int, ...]
    _sums: list[NDArray[np.float64]] = field(init=False)
    _weights: dict[tuple[Sizing, Region], NDArray[np.float64]] = field(init=False)

    def __post_init__(self) -> None:
        self._sums = [np.zeros(to.values.shape) for to in self.destinations]
        # Arrays of one size share theirs.
        places = {(to.sizing, to.region) for to in self.destinations}
        self._weights = {(sizing, region): np.zeros(region.shape) for sizing, region in places}

    def add(self, tile: Tile, results: Results) -> bool:
        tables = {place: self._weigh(tile, *place) for place in self._weights}
        found = False
        for to, total in zip(self.destinations, self._sums, strict=True):
            weighed = tables[to.sizing, to.region]
            if weighed is None:
                continue
            source, place, table = weighed
            for channel, values in enumerate(results[to.name][to.channels]):
                used = values[source]
                # Channel by channel: the product of all of them at once would be a block more of
                # memory.
                total[channel][place] += np.multiply(used, table, dtype=np.float64)
                found |= has_nan(used)
        return found

    def fill(self, results: Constants) -> bool:  # noqa: ARG002 (sums of weights are rounded)
        return False

    def _weigh(
        self, tile: Tile, sizing: Sizing, region: Region
    ) -> tuple[Slices, Slices, NDArray[np.float32]] | None:
        """Add a tile's weights; what of its result is used, where that lies, and its weights.

        None where nothing of it lies in the region.
        """
        given = sizing.given(tile)
        part = given.intersection(region)
        if part is None:
            return None
        source, place = part.slices_within(given), part.slices_within(region)
        table = weights(self.stitch, given.shape, sizing.overlap(tile, self.step))[source]
        self._weights[sizing, region][place] += table
        return source, place, table

    def finish(self) -> None:
        for to, total in zip(self.destinations, self._sums, strict=True):
            weight = self._weights[to.sizing, to.region]
            # Where no tile is needed, as a mask says, there is no weight.
            np.divide(total, weight, out=total, where=weight != 0)
            store_values(to.values, total)
