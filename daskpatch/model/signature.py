"""What a model's handle says about its model: frozen values through which geometry goes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from ..geometry import AxisTile, Margin, Region, Scale


@dataclass(frozen=True, slots=True)
class OutputArray:
    """One array that a model gives; of several, each has a name."""

    channels: int
    dtype: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Sizing:
    """How voxels of a result relate to those of its tile.

    Parameters
    ----------
    scale
        Output voxels per input voxel, per spatial axis: 2 for super-resolution, 1/4 for an
        embedding of cells of 4 voxels.
    margin
        Input voxels that the model cuts from each side of its tile, per spatial axis: those that
        valid convolutions take.

    Examples
    --------
    >>> Sizing((Fraction(1, 4),), ((0, 0),)).output_shape((30,))
    (8,)
    """

    scale: Scale
    margin: Margin

    @classmethod
    def same(cls, ndim: int) -> Sizing:
        """That of a result which has the voxels of its tile."""
        return cls((Fraction(1),) * ndim, ((0, 0),) * ndim)

    @property
    def cuts(self) -> bool:
        """Whether the result lacks a margin of the tile."""
        return any(map(any, self.margin))

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Spatial shape of the prediction of an image: ceil(n * scale)."""
        return tuple(
            -(-n * s.numerator // s.denominator) for n, s in zip(shape, self.scale, strict=True)
        )

    def output_region(self, region: Region) -> Region:
        """The box of the output that stands for one of the input."""
        return Region(self.output_shape(region.start), self.output_shape(region.stop))

    def input_region(self, region: Region) -> Region:
        """The input voxels whose predictions make up a box of the output."""
        start = tuple(
            a * s.denominator // s.numerator for a, s in zip(region.start, self.scale, strict=True)
        )
        stop = tuple(
            (b - 1) * s.denominator // s.numerator + 1
            for b, s in zip(region.stop, self.scale, strict=True)
        )
        return Region(start, stop)

    def tile_shape(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """Spatial shape of what the model gives for a tile."""
        cut = tuple(n - a - b for n, (a, b) in zip(size, self.margin, strict=True))
        return self.output_shape(cut)

    def kept(self, tile: tuple[AxisTile, ...]) -> Region:
        """Where a tile's crop lands in the output."""
        start = tuple(t.keep_start for t in tile)
        return self.output_region(Region(start, tuple(t.keep_stop for t in tile)))

    def given(self, tile: tuple[AxisTile, ...]) -> Region:
        """The box of the output that the model's result for a tile covers."""
        first = tuple(t.start + a for t, (a, _) in zip(tile, self.margin, strict=True))
        start = self.output_shape(first)
        shape = self.tile_shape(tuple(t.size for t in tile))
        return Region(start, tuple(a + n for a, n in zip(start, shape, strict=True)))

    def overlap(self, tile: tuple[AxisTile, ...], step: tuple[int, ...]) -> tuple[int, ...]:
        """Output voxels that the results of neighbouring tiles share, per axis."""
        shape = self.tile_shape(tuple(t.size for t in tile))
        moved = self.output_shape(step)
        return tuple(max(n - m, 0) for n, m in zip(shape, moved, strict=True))


@dataclass(frozen=True, slots=True)
class Signature:
    """The arrays that a model gives, and how large each is: the one of most voxels first.

    Examples
    --------
    >>> arrays = OutputArray(1, "float32", "full"), OutputArray(1, "float32", "half")
    >>> half = Sizing((Fraction(1, 2),) * 2, ((0, 0),) * 2)
    >>> Signature(arrays, (Sizing.same(2), half)).cells
    (2, 2)
    """

    outputs: tuple[OutputArray, ...]
    sizings: tuple[Sizing, ...]

    def with_dtypes(self, dtypes: Mapping[str, str]) -> Signature:
        """The same, where outputs have other dtypes, by name."""
        outputs = tuple(replace(output, dtype=dtypes[output.name]) for output in self.outputs)
        return replace(self, outputs=outputs)

    @property
    def finest(self) -> Sizing:
        """That of the first array, in whose voxels blocks are counted."""
        return self.sizings[0]

    @property
    def scale(self) -> Scale:
        """Output voxels per input voxel, of the first array."""
        return self.finest.scale

    @property
    def margin(self) -> Margin:
        """Input voxels that the first array lacks on each side of its tile."""
        return self.finest.margin

    @property
    def is_of_one_size(self) -> bool:
        """Whether all arrays have the same voxels."""
        return len(set(self.sizings)) == 1

    @property
    def keeps_size(self) -> bool:
        """Whether all arrays have the voxels of their tile."""
        return set(self.sizings) == {Sizing.same(len(self.scale))}

    def sizings_of(self, n_stored: int) -> tuple[Sizing, ...]:
        """Those of so many stored arrays: `post` makes others of arrays of one size alone."""
        return (self.finest,) * n_stored if self.is_of_one_size else self.sizings

    def of(self, name: str) -> Sizing:
        """That of one array, by its name."""
        return next(
            sizing
            for output, sizing in zip(self.outputs, self.sizings, strict=True)
            if output.name == name
        )

    def nbytes(self, tile: tuple[int, ...]) -> int:
        """Bytes of what the model gives for a tile of a size."""
        return sum(
            output.channels * np.dtype(output.dtype).itemsize * math.prod(sizing.tile_shape(tile))
            for output, sizing in zip(self.outputs, self.sizings, strict=True)
        )

    @property
    def cells(self) -> tuple[int, ...]:
        """Input voxels, per axis, that hold whole voxels of every array: where tiles may begin."""
        return tuple(
            math.lcm(*(scale.denominator for scale in along))
            for along in zip(*(sizing.scale for sizing in self.sizings), strict=True)
        )

    @property
    def margins(self) -> Margin:
        """What a tile must have around its crop: the least that leaves every array its margin.

        Before the crop it is such that the results of all arrays begin where a voxel of theirs
        does.

        Raises
        ------
        ValueError
            If there is none.
        """
        return tuple(map(self._margin_along, range(len(self.cells))))

    def _margin_along(self, axis: int) -> tuple[int, int]:
        along = [(s.scale[axis].denominator, *s.margin[axis]) for s in self.sizings]
        least = max(before for _, before, _ in along)
        for more in range(self.cells[axis]):
            if all((least + more - before) % cell == 0 for cell, before, _ in along):
                return least + more, max(behind for _, _, behind in along)
        told = ", ".join(f"1/{cell} after {before}" for cell, before, _ in along)
        raise ValueError(
            "The model's arrays begin where no tile holds whole voxels of each (voxels out per "
            f"voxel in, after a margin, along spatial axis {axis}: {told}). Give a function, or a "
            "module around this one, that returns one of them."
        )
