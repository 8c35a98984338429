"""Whether there is but one value."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .conversion import has_nan


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


def constants_of(values: NDArray[Any]) -> NDArray[Any] | None:
    """The one value of each channel, of `C...`; None where a channel has several, or NaN.

    Zeros of both signs are two values.

    >>> constants_of(np.array([[1, 1], [2, 2]]))
    array([1, 2])
    >>> constants_of(np.array([[0.0, -0.0]])) is None
    True
    """
    channels = np.ascontiguousarray(values).reshape(len(values), -1)
    in_bytes = channels.view(np.uint8).reshape(*channels.shape, channels.itemsize)
    is_one = bool((in_bytes == in_bytes[:, :1]).all())
    return channels[:, 0].copy() if is_one and not has_nan(channels) else None
