"""Mean and standard deviation, as exact for 10^12 voxels as for a thousand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Context, Decimal, localcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SLICE = 2**17
"""Voxels that are looked at at a time: as float64 they stay in the CPU's cache."""

_DIGITS = Context(prec=60)
"""Sums of up to 10^12 squares of float64 lose nothing that shows in a float64."""


_LARGE = 1e150
"""Squares of larger values may be larger than any float64."""

_SMALLER = 2.0**-600
"""What large values are multiplied by while they are summed: a power of two changes no digit."""

_ROUNDING = Decimal("1e-50")
"""Of a mean of squares: values that differ at all differ by more, for they are float64."""


def slices(values: NDArray[Any], size: int = _SLICE) -> Iterator[NDArray[Any]]:
    """An array's values, some at a time."""
    flat = values.reshape(-1)
    for start in range(0, len(flat), size):
        yield flat[start : start + size]


class Moments:
    """Count, sum and sum of squares.

    Values are summed in float64 as distances from one of them, so that little is lost; what
    leaves a slice is kept to 60 digits. So the order in which parts are added up does not matter,
    and the difference of large sums, from which a variance comes, is exact.
    """

    def __init__(self) -> None:
        self.count = 0
        self._sum, self._squares = Decimal(0), Decimal(0)

    def add(self, values: NDArray[Any]) -> None:
        may_be_large = values.dtype.kind == "f" and values.dtype.itemsize == 8
        for part in slices(values):
            self._add_slice(part.astype(np.float64), may_be_large=may_be_large)

    def _add_slice(self, values: NDArray[np.float64], *, may_be_large: bool) -> None:
        with np.errstate(over="ignore", invalid="ignore"):
            is_finite = np.isfinite(values.sum())
        if not is_finite:
            values = values[np.isfinite(values)]
            if not len(values):
                return
        unit = Decimal(1)
        if may_be_large and max(values.max(), -values.min()) > _LARGE:
            values *= _SMALLER
            unit = Decimal(1 / _SMALLER)
        shift = float(values[len(values) // 2])
        values -= shift
        total, squares = float(values.sum()), float(np.einsum("i,i->", values, values))
        with localcontext(_DIGITS):
            origin, total_, count = Decimal(shift), Decimal(total), len(values)
            sums = count * origin + total_
            of_squares = Decimal(squares) + 2 * origin * total_ + count * origin * origin
            self._sum += sums * unit
            self._squares += of_squares * unit * unit
        self.count += count

    def state(self) -> list[Any]:
        """Count, sum and sum of squares, the sums as text: none of their digits is lost."""
        return [self.count, str(self._sum), str(self._squares)]

    def merge(self, state: Sequence[Any]) -> None:
        count, total, squares = state
        with localcontext(_DIGITS):
            self._sum += Decimal(total)
            self._squares += Decimal(squares)
        self.count += count

    def found(self) -> tuple[float, float, float]:
        """Mean, standard deviation (of the population), and 0: nothing is off."""
        if not self.count:
            return 0.0, 0.0, 0.0
        with localcontext(_DIGITS):
            mean = self._sum / self.count
            square = self._squares / self.count
            variance = square - mean * mean
            if variance < _ROUNDING * square:
                variance = Decimal(0)
            return float(mean), float(variance.sqrt()), 0.0
