"""What blocks wrote, until it outlasts the machine: flushed many objects at a time."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection
from concurrent.futures import Future
from functools import partial

from ..store import Flushable
from ..support import DaemonThreads

_AT_A_TIME = 8
"""Threads: a file system flushes what several wait for together."""

_MOST = 32
"""Objects that one of them sees to in a call."""


class Unflushed:
    """Objects that were written and may be in this machine's memory only; used by several threads.

    What could not be flushed once may be lost, and the next try would not say so again: from then
    on each call fails.

    Parameters
    ----------
    pause
        Seconds between two beginnings: what is flushed with others costs least.

    Attributes
    ----------
    is_far
        Whether it has travelled to another process: the driver's flush does not reach what
        another machine has in its memory, and each task waits for what it wrote.
    """

    def __init__(self, *, is_far: bool = False, pause: float = 0.25) -> None:
        self.is_far, self._pause = is_far, pause
        self._written: defaultdict[Flushable, set[str]] = defaultdict(set)
        self._adding, self._flushing = threading.Lock(), threading.Lock()
        self._begun: list[Future[None]] = []
        self._began = time.monotonic()
        self._error: BaseException | None = None

    def __reduce__(self) -> tuple[Callable[[], Unflushed], tuple[()]]:
        return partial(Unflushed, is_far=True), ()

    def add(self, place: Flushable, names: Collection[str]) -> None:
        with self._adding:
            self._written[place].update(names)

    def begin(self) -> None:
        """Start to flush what was written until now; not while that is still going on.

        So that nobody waits for much in the end.
        """
        if time.monotonic() - self._began < self._pause:
            return
        with self._flushing:
            if all(each.done() for each in self._begun):
                self._collect()
                self._begun = self._start()

    def flush(self) -> None:
        """Flush what was written until now, and wait for it.

        Raises
        ------
        OSError
            If some of it may be lost, now or before.
        """
        # One at a time: whoever comes second may have written what the first one took.
        with self._flushing:
            self._collect()
            self._begun = self._start()
            self._collect()
        if self._error is not None:
            raise self._error

    def _start(self) -> list[Future[None]]:
        self._began = time.monotonic()
        with self._adding:
            written, self._written = self._written, defaultdict(set)
        # Neighbours together: they share folders.
        parts = [
            (place, ordered[at : at + _MOST])
            for place, ordered in ((place, sorted(names)) for place, names in written.items())
            for at in range(0, len(ordered), _MOST)
        ]
        if not parts:
            return []
        pool = DaemonThreads(min(_AT_A_TIME, len(parts)), "daskpatch-flush")
        begun = [pool.submit(place.flush, part) for place, part in parts]
        pool.shutdown(wait=False)
        return begun

    def _collect(self) -> None:
        for each in self._begun:
            self._error = each.exception() or self._error
        self._begun = []
