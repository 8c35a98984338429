"""A few values of a model's result, kept to see later whether a model still gives the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..support import as_dtype
from .differences import finite_mean_and_deviation

_COUNT = 256

_MEASURED = 1_000_000
"""Values that mean and deviation are taken of: more would only take memory."""

_OF_DEVIATION = 1e-2
"""How far floats may move. Measured: another batch size moves them by 3e-6 of the deviation,
computing in bfloat16 by 3e-2."""

_ROUNDED = 1e-3
"""Of the deviation of all channels what that of one is taken for at least: `_OF_DEVIATION` of it is
what float32 rounds of values some deviations large, where a channel is their difference."""

_EQUAL = 0.99
"""The share of integers that are equal: those at a threshold may fall to either side."""


@dataclass(frozen=True)
class ResultSample:
    """Values at fixed places of a result, and what it is like as a whole.

    Attributes
    ----------
    dtype
        Of the result, with its byte order.
    values
        Up to 256, evenly spread in C order, as bytes.
    mean, deviation
        Of the finite values; of every n-th where there are more than a million.
    size, deviations
        How many values the result has, and the deviation of each of its channels, by which their
        values are measured; 0 and none where it is not `(1, C, …)`, or was recorded without.

    Examples
    --------
    >>> one = ResultSample.of(np.linspace(0, 1, 5))
    >>> one.how_differs(ResultSample.of(np.linspace(0, 1, 5) + 1e-6))
    ''
    >>> one.how_differs(ResultSample.of(np.linspace(0, 2, 5)))
    '4 of 5 values differ'
    """

    dtype: str
    values: bytes
    mean: float
    deviation: float
    size: int = 0
    deviations: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if len(self.values) % as_dtype("dtype", self.dtype).itemsize:
            raise ValueError(f"{len(self.values)} bytes are no values of dtype {self.dtype}")
        if self.deviations and len(_places(self.size)) != len(self._array()):
            raise ValueError(f"{len(self._array())} values are not those of {self.size}")

    @classmethod
    def of(cls, result: NDArray[Any]) -> ResultSample:
        """The sample of an array."""
        flat = result.reshape(-1)
        chosen = flat[_places(flat.size)]
        dtype = chosen.dtype.newbyteorder("<")
        with np.errstate(over="ignore", invalid="ignore"):
            facts = finite_mean_and_deviation(flat[:: flat.size // _MEASURED + 1])
        # Of huge values they may be infinite, for which JSON has no number.
        mean, deviation = map(float, np.nan_to_num(facts))
        of_channels = _deviations(result) if result.ndim > 1 and len(result) == 1 else ()
        values = chosen.astype(dtype).tobytes()
        return cls(dtype.str, values, mean, deviation, flat.size if of_channels else 0, of_channels)

    @property
    def is_constant(self) -> bool:
        """Whether it tells nothing of a model: the same everywhere, where it is a number at all."""
        values = self._array()
        numbers = values[~np.isnan(values)] if values.dtype.kind in "fc" else values
        return bool((numbers == numbers[:1]).all())

    @property
    def range(self) -> tuple[float, float] | None:
        """The least and the largest finite value; None where there is none."""
        values = self._array()
        finite = values[np.isfinite(values)]
        return (float(finite.min()), float(finite.max())) if finite.size else None

    def how_differs(self, other: ResultSample, beside: ResultSample | None = None) -> str:
        """In words, where another one is not of the same model; empty where it may be.

        Differences are measured by the deviation here, or `beside` it where that is larger.
        """
        if self.dtype != other.dtype:
            return f"dtype {other.dtype} instead of {self.dtype}"
        ours, theirs = self._array(), other._array()
        if len(ours) != len(theirs):
            return "a result of another size"
        by = self if beside is None or len(beside._scales()) != len(ours) else beside
        allowed = _OF_DEVIATION * np.maximum(self._scales(), by._scales())
        if ours.dtype.kind in "fc":
            same = np.isclose(
                theirs, ours, rtol=8 * np.finfo(ours.dtype).eps, atol=allowed, equal_nan=True
            )
            enough = len(same)
        else:
            same, enough = theirs == ours, int(np.ceil(_EQUAL * len(ours)))
        n_same = int(same.sum())
        if n_same < enough:
            return f"{len(same) - n_same} of {len(same)} values differ"
        moved = _OF_DEVIATION * max(self.deviation, by.deviation) + 1e-6 * abs(self.mean)
        if ours.dtype.kind == "f" and abs(self.mean - other.mean) > moved:
            return f"mean {other.mean:.6g} instead of {self.mean:.6g}"
        return ""

    def _array(self) -> NDArray[Any]:
        return np.frombuffer(self.values, self.dtype)

    def _scales(self) -> NDArray[np.float64]:
        """Of each value the deviation of its channel, no less than what others have rounded."""
        if not self.deviations:
            return np.full(len(self._array()), self.deviation)
        channels = _places(self.size) * len(self.deviations) // self.size
        scales: NDArray[np.float64] = np.array(self.deviations)[channels]
        return np.maximum(scales, _ROUNDED * self.deviation)


def _places(size: int) -> NDArray[np.intp]:
    """Places in C order of the values that are kept."""
    return np.linspace(0, size - 1, min(_COUNT, size)).astype(np.intp)


def _deviations(result: NDArray[Any]) -> tuple[float, ...]:
    """The standard deviation of each channel of a result `(1, C, …)`; none of one channel."""
    channels = result[0].reshape(result.shape[1], -1) if result.size else result[0]
    if not 1 < len(channels) <= _COUNT:
        return ()
    step = result.size // _MEASURED + 1
    with np.errstate(over="ignore", invalid="ignore"):
        found = [finite_mean_and_deviation(channel[::step])[1] for channel in channels]
    return tuple(map(float, np.nan_to_num(found)))


Samples = dict[str, ResultSample]
"""A few values of each array that a model gives for one tile, by its name."""
