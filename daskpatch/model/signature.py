"""What a model's handle says about its model: one frozen value through which geometry goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

from ..geometry import AxisTile, Region


@dataclass(frozen=True, slots=True)
class OutputArray:
    """One array that a model gives; of several, each has a name."""

    channels: int
    dtype: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Signature:
    """Channels and dtype per output, and how output voxels relate to input voxels.

    Parameters
    ----------
    outputs
        One entry per array the model gives; all cover the same space.
    scale
        Output voxels per input voxel, per spatial axis: 2 for super-resolution, 1/4 for an
        embedding of cells of 4 voxels.
    margin
        Input voxels that the model cuts from each side of its tile, per spatial axis: those that
        valid convolutions take.

    Examples
    --------
    >>> Signature((OutputArray(1, "float32"),), (Fraction(1, 4),), ((0, 0),)).output_shape((30,))
    (8,)
    """

    outputs: tuple[OutputArray, ...]
    scale: tuple[Fraction, ...]
    margin: tuple[tuple[int, int], ...]

    def with_dtypes(self, dtypes: Mapping[str, str]) -> Signature:
        """The same, where outputs have other dtypes, by name."""
        outputs = tuple(replace(output, dtype=dtypes[output.name]) for output in self.outputs)
        return replace(self, outputs=outputs)

    @property
    def keeps_size(self) -> bool:
        return set(self.scale) == {Fraction(1)} and not self.cuts

    @property
    def cuts(self) -> bool:
        """Whether the result lacks a margin of the tile."""
        return any(map(any, self.margin))

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Spatial shape of the prediction of an image: ceil(n * scale)."""
        return tuple(
            -(-n * s.numerator // s.denominator) for n, s in zip(shape, self.scale, strict=True)
        )

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
        stop = tuple(t.keep_stop for t in tile)
        return Region(self.output_shape(start), self.output_shape(stop))

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
