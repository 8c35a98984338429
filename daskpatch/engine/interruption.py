"""A run that is asked to stop: from a signal handler, or another thread."""

from __future__ import annotations

import threading
import time


class Interruption:
    """Once requested, no new block begins, and those that run have `grace` seconds to end.

    Attributes
    ----------
    is_heeded
        Set by a run while it looks at this: before and after, there is nothing to wait for.
    """

    def __init__(self, grace: float = 60.0) -> None:
        self._grace = grace
        self._requested = threading.Event()
        self._deadline = 0.0
        self.is_heeded = False

    def __repr__(self) -> str:
        return f"Interruption(grace={self._grace:g}, is_requested={self.is_requested})"

    def request(self, grace: float | None = None) -> None:
        """Ask the run to stop; `grace` (seconds) instead of what was said before."""
        self._deadline = time.monotonic() + (self._grace if grace is None else grace)
        self._requested.set()

    @property
    def is_requested(self) -> bool:
        """Whether somebody asked the run to stop."""
        return self._requested.is_set()

    @property
    def is_over(self) -> bool:
        """Whether those that still run have had their time."""
        return self.is_requested and time.monotonic() >= self._deadline
