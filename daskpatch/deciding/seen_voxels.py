"""The voxels that a model was tried on, told from others: a run begins on the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import Region
from ..probing import digest_of_values
from .trial_tile import TrialTile


@dataclass(frozen=True)
class SeenVoxels:
    """A box of an image, and what tells its voxels from others.

    Attributes
    ----------
    data_idx, sample_idx
        The image in its series, and the sample.
    box
        What of the trial tile lies inside the image, (Z)YX.
    """

    data_idx: int
    sample_idx: int
    box: Region
    digest: str

    @classmethod
    def of(cls, tile: TrialTile, patch: NDArray[Any]) -> SeenVoxels:
        """Those of a tile, of which all voxels are given, `C(Z)YX`."""
        specs, dtype = tile.specs, tile.image.data_dtype
        start = tuple(specs["coords"])
        stop = tuple(a + n for a, n in zip(start, specs["patch_size"], strict=True))
        box = Region(start, stop).clipped_to(tuple(tile.image.data_shape[2:]))
        inside = patch[(slice(None), *box.slices_within(Region(start, stop)))]
        digest = digest_of_values(np.asarray(inside, dtype))
        return cls(tile.data_idx, specs["sample_idx"], box, digest)

    def are(self, voxels: NDArray[Any], dtype: np.dtype[Any]) -> bool:
        """Whether the box has these voxels, `C(Z)YX`, in an image of `dtype`."""
        return digest_of_values(np.asarray(voxels, dtype)) == self.digest
