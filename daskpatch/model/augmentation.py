"""Test-time augmentation: a tile predicted in several positions, its results turned back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..support import shown

_KINDS = ("flips", "rot90")


@dataclass(frozen=True, slots=True)
class Position:
    """A way to lay an array down: quarter turns in the plane of Y and X, then flips of axes.

    `flipped` holds axes counted from the end: -1 is X.

    >>> Position(1, (-1,)).undo(Position(1, (-1,)).apply(np.arange(6).reshape(2, 3))).tolist()
    [[0, 1, 2], [3, 4, 5]]
    """

    turns: int = 0
    flipped: tuple[int, ...] = ()

    def apply(self, values: NDArray[Any]) -> NDArray[Any]:
        """A copy that lies this way: models may work in place."""
        turned = np.rot90(values, self.turns, axes=(-2, -1))
        return np.array(np.flip(turned, self.flipped), order="C")

    def undo(self, values: NDArray[Any]) -> NDArray[Any]:
        return np.rot90(np.flip(values, self.flipped), -self.turns, axes=(-2, -1))


def as_augment(value: str | Sequence[str] | None) -> tuple[str, ...]:
    """`None`, `"flips"`, `"rot90"`, or a sequence of these, as a tuple.

    Raises
    ------
    ValueError
        If it is something else.
    """
    kinds = () if value is None else (value,) if isinstance(value, str) else value
    if not isinstance(kinds, Sequence) or not all(kind in _KINDS for kind in kinds):
        raise ValueError(
            f"augment is {shown(value)}; needed is 'flips', 'rot90', or both, "
            "augment=('flips', 'rot90')."
        )
    return tuple(kind for kind in _KINDS if kind in kinds)


def positions(augment: tuple[str, ...], ndim: int) -> tuple[Position, ...]:
    """The positions in which tiles of `ndim` spatial axes are predicted, the plain one first.

    Flips are along all axes, turns in the plane of Y and X: a voxel may be longer along Z. With
    both, each of the square's eight symmetries comes once (times two along Z).

    >>> [len(positions(("flips", "rot90"), ndim)) for ndim in (2, 3)]
    [8, 16]
    """
    turns = range(4) if "rot90" in augment else range(1)
    axes = [-1, -2, -3][:ndim] if "flips" in augment else []
    if "rot90" in augment and "flips" in augment:
        axes.remove(-2)  # half a turn and a flip of X
    return tuple(
        Position(turn, tuple(axis for axis, flips in zip(axes, chosen, strict=True) if flips))
        for turn in turns
        for chosen in product((False, True), repeat=len(axes))
    )
