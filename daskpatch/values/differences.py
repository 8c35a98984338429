"""How much two results differ, where they may hold NaN and infinity."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

_NO_NUMBER = 1e9
"""The difference between a number and NaN or infinity."""


def difference_of(values: NDArray[Any], expected: NDArray[Any]) -> Values:
    """Their difference in float64; very large where only one of them is a number.

    >>> difference_of(np.array([1.0, np.nan, np.inf, 2.0]), np.array([0.5, np.nan, np.inf, np.nan]))
    array([5.e-01, 0.e+00, 0.e+00, 1.e+09])
    """
    a, b = values.astype("f8"), expected.astype("f8")
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        difference = np.where(same, 0.0, a - b)
    return np.where(np.isfinite(difference), difference, _NO_NUMBER)


def finite_mean_and_deviation(values: NDArray[Any]) -> tuple[float, float]:
    """Mean and standard deviation of the finite values; 0 where there are none.

    >>> finite_mean_and_deviation(np.array([1.0, 3.0, np.nan]))
    (2.0, 1.0)
    """
    finite = values[np.isfinite(values)].astype("f8")
    if not finite.size:
        return 0.0, 0.0
    if finite.min() == finite.max():  # whose mean may be another number
        return float(finite[0]), 0.0
    return float(finite.mean()), float(finite.std())


def deviations_of(values: NDArray[Any], least: float = 1e-6) -> Values:
    """The standard deviation of each channel's finite values `C(Z)YX`, to divide by.

    Each channel has its own: a probability beside intensities would count for nothing. It is no
    less than a part of the largest, `least`: what others have rounded is no difference of it. 1
    where it is 0.

    >>> deviations_of(np.array([[1.0, 3.0], [100.0, 300.0], [7.0, 7.0]]))
    array([  1., 100.,   1.])
    """
    own = np.array([finite_mean_and_deviation(channel)[1] for channel in values])
    return np.where(own > 0, np.maximum(own, least * own.max(initial=0.0)), 1.0)
