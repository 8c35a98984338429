"""Which tile sizes a model takes, and how large its result is."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from ..support import Natural, Positive, counted
from .probed_model import ProbedModel, RefusedError, Shape

_LIKELY = (32, 64, 128, 48, 96, 192, 256, 16, 8)
_LARGEST = 320
"""A model that takes no likely size is offered all sizes up to here."""

_PARTS = 32
"""Of a voxel that a voxel of the result may stand for, or make, at most."""

_THIN = 16
"""Voxels along the axes whose sizes are known, at least."""

_FAR = (96, 64, *range(33, 129))
"""How much further the size is looked at from which the scale is known: 1/3 and 1/32 show in 96."""


@dataclass(frozen=True, slots=True)
class AxisSizes:
    """Sizes along one axis: `smallest`, and every `step` voxels a larger one.

    With a step of 0 the model takes this one size only. Its result has
    `(n - margin) * scale` voxels, rounded up.
    """

    smallest: Positive
    step: Natural
    scale: Fraction
    margin: Natural

    @property
    def sides(self) -> tuple[int, int]:
        """The margin before and behind the result: of an odd one more behind."""
        return self.margin // 2, self.margin - self.margin // 2

    def result_of(self, n: int) -> int:
        """Voxels of the result for n voxels."""
        return math.ceil((n - self.margin) * self.scale)

    def at_least(self, n: int) -> int:
        """The smallest size that is no smaller than n; the only one, where there is one only."""
        if self.step == 0:
            return self.smallest
        return self.smallest + max(-(-(n - self.smallest) // self.step), 0) * self.step


def find_size(subject: ProbedModel, known: Shape | None) -> Shape:
    """Some size that the model takes: `known`, where it is given, else a cube.

    Raises
    ------
    ValueError
        If there is none.
    """
    reason = ""
    tried = f"cubes of 2 to {_LARGEST} voxels"
    for size in [known] if known is not None else _cubes(subject.ndim):
        try:
            subject(subject.repeated_noise(size)[None])
        except RefusedError as refused:
            reason = reason or str(refused).rstrip(".")
            if known is not None or refused.is_for_all_sizes:
                tried = f"size {size}"
                break
        else:
            return size
    raise ValueError(
        f"The model took no image of {counted(subject.channels, 'channel')}, {subject.ndim} "
        f"spatial axes and {subject.dtype} ({tried}); the first time it said: {reason}. Give "
        "channels= and input_dtype= as the model needs them, or patch_size=, a size that it takes."
    )


def _cubes(ndim: int) -> Iterable[Shape]:
    for n in dict.fromkeys((*_LIKELY, *range(2, _LARGEST + 1))):
        yield (n,) * ndim


def measure_sizes(subject: ProbedModel, taken: Shape) -> tuple[AxisSizes, ...]:
    """The sizes along each axis, starting from one that the model takes."""
    found: list[AxisSizes] = []
    thin = taken
    for axis in range(subject.ndim):
        law = _sizes_along(subject, thin, axis)
        if law.step == 0 and thin != taken:  # it may want more along the others
            law = _sizes_along(subject, taken, axis)
        found.append(law)
        thin = _thinner(subject, thin, axis, law)
    return tuple(found)


def _thinner(subject: ProbedModel, taken: Shape, axis: int, law: AxisSizes) -> Shape:
    """Less along an axis that is known, if the model takes that: the others are found sooner."""
    n = law.at_least(_THIN)
    is_taken = n < taken[axis] and _result_size(subject, taken, axis, n) == law.result_of(n)
    return tuple(n if is_taken and i == axis else m for i, m in enumerate(taken))


def _sizes_along(subject: ProbedModel, taken: Shape, axis: int) -> AxisSizes:
    n = taken[axis]
    first = _result_size(subject, taken, axis, n)
    assert first is not None, "a size that the model takes"
    for longer in _FAR:
        further = _result_size(subject, taken, axis, n + longer)
        if further is not None:
            break
    else:
        return _only(n, first)
    scale, margin = _simplest_law((n, first), (n + longer, further))
    if margin and scale:
        n, margin = _least_margin(subject, taken, axis, scale)
    for step in range(1, longer + 1):
        result = _result_size(subject, taken, axis, n + step)
        if result == math.ceil((n + step - margin) * scale):
            break
    law = AxisSizes(n, step, scale, margin)
    return replace(law, smallest=_smallest(subject, taken, axis, law))


def _least_margin(
    subject: ProbedModel, taken: Shape, axis: int, scale: Fraction
) -> tuple[int, int]:
    """The size of which least is lost, and how much that is.

    A model that rounds sizes down, as poolings do, loses more of some sizes than of others: what
    it loses of the best is its margin, and the others are not for tiles.
    """
    n = taken[axis]
    results = ((m, _result_size(subject, taken, axis, m)) for m in range(n, n + _PARTS + 1))
    lost = {m: math.ceil(m - result / scale) for m, result in results if result is not None}
    best = min(lost, key=lambda m: (lost[m], m))
    return best, max(lost[best], 0)


def _simplest_law(one: tuple[int, int], other: tuple[int, int]) -> tuple[Fraction, int]:
    """Scale and margin that explain two sizes with their results, the scale of few parts.

    >>> _simplest_law((32, 11), (96, 32))
    (Fraction(1, 3), 0)
    """
    (n, first), (m, further) = one, other
    ratio = Fraction(further - first, m - n)
    for parts in range(1, _PARTS + 1):
        scale = Fraction(round(ratio * parts), parts)
        margin = max(n - math.floor(first / scale), 0) if scale else 0
        if all(math.ceil((size - margin) * scale) == result for size, result in (one, other)):
            return scale, margin
    return ratio, max(n - math.floor(first / ratio), 0) if ratio else 0


def _only(n: int, result: int) -> AxisSizes:
    if result > n or n % result == 0:
        return AxisSizes(n, 0, Fraction(result, n), 0)
    return AxisSizes(n, 0, Fraction(1), n - result)


def _smallest(subject: ProbedModel, taken: Shape, axis: int, law: AxisSizes) -> int:
    """By bisection: a model that takes a size takes the larger ones, step by step."""

    def is_taken(n: int) -> bool:
        return n > law.margin and _result_size(subject, taken, axis, n) == law.result_of(n)

    steps = (law.smallest - 1) // law.step
    lowest = law.smallest - steps * law.step
    return lowest + law.step * bisect_left(
        range(steps), True, key=lambda k: is_taken(lowest + k * law.step)
    )


def _result_size(subject: ProbedModel, taken: Shape, axis: int, n: int) -> int | None:
    """Voxels of the result along the axis for n voxels; None if the model refuses them."""
    shape = tuple(n if i == axis else m for i, m in enumerate(taken))
    try:
        result = subject(subject.repeated_noise(shape)[None])
    except (RefusedError, MemoryError):
        return None
    if not np.issubdtype(result.dtype, np.number) and result.dtype != np.bool_:
        return None
    return int(result.shape[2 + axis])
