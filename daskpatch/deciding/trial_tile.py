"""The tile that the model is tried on: the one in the middle of the images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import AxisTile
from ..image import ImageStack
from ..model import Model
from ..patching import PatchSpecs, TileGrid
from ..statistics import statistics_of
from ..support import unmasked
from ..values import Normalize, ValueMap


@dataclass(frozen=True)
class TrialTile:
    """The tile in the middle of the image in the middle of a series; read when it is asked for.

    Attributes
    ----------
    position
        Of the tile in its grid.
    cut
        Voxels per spatial axis of what is taken of it, from its middle; None where it is whole.
    """

    image: ImageStack
    grid: TileGrid
    data_idx: int
    model: Model
    normalize: Normalize
    cut: tuple[int, ...] | None = None

    @classmethod
    def of(
        cls,
        images: Sequence[ImageStack],
        grids: Sequence[TileGrid],
        model: Model,
        normalize: Normalize,
    ) -> TrialTile:
        """The one of some images and their tiles."""
        middle = len(images) // 2
        return cls(images[middle], grids[middle], middle, model, normalize)

    def cut_to(self, shape: Sequence[int] | None) -> TrialTile:
        """The middle of it, in voxels per spatial axis; all of it where it is not larger."""
        whole = replace(self, cut=None)
        if shape is None or any(n > of for n, of in zip(shape, whole.shape, strict=True)):
            return whole
        return replace(self, cut=tuple(shape))

    @property
    def position(self) -> list[int]:
        return [n // 2 for n in self.grid.counts]

    @property
    def tiles(self) -> tuple[AxisTile, ...]:
        """The tile, along each spatial axis."""
        whole = tuple(self.grid.tiles(self.position))
        return whole if self.cut is None else tuple(map(_middle, whole, self.cut))

    @property
    def shape(self) -> tuple[int, ...]:
        """Its size along each spatial axis."""
        return tuple(tile.size for tile in self.tiles)

    @property
    def specs(self) -> PatchSpecs:
        return self.specs_of(self.tiles)

    def specs_of(self, tiles: Sequence[AxisTile]) -> PatchSpecs:
        """Another tile of the same sample."""
        return self.grid.specs_of(self.data_idx, self.grid.n_samples // 2, tiles)

    def read(self, specs: PatchSpecs | None = None) -> NDArray[Any]:
        """The voxels, `C(Z)YX`, of the tile or of another one.

        Raises
        ------
        OSError
            If they cannot be read.
        """
        specs = self.specs if specs is None else specs
        image, sample = self.image, specs["sample_idx"]
        voxels: NDArray[Any] = image.extract_patch(
            sample, None, specs["coords"], specs["patch_size"]
        )
        return unmasked(voxels, "the source")

    def value_map(self, patch: NDArray[Any]) -> ValueMap | None:
        """How its values are mapped: by the statistics of the tile alone.

        What comes out of the model then is looked at, and not kept.
        """
        kind = self.normalize.kind
        return None if kind is None else statistics_of(patch, self.normalize).value_map

    def batch_of(self, patch: NDArray[Any], value_map: ValueMap | None) -> NDArray[Any]:
        """What the model is given, `(1, C, (Z), Y, X)`; made anew, a model may write into it."""
        batch = np.empty((1, *patch.shape), self.model.dtype)
        self.fill(batch, patch, value_map)
        return batch

    def fill(self, batch: NDArray[Any], patch: NDArray[Any], value_map: ValueMap | None) -> None:
        """Put it into a batch of one, as blocks do."""
        self.normalize.fill(batch[0], patch, value_map)


def _middle(tile: AxisTile, n: int) -> AxisTile:
    """The n voxels in the middle of a tile, all of which are kept."""
    start = tile.start + (tile.size - n) // 2
    return AxisTile(start, n, start, start + n)
