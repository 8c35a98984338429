"""Blocks as worker processes take them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .left import Left


@dataclass(frozen=True)
class OnWorkers:
    """What is left, by its place in the order of visits; see `engine.Visits`.

    Attributes
    ----------
    that_may
        Gives those of some blocks that workers may compute.
    """

    left: Left
    that_may: Callable[[Iterator[int]], Iterator[int]]
    n_foreseen: int

    @property
    def n_places(self) -> int:
        return self.left.selection.n_blocks

    def at(self, places: range) -> list[int]:
        return list(self.that_may(self.left.at(places)))

    def block_at(self, place: int) -> int:
        (index,) = self.left.selection.at(range(place, place + 1))
        return index
