"""Small objects beside an array's chunks, through its store's own interface."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from functools import lru_cache
from typing import Any, TypeVar

from zarr.abc.store import Store
from zarr.buffer import default_buffer_prototype
from zarr.storage import FsspecStore, LocalStore, MemoryStore, ObjectStore, WrapperStore

from ..backoff import with_backoff
from .location import Location

T = TypeVar("T")


class Objects:
    """Objects of bytes by name, under a place in a store.

    A store that does not answer is asked again for a while.
    """

    def __init__(self, location: Location) -> None:
        self.location = location
        self._store = _own(location.store)
        self._prefix = f"{location.path}/" if location.path else ""

    @property
    def creates_atomically(self) -> bool:
        """Whether `create` lets exactly one of several writers win."""
        store = self._store
        while isinstance(store, WrapperStore):
            store = store._store
        return isinstance(store, LocalStore | ObjectStore | MemoryStore)

    def exists(self, name: str) -> bool:
        def attempt() -> bool:
            return _wait(self._store.exists(self._prefix + name))

        return with_backoff(attempt, f"Looking for {name} of {self.location.name}")

    def read(self, name: str) -> bytes | None:
        """The bytes of an object, or None if there is none."""

        def attempt() -> bytes | None:
            found = _wait(self._store.get(self._prefix + name, default_buffer_prototype()))
            return None if found is None else found.to_bytes()

        return with_backoff(attempt, f"Reading {name} of {self.location.name}")

    def write(self, name: str, content: bytes) -> None:
        """Put an object in place of what is there, at once."""

        def attempt() -> None:
            _wait(self._store.set(self._prefix + name, _buffer(content)))

        with_backoff(attempt, f"Writing {name} of {self.location.name}")

    def create(self, name: str, content: bytes) -> bool:
        """Put an object where there is none; whether it was this call that did.

        The content must be the caller's alone (hold a token).
        """

        def attempt() -> None:
            _wait(self._store.set_if_not_exists(self._prefix + name, _buffer(content)))

        with_backoff(attempt, f"Creating {name} of {self.location.name}")
        return self.read(name) == content

    def delete(self, name: str) -> None:
        def attempt() -> None:
            _wait(self._store.delete(self._prefix + name))

        with_backoff(attempt, f"Deleting {name} of {self.location.name}")

    def names(self, prefix: str = "") -> list[str]:
        """The names that begin with a prefix (a folder, `claims/`), in order."""

        async def listed() -> list[str]:
            return [key async for key in self._store.list_prefix(self._prefix + prefix)]

        keys = with_backoff(lambda: _wait(listed()), f"Listing {self.location.name}")
        start = len(self._prefix)
        # What a killed process was writing is left behind by LocalStore as *.partial.
        return sorted(key[start:] for key in keys if not key.endswith(".partial"))

    def delete_all(self, *, but: str) -> None:
        """Delete what is at the place, save for one folder or object directly in it."""

        async def entries() -> list[str]:
            return [name async for name in self._store.list_dir(self._prefix.rstrip("/"))]

        for name in with_backoff(lambda: _wait(entries()), f"Listing {self.location.name}"):
            key = self._prefix + name.rstrip("/")
            if name.rstrip("/") == but:
                continue
            if _wait(self._store.exists(key)):
                _wait(self._store.delete(key))
            else:
                _wait(self._store.delete_dir(key))


def _buffer(content: bytes) -> Any:
    return default_buffer_prototype().buffer.from_bytes(content)


def _own(store: Store) -> Store:
    """The store for use on this module's event loop.

    An fsspec file system keeps to the loop it was first used on, which is zarr's: it gets a twin.
    """
    if isinstance(store, FsspecStore) and not hasattr(store.fs, "sync_fs"):
        kind, options = type(store.fs), {**store.fs.storage_options, "asynchronous": True}
        twin = kind(*store.fs.storage_args, skip_instance_cache=True, **options)
        return FsspecStore(twin, read_only=store.read_only, path=store.path)
    return store


@lru_cache(maxsize=1)
def _loop(process: int) -> asyncio.AbstractEventLoop:  # noqa: ARG001 (a fork has no threads)
    """An event loop in a thread of its own: zarr's stores are asynchronous."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="daskpatch-objects", daemon=True).start()
    return loop


def _wait(coroutine: Coroutine[Any, Any, T]) -> T:
    return asyncio.run_coroutine_threadsafe(coroutine, _loop(os.getpid())).result()
