"""An image laid over another along one axis: which voxels of one touch a voxel of the other."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

_MOST_DENOMINATOR = 10**6
"""Of ratios of scales and places: what is beyond it is rounding of whoever wrote them."""


@dataclass(frozen=True, slots=True)
class Overlay:
    """The edge of voxel x of an image lies at `first + x * step`, in voxels of another.

    Examples
    --------
    >>> coarse = Overlay.of_sizes(12, 3)
    >>> coarse.touched(3, 6, Fraction(1), 3)
    [(0, 1), (1, 2), (1, 2)]
    """

    first: Fraction
    step: Fraction

    @classmethod
    def of_sizes(cls, size: int, other: int) -> Overlay:
        """Of two images of the same extent, of so many voxels each."""
        return cls(Fraction(0), Fraction(other, size))

    @classmethod
    def of_places(
        cls, scale: float, translation: float, other_scale: float, other_translation: float
    ) -> Overlay:
        """Of images whose voxels are so far apart, and the centres of the first ones there.

        >>> Overlay.of_places(0.1, 0.0, 0.2, 0.05)
        Overlay(first=Fraction(0, 1), step=Fraction(1, 2))
        """
        s, t, other_s, other_t = (
            Fraction(repr(float(n))) for n in (scale, translation, other_scale, other_translation)
        )
        first = (t - s / 2 - other_t) / other_s + Fraction(1, 2)
        return cls(
            first.limit_denominator(_MOST_DENOMINATOR),
            (s / other_s).limit_denominator(_MOST_DENOMINATOR),
        )

    def touched(
        self, start: int, stop: int, per_voxel: Fraction, other: int
    ) -> list[tuple[int, int]]:
        """The voxels of the other image, of size `other`, that each of some voxels touches.

        These are `start` to `stop` of a grid on the first image, each `per_voxel` of its voxels
        long. Start and stop; the same where nothing is touched. Never rounded: floor and ceil.
        """
        step = self.step * per_voxel
        lows = ((self.first + i * step).__floor__() for i in range(start, stop))
        highs = ((self.first + i * step).__ceil__() for i in range(start + 1, stop + 1))
        return [
            (min(max(low, 0), other), max(min(high, other), 0))
            if low < other and high > 0
            else (0, 0)
            for low, high in zip(lows, highs, strict=True)
        ]
