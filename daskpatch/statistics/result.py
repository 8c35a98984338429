"""`Statistics`: what is subtracted and divided by, and how well it is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..values import ValueMap


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

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Statistics:
        plain: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
        }
        return cls(**plain)

    def __str__(self) -> str:
        names = ("mean", "std") if self.kind == "zscore" else ("low", "high - low")
        numbers = ", ".join(
            f"{name} {' '.join(f'{n:.6g}' for n in values)}"
            for name, values in zip(names, (self.offset, self.scale), strict=True)
        )
        return f"{numbers} ({sum(self.voxels):,} voxels)"
