"""How far a model looks: a plane of its input is changed, and the result compared.

```
input    . . . . . # . . . . .      one plane changed, all of it
result   . . + + + + + + . . .      changed from 3 planes before it to 2 behind it
```

A result that lies `d` voxels behind the plane has looked `d` voxels back: changes behind the
plane are the halo *before* a result, changes before the plane the halo *behind* it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..values import deviation_of, difference_of
from .probed_model import ProbedModel, Shape, Values
from .sizes import AxisSizes

GENTLE = (1.0,)
"""Amplitudes of the noise in the plane: like the rest of the image."""

STRONG = (1.0, 8.0, 64.0)
"""A weak change may lose against its neighbours in every pooling."""

_SEED = 20


@dataclass(frozen=True, slots=True)
class Profile:
    """The largest change of the result against its distance from the plane, along one axis.

    In standard deviations of the result; the index is the distance in input voxels. `before` is
    how much a result depends on what lies before it, `behind` on what lies behind it.
    """

    before: tuple[float, ...]
    behind: tuple[float, ...]

    def reach(self, tolerance: float) -> tuple[int, int]:
        """The largest distance, before and behind, of a change above the tolerance."""
        return _reach(self.before, tolerance), _reach(self.behind, tolerance)

    def plateau(self) -> float:
        """The largest change in the farther half."""
        far = [side[len(side) // 2 :] for side in (self.before, self.behind)]
        return max((value for side in far for value in side), default=0.0)

    def __or__(self, other: Profile) -> Profile:
        """Whichever is larger, at each distance."""
        return Profile(_larger(self.before, other.before), _larger(self.behind, other.behind))


def _reach(side: tuple[float, ...], tolerance: float) -> int:
    return max((distance for distance, value in enumerate(side) if value > tolerance), default=0)


def _larger(a: tuple[float, ...], b: tuple[float, ...]) -> tuple[float, ...]:
    n = max(len(a), len(b))
    padded = (np.pad(side, (0, n - len(side))) for side in (a, b))
    return tuple(np.maximum(*padded).tolist())


def measure_profile(
    subject: ProbedModel,
    shape: Shape,
    axis: int,
    sizes: AxisSizes,
    planes: Iterable[int],
    amplitudes: Sequence[float] = STRONG,
) -> Profile:
    """The influence of some planes across an axis, on images of a shape."""
    profile = Profile((), ())
    planes = tuple(planes)
    for content in subject.contents:
        image = content(shape, _SEED)
        whole = subject(image[None])[0]
        for plane in planes:
            for changed in _changed(subject, image, axis, plane, amplitudes):
                change = relative_change(whole, subject(changed[None])[0], axis)
                profile |= _by_distance(change, plane, shape[axis], sizes)
    return profile


def effect_of_context(
    subject: ProbedModel, shape: Shape, axis: int, sizes: AxisSizes, halo: int
) -> float:
    """The largest change in the middle when all beyond the halo is changed."""
    middle = shape[axis] // 2
    place = int((middle - sizes.margin // 2) * sizes.scale)
    effect = 0.0
    for content in subject.contents:
        image = content(shape, _SEED)
        other = content(shape, _SEED + 1)
        near = _along(axis, slice(max(middle - halo, 0), middle + halo + 1))
        # Everything else is another image: what still agrees depends on what is near alone.
        other[near] = image[near]
        whole, changed = (subject(values[None])[0] for values in (image, other))
        effect = max(effect, float(relative_change(whole, changed, axis)[place]))
    return effect


def relative_change(one: Values, other: Values, axis: int) -> Values:
    """The largest difference in each plane across an axis, in standard deviations of `one`."""
    difference = np.abs(difference_of(other, one))
    across = tuple(i for i in range(difference.ndim) if i != axis + 1)
    change: Values = difference.max(axis=across) / deviation_of(one)
    return change


def _changed(
    subject: ProbedModel, image: Values, axis: int, plane: int, amplitudes: Sequence[float]
) -> Iterator[Values]:
    """The image with other noise in a plane."""
    place = _along(axis, slice(plane, plane + 1))
    for number, amplitude in enumerate(amplitudes):
        changed = image.copy()
        part = changed[place]
        part[...] = subject.noise(part.shape[1:], _SEED + 2 + number, amplitude)
        yield changed


def _along(axis: int, where: slice) -> tuple[slice, ...]:
    """An index into `C(Z)YX`."""
    return (*[slice(None)] * (axis + 1), where)


def _by_distance(change: Values, plane: int, n: int, sizes: AxisSizes) -> Profile:
    """Changes by their distance from the plane: between the input voxels that results lie in."""
    places = np.arange(len(change) + 1) / float(sizes.scale) + sizes.margin // 2
    first, last = np.floor(places[:-1]), np.ceil(places[1:]) - 1
    return Profile(_binned(first - plane, change, n), _binned(plane - last, change, n))


def _binned(distances: Values, change: Values, n: int) -> tuple[float, ...]:
    """The largest change at each distance from 0 on."""
    side = np.zeros(n)
    inside = (distances >= 0) & (distances < n)
    np.maximum.at(side, distances[inside].astype(int), change[inside])
    return tuple(np.trim_zeros(side, "b").tolist())
