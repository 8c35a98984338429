"""The records of a run's output arrays: what was done before, and what is done now."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..receipts import (
    FailedBlock,
    Journal,
    Part,
    Receipt,
    Receipts,
    Record,
)

_FLUSH_SECONDS = 5.0
"""What a driver that is killed loses at most: the receipts of so many seconds."""

_BATCH = 4096


class Ledger:
    """Receipts and failures of a run, each to the array whose block it is of.

    Parameters
    ----------
    records
        One per image.
    firsts
        The flat index of each image's first block.
    part
        Whose log is written.
    """

    def __init__(self, records: list[Record], firsts: tuple[int, ...], part: Part) -> None:
        self._records, self._firsts = records, firsts
        self._journals = [Journal(record, part) for record in records]
        self._flushed = time.monotonic()

    def add(self, receipt: Receipt) -> None:
        self._journal(receipt.index).add(receipt)

    def set_aside(self, failure: FailedBlock) -> None:
        self._journal(failure.index).set_aside(failure)

    def flush(self, *, due: bool = False) -> None:
        """Store what came in, or only if that is due; what is stored is really done."""
        if due and time.monotonic() - self._flushed < _FLUSH_SECONDS:
            return
        for journal in self._journals:
            journal.flush()
        self._flushed = time.monotonic()

    def receipts(self) -> Receipts:
        """Of all arrays, by ascending index."""
        return np.concatenate([record.receipts() for record in self._records])

    def _journal(self, index: int) -> Journal:
        return self._journals[bisect_right(self._firsts, index) - 1]


def without(indices: Iterator[int], done: NDArray[Any]) -> Iterator[int]:
    """The indices that are not among those of an ascending array; a few thousand at a time."""
    while batch := list(islice(indices, _BATCH)):
        given = np.asarray(batch, np.uint64)
        at = np.searchsorted(done, given)
        found = done[np.minimum(at, len(done) - 1)] == given if len(done) else given < 0
        yield from given[~found].tolist()
