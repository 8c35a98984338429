"""Threads inside models: one each, where several calls run side by side."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

_done = threading.local()


def single_threaded() -> None:
    """Make torch compute with one thread when called from this thread.

    On CPUs many single-threaded calls side by side are faster than one multi-threaded call.
    torch keeps the number per calling thread, so it is set in each.
    """
    torch = sys.modules.get("torch")
    if torch is not None and not getattr(_done, "torch", False):
        torch.set_num_threads(1)
        _done.torch = True


@contextmanager
def restrained() -> Iterator[None]:
    """Have torch compute with no more threads than there are processors that others leave idle.

    More of them wait for each other: calls on a machine that is busy take five times as long.
    """
    before = restore_threads(None)
    idle = 1 - psutil.getloadavg()[0] / (os.cpu_count() or 1)
    if before is not None:
        restore_threads(max(round(idle * before), 1))
    try:
        yield
    finally:
        restore_threads(before)


def restore_threads(count: int | None) -> int | None:
    """Set the number of threads that torch starts with in threads to come; the one before.

    None leaves it; the answer is None where torch is not loaded.
    """
    torch = sys.modules.get("torch")
    if torch is None:
        return None
    before: int = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    return before
