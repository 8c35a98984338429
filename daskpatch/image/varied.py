"""A place of an image where its values differ: background tells nothing of it."""

from __future__ import annotations

from itertools import product
from typing import Any

from numpy.typing import NDArray

from ..values import finite_mean_and_deviation
from .stack import ImageStack


def varied_place(image: ImageStack, side: int, *, judged: int | None = None) -> NDArray[Any]:
    """`C(Z)YX`: of a few places all over the middle sample the one with the largest deviation.

    `side` are its voxels along each axis, at most; `judged` those in its middle by which it is
    chosen, by default all: of 27 large places a run would read far more than it needs.
    """
    shape = image.data_shape[2:]
    size = tuple(min(n, side) for n in shape)
    core = tuple(min(n, judged or side) for n in size)
    places = product(*({0, (n - m) // 2, n - m} for n, m in zip(shape, size, strict=True)))

    def read(place: tuple[int, ...], size: tuple[int, ...]) -> NDArray[Any]:
        return image.extract_patch(image.data_shape[0] // 2, None, place, size)

    def seen(place: tuple[int, ...]) -> tuple[float, NDArray[Any], tuple[int, ...]]:
        edges = zip(place, size, core, strict=True)
        values = read(tuple(start + (n - m) // 2 for start, n, m in edges), core)
        return finite_mean_and_deviation(values)[1], values, place

    _, values, place = max(map(seen, sorted(places)), key=lambda found: found[0])
    return values if core == size else read(place, size)
