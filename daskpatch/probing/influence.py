"""How far a model looks: part of its input is changed, and the result compared.

```
input    # # # # # . . . . . .      all before a place changed
result   + + + + + + + + . . .      changed up to 3 planes behind it: its halo before a result
```

Changes of all behind a place show the halo behind a result in the same way. So a look takes two
calls, however far the model sees. Where it sees everything, single planes are changed instead: what
stands out from the influence of all on all is told from how it falls off with the distance.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import product

import numpy as np

from ..values import deviations_of, difference_of
from .probed_model import Noise, ProbedModel, Shape, Values
from .sizes import AxisSizes

_SEED = 20

Side = tuple[float, ...]
"""The largest change of the result at each distance, on one side."""

Seeing = Callable[[int], Side]


@dataclass(frozen=True, slots=True)
class Profile:
    """The largest change of the result against its distance from what was changed, along one axis.

    In standard deviations of the result; the index is the distance in input voxels. `before` is
    how much a result depends on what lies so far before it and further, `behind` on what lies
    behind it; of a model that looks at all of its tile, on a single plane at that distance.
    """

    before: Side
    behind: Side

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


def _reach(side: Side, tolerance: float) -> int:
    return max((distance for distance, value in enumerate(side) if value > tolerance), default=0)


def _larger(a: Side, b: Side) -> Side:
    n = max(len(a), len(b))
    padded = (np.pad(side, (0, n - len(side))) for side in (a, b))
    return tuple(np.maximum(*padded).tolist())


class Influence:
    """What a model's result depends on along one axis, on images of one shape.

    Each question is put to the model once, on each of some images.

    Parameters
    ----------
    n_images
        Where there are several, parts of them are changed to what the model is made for, too: in
        noise a mask, or what is above a threshold, has neither objects nor background.

    Attributes
    ----------
    share
        Of a plane of the result, how much changed at most; of the channel of which it is least, if
        any of it did.
    """

    def __init__(
        self, subject: ProbedModel, shape: Shape, axis: int, sizes: AxisSizes, n_images: int = 1
    ) -> None:
        self._subject, self._shape, self._axis, self._sizes = subject, shape, axis, sizes
        self._n_images, self._shares = n_images, np.zeros(1)
        self._n = shape[axis]
        others = (i for i in range(len(shape)) if i != axis)
        self._across = max(others, key=lambda i: shape[i])
        self.of_all_before = cache(self._of_all_before)
        self.of_all_behind = cache(self._of_all_behind)

    @property
    def share(self) -> float:
        return float(min(self._shares[self._shares > 0], default=0.0))

    def of_planes(self, planes: Iterable[int]) -> Profile:
        """How a result depends on single planes, changed to more of what the image is."""
        profile = Profile((), ())
        for plane in planes:
            profile |= self._changed(slice(plane, plane + 1), plane, self._subject.noise)
        return profile

    def of_context(self, halo: int) -> float:
        """The largest change of a result in the middle when all beyond the halo is changed."""
        middle = self._n // 2
        place = int((middle - self._sizes.margin // 2) * self._sizes.scale)
        near = _along(self._axis, slice(max(middle - halo, 0), middle + halo + 1))
        image, whole = self._images[0]
        # Everything else is another image: what still agrees depends on what is near alone.
        other = self._subject.mixed(self._shape, _SEED + 1, self._across)
        other[near] = image[near]
        return float(self._change(whole, other)[place])

    def _of_all_before(self, place: int) -> Side:
        """How a result depends on all before a place: by its distance from the last plane of it."""
        noise = self._subject.strong_noise
        return self._changed(slice(0, place), place - 1, noise).before

    def _of_all_behind(self, place: int) -> Side:
        """How a result depends on all from a place on: by its distance from that plane."""
        noise = self._subject.strong_noise
        return self._changed(slice(place, self._n), place, noise).behind

    def _changed(self, part: slice, edge: int, noise: Noise) -> Profile:
        """Influence by the distance from the edge of a part that is changed."""
        place, profile = _along(self._axis, part), Profile((), ())
        contents = [noise] if self._n_images == 1 else [noise, self._subject.typical]
        for (image, whole), content in product(self._images, contents):
            changed = image.copy()
            changed[place] = content(changed[place].shape[1:], _SEED + 2)
            profile |= _by_distance(self._change(whole, changed), edge, self._n, self._sizes)
        return profile

    def _change(self, whole: Values, changed: Values) -> Values:
        """The largest change in each plane, of noise and sample each by its own deviation."""
        result = self._subject(changed[None])[0]
        across = tuple(i for i in range(1, whole.ndim) if i != self._axis + 1)
        shares = np.mean(difference_of(result, whole) != 0, axis=across).max(axis=-1)
        self._shares = np.maximum(self._shares, shares)
        halves = (self._subject.halves(each, self._across) for each in (whole, result))
        pairs = zip(*halves, strict=True)
        changes: Values = np.max(
            [relative_change(one, other, self._axis) for one, other in pairs], axis=0
        )
        return changes

    @cached_property
    def _images(self) -> list[tuple[Values, Values]]:
        """Images, each with what the model gives for it."""
        seeds = range(_SEED, _SEED + 10 * self._n_images, 10)
        images = [self._subject.mixed(self._shape, seed, self._across) for seed in seeds]
        return [(image, self._subject(image[None])[0]) for image in images]


def farthest(look: Seeing, period: int, tolerance: float, enough: float = math.inf) -> Side:
    """The influence of whichever place sees farthest, of those that a grid makes different.

    `look(i)` is the influence from a place `i` voxels on, in the direction of the result. It ends
    where nothing behind has changed, and the further on the place, the further on that end. So
    between two places the influence is no longer than from the first to the end of the second's,
    and where that is no more than is known already, there is no need to look; nor is there where
    one sees `enough`.

    >>> farthest(lambda i: (1.0,) * (9 - i % 4 + (i > 0) * 4), period=4, tolerance=0.5)
    (1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
    """
    side = look(0)
    reach = _reach(side, tolerance)
    gaps = [(0, period, reach)]  # from the first place on, up to the last, and how far that sees
    while gaps and _reach(side, tolerance) < enough:
        first, last, reach_of_last = gaps.pop()
        between = last - first - 1
        if between <= 0 or between + reach_of_last <= _reach(side, tolerance):
            continue
        place = 1 if first == 0 else (first + last) // 2  # a cell's first voxel tells of all
        seen = look(place)
        side = _larger(side, seen)
        reach = _reach(seen, tolerance)
        gaps += [(first, place, reach), (place, last, reach_of_last)]
    return side


def relative_change(one: Values, other: Values, axis: int) -> Values:
    """The largest difference in each plane across an axis, of `C(Z)YX`.

    In standard deviations of `one`, each channel in its own.
    """
    difference = np.abs(difference_of(other, one))
    across = tuple(i for i in range(1, difference.ndim) if i != axis + 1)
    change: Values = (difference.max(axis=across) / deviations_of(one)[:, None]).max(axis=0)
    return change


def _along(axis: int, where: slice) -> tuple[slice, ...]:
    """An index into `C(Z)YX`."""
    return (*[slice(None)] * (axis + 1), where)


def _by_distance(change: Values, plane: int, n: int, sizes: AxisSizes) -> Profile:
    """Changes by their distance from a plane: between the input voxels that results lie in."""
    places = np.arange(len(change) + 1) / float(sizes.scale) + sizes.margin // 2
    first, last = np.floor(places[:-1]), np.ceil(places[1:]) - 1
    return Profile(_binned(first - plane, change, n), _binned(plane - last, change, n))


def _binned(distances: Values, change: Values, n: int) -> Side:
    """The largest change at each distance from 0 on."""
    side = np.zeros(n)
    inside = (distances >= 0) & (distances < n)
    np.maximum.at(side, distances[inside].astype(int), change[inside])
    return tuple(np.trim_zeros(side, "b").tolist())
