"""Numbers per axis: one serves for all, or there is one for each."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from .short_repr import given

Sizes = int | Sequence[int]
"""Voxels along every axis, or one number for each."""

Sides = int | tuple[int, int]
"""Voxels on both sides of an axis, or before and behind."""

Margin = tuple[tuple[int, int], ...]
"""Voxels per side, per spatial axis."""

Scale = tuple[Fraction, ...]
"""Voxels of the output per voxel of the input, per spatial axis."""

Ratio = int | float | str | Fraction
"""A number, or its text: `"1/4"`."""


_MOST_AXES = 64
"""More than any image has; messages show them all."""


def as_sizes(name: str, value: Sizes, n_axes: int, least: int) -> tuple[int, ...]:
    """One int per spatial axis; a single number serves for all.

    Raises
    ------
    ValueError
        If the length is wrong, an entry is not an integer, or below `least`.
    """
    sizes = plain_sizes(value)
    if sizes is None:
        raise ValueError(
            f"{name} is {given(value)}; needed is an integer, or one for each of {n_axes} axes."
        )
    sizes = (sizes,) * n_axes if isinstance(sizes, int) else sizes
    if len(sizes) != n_axes:
        raise ValueError(
            f"{name} is {sizes}, {len(sizes)} numbers for {n_axes} spatial axes; give "
            f"{n_axes} numbers, or one for all."
        )
    if min(sizes) < least:
        raise ValueError(f"{name} is {sizes}; every entry must be at least {least}.")
    return sizes


def plain_sizes(value: object) -> int | tuple[int, ...] | None:
    """An int or a tuple of ints; None if it is neither.

    >>> plain_sizes(np.array([8, 8])), plain_sizes(8.5)
    ((8, 8), None)
    """
    if isinstance(value, bool):  # which counts nothing, and would be 1
        return None
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        pass
    try:
        sizes = tuple(map(operator.index, value))  # type: ignore[call-overload]
    except TypeError:
        return None
    return sizes if len(sizes) <= _MOST_AXES else None


def as_margin(value: int | Sequence[Sides], n_axes: int | None) -> Margin:
    """Two ints per spatial axis, before and behind; one number serves for both, or for all.

    Without `n_axes` there may be any number of entries.

    Raises
    ------
    ValueError
        If it is something else, or below 0.
    """
    try:
        entries: Any = value if hasattr(value, "__len__") else (value,) * (n_axes or 1)
        margin = tuple(_sides(entry) for entry in entries)
    except TypeError:
        margin = ()
    if _count_differs(margin, n_axes) or any(min(sides) < 0 for sides in margin):
        raise ValueError(
            f"margin is {given(value)}; needed is a number of voxels, 0 or more, or for each "
            f"{_axes(n_axes)} a number or a pair (before, behind)."
        )
    return margin


def _sides(entry: Sides) -> tuple[int, int]:
    sides: Any = entry  # arrays are no sequences to Python
    if hasattr(sides, "__len__") and len(sides) == 2:
        return operator.index(sides[0]), operator.index(sides[1])
    return (operator.index(sides),) * 2


def as_scale(value: Ratio | Sequence[Ratio], n_axes: int | None) -> Scale:
    """Output voxels per input voxel: a number, or one per axis.

    Without `n_axes` there may be any number of entries.

    Raises
    ------
    ValueError
        If one is no number above 0.
    """
    entries: list[Any] = list(value) if np.ndim(value) else [value] * (n_axes or 1)  # type: ignore[arg-type]
    try:
        scale = tuple(
            Fraction(entry if isinstance(entry, str | Fraction) else float(entry))
            for entry in entries
        )
        scale = tuple(entry.limit_denominator(1024) for entry in scale)
    except (TypeError, ValueError, ArithmeticError):
        scale = ()
    if _count_differs(scale, n_axes) or any(s <= 0 for s in scale):
        raise ValueError(
            f"scale is {given(value)}; needed are the output's voxels per voxel of the input, such "
            f"as 2 or '1/4': one number, or one for each {_axes(n_axes)}."
        )
    return scale


def _count_differs(entries: Sequence[object], n_axes: int | None) -> bool:
    return not entries if n_axes is None else len(entries) != n_axes


def _axes(n_axes: int | None) -> str:
    return "axis" if n_axes is None else f"of {n_axes} axes"
