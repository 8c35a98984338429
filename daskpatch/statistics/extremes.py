"""The smallest and the largest value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .moments import slices


class Extremes:
    """The smallest and the largest finite value."""

    def __init__(self) -> None:
        self.count = 0
        self._low, self._high = math.inf, -math.inf

    def add(self, values: NDArray[Any]) -> None:
        for part in slices(values):
            low, high = part.min(), part.max()
            # Only then: looking at every value for NaN costs as much as the rest.
            if not (np.isfinite(low) and np.isfinite(high)):
                part = part[np.isfinite(part)]
                if not len(part):
                    continue
                low, high = part.min(), part.max()
            self._low, self._high = min(self._low, float(low)), max(self._high, float(high))
            self.count += len(part)

    @property
    def bounds(self) -> tuple[float, float]:
        """The smallest and the largest; infinity and minus infinity before any came."""
        return self._low, self._high

    def state(self) -> list[Any]:
        """Count, low and high."""
        return [self.count, self._low, self._high]

    def merge(self, state: Sequence[Any]) -> None:
        count, low, high = state
        self.count += count
        self._low, self._high = min(self._low, low), max(self._high, high)

    def found(self) -> tuple[float, float, float]:
        """The smallest, its distance to the largest, and 0: nothing is off.

        Raises
        ------
        ValueError
            If no float64 is as large as that distance.
        """
        if not self.count:
            return 0.0, 0.0, 0.0
        if math.isinf(self._high - self._low):
            raise ValueError(
                f"Values reach from {self._low:g} to {self._high:g}, which is more than a float64 "
                "can hold: normalise by constants (normalize={'low': …, 'high': …}), or leave "
                "such values out of the source (NaN counts as nothing)."
            )
        return self._low, self._high - self._low, 0.0
