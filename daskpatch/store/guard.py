"""What a write asks before it begins: whether whoever writes still may.

A driver that sleeps for a minute (a laptop, a store that was away) is taken over by another, and
must not write when it wakes up. Whoever runs blocks sets a guard around them; all that writes
voxels, or what blocks leave, passes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar

Guard = AbstractContextManager[object]
"""Entered before a write, which it may refuse, and left after it."""

_current: ContextVar[Guard | None] = ContextVar("daskpatch_guard", default=None)


@contextmanager
def guarded_by(guard: Guard) -> Iterator[None]:
    """Set the guard of what this thread writes."""
    token = _current.set(guard)
    try:
        yield
    finally:
        _current.reset(token)


def writing() -> Guard:
    """Around a write: passes the guard of this thread, if it has one."""
    return _current.get() or nullcontext()
