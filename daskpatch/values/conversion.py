"""From the model's values to those that are stored."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_PLANES_FROM = 2**20
"""Bytes from which on arrays are walked plane by plane, each of which stays in the CPU's cache."""


def has_nan(values: NDArray[Any]) -> bool:
    """Whether some value is NaN; one pass, no temporary array."""
    return values.dtype.kind == "f" and bool(np.isnan(values.min()))


def store_values(target: NDArray[Any], values: NDArray[Any]) -> bool:
    """Copy values into an array of the stored dtype; whether there was a NaN among them.

    To integers (and booleans, as 0 and 1): rounded to nearest, half to even, and clipped to
    what the dtype holds; NaN becomes 0. Between floats: plain conversion.

    >>> stored = np.empty(4, "uint8")
    >>> store_values(stored, np.array([300.7, -1, 2.5, np.nan]))
    True
    >>> stored
    array([255,   0,   2,   0], dtype=uint8)
    """
    if values.nbytes < _PLANES_FROM or values.ndim < 3:
        convert(target, values)
        return has_nan(values)
    found = False
    for plane in np.ndindex(values.shape[:-2]):
        convert(target[plane], values[plane])
        found = has_nan(values[plane]) or found
    return found


def convert(target: NDArray[Any], values: NDArray[Any]) -> None:
    """Copy values into an array of another dtype, as `store_values` does."""
    if np.can_cast(values.dtype, target.dtype, "safe"):
        np.copyto(target, values)
        return
    if target.dtype.kind == "f":
        with np.errstate(over="ignore"):  # what a half cannot hold is infinite, as asked for
            np.copyto(target, values, casting="unsafe")
        return
    low, high = _limits(target.dtype)
    if values.dtype.kind in "iu":
        least, most = _limits(values.dtype)
        low, high = max(low, least), min(high, most)
    else:
        # Half to even: rounding up would shift the mean of an image by a fraction of a grey value.
        values = np.rint(values)
        np.nan_to_num(values, copy=False, nan=0.0, posinf=None, neginf=None)
        low, high = _representable(low, values.dtype), _representable(high, values.dtype)
    np.copyto(target, np.clip(values, low, high), casting="unsafe")


def _limits(dtype: np.dtype[Any]) -> tuple[int, int]:
    if dtype.kind == "b":
        return 0, 1
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)


def _representable(limit: int, dtype: np.dtype[Any]) -> Any:
    """The float nearest to a limit that does not exceed it."""
    largest = np.finfo(dtype).max
    if abs(limit) > float(largest):
        return largest if limit > 0 else -largest
    value = dtype.type(limit)
    return np.nextafter(value, dtype.type(0)) if abs(int(value)) > abs(limit) else value
