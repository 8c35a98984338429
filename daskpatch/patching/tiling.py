"""Strategies that tile: every voxel is kept by exactly one tile."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from ..geometry import (
    AlignedAxis,
    AxisTiling,
    Margin,
    Sides,
    Sizes,
    TiledAxis,
    WholeAxis,
    as_margin,
    as_sizes,
)
from .arguments import Shapes, as_shapes, check_alignment, check_front, check_margin, check_overlaps
from .grid import TileGrid
from .sequence import Offsets, SpecSequence, Strategy
from .types import TileSpecs


class TileStrategy(Strategy[TileSpecs]):
    """Base of the tilings: a grid of tiles for each image stack.

    A subclass is a frozen dataclass that normalises its arguments and says how one axis is
    tiled; `grids` and everything else follow.
    """

    data_shapes: Shapes
    grids: tuple[TileGrid, ...]
    _offsets: Offsets

    @abstractmethod
    def _axis(self, axis: int, size: int) -> AxisTiling: ...

    def _set(self, **normalised: object) -> None:
        """Store the normalised arguments, then the grids that follow from them."""
        super()._set(**normalised)
        grids = tuple(
            TileGrid(shape[0], tuple(self._axis(i, n) for i, n in enumerate(shape[2:])))
            for shape in self.data_shapes
        )
        super()._set(grids=grids, _offsets=Offsets([grid.n_tiles for grid in grids]))

    @property
    def n_patches(self) -> int:
        return self._offsets.total

    @property
    def tile_specs(self) -> SpecSequence[TileSpecs]:
        """All tiles, as a lazy sequence."""
        return SpecSequence(self, range(self.n_patches))

    def get_patch_spec(self, index: int) -> TileSpecs:
        """The tile of an index, image stacks slowest, then samples, then C order."""
        data_idx, within = self._offsets.find(index)
        return self.grids[data_idx].tile_specs(data_idx, within)

    def get_patch_indices(self, data_idx: int) -> range:
        """The indices of one image stack's tiles."""
        return self._offsets.indices(data_idx)


@dataclass(frozen=True, init=False)
class TiledPatching(TileStrategy):
    """Tiles every `patch_size - overlaps` voxels, the last one moved back inside the image.

    The convention of CAREamics, index for index; odd overlaps too are an exact partition. An
    image smaller than the tile has one tile, which exceeds it.

    Parameters
    ----------
    data_shapes
        One `SC(Z)YX` shape per image stack.
    patch_size, overlaps
        Voxels per spatial axis, or one number for all.

    Raises
    ------
    ValueError
        If the sizes don't fit each other.

    Examples
    --------
    >>> tiling = TiledPatching([(1, 1, 100, 100)], (64, 64), (16, 16))
    >>> len(tiling), tiling[-1]["coords"], tiling[-1]["stitch_coords"]
    (4, (36, 36), (56, 56))
    """

    data_shapes: Shapes
    patch_size: tuple[int, ...]
    overlaps: tuple[int, ...]

    def __init__(
        self, data_shapes: Sequence[Sequence[int]], patch_size: Sizes, overlaps: Sizes
    ) -> None:
        shapes, sizes, shared = sizes_of_patches(data_shapes, patch_size, overlaps)
        self._set(data_shapes=shapes, patch_size=sizes, overlaps=shared)

    def _axis(self, axis: int, size: int) -> AxisTiling:
        return TiledAxis(size, self.patch_size[axis], self.overlaps[axis])


