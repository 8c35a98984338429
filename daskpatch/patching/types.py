"""The field's vocabulary of patches and tiles, and the interface of patching strategies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypedDict, TypeGuard


class PatchSpecs(TypedDict):
    """One patch in a series of image stacks.

    `coords` and `patch_size` have one entry per spatial axis, (Z)YX. A patch that exceeds its
    image is padded.
    """

    data_idx: int
    sample_idx: int
    coords: Sequence[int]
    patch_size: Sequence[int]


class TileSpecs(PatchSpecs):
    """One tile: a patch that is predicted, cropped and stitched.

    `crop_coords` are relative to the tile, `stitch_coords` to the image; `total_tiles` counts
    the tiles of the same image stack, over all its samples.
    """

    crop_coords: Sequence[int]
    crop_size: Sequence[int]
    stitch_coords: Sequence[int]
    total_tiles: int


class Patching(Protocol):
    """The interface of a patching strategy."""

    @property
    def n_patches(self) -> int:
        """How many patches the strategy gives."""

    def get_patch_spec(self, index: int, /) -> PatchSpecs:
        """The patch of an index in `range(n_patches)`."""

    def get_patch_indices(self, data_idx: int, /) -> Sequence[int]:
        """The indices of the patches that lie in one image stack of the series."""


def is_tile_specs(specs: PatchSpecs) -> TypeGuard[TileSpecs]:
    """Whether a patch is a tile, that is, knows how it is cropped and stitched.

    >>> is_tile_specs({"data_idx": 0, "sample_idx": 0, "coords": (0, 0), "patch_size": (8, 8)})
    False
    """
    return TileSpecs.__required_keys__ <= specs.keys()
