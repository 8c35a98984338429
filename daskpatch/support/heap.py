"""A process that gives freed memory back before it holds more than was planned."""

from __future__ import annotations

import math
import threading

from .resident import resident_bytes, trim

_STEP = 8
"""Where little can be given back, the next try is when this part of the most is added."""


class Heap:
    """What a process holds beyond what it began with; freed memory is given back where it is much.

    Allocators keep what is freed, in pieces that the next call may not fit into: glibc has a heap
    for each thread, and calls of a network of PyTorch took up to 2.6 times the memory of one.
    Travels without its begin: in another process that is another.

    Parameters
    ----------
    most
        Bytes, over those at the begin, from which on it is given back; infinity: never.
    """

    def __init__(self, most: float = math.inf) -> None:
        self.most = most
        self._lock = threading.Lock()
        self._limit = self._next = math.inf  # until it begins

    def __reduce__(self) -> tuple[type[Heap], tuple[float]]:
        return Heap, (self.most,)

    def begin(self) -> None:
        """Take what is resident now as what the process began with, if it has not begun yet."""
        if self.most == math.inf or self._limit < math.inf:
            return
        with self._lock:
            if self._limit == math.inf:
                self._limit = self._next = resident_bytes() + self.most

    def make_room(self) -> None:
        """Give back what was freed, if more is resident than should be: before a large call."""
        self.begin()
        if self.most == math.inf or not self._is_over():
            return
        with self._lock:  # the others wait: they would only take more
            if self._is_over():
                trim()
                # What is left is in use, here or by others in this process.
                self._next = max(self._limit, resident_bytes() + self.most / _STEP)

    def _is_over(self) -> bool:
        nbytes = resident_bytes()
        if nbytes <= self._limit:
            self._next = self._limit
        return nbytes > self._next
