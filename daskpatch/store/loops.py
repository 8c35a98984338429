"""Event loops in threads of their own: zarr's stores are asynchronous."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from zarr.abc.store import Store
from zarr.storage import FsspecStore, WrapperStore

from .answers import answer_to

T = TypeVar("T")


class StoreLoop:
    """An event loop of each process, and the stores that are used on it.

    >>> async def answer():
    ...     return 42
    >>> StoreLoop("asking").wait(answer())
    42
    """

    def __init__(self, name: str) -> None:
        self._name, self._lock = name, threading.Lock()
        self._loops: dict[int, asyncio.AbstractEventLoop] = {}
        self._twins: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        """In a fork: its parent's thread is not there, and sessions are of its parent's loop."""
        self._lock = threading.Lock()
        self._loops.clear()
        self._twins.clear()

    def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """What a coroutine gives, run here and waited for by this thread."""
        return answer_to(coroutine, self._running())

    def own(self, store: Store) -> Store:
        """The store for use on this loop.

        An fsspec file system keeps to the loop it was first used on, which is zarr's: it gets a
        twin.
        """
        if isinstance(store, WrapperStore):
            inner = self.own(store._store)
            return store if inner is store._store else store._with_store(inner)
        if isinstance(store, FsspecStore) and not hasattr(store.fs, "sync_fs"):
            return FsspecStore(self._twin(store.fs), read_only=store.read_only, path=store.path)
        return store

    def twin_of(self, fs: Any) -> Any | None:
        """What stands for a file system here; None where it was not used."""
        return self._twins.get(fs)

    def _twin(self, fs: Any) -> Any:
        """One for all stores of a file system, which share its sessions: nothing closes them."""
        with self._lock:
            twin = self._twins.get(fs)
            if twin is None:
                options = {**fs.storage_options, "asynchronous": True}
                twin = type(fs)(*fs.storage_args, skip_instance_cache=True, **options)
                self._twins[fs] = twin
            return twin

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            loop = self._loops.get(os.getpid())
            if loop is None:
                loop = self._loops[os.getpid()] = asyncio.new_event_loop()
                threading.Thread(target=loop.run_forever, name=self._name, daemon=True).start()
            return loop


OBJECTS, CHUNKS = StoreLoop("daskpatch-objects"), StoreLoop("daskpatch-chunks")
"""For small objects, heartbeats among them, and for what takes long."""
