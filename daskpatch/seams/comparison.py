"""Stitched voxels against references: how large differences are, and how far from the seam."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..model import Results, Signature
from ..values import Values, deviations_of, difference_of
from .places import Place

LEAST_DEVIATION = 2e-2
"""Of the largest deviation of a channel what one counts for at least: of values that are computed
beside others 1e-6 of those is rounded (seen with Fourier transforms), and `tolerance` is 1e-4."""


class Difference(NamedTuple):
    """What one array differs by around a seam: signed, `C(Z)YX`.

    `scale` is how many of its voxels there are for one of the input across the seam.
    """

    place: Place
    scale: Fraction
    values: Values

    @property
    def seam_row(self) -> int:
        """The first plane behind the seam."""
        place = self.place
        return int((place.seam - place.region.start[place.axis]) * self.scale)

    @property
    def distances(self) -> NDArray[np.intp]:
        """How far each plane lies from the seam, in voxels of the input."""
        rows = np.arange(self.values.shape[self.place.axis + 1]) - self.seam_row
        return (np.where(rows < 0, -rows - 1, rows) / float(self.scale)).astype(int)


@dataclass
class Comparison:
    """Differences of all places so far, of each of the model's arrays.

    They are kept in the arrays' own units until all places are known: what they are measured in,
    the standard deviation, is that of all of them.
    """

    signature: Signature
    _differences: list[tuple[str, Difference]] = field(default_factory=list)
    _expected: dict[str, list[Values]] = field(default_factory=dict)

    def add(self, place: Place, stitched: Results, references: Iterable[Results]) -> None:
        """Take the voxels of one place."""
        for reference in references:
            for name, values in reference.items():
                expected = values.astype("f8")
                self._expected.setdefault(name, []).append(expected.reshape(len(expected), -1))
                difference = difference_of(stitched[name], expected)
                scale = self.signature.of(name).scale[place.axis]
                self._differences.append((name, Difference(place, scale, difference)))

    def deviations(self) -> dict[str, Values]:
        """The standard deviation of each channel of each array, over all places."""
        return {
            name: deviations_of(np.concatenate(values, axis=1), LEAST_DEVIATION)
            for name, values in self._expected.items()
        }

    def scaled(self) -> list[Difference]:
        """All differences, in standard deviations."""
        deviations = self.deviations()
        return [
            difference._replace(values=_scaled(difference.values, deviations[name]))
            for name, difference in self._differences
        ]


def _scaled(values: Values, deviations: Values) -> Values:
    """Values `C(Z)YX` in units of each channel."""
    return values / deviations.reshape(-1, *(1 for _ in values.shape[1:]))


def largest_by_distance(differences: Iterable[Difference]) -> Values:
    """The largest difference at each distance from the seam, in voxels of the input."""
    found = np.zeros(1)
    for difference in differences:
        planes = _by_plane(np.abs(difference.values), difference.place.axis)
        distance = difference.distances
        if distance.max() >= len(found):
            found = np.pad(found, (0, int(distance.max()) + 1 - len(found)))
        np.maximum.at(found, distance, planes)
    return found


def jumps(differences: Iterable[Difference]) -> tuple[float, float]:
    """The largest change of the difference between planes: across the seam, and elsewhere."""
    at_seam = elsewhere = 0.0
    for difference in differences:
        axis, row = difference.place.axis, difference.seam_row
        changes = _by_plane(np.abs(np.diff(difference.values, axis=axis + 1)), axis)
        for index, change in enumerate(changes, start=1):
            if index == row:
                at_seam = max(at_seam, float(change))
            else:
                elsewhere = max(elsewhere, float(change))
    return at_seam, elsewhere


def _by_plane(values: Values, axis: int) -> Values:
    """The largest value in each plane across an axis of `C(Z)YX`."""
    across = tuple(i for i in range(values.ndim) if i != axis + 1)
    largest: Values = values.max(axis=across)
    return largest
