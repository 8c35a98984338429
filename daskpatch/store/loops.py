"""Event loops in threads of their own: zarr's stores are asynchronous."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from .answers import answer_to

T = TypeVar("T")


class StoreLoop:
    """An event loop of each process.

    >>> async def answer():
    ...     return 42
    >>> StoreLoop("asking").wait(answer())
    42
    """

    def __init__(self, name: str) -> None:
        self._name, self._lock = name, threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        """In a fork, where the thread of its parent is not."""
        self._lock, self._loop = threading.Lock(), None

    def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """What a coroutine gives, run here and waited for by this thread."""
        return answer_to(coroutine, self._running())

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                loop = asyncio.new_event_loop()
                threading.Thread(target=loop.run_forever, name=self._name, daemon=True).start()
                self._loop = loop  # once it runs: whoever waits on one that does not waits for ever
            return self._loop


OBJECTS, CHUNKS = StoreLoop("daskpatch-objects"), StoreLoop("daskpatch-chunks")
"""For small objects, heartbeats among them, and for what takes long."""
