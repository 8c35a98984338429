"""Whether there is but one value."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def are_all(values: NDArray[Any], value: float | np.generic) -> bool:
    """Whether all values are this one; NaN is itself.

    >>> are_all(np.zeros((2, 2)), 0), are_all(np.array([0, 1]), 0)
    (True, False)
    """
    if not values.size or not _are(values[(0,) * values.ndim], value):
        return False
    # Plane by plane: where something is, it is seldom far.
    if values.ndim > 2:
        return all(_are(plane, value) for plane in values)
    return bool(_are(values, value))


def _are(values: Any, value: float | np.generic) -> bool:
    is_nan = bool(value != value)  # np.isnan does not take integers of more than 64 bits
    return bool(np.all(np.isnan(values) if is_nan else values == value))
