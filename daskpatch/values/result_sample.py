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

    def __post_init__(self) -> None:
        if len(self.values) % as_dtype("dtype", self.dtype).itemsize:
            raise ValueError(f"{len(self.values)} bytes are no values of dtype {self.dtype}")

    @classmethod
    def of(cls, result: NDArray[Any]) -> ResultSample:
        """The sample of an array."""
        flat = result.reshape(-1)
        places = np.linspace(0, flat.size - 1, min(_COUNT, flat.size)).astype(np.intp)
        chosen = flat[places]
        dtype = chosen.dtype.newbyteorder("<")
        with np.errstate(over="ignore", invalid="ignore"):
            facts = finite_mean_and_deviation(flat[:: flat.size // _MEASURED + 1])
        # Of huge values they may be infinite, for which JSON has no number.
        mean, deviation = map(float, np.nan_to_num(facts))
        return cls(dtype.str, chosen.astype(dtype).tobytes(), mean, deviation)

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

    def how_differs(self, other: ResultSample) -> str:
        """In words, where another one is not of the same model; empty where it may be."""
        if self.dtype != other.dtype:
            return f"dtype {other.dtype} instead of {self.dtype}"
        ours, theirs = self._array(), other._array()
        allowed = _OF_DEVIATION * self.deviation
        if len(ours) != len(theirs):
            return "a result of another size"
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
        if ours.dtype.kind == "f" and abs(self.mean - other.mean) > allowed + 1e-6 * abs(self.mean):
            return f"mean {other.mean:.6g} instead of {self.mean:.6g}"
        return ""

    def _array(self) -> NDArray[Any]:
        return np.frombuffer(self.values, self.dtype)


Samples = dict[str, ResultSample]
"""A few values of each array that a model gives for one tile, by its name."""
