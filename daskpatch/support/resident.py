"""Memory that a call takes while it runs, and what allocators keep of it afterwards."""

from __future__ import annotations

import ctypes
import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

_PULSE = 0.002
"""Seconds between two looks at the resident memory."""

_BLOCK, _MOST_KEPT = 1 << 20, 1 << 27
"""Bytes that are tried at a time; and twice what glibc's heaps of threads keep at most."""

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
"""Linux's own highest mark of the resident memory, and what begins it anew."""


def give_back_freed() -> None:
    """Have the allocator return to the system what was freed, where it can: glibc does.

    Else a call that uses it again seems to take nothing.
    """
    gc.collect(1)  # what a call before left in circles; all of them take a fifth of a second
    trim()


def trim() -> None:
    """Have glibc return to the system what lies freed in the heaps of all threads."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def resident_bytes() -> int:
    """Bytes of this process that are in the machine's memory."""
    nbytes: int = psutil.Process().memory_info().rss
    return nbytes


@contextmanager
def peak_memory_anew() -> Iterator[list[int]]:
    """`peak_memory` of what this thread calls, without what its heap has kept of calls before.

    The end of a thread's heap is not given back: it is filled meanwhile.
    """
    give_back_freed()
    kept = _blocks_in_kept()
    try:
        with peak_memory() as peak:
            yield peak
    finally:
        kept.clear()  # the traceback of an error holds this frame


def _blocks_in_kept() -> list[bytearray]:
    blocks: list[bytearray] = []
    before = resident_bytes()
    while len(blocks) < _MOST_KEPT // _BLOCK:
        blocks.append(bytearray(_BLOCK))  # zeroed, so that each page of it is touched
        now = resident_bytes()
        if now - before > _BLOCK // 2:
            break
        before = now
    return blocks


@contextmanager
def peak_memory() -> Iterator[list[int]]:
    """Bytes of resident memory at the highest, over those at the start."""
    give_back_freed()
    start = resident_bytes()
    peak = [0]
    ended = threading.Event()
    has_mark = _begin_mark()

    def look() -> None:
        mark = _mark() if has_mark else 0
        peak[0] = max(peak[0], max(mark, resident_bytes()) - start)

    def watch() -> None:
        while not ended.wait(_PULSE):
            look()

    # Where there is no mark, and others may begin it anew meanwhile.
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
        look()
    finally:
        ended.set()
        watcher.join()


def _begin_mark() -> bool:
    """Whether the system's highest mark could be set to what is resident now."""
    try:
        _RESET.write_text("5")
    except OSError:
        return False
    return True


def _mark() -> int:
    """Bytes at the system's highest mark."""
    told = _STATUS.read_text().partition("VmHWM:")[2]
    return 1024 * int(told.split()[0])
