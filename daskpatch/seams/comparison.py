"""Stitched voxels against references: how large differences are, and how far from the seam."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..block import Prediction
from ..model import Results
from ..values import Values, deviation_of, difference_of
from .places import Place


@dataclass
class Comparison:
    """Differences of all places so far, of each of the model's arrays.

    They are kept in the arrays' own units until all places are known: what they are measured in,
    the standard deviation, is that of all of them.
    """

    _differences: list[tuple[Place, str, Values]] = field(default_factory=list)
    _expected: dict[str, list[Values]] = field(default_factory=dict)

    def add(self, place: Place, stitched: Results, references: Iterable[Results]) -> None:
        """Take the voxels of one place."""
        for reference in references:
            for name, values in reference.items():
                expected = values.astype("f8")
                self._expected.setdefault(name, []).append(expected.ravel())
                difference = difference_of(stitched[name], expected)
                self._differences.append((place, name, difference))

    def deviations(self) -> dict[str, float]:
        """The standard deviation of each array, over all places."""
        return {
            name: deviation_of(np.concatenate(values)) for name, values in self._expected.items()
        }

    def scaled(self) -> list[tuple[Place, Values]]:
        """All differences, in standard deviations: signed, `C(Z)YX`."""
        deviations = self.deviations()
        return [
            (place, difference / deviations[name]) for place, name, difference in self._differences
        ]


def largest_by_distance(
    prediction: Prediction, differences: Iterable[tuple[Place, Values]]
) -> Values:
    """The largest difference at each distance from the seam, in voxels of the input."""
    found = np.zeros(1)
    for place, difference in differences:
        planes = _by_plane(np.abs(difference), place.axis)
        distance = distances(prediction, place, len(planes))
        if distance.max() >= len(found):
            found = np.pad(found, (0, int(distance.max()) + 1 - len(found)))
        np.maximum.at(found, distance, planes)
    return found


def jumps(
    prediction: Prediction, differences: Iterable[tuple[Place, Values]]
) -> tuple[float, float]:
    """The largest change of the difference between planes: across the seam, and elsewhere."""
    at_seam = elsewhere = 0.0
    for place, difference in differences:
        changes = _by_plane(np.abs(np.diff(difference, axis=place.axis + 1)), place.axis)
        row = seam_row(prediction, place)
        for index, change in enumerate(changes, start=1):
            if index == row:
                at_seam = max(at_seam, float(change))
            else:
                elsewhere = max(elsewhere, float(change))
    return at_seam, elsewhere


def seam_row(prediction: Prediction, place: Place) -> int:
    """The first plane behind the seam."""
    scale = prediction.signature.scale[place.axis]
    return int((place.seam - place.region.start[place.axis]) * scale)


def distances(prediction: Prediction, place: Place, n_planes: int) -> NDArray[np.intp]:
    """How far planes of the output lie from the seam, in voxels of the input."""
    scale = float(prediction.signature.scale[place.axis])
    rows = np.arange(n_planes) - seam_row(prediction, place)
    return (np.where(rows < 0, -rows - 1, rows) / scale).astype(int)


def _by_plane(values: Values, axis: int) -> Values:
    """The largest value in each plane across an axis of `C(Z)YX`."""
    across = tuple(i for i in range(values.ndim) if i != axis + 1)
    largest: Values = values.max(axis=across)
    return largest
