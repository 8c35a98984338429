"""The records of a pass: what was done before, and what is done now."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from ..receipts import Announcements, FailedBlock, Journal, Part, Permit, Receipt, Receipts, Record

_BATCH = 4096


class Ledger:
    """Receipts and failures of a pass, each to the record of the grid whose block it is of.

    Parameters
    ----------
    records
        One per grid.
    firsts
        The flat index of each grid's first block.
    part, permit
        Whose log is written, and under which claim.
    flush_seconds
        Between two times that receipts are stored.
    is_durable
        Whether they, and what they speak of, outlast the machine.

    Attributes
    ----------
    look
        Called with blocks whose receipts are to be stored; raises `ChangedError` if what they
        were read from or written to is no longer there.
    """

    def __init__(
        self,
        records: Sequence[Record],
        firsts: tuple[int, ...],
        part: Part,
        permit: Permit,
        flush_seconds: float,
        *,
        is_durable: bool = True,
    ) -> None:
        self._records, self._firsts, self._part = records, firsts, part
        self._flush_seconds, self.is_durable = flush_seconds, is_durable
        self.look: Callable[[Sequence[int]], None] = lambda _: None
        self._journals = [
            Journal(record, part, permit.token, is_durable=is_durable) for record in records
        ]
        self._further: list[tuple[Ledger, Mapping[int, int]]] = []
        self.announcements = Announcements(records[0], part, permit)
        self._flushed = time.monotonic()

    def take_along(self, other: Ledger, numbers: Mapping[int, int]) -> None:
        """Keep the receipts of another pass with these: stored, dropped and taken back together.

        `numbers` says which of its grids is of what one of these is of.
        """
        self._further.append((other, numbers))

    def add(self, receipt: Receipt, *further: Receipt) -> None:
        """Take a block's receipt, and those of blocks of the others that it did, too."""
        self._journals[self._number(receipt.index)].add(receipt)
        for (other, _), each in zip(self._further, further, strict=False):
            other.add(each)

    def set_aside(self, failure: FailedBlock) -> None:
        self._journals[self._number(failure.index)].set_aside(failure)

    def is_due(self, *, due: bool) -> bool:
        """Whether something is to be stored, now or, if asked, only after a while."""
        if due and time.monotonic() - self._flushed < self._flush_seconds:
            return False
        return any(journal.is_changed for journal in self._journals)

    def flush(self) -> None:
        """Store what came in; what is stored is really done.

        Raises
        ------
        ChangedError
            If what blocks were read from or written to is gone; their receipts are dropped.
        """
        # One look for all: it is the time of the look that counts.
        blocks = [index for journal in self._journals for index in journal.unstored]
        if blocks:
            self.look(blocks)
        for journal in self._journals:
            journal.flush()
        for other, _ in self._further:
            other.flush()
        self._flushed = time.monotonic()

    def be_brief(self) -> None:
        """Wait for stores no more."""
        for record in self._records:
            record.documents.delays = ()
        for other, _ in self._further:
            other.be_brief()

    @property
    def n_added(self) -> int:
        """The receipts that came in and count."""
        return sum(journal.n_receipts for journal in self._journals)

    @property
    def n_unstored(self) -> int:
        """The receipts that came in and are not stored."""
        return sum(len(journal.unstored) for journal in self._journals)

    @property
    def touched(self) -> list[int]:
        """The grids of which something was done."""
        return [number for number, journal in enumerate(self._journals) if journal.n_receipts]

    def forget(self) -> int:
        """Drop what came in since the last flush; how many receipts these were."""
        for other, _ in self._further:
            other.forget()
        return sum(journal.forget() for journal in self._journals)

    def discard(self) -> int:
        """Drop what came in since the last flush, in memory only; how many receipts these were."""
        for other, _ in self._further:
            other.discard()
        return sum(journal.discard() for journal in self._journals)

    def take_back(self, number: int) -> int:
        """Drop all that this run did of a grid; how many receipts these were."""
        for other, numbers in self._further:
            if number in numbers:
                other.take_back(numbers[number])
        return self._journals[number].take_back()

    def receipts(self) -> Receipts:
        """Of all records, by ascending index."""
        each = [record.receipts() for record in self._records]
        # Rows of images not begun yet may be narrower than those of others.
        return np.concatenate([rows for rows in each if len(rows)] or each[:1])

    def receipts_before(self) -> Receipts:
        """Those that are there when the pass goes on; none, not looked for, of one that begins."""
        is_alone = self._part.of == 1
        if is_alone and not self.n_added and all(record.is_new for record in self._records):
            return self._records[0].no_receipts()
        return self.receipts()

    def drop(self, indices: Sequence[int]) -> None:
        """Forget stored receipts of blocks, which are to be computed again."""
        for number, record in enumerate(self._records):
            theirs = [index for index in indices if self._number(index) == number]
            if theirs:
                record.drop(theirs)

    def left(self, index: int) -> bytes | None:
        """What a block left beside its receipt."""
        return self._records[self._number(index)].left(index)

    def _number(self, index: int) -> int:
        """Of the grid that a block belongs to."""
        return bisect_right(self._firsts, index) - 1


def without(indices: Iterator[int], done: NDArray[np.uint64]) -> Iterator[int]:
    """The indices that are not among those of an ascending array; a few thousand at a time."""
    while batch := list(islice(indices, _BATCH)):
        given = np.asarray(batch, np.uint64)
        yield from given[~are_among(given, done)].tolist()


def are_among(given: NDArray[np.uint64], done: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which indices are among those of an ascending array."""
    if not len(done):
        return np.zeros(len(given), bool)
    # Bisection in the ascending receipts: 10^6 of them cost 8 MB, a set of Python ints ten times.
    at = np.minimum(np.searchsorted(done, given), len(done) - 1)
    among: NDArray[np.bool_] = done[at] == given
    return among
