"""Results of tiles put together in the region that a block owns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..geometry import Region
from ..model import Results, Signature
from ..values import has_nan, store_values, weights
from .coverage import Tile


@dataclass(frozen=True)
class Destination:
    """Where one array of the results goes: some of its channels, a `C(Z)YX` array of the region."""

    name: str
    channels: slice
    values: NDArray[Any]


class Stitcher(Protocol):
    """Takes the result of one tile after the other."""

    def add(self, tile: Tile, results: Results) -> bool:
        """Take a tile's results, `C(Z)YX`; whether there was a NaN in what is used of them."""

    def finish(self) -> None:
        """Called after the last tile."""


@dataclass(frozen=True)
class Crop:
    """Each voxel from the one tile that keeps it."""

    signature: Signature
    region: Region
    destinations: Sequence[Destination]

    def add(self, tile: Tile, results: Results) -> bool:
        part = _shared(self.signature.kept(tile), self.region)
        source = part.slices_within(self.signature.given(tile))
        place = part.slices_within(self.region)
        found = False
        for to in self.destinations:
            crop = results[to.name][to.channels][(slice(None), *source)]
            found |= store_values(to.values[(slice(None), *place)], crop)
        return found

    def finish(self) -> None:
        pass


@dataclass
class Blend:
    """Each voxel from all tiles whose results cover it, weighted; sums are in float64."""

    signature: Signature
    region: Region
    destinations: Sequence[Destination]
    stitch: str
    step: tuple[int, ...]
    _sums: list[NDArray[np.float64]] = field(init=False)
    _weight: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        self._sums = [np.zeros(to.values.shape) for to in self.destinations]
        self._weight = np.zeros(self.region.shape)

    def add(self, tile: Tile, results: Results) -> bool:
        given = self.signature.given(tile)
        part = _shared(given, self.region)
        source, place = part.slices_within(given), part.slices_within(self.region)
        table = weights(self.stitch, given.shape, self.signature.overlap(tile, self.step))[source]
        self._weight[place] += table
        found = False
        for to, total in zip(self.destinations, self._sums, strict=True):
            for channel, values in enumerate(results[to.name][to.channels]):
                used = values[source]
                # Channel by channel: the product of all of them at once would be a block more of
                # memory.
                total[channel][place] += np.multiply(used, table, dtype=np.float64)
                found |= has_nan(used)
        return found

    def finish(self) -> None:
        for to, total in zip(self.destinations, self._sums, strict=True):
            # Where no tile is needed, as a mask says, there is no weight.
            np.divide(total, self._weight, out=total, where=self._weight != 0)
            store_values(to.values, total)


def _shared(a: Region, b: Region) -> Region:
    return Region(tuple(map(max, a.start, b.start)), tuple(map(min, a.stop, b.stop)))
