"""Values moved and stretched, and what was measured to know by how much."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..support import html_table


@dataclass(frozen=True, slots=True)
class ValueMap:
    """`(x - offset) / scale`, with one number for all channels or one for each.

    >>> ValueMap((2.0,), (4.0,)).undo(np.float32([[0.5]]))
    array([[4.]], dtype=float32)
    """

    offset: tuple[float, ...]
    scale: tuple[float, ...]

    def apply(self, target: NDArray[Any], values: NDArray[Any]) -> None:
        """Map `C(Z)YX` values into an array of floats; differences are taken in float64."""
        for channel, (given, mapped) in enumerate(zip(values, target, strict=True)):
            offset, scale = self._of(channel)
            # In float64: uint16 less a mean of 30,000 would lose its last bits in float32.
            np.subtract(given, offset, out=mapped, dtype=np.float64, casting="unsafe")
            np.divide(mapped, scale, out=mapped, dtype=mapped.dtype, casting="unsafe")

    def of_channels(self, channels: slice) -> ValueMap:
        """The map of some of the channels."""
        if len(self.offset) == 1:
            return self
        return ValueMap(self.offset[channels], self.scale[channels])

    def undo(self, results: NDArray[Any]) -> NDArray[Any]:
        """The inverse, of `(C, …)`; a new array."""
        mapped = np.empty(results.shape, np.result_type(results.dtype, np.float32))
        for channel, (given, restored) in enumerate(zip(results, mapped, strict=True)):
            offset, scale = self._of(channel)
            np.multiply(given, scale, out=restored, dtype=np.float64, casting="unsafe")
            np.add(restored, offset, out=restored, dtype=np.float64, casting="unsafe")
        return mapped

    def _of(self, channel: int) -> tuple[float, float]:
        at = channel if len(self.offset) > 1 else 0
        return self.offset[at], self.scale[at]


@dataclass(frozen=True, slots=True)
class Statistics:
    """What an image is normalised by: one entry for all channels, or one for each.

    Attributes
    ----------
    kind
        `"zscore"`: `offset` is the mean, `scale` the standard deviation. `"minmax"` and
        `"percentile"`: `offset` is the low value, `scale` the distance to the high one. A scale
        of 0 (all values are the same) is 1.
    error
        By how much the low or high value may be off, at most: 0 for integers of up to 16 bits and
        for everything but percentiles.
    voxels
        How many finite values were looked at.
    fraction
        Which share of the image was read.
    """

    kind: str
    offset: tuple[float, ...]
    scale: tuple[float, ...]
    error: tuple[float, ...]
    voxels: tuple[int, ...]
    fraction: float

    @property
    def value_map(self) -> ValueMap:
        return ValueMap(self.offset, self.scale)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)

    def _repr_html_(self) -> str:
        rows = [
            (f"channel {number}" if len(self.offset) > 1 else "all channels", line)
            for number, line in enumerate(self._by_channel())
        ]
        looked_at = f"{sum(self.voxels):,} voxels, {self.fraction:.2%} of the image"
        return html_table(f"daskpatch statistics: {self.kind}", [*rows, ("from", looked_at)])

    def _by_channel(self) -> list[str]:
        first, second = self._names
        return [
            f"{first} {offset:.6g}, {second} {scale:.6g}"
            + (f", off by {error:.2g} at most" if error else "")
            for offset, scale, error in zip(self.offset, self.scale, self.error, strict=True)
        ]

    @property
    def _names(self) -> tuple[str, str]:
        return ("mean", "std") if self.kind == "zscore" else ("low", "high - low")

    def __str__(self) -> str:
        numbers = ", ".join(
            f"{name} {' '.join(f'{n:.6g}' for n in values)}"
            for name, values in zip(self._names, (self.offset, self.scale), strict=True)
        )
        return f"{numbers} ({sum(self.voxels):,} voxels)"
