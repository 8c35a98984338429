"""Readers that are open in this process: a bounded number, those that were used last."""

from __future__ import annotations

import atexit
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

from .reader import Reader

_MOST = 64
"""Two files each: below what systems allow, 256 and more."""


class OpenReaders:
    """Readers by what they read; of those that are dropped, who reads with one still has it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: OrderedDict[Hashable, Reader] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def get(self, key: Hashable) -> Reader | None:
        with self._lock:
            found = self._open.get(_here(key))
            if found is not None:
                self._open.move_to_end(_here(key))
            return found

    def put(self, key: Hashable, reader: Reader) -> None:
        with self._lock:
            self._open[_here(key)] = reader
            dropped = [self._open.popitem(last=False)[1] for _ in range(len(self._open) - _MOST)]
        del dropped  # closed outside the lock

    def opened(self, key: Hashable, open_it: Callable[[], Reader]) -> Reader:
        """The reader of a key, opened where it is not open."""
        found = self.get(key)
        if found is None:
            found = open_it()
            self.put(key, found)
        return found

    def clear(self) -> None:
        """Close those that nobody reads with."""
        with self._lock:
            dropped, self._open = self._open, OrderedDict()
        del dropped


def _here(key: Hashable) -> Hashable:
    # By process: of what a fork inherits the libraries know nothing.
    return os.getpid(), key


OPEN_READERS = OpenReaders()

# Where a daemon thread lives on, Python empties modules at exit before this one goes: closing files
# would miss what it needs of them, and say so.
atexit.register(OPEN_READERS.clear)
