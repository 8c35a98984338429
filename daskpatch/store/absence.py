"""Chunks that reads did not find.

An absent chunk reads as fill value, whether nobody ever wrote it or the whole array went away a
moment ago. Readers count the ones they meet, so that whoever asked for a box can look which it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass
class Absence:
    """How many chunks (of a shard that is not there: one) were absent."""

    count: int = 0


# zarr reads on an event loop of its own; the context of the thread that waits goes along.
_current: ContextVar[Absence | None] = ContextVar("daskpatch_absence", default=None)


@contextmanager
def counting() -> Iterator[Absence]:
    """Count the absent chunks of what this thread reads, and tell nobody else of them."""
    absence = Absence()
    token = _current.set(absence)
    try:
        yield absence
    finally:
        _current.reset(token)


@contextmanager
def noticing() -> Iterator[Absence]:
    """Count the absent chunks of what this thread reads; whoever counts around it does too."""
    absence = Absence()
    try:
        with counting() as absence:
            yield absence
    finally:
        notice(absence.count)


def notice(count: int = 1) -> None:
    """Tell whoever counts of absent chunks."""
    absence = _current.get()
    if absence is not None:
        absence.count += count
