"""Where the voxels of a file's array lie: per axis a scale, the first one's place, and a unit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ..geometry import long_unit
from ..store import Places
from .reader import VoxelSize


def places_along(axes: Sequence[str], sizes: Mapping[str, VoxelSize]) -> Places | None:
    """Places along axes of which some are told; None where none of them is.

    >>> places_along("CYX", {"Y": (0.5, "um"), "X": (0.5, "um")})
    ((1.0, 0.0, None), (0.5, 0.0, 'micrometer'), (0.5, 0.0, 'micrometer'))
    """
    known = {axis: size for axis, size in sizes.items() if _is_size(size[0])}
    if not any(axis in known for axis in axes):
        return None
    each = (known.get(axis, (1.0, None)) for axis in axes)
    return tuple((float(n), 0.0, None if unit is None else long_unit(unit)) for n, unit in each)


def coarser_places(
    places: Places | None, finest: Sequence[int], shape: Sequence[int]
) -> Places | None:
    """Places in a level of a pyramid whose finest has those places, and that shape.

    >>> coarser_places(((0.5, 0.0, None),), (1001,), (500,))
    ((1.0, 0.25, None),)
    """
    if places is None:
        return None
    # Sizes are rounded, up or down; factors are whole numbers.
    factors = [max(round(n / m), 1) for n, m in zip(finest, shape, strict=True)]
    return tuple(
        (scale * f, first + (f - 1) / 2 * scale, unit)
        for (scale, first, unit), f in zip(places, factors, strict=True)
    )


def _is_size(number: float) -> bool:
    return math.isfinite(number) and number > 0
