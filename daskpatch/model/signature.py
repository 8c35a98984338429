"""What a model's handle says about its model: one frozen value through which geometry goes."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from ..axis import AxisTile
from ..region import Region


@dataclass(frozen=True, slots=True)
class Output:
    """One array that a model gives."""

    channels: int
    dtype: str


@dataclass(frozen=True, slots=True)
class Signature:
    """Channels and dtype per output, and how output voxels relate to input voxels.

    Parameters
    ----------
    outputs
        One entry per array the model gives; today there is one.
    scale
        Output voxels per input voxel, per spatial axis; today 1.
    margin
        Input voxels that the model cuts from each side of its tile, per spatial axis; today 0.

    Examples
    --------
    >>> Signature.same_size(Output(2, "float32"), ndim=2).output_shape((30, 40))
    (30, 40)
    """

    outputs: tuple[Output, ...]
    scale: tuple[Fraction, ...]
    margin: tuple[tuple[int, int], ...]

    @classmethod
    def same_size(cls, output: Output, ndim: int) -> Signature:
        return cls((output,), (Fraction(1),) * ndim, ((0, 0),) * ndim)

    @property
    def channels(self) -> int:
        return self.outputs[0].channels

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.outputs[0].dtype)

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
