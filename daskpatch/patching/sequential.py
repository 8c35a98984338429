"""Patches on a grid, for training and validation in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..geometry import Sizes, TiledAxis
from .arguments import Shapes
from .grid import TileGrid
from .sequence import Offsets, SpecSequence, Strategy
from .tiling import sizes_of_patches
from .types import PatchSpecs


@dataclass(frozen=True, init=False)
class SequentialPatching(Strategy[PatchSpecs]):
    """Patches every `patch_size - overlaps` voxels, the last one moved back inside the image.

    Where an axis is smaller than the patch, the patch starts at 0 and exceeds it.

    Parameters
    ----------
    data_shapes
        One `SC(Z)YX` shape per image stack.
    patch_size, overlaps
        Voxels per spatial axis, or one number for all; without `overlaps`, 0.

    Raises
    ------
    ValueError
        If the sizes don't fit each other.

    Examples
    --------
    >>> patches = SequentialPatching([(2, 1, 21, 13)], (6, 9), (4, 1))
    >>> len(patches), patches[-1]
    (36, {'data_idx': 0, 'sample_idx': 1, 'coords': (15, 4), 'patch_size': (6, 9)})
    """

    data_shapes: Shapes
    patch_size: tuple[int, ...]
    overlaps: tuple[int, ...]
    _grids: tuple[TileGrid, ...] = field(init=False, repr=False, compare=False)
    _offsets: Offsets = field(init=False, repr=False, compare=False)

    def __init__(
        self, data_shapes: Sequence[Sequence[int]], patch_size: Sizes, overlaps: Sizes | None = None
    ) -> None:
        shapes, sizes, shared = sizes_of_patches(
            data_shapes, patch_size, 0 if overlaps is None else overlaps
        )
        grids = tuple(
            TileGrid(shape[0], tuple(map(TiledAxis, shape[2:], sizes, shared))) for shape in shapes
        )
        self._set(
            data_shapes=shapes,
            patch_size=sizes,
            overlaps=shared,
            _grids=grids,
            _offsets=Offsets([grid.n_tiles for grid in grids]),
        )

    @property
    def n_patches(self) -> int:
        return self._offsets.total

    @property
    def patch_specs(self) -> SpecSequence[PatchSpecs]:
        """All patches, as a lazy sequence."""
        return SpecSequence(self, range(self.n_patches))

    def get_patch_spec(self, index: int) -> PatchSpecs:
        """The patch of an index, image stacks slowest, then samples, then C order."""
        data_idx, within = self._offsets.find(index)
        sample_idx, position = self._grids[data_idx].find(within)
        tiles = self._grids[data_idx].tiles(position)
        return {
            "data_idx": data_idx,
            "sample_idx": sample_idx,
            "coords": tuple(tile.start for tile in tiles),
            "patch_size": self.patch_size,
        }

    def get_patch_indices(self, data_idx: int) -> range:
        """The indices of one image stack's patches."""
        return self._offsets.indices(data_idx)
