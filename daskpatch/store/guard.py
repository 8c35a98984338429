"""What stands around a write: whether whoever writes still may, and what is to be flushed.

A driver that sleeps for a minute (a laptop, a store that was away) is taken over by another, and
must not write when it wakes up. Whoever runs blocks sets a guard around them; all that writes
voxels, or what blocks leave, passes it, and tells it what was written.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol


class Flushable(Protocol):
    """What objects were written to, by their names."""

    def flush(self, names: Collection[str]) -> None:
        """See that they outlast the machine.

        Raises
        ------
        OSError
            If they may be lost.
        """


class Guard(Protocol):
    """Entered before a write, which it may refuse, and left after it."""

    def __enter__(self) -> object: ...

    def __exit__(self, *error: object) -> None: ...

    def wrote(self, place: Flushable, names: Collection[str]) -> None:
        """Be told of objects that were written."""


_current: ContextVar[Guard | None] = ContextVar("daskpatch_guard", default=None)


@contextmanager
def guarded_by(guard: Guard) -> Iterator[None]:
    """Set the guard of what this thread writes."""
    token = _current.set(guard)
    try:
        yield
    finally:
        _current.reset(token)


@contextmanager
def writing() -> Iterator[Callable[[Flushable, Collection[str]], None]]:
    """Around a write: passes the guard of this thread, if it has one; gives what it is told by."""
    guard = _current.get()
    if guard is None:
        yield lambda place, names: None  # noqa: ARG005 (the interface)
    else:
        with guard:
            yield guard.wrote
