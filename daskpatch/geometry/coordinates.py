"""Where the voxels of an array lie in space and time: their centres, as OME-Zarr has them.

https://ngff.openmicroscopy.org/0.5/ (coordinateTransformations: scale, then translation).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

Number = int | float | Fraction


@dataclass(frozen=True, slots=True)
class Coordinates:
    """Along each axis, how far apart voxels are, and where the centre of the first one lies.

    Attributes
    ----------
    axes
        Of STCZYX, in the array's own order.
    scale, translation
        One number per axis, in its unit.
    units
        One name per axis ("micrometer"), or None where it has none.

    Examples
    --------
    >>> fine = Coordinates("YX", (0.5, 0.25), (0.0, 3.0), ("micrometer", "micrometer"))
    >>> coarse = fine.of_cells({"Y": 2, "X": 2})
    >>> coarse.scale, coarse.translation
    ((1.0, 0.5), (0.25, 3.125))
    """

    axes: str
    scale: tuple[float, ...]
    translation: tuple[float, ...]
    units: tuple[str | None, ...]

    def __str__(self) -> str:
        """The scale in words.

        >>> str(Coordinates("YX", (0.5, 2.0), (0.0, 0.0), ("micrometer", None)))
        'Y 0.5 micrometer, X 2'
        """
        each = zip(self.axes, self.scale, self.units, strict=True)
        return ", ".join(f"{axis} {scale:g} {unit or ''}".rstrip() for axis, scale, unit in each)

    @classmethod
    def of_voxels(cls, axes: str) -> Coordinates:
        """Those of an array that says nothing of itself: voxels are the unit."""
        return cls(axes, (1.0,) * len(axes), (0.0,) * len(axes), (None,) * len(axes))

    def of_cells(self, size: Mapping[str, Number]) -> Coordinates:
        """Those of an array whose voxels are cells of so many voxels each, by axis.

        1/2 along an axis is that of a model that gives two voxels for one.
        """
        first = {axis: (_exact(n) - 1) / 2 for axis, n in size.items()}
        return self._along(first, size)

    def from_voxel(self, start: Mapping[str, Number]) -> Coordinates:
        """Those of a part of the array that begins at a voxel, by axis."""
        return self._along(start, {})

    def every(self, step: Mapping[str, Number]) -> Coordinates:
        """Those of an array that has every n-th voxel of this one, from the first on."""
        return self._along({}, step)

    def on(self, axes: str) -> Coordinates:
        """The same on other axes: along those that it lacks, voxels are the unit."""
        both = f"{self.axes}{''.join(axis for axis in axes if axis not in self.axes)}"
        missing = len(both) - len(self.axes)
        order = [both.index(axis) for axis in axes]
        scale = self.scale + (1.0,) * missing
        translation = self.translation + (0.0,) * missing
        units = self.units + (None,) * missing
        return Coordinates(
            axes,
            tuple(scale[i] for i in order),
            tuple(translation[i] for i in order),
            tuple(units[i] for i in order),
        )

    def _along(self, first: Mapping[str, Number], step: Mapping[str, Number]) -> Coordinates:
        """Those of an array whose voxel i lies at voxel `first + i * step` of this one."""
        scales = list(map(_exact, self.scale))
        places = zip(self.axes, scales, map(_exact, self.translation), strict=True)
        translation = [place + _exact(first.get(axis, 0)) * s for axis, s, place in places]
        return Coordinates(
            self.axes,
            tuple(
                float(s * _exact(step.get(a, 1))) for a, s in zip(self.axes, scales, strict=True)
            ),
            tuple(map(float, translation)),
            self.units,
        )


def _exact(number: Number) -> Fraction:
    """A number as it is written in decimals: 0.65 is 65/100, and three times that is 1.95."""
    return number if isinstance(number, Fraction) else Fraction(repr(number))
