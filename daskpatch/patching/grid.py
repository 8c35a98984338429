"""The tiles of one image stack: samples times a product of 1-D tilings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import sub

from ..geometry import AxisTile, AxisTiling, unravel
from .types import TileSpecs


@dataclass(frozen=True, slots=True)
class TileGrid:
    """Samples slowest, then the tiles of a sample in C order.

    >>> from daskpatch.geometry import TiledAxis
    >>> TileGrid(2, (TiledAxis(12, 6, 2), TiledAxis(6, 6, 2))).find(4)
    (1, (1, 0))
    """

    n_samples: int
    axes: tuple[AxisTiling, ...]
    counts: tuple[int, ...] = field(init=False, repr=False)
    n_tiles: int = field(init=False, repr=False)
    _shape: tuple[int, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        counts = tuple(axis.n_tiles for axis in self.axes)
        object.__setattr__(self, "counts", counts)
        object.__setattr__(self, "_shape", (self.n_samples, *counts))
        object.__setattr__(self, "n_tiles", self.n_samples * math.prod(counts))

    @property
    def step(self) -> tuple[int, ...]:
        return tuple(axis.step for axis in self.axes)

    def find(self, index: int) -> tuple[int, tuple[int, ...]]:
        """The sample of a tile, and its position on the sample's grid."""
        position = unravel(index, self._shape)
        return position[0], position[1:]

    def tiles(self, position: Sequence[int]) -> list[AxisTile]:
        """The tile at a position, axis by axis."""
        return [axis.tile(i) for axis, i in zip(self.axes, position, strict=True)]

    def tile_specs(self, data_idx: int, index: int) -> TileSpecs:
        """The specs of a tile, by its index within the image stack."""
        sample_idx, position = self.find(index)
        return self.specs_of(data_idx, sample_idx, self.tiles(position))

    def specs_of(self, data_idx: int, sample_idx: int, tiles: Sequence[AxisTile]) -> TileSpecs:
        """The specs of a tile that is known axis by axis."""
        starts, sizes, keep_starts, keep_stops = zip(*tiles, strict=True)
        return {
            "data_idx": data_idx,
            "sample_idx": sample_idx,
            "coords": starts,
            "patch_size": sizes,
            "crop_coords": tuple(map(sub, keep_starts, starts)),
            "crop_size": tuple(map(sub, keep_stops, keep_starts)),
            "stitch_coords": keep_starts,
            "total_tiles": self.n_tiles,
        }
