"""Memory that a call takes while it runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

_PULSE = 0.002
"""Seconds between two looks at the resident memory."""


@contextmanager
def peak_memory() -> Iterator[list[int]]:
    """Bytes of resident memory at the highest, over those at the start."""
    process = psutil.Process()
    start: int = process.memory_info().rss
    peak = [0]
    ended = threading.Event()

    def look() -> None:
        peak[0] = max(peak[0], process.memory_info().rss - start)

    def watch() -> None:
        while not ended.wait(_PULSE):
            look()

    # Sampled: the system tells of a process's peak only since it began.
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
        look()
    finally:
        ended.set()
        watcher.join()
