"""Ids of objects: whether two results show the same objects under other ids."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_ALIKE = 0.8
"""Of the voxels of objects in either result: those that are so in both."""

_EVEN = 0.7
"""Of the voxels of objects: those whose neighbour has the same id. Quantities vary."""

_LEAST = 2
"""Objects with other ids: one alone may be a class that is another where less is seen."""

_EXPLAINED, _RENAMED = 0.9, 0.1
"""Of the voxels of objects in both: those whose id follows from the other one, and is not it."""


def may_be_ids(values: NDArray[Any]) -> bool:
    """Whether a result, `C(Z)YX`, may be ids of objects, by itself; floats that look so may, too.

    >>> may_be_ids(np.repeat([0.0, 1, 0, 2, 0, 3], 8)[None]), may_be_ids(np.arange(48.0)[None])
    (True, False)
    """
    if values.dtype.kind != "f":
        return values.dtype.kind in "iu"
    if not np.isfinite(values).all() or (values != np.rint(values)).any():
        return False
    return any(map(_are_several_and_even, values))


def are_never_ids(values: NDArray[Any]) -> bool:
    """Whether a result shows that what gives it gives no ids, of whatever image.

    >>> [are_never_ids(np.array(values)) for values in ([0.0, 0.5], [0.0, 1.0], [False, True])]
    [True, False, True]
    """
    if values.dtype.kind != "f":
        return values.dtype.kind == "b"
    finite = values[np.isfinite(values)]
    return bool((finite != np.rint(finite)).any())


def _are_several_and_even(values: NDArray[Any]) -> bool:
    inside = values != 0
    is_even = all(_evenness(values, inside, axis) >= _EVEN for axis in range(values.ndim))
    return is_even and len(np.unique(values[inside])) > _LEAST


def are_renumbered(
    one: NDArray[Any], other: NDArray[Any], seam: tuple[int, int] | None = None
) -> bool:
    """Whether results agree in the shapes of objects, and disagree in their ids; 0 is none.

    Results are `C(Z)YX`, and one channel is enough. Classes have the same number everywhere, and
    quantities are not even: neither is renumbered. Behind a seam (an axis, and an index along it)
    ids may be others again.

    >>> one = np.repeat([0, 1, 0, 2, 0, 3], 8)[None]
    >>> are_renumbered(one, np.repeat([0, 2, 0, 3, 0, 1], 8)[None]), are_renumbered(one, one)
    (True, False)
    """
    if one.shape != other.shape or not (may_be_ids(one) and may_be_ids(other)):
        return False
    if seam is not None:
        one, other = _told_apart(one, other, *seam)
    return any(_is_renumbered(a, b) for a, b in zip(one, other, strict=True))


def _told_apart(
    one: NDArray[Any], other: NDArray[Any], axis: int, row: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Ids that are not the same before and behind a place."""
    names = np.unique(np.concatenate([one, other], axis=None))
    is_behind = np.arange(one.shape[axis]) >= row
    offset = (len(names) * is_behind).reshape([-1 if i == axis else 1 for i in range(one.ndim)])
    first, second = (
        np.where(ids == 0, 0, np.searchsorted(names, ids) + 1 + offset) for ids in (one, other)
    )
    return first, second


def _is_renumbered(one: NDArray[Any], other: NDArray[Any]) -> bool:
    both = (one != 0) & (other != 0)
    n_both = int(both.sum())
    if n_both < max(_ALIKE * int(((one != 0) | (other != 0)).sum()), 1):
        return False
    if min(_evenness(other, both, axis) for axis in range(other.ndim)) < _EVEN:
        return False
    ids, counts = _majorities(one[both], other[both])
    if counts.sum() < _EXPLAINED * n_both or (set(ids[0]) == set(ids[1]) and len(ids[0]) <= 2):
        return False
    # An object has one id in either result; a class that is another there takes several along.
    alone = np.array([np.sum(ids[0] == name) == 1 for name in ids[0]])
    renamed = (ids[0] != ids[1]) & alone
    return bool(renamed.sum() >= _LEAST and counts[renamed].sum() >= _RENAMED * n_both)


def _evenness(values: NDArray[Any], inside: NDArray[np.bool_], axis: int) -> float:
    """The share of neighbours along an axis, both inside, that are equal."""
    moved, plain = np.moveaxis(values, axis, 0), np.moveaxis(inside, axis, 0)
    beside = plain[1:] & plain[:-1]
    return float((moved[1:] == moved[:-1])[beside].mean()) if beside.any() else 1.0


def _majorities(one: NDArray[Any], other: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """For each id of the other the id that it mostly is in the one, as pairs, and how often."""
    names, at = np.unique(one, return_inverse=True)
    others, at_other = np.unique(other, return_inverse=True)
    pairs, counts = np.unique(at_other * len(names) + at, return_counts=True)
    first, second = pairs % len(names), pairs // len(names)
    order = np.lexsort((counts, second))
    last = order[np.append(second[order][1:] != second[order][:-1], True)]
    # Compared as Python would: int8 and uint64 have no common integer type in NumPy.
    ids = np.stack([names[first[last]].astype(object), others[second[last]].astype(object)])
    return ids, counts[last]