@dataclass(frozen=True, init=False)
class AlignedPatching(TileStrategy):
    """Tiles on the network's grid: they start on multiples of `align`, crops on those of the step.

    With a halo (half the overlap) no smaller than the model's receptive field, the stitched
    result is the whole-image result, and blocks cut at multiples of `patch_size - overlaps`
    compute nothing twice.

    Parameters
    ----------
    data_shapes
        One `SC(Z)YX` shape per image stack.
    patch_size, overlaps
        Voxels per spatial axis, or one number for all. With `align > 1`, `patch_size` must be a
        multiple of `align` and `overlaps` of `2 * align`.
    align
        The network's total stride: 8 for three poolings by two.
    min_size
        The smallest tile; `min_size=patch_size` for a model of one fixed size.
    margin
        Voxels that the model cuts off each side of its tile (valid convolutions): a number, or
        per axis a number or a pair. Tiles reach so far beyond the image, overlaps are of both
        margins at least, and with `align > 1` it is `patch_size - overlaps` that must be a
        multiple of `align`.
    front
        Voxels that a tile gives in front of its crop, a multiple of `align` and no more than the
        overlap; by default half of the overlap. 0 suits tiles that are blended, not cropped: a
        block whose edges are multiples of the step shares one tile with its neighbour, not two.

    Raises
    ------
    ValueError
        If the sizes don't fit each other.

    Examples
    --------
    >>> tiling = AlignedPatching([(1, 1, 101, 50)], (64, 64), (16, 16), align=4)
    >>> [(tile["coords"], tile["patch_size"], tile["crop_size"]) for tile in tiling]
    [((0, 0), (64, 52), (48, 50)), ((40, 0), (64, 52), (53, 50))]
    """

    data_shapes: Shapes
    patch_size: tuple[int, ...]
    overlaps: tuple[int, ...]
    align: tuple[int, ...]
    min_size: tuple[int, ...]
    margin: Margin
    front: tuple[int, ...] | None

    def __init__(
        self,
        data_shapes: Sequence[Sequence[int]],
        patch_size: Sizes,
        overlaps: Sizes,
        align: Sizes = 1,
        min_size: Sizes = 1,
        margin: int | Sequence[Sides] = 0,
        front: Sizes | None = None,
    ) -> None:
        shapes, sizes, shared = sizes_of_patches(data_shapes, patch_size, overlaps)
        strides = as_sizes("align", align, len(sizes), least=1)
        smallest = as_sizes("min_size", min_size, len(sizes), least=1)
        cut = as_margin(margin, len(sizes))
        if any(map(any, cut)):
            check_margin(sizes, shared, strides, smallest, cut)
        else:
            check_alignment(sizes, shared, strides, smallest)
        given = None
        if front is not None:
            given = as_sizes("front", front, len(sizes), least=0)
            check_front(given, shared, strides, cut)
        self._set(
            data_shapes=shapes,
            patch_size=sizes,
            overlaps=shared,
            align=strides,
            min_size=smallest,
            margin=cut,
            front=given,
        )

    def _axis(self, axis: int, size: int) -> AxisTiling:
        return AlignedAxis(
            size,
            self.patch_size[axis],
            self.overlaps[axis],
            self.align[axis],
            self.min_size[axis],
            self.margin[axis],
            None if self.front is None else self.front[axis],
        )


@dataclass(frozen=True, init=False)
class WholeSamplePatching(TileStrategy):
    """Each sample is one tile.

    >>> WholeSamplePatching([(2, 1, 30, 20)])[1]["patch_size"]
    (30, 20)
    """

    data_shapes: Shapes

    def __init__(self, data_shapes: Sequence[Sequence[int]]) -> None:
        self._set(data_shapes=as_shapes(data_shapes))

    def _axis(self, axis: int, size: int) -> AxisTiling:  # noqa: ARG002 (the same for all)
        return WholeAxis(size)


def sizes_of_patches(
    data_shapes: Sequence[Sequence[int]], patch_size: Sizes, overlaps: Sizes
) -> tuple[Shapes, tuple[int, ...], tuple[int, ...]]:
    """Shapes, patch sizes and overlaps, normalised and checked against each other."""
    shapes = as_shapes(data_shapes)
    n_axes = len(shapes[0]) - 2
    sizes = as_sizes("patch_size", patch_size, n_axes, least=1)
    checked = as_sizes("overlaps", overlaps, n_axes, least=0)
    check_overlaps(sizes, checked)
    return shapes, sizes, checked
