"""Noise that a model is given where a tile may tell nothing of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..values import convert, finite_mean_and_deviation


def noise_like(values: NDArray[Any], patch: NDArray[Any]) -> NDArray[Any]:
    """Noise of the mean and deviation of some values, as large as a tile, and always the same."""
    mean, deviation = finite_mean_and_deviation(values)
    noise = np.empty_like(patch)
    seeded = np.random.default_rng(0)
    convert(noise, seeded.normal(mean, deviation or max(abs(mean) / 4, 1.0), patch.shape))
    return noise


def noise_within(values: NDArray[Any]) -> NDArray[Any]:
    """Noise of the range of a tile's values: a model may know what to do with these only."""
    if values.dtype.kind == "b":
        return np.random.default_rng(0).random(values.shape) < 0.5
    # Python's own: the range of int8 is none.
    low, high = values.min().item(), values.max().item()
    if low == high and values.dtype.kind in "iu":
        high = min(low + 1, np.iinfo(values.dtype).max)
    noise = noise_like(values, values)
    return noise if low == high or not np.isfinite(high - low) else np.clip(noise, low, high)


def raised(noise: NDArray[Any]) -> NDArray[Any]:
    """Noise half-way to its largest value: of another mean, and of less deviation and range."""
    if noise.dtype.kind == "b":
        more: NDArray[Any] = noise | np.roll(noise, 1, axis=-1)
        return more
    higher = np.empty_like(noise)
    low, high = noise.min().item(), noise.max().item()
    # Halves first: the sum of two integers may be none.
    convert(higher, noise.astype("f8") / 2 + (high / 2 if low < high else low / 2 + 1))
    return higher
