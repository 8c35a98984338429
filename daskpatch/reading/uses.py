"""How often chunks will be needed: known from the geometry, when one is first fetched."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

Chunk = tuple[int, tuple[int, ...]]
"""The number of an image, and the place of one of its chunks in their grid."""

_PAGE = 1024


class Needs(Protocol):
    """Which blocks need which chunks: geometry, and what there is to compute."""

    def blocks_of(self, chunk: Chunk) -> Iterable[tuple[int, Iterable[int]]] | None:
        """The blocks that need a chunk, each with the samples that it needs it for.

        None where there are too many to count.
        """

    def samples_of(self, index: int) -> Iterable[int]:
        """The samples of a block."""

    def chunks_of(self, index: int, sample_idx: int) -> Iterable[Chunk]:
        """The chunks that a block needs for a sample."""

    def is_stored(self, index: int, sample_idx: int) -> bool:
        """Whether anything of that may be stored: else it is not read."""

    def is_left(self, index: int) -> bool:
        """Whether a block was to be computed here, when that was last told; done or not since."""


class Uses:
    """The uses of chunks that are left: pairs of a chunk and a sample of a block that needs it.

    They only decide what is kept: a wrong number may cost a fetch.
    """

    def __init__(self, needs: Needs) -> None:
        self._needs = needs
        self._finished = _Numbers()
        self._consumed: dict[int, set[int]] = {}

    def left(self, chunk: Chunk) -> int | None:
        """How often a chunk will be needed; None where that is not counted."""
        needed = self._needs.blocks_of(chunk)
        if needed is None:
            return None
        return sum(
            sum(each not in self._consumed.get(index, ()) for each in samples)
            for index, samples in needed
            if index not in self._finished and self._needs.is_left(index)
        )

    def is_due(self, index: int, sample_idx: int) -> bool:
        """Whether a block will still read a sample."""
        is_read = index in self._finished or sample_idx in self._consumed.get(index, ())
        return not is_read and self._needs.is_left(index)

    def consume(self, index: int, sample_idx: int) -> Iterable[Chunk]:
        """The chunks that are needed once less, now that a block has read a sample."""
        consumed = self._consumed.setdefault(index, set())
        # A block that is tried again reads without being counted.
        if not self.is_due(index, sample_idx):
            return ()
        consumed.add(sample_idx)
        return self._needs.chunks_of(index, sample_idx)

    def finish(self, index: int) -> Iterator[Chunk]:
        """The chunks that are needed once less, now that a block is done or has failed."""
        for sample_idx in self._needs.samples_of(index):
            yield from self.consume(index, sample_idx)
        self._consumed.pop(index, None)
        self._finished.add(index)


class _Numbers:
    """Integers, many of them neighbours: a bit each, and a full page takes next to nothing."""

    _FULL = (1 << _PAGE) - 1

    def __init__(self) -> None:
        self._pages: dict[int, int] = {}

    def add(self, number: int) -> None:
        page, place = divmod(number, _PAGE)
        bits = self._pages.get(page, 0) | 1 << place
        self._pages[page] = self._FULL if bits == self._FULL else bits

    def __contains__(self, number: int) -> bool:
        page, place = divmod(number, _PAGE)
        return bool(self._pages.get(page, 0) >> place & 1)
