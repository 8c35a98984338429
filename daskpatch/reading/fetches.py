"""What was fetched, counted."""

from __future__ import annotations

from collections.abc import Iterable

from .uses import Chunk


class Fetches:
    """How many chunks were fetched, and how many of them not for the first time."""

    def __init__(self) -> None:
        self.n_all = self.n_again = 0
        self._n_told = (0, 0)
        self._known: dict[tuple[int, tuple[int, ...]], int] = {}

    def add(self, chunks: Iterable[Chunk]) -> None:
        for number, (*row, place) in chunks:
            # A bit for each chunk of a row: thousands of them take as much as an entry.
            key = (number, tuple(row))
            known = self._known.get(key, 0)
            self.n_all += 1
            self.n_again += known >> place & 1
            self._known[key] = known | 1 << place

    def news(self) -> tuple[int, int]:
        """Both numbers, of what was fetched since this was asked before."""
        told, self._n_told = self._n_told, (self.n_all, self.n_again)
        return self.n_all - told[0], self.n_again - told[1]
