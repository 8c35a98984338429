"""A place of an image where its values differ: background tells nothing of it."""

from __future__ import annotations

from itertools import product
from typing import Any

from numpy.typing import NDArray

from ..values import finite_mean_and_deviation
from .stack import ImageStack


def varied_place(image: ImageStack, side: int) -> NDArray[Any]:
    """`C(Z)YX`: of a few places all over the middle sample the one with the largest deviation.

    `side` are its voxels along each axis, at most.
    """
    shape = image.data_shape[2:]
    size = tuple(min(n, side) for n in shape)
    places = product(*({0, (n - m) // 2, n - m} for n, m in zip(shape, size, strict=True)))
    sample_idx = image.data_shape[0] // 2
    return max(
        (image.extract_patch(sample_idx, None, start, size) for start in sorted(places)),
        key=lambda values: finite_mean_and_deviation(values)[1],
    )
