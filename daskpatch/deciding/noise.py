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
