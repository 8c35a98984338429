"""Levels of a pyramid: by how much each is coarser than the one before, and how large it is."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from .coordinates import Coordinates
from .region import Region
from .short_repr import given
from .units import long_unit

Factors = tuple[int, ...]
"""Voxels of the level before per voxel, along each axis of an array."""

FactorsLike = int | Sequence[int]
"""Of one level: along every spatial axis, or for each spatial axis or each axis of the array."""

_SMALL = 256
"""Voxels along an axis that need no further level."""

_ALIKE = 1.5
"""Voxels are halved along axes where they are shorter than this, in the shortest ones."""


def coarser_shape(shape: tuple[int, ...], factors: Factors) -> tuple[int, ...]:
    """The shape of the next level: the last voxel stands for what remains.

    >>> coarser_shape((33, 47), (2, 2))
    (17, 24)
    """
    return tuple(-(-n // f) for n, f in zip(shape, factors, strict=True))


def finer_region(region: Region, factors: Factors, shape: tuple[int, ...]) -> Region:
    """The box of the level before, of such a shape, that a box of the next level stands for.

    >>> finer_region(Region((4, 4), (17, 8)), (2, 2), (33, 47))
    Region(start=(8, 8), stop=(33, 16))
    """
    start = tuple(min(a * f, n) for a, f, n in zip(region.start, factors, shape, strict=True))
    stop = tuple(min(b * f, n) for b, f, n in zip(region.stop, factors, shape, strict=True))
    return Region(start, stop)


def coarser_region(region: Region, factors: Factors) -> Region:
    """The box of the next level that is computed of a box, or of some of it.

    >>> coarser_region(Region((8, 7), (33, 16)), (2, 2))
    Region(start=(4, 3), stop=(17, 8))
    """
    start = tuple(a // f for a, f in zip(region.start, factors, strict=True))
    stop = tuple(-(-b // f) for b, f in zip(region.stop, factors, strict=True))
    return Region(start, stop)


def halvings(
    coordinates: Coordinates,
    shape: tuple[int, ...],
    *,
    n_levels: int | None = None,
    keeps_planes: bool = False,
    is_strict: bool = True,
) -> tuple[Factors, ...]:
    """The factors of each level beside the first, where an axis is halved or left alone.

    At each level an axis of space is halved if its voxels are less than 1.5 times the shortest
    (among axes longer than 1, where all have one unit), so that voxels become alike. Levels end
    when no axis that was halved, or would be next, is longer than 256.

    Parameters
    ----------
    coordinates, shape
        Of the first level, along the same axes.
    n_levels
        So many levels, however large the last is.
    keeps_planes
        Whether the first of them leaves Z alone, whatever its voxels.
    is_strict
        Whether fewer than `n_levels` are refused; else they end where all axes are of one voxel.

    Raises
    ------
    ValueError
        If there are not so many levels: all axes are of one voxel before.

    Examples
    --------
    >>> volume = Coordinates("ZYX", (2.0, 0.5, 0.5), (0.0,) * 3, ("micrometer",) * 3)
    >>> halvings(volume, (100, 2000, 2000))
    ((1, 2, 2), (1, 2, 2), (2, 2, 2))
    """
    found = tuple(islice(_halvings(coordinates, shape, n_levels, keeps_planes), n_levels))
    if is_strict and n_levels is not None and len(found) < n_levels:
        raise ValueError(
            f"pyramid is {n_levels}, and an image of shape {shape} ({coordinates.axes}) is of one "
            f"voxel after {len(found)} levels; give a smaller number, or 'auto'."
        )
    return found


def _halvings(
    coordinates: Coordinates, shape: tuple[int, ...], n_levels: int | None, keeps_planes: bool
) -> Iterator[Factors]:
    axes = coordinates.axes
    sizes = {axis: n for axis, n in zip(axes, shape, strict=True) if axis in "ZYX"}
    voxels = _comparable(coordinates)
    ever: set[str] = set()
    while True:
        left_alone = "Z" if keeps_planes and not ever else ""
        halved = _alike({a: n for a, n in sizes.items() if a not in left_alone}, voxels)
        ever |= halved
        is_enough = n_levels is None and all(sizes[axis] <= _SMALL for axis in ever)
        if is_enough or not halved:
            return
        yield tuple(2 if axis in halved else 1 for axis in axes)
        for axis in halved:
            sizes[axis] = -(-sizes[axis] // 2)
            voxels[axis] *= 2


def _comparable(coordinates: Coordinates) -> dict[str, float]:
    """Voxel sizes along the axes of space; all alike where units differ, or a size is 0."""
    along = zip(coordinates.axes, coordinates.scale, coordinates.units, strict=True)
    told = {
        axis: (abs(scale), None if unit is None else long_unit(unit))
        for axis, scale, unit in along
        if axis in "ZYX"
    }
    is_told = len({unit for _, unit in told.values()}) == 1 and all(s for s, _ in told.values())
    return {axis: scale if is_told else 1.0 for axis, (scale, _) in told.items()}


def _alike(sizes: dict[str, int], voxels: dict[str, float]) -> set[str]:
    """The axes whose voxels are about as short as the shortest, of those longer than 1."""
    longer = [axis for axis, n in sizes.items() if n > 1]
    shortest = min((voxels[axis] for axis in longer), default=0.0)
    return {axis for axis in longer if voxels[axis] < _ALIKE * shortest}


def as_factors(name: str, levels: object) -> tuple[FactorsLike, ...]:
    """Factors of each level, as they were given: a number or several, per level.

    Raises
    ------
    ValueError
        If they are none: no integers of 1 or more, or none above 1.
    """
    entries: Any = levels
    try:
        made = tuple(_plain(entry) for entry in entries)
    except TypeError:
        made = ()
    flat = [(each,) if isinstance(each, int) else each for each in made]
    if not made or any(not each or min(each) < 1 or max(each) < 2 for each in flat):
        raise ValueError(
            f"{name} is {given(levels)}; needed are, for each level, voxels of the level before "
            "per voxel: a number, or one per axis, such as [(1, 2, 2), (2, 2, 2)]."
        )
    return made


def _plain(entry: object) -> FactorsLike:
    if hasattr(entry, "__len__") and not isinstance(entry, str):
        several: Any = entry
        return tuple(map(operator.index, several))
    return operator.index(entry)  # type: ignore[arg-type] # its TypeError is caught above


def factors_along(
    axes: str, shape: tuple[int, ...], levels: Sequence[FactorsLike]
) -> tuple[Factors, ...]:
    """Factors along each axis of an array of such a shape, of what `as_factors` gave.

    >>> factors_along("CZYX", (1, 8, 8, 8), [2, (1, 2, 2), (1, 2, 2, 2)])
    ((1, 2, 2, 2), (1, 1, 2, 2), (1, 2, 2, 2))

    Raises
    ------
    ValueError
        If there are other numbers than axes, or a level would be the one before again.
    """
    found = tuple(_along(axes, entry) for entry in levels)
    for number, factors in enumerate(found, 1):
        finer, shape = shape, coarser_shape(shape, factors)
        if shape == finer:
            raise ValueError(
                f"factors of level {number} are {factors}, and the level before has shape {finer} "
                f"({axes}), which they make no smaller; give fewer levels, or others."
            )
    return found


def _along(axes: str, entry: FactorsLike) -> Factors:
    space = [axis for axis in axes if axis in "ZYX"]
    numbers = (entry,) * len(space) if isinstance(entry, int) else tuple(entry)
    if len(numbers) == len(axes):
        return numbers
    if len(numbers) != len(space):
        raise ValueError(
            f"factors holds {entry!r}, {len(numbers)} numbers; the output has the axes {axes}. "
            f"Give one per axis, one per axis of space ({''.join(space)}), or one for all."
        )
    by_axis = dict(zip(space, numbers, strict=True))
    return tuple(by_axis.get(axis, 1) for axis in axes)
