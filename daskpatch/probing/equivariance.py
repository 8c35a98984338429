"""On which grid a model works: by how much an image may move so that its result just moves along.

A network with poolings answers a shift by one voxel with something else, and only a shift by its
total stride with the same result, shifted.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from .influence import relative_change
from .probed_model import ProbedModel, Shape, Values
from .sizes import AxisSizes

LARGEST = 32
"""The largest shift that is tried, in voxels."""

WIDTH = 32
"""Planes in the middle that are compared at least, in voxels."""

SLACK = 32
"""Voxels between the reach and what is compared: some phase of the grid may look further."""

_NOISE = 1e-5
"""Differences below are rounding, in standard deviations of the result: a convolution sums in
another order where its data lies elsewhere."""

_AT_ENDS = 1e-4
"""The same near the ends: running sums are rounded differently all along."""

_STRIDES = (2, 4, 8, 16)
"""Of models that are global: larger ones have no two multiples among the shifts."""

_SEED = 40


class Shifts(NamedTuple):
    """What shifts leave.

    Attributes
    ----------
    changes
        The change of the result by the shift, in the middle of an image.
    ends
        How far from either end of an image the result is another one, though the shift leaves none
        in the middle: what a model leaves out, pads or fades there.
    is_blank
        Whether all of the result was the same: what is left out along the other axes was all of it.
    """

    changes: dict[int, float]
    ends: tuple[int, int]
    is_blank: bool


def needed_size(reach: tuple[int, int]) -> int:
    """Voxels along the axis that the comparison takes."""
    return sum(reach) + 2 * SLACK + LARGEST + WIDTH


def measure_shifts(
    subject: ProbedModel,
    shape: Shape,
    axis: int,
    sizes: AxisSizes,
    reach: tuple[int, int],
    *,
    is_global: bool,
) -> Shifts:
    """The change of the result that shifts leave, up to the smallest that leaves none.

    Of a model that looks at all of its tile, that of all shifts.

    Powers of two come first: where one of them leaves none and its half some, it is the smallest,
    since all that leave none are multiples of that.
    """
    n = shape[axis]
    longer = tuple(m + LARGEST if i == axis else m for i, m in enumerate(shape))
    image = subject.typical(longer, _SEED)
    place = _window(image, axis, 0, n)
    whole = subject(place[None])[0]
    changes, ends = {}, (0, 0)
    for shift in sorted(range(1, LARGEST + 1), key=lambda n: (n.bit_count() > 1, n)):
        moved = shift * sizes.scale
        if moved.denominator != 1:
            continue
        result = subject(_window(image, axis, shift, n)[None])[0]
        changes[shift] = _change(whole, result, axis, int(moved), _edges(reach, sizes))
        if changes[shift] <= _NOISE and not is_global:
            ends = _ends(whole, result, axis, int(moved), sizes)
            break
    return Shifts(changes, ends, is_blank=bool((whole == whole.flat[0]).all()))


def align_of(changes: dict[int, float], *, is_global: bool) -> int | None:
    """The smallest shift that leaves no change, or None if there is none.

    A model that looks at all of its tile answers every shift with some change: there it is the
    power of two whose multiples stand out, each with less than half of what any other shift
    leaves; 1 if none does.
    """
    exact = [shift for shift, change in changes.items() if change <= _NOISE]
    if not is_global:
        return next(iter(exact), None)
    # A shift may leave no change by chance; then its multiples do.
    repeated = [n for n in sorted(exact) if 2 * n in exact]
    found = [*repeated, *(stride for stride in _STRIDES if _stands_out(changes, stride)), 1]
    return found[0]


def _stands_out(changes: dict[int, float], stride: int) -> bool:
    on = [change for shift, change in changes.items() if shift % stride == 0]
    off = [change for shift, change in changes.items() if shift % stride]
    return len(on) > 1 and len(off) > 0 and 2 * max(on) < min(off)


def _window(image: Values, axis: int, start: int, n: int) -> Values:
    return image[(*[slice(None)] * (axis + 1), slice(start, start + n))].copy()


def _edges(reach: tuple[int, int], sizes: AxisSizes) -> tuple[int, int]:
    """Result voxels at either end that may look beyond the image."""
    before, behind = (math.ceil((side + SLACK) * sizes.scale) for side in reach)
    return before, behind


def _ends(
    whole: Values, result: Values, axis: int, moved: int, sizes: AxisSizes
) -> tuple[int, int]:
    n = whole.shape[axis + 1] - moved
    one, other = _window(whole, axis, moved, n), _window(result, axis, 0, n)
    (differs,) = np.nonzero(relative_change(one, other, axis) > _AT_ENDS)
    first, last = differs[differs < n // 2], differs[differs >= n // 2]
    n_results = int(first.max()) + 1 if first.size else 0, n - int(last.min()) if last.size else 0
    before, behind = (
        math.ceil(count / sizes.scale) + side if count else 0
        for count, side in zip(n_results, sizes.sides, strict=True)
    )
    return before, behind


def _change(whole: Values, result: Values, axis: int, moved: int, edges: tuple[int, int]) -> float:
    n = whole.shape[axis + 1]
    before, behind = edges
    one = _window(whole, axis, before + moved, n - before - behind - moved)
    other = _window(result, axis, before, n - before - behind - moved)
    return float(relative_change(one, other, axis).max())
