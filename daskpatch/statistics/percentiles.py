"""Percentiles from counts: of each value, or of bins that are narrow everywhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .extremes import Extremes
from .moments import slices

Keys = NDArray[np.int64]

_SLICE = 2**18

_ANY = (0, -math.inf, math.inf)
"""The state of extremes of which nothing is known."""

_DROPPED = 11
"""Of a float32's 32 bits: what is left tells values apart that differ by 1/4096 of themselves."""


class Percentiles:
    """Counts of values by key, which are in the values' order.

    Integers of up to 16 bits are their own keys: percentiles are exact. Other values are rounded
    to float32, whose bits but the last 11, as an integer, are in order too: 2^21 bins whose width
    is 2^-12 of the value, known without a look at the values before. No percentile lies beyond
    the smallest and the largest value: where all are the same, it is that value.
    """

    def __init__(self, dtype: np.dtype[Any], percentiles: tuple[float, float]) -> None:
        self._is_exact = dtype.kind in "biu" and dtype.itemsize <= 2
        self._lowest = int(np.iinfo(dtype).min) if self._is_exact and dtype.kind == "i" else 0
        self._percentiles = percentiles
        self._extremes = Extremes()
        self._first = 0
        self._counts = np.zeros(0, np.int64)

    @property
    def nbytes(self) -> int:
        """Of the counts, at most."""
        return 8 * (2**16 if self._is_exact else 2 ** (32 - _DROPPED))

    @property
    def count(self) -> int:
        return int(self._counts.sum())

    def add(self, values: NDArray[Any]) -> None:
        if not self._is_exact:
            self._extremes.add(values)
        for part in slices(values, _SLICE):
            keys = self._keys_of(part)
            if len(keys):
                first = int(keys.min())
                self._add(first, np.bincount(keys - first if first else keys))

    def state(self) -> list[Any]:
        """The first key, the counts from there on, and the extremes."""
        return [self._first, self._counts.astype("<i8").tobytes(), self._extremes.state()]

    def merge(self, state: Sequence[Any]) -> None:
        first, counts, *extremes = state
        self._extremes.merge(extremes[0] if extremes else _ANY)  # older counts have none
        values = np.frombuffer(counts, "<i8").astype(np.int64)
        if len(values):
            self._add(first, values)

    def found(self) -> tuple[float, float, float]:
        """The low percentile, its distance to the high one, and the error of either."""
        if not len(self._counts):
            return 0.0, 0.0, 0.0
        ends = np.cumsum(self._counts)
        (low, error), (high, other) = (self._percentile(p, ends) for p in self._percentiles)
        return low, high - low, max(error, other)

    def _add(self, first: int, counts: NDArray[np.int64]) -> None:
        """Counts of keys from `first` on."""
        if not len(self._counts):
            self._first = first
        start = min(self._first, first)
        stop = max(self._first + len(self._counts), first + len(counts))
        if stop - start > len(self._counts):
            grown = np.zeros(stop - start, np.int64)
            grown[self._first - start :][: len(self._counts)] = self._counts
            self._first, self._counts = start, grown
        self._counts[first - self._first :][: len(counts)] += counts

    def _keys_of(self, values: NDArray[Any]) -> Keys:
        if self._is_exact:
            keys = values.astype(np.int64)
            return keys - self._lowest if self._lowest else keys
        with np.errstate(over="ignore"):
            rounded = values.astype(np.float32)
        finite = np.isfinite(rounded)
        return float_keys(rounded if finite.all() else rounded[finite])

    def _percentile(self, percentile: float, ends: Keys) -> tuple[float, float]:
        """By linear interpolation between neighbours, NumPy's default, and how far it is off."""
        position = Fraction(percentile) / 100 * (int(ends[-1]) - 1)
        below = position.numerator // position.denominator
        share = float(position - below)
        ranks = [below, min(below + 1, int(ends[-1]) - 1)]
        keys = [self._first + int(np.searchsorted(ends, rank, side="right")) for rank in ranks]
        (a, error), (b, other) = (self._value_of(key) for key in keys)
        return a + share * (b - a), max(error, other)

    def _value_of(self, key: int) -> tuple[float, float]:
        """The value of a key, or the middle of its bin; and how far values of it may lie."""
        if self._is_exact:
            return float(key + self._lowest), 0.0
        low, high = float_edges([key, key + 1])
        rounding = float(np.spacing(np.float32(max(abs(low), abs(high)))))
        smallest, largest = self._extremes.bounds
        if smallest == largest:
            return smallest, 0.0
        middle = min(max((low + high) / 2, smallest), largest)
        return middle, (high - low) / 2 + rounding


def float_keys(values: NDArray[np.float32]) -> Keys:
    """Integers in the order of floats (as IEEE 754 has it, negative ones turned around)."""
    values = values + np.float32(0)  # there is one zero
    bits = values.view(np.uint32)
    negative = (values.view(np.int32) >> 31).view(np.uint32)
    ordered = bits ^ (negative | np.uint32(1 << 31))
    return (ordered >> _DROPPED).astype(np.int64)


def float_edges(keys: Sequence[int]) -> list[float]:
    """The smallest float of each key.

    >>> [round(edge, 2) for edge in float_edges(float_keys(np.float32([1.0, -2.0])))]
    [1.0, -2.0]
    """
    ordered = (np.asarray(keys, np.int64) << _DROPPED).astype(np.uint32)
    positive = ordered >> 31 == 1
    bits = np.where(positive, ordered ^ np.uint32(1 << 31), ~ordered)
    edges = bits.astype(np.uint32).view(np.float32).astype(float)
    limit = float(np.finfo(np.float32).max)
    return [float(edge) for edge in np.clip(np.nan_to_num(edges, nan=limit), -limit, limit)]
