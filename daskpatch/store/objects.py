"""Small objects beside an array's chunks, through its store's own interface."""

from __future__ import annotations

import asyncio
import os
import re
import threading
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from zarr.abc.store import Store
from zarr.buffer import default_buffer_prototype
from zarr.storage import FsspecStore, LocalStore, MemoryStore, ObjectStore, WrapperStore

from .backoff import CHECK_REMOTE, DELAYS, with_backoff, with_backoff_async
from .location import Location
from .loops import OBJECTS
from .syncing import flush_objects
from .withdrawal import RememberingStore

T = TypeVar("T")

_twins: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
_making_twins = threading.Lock()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_twins.clear)  # their sessions are of another loop

_AT_A_TIME = 64
"""Objects that are deleted at once."""

_TEMPORARY = re.compile(r"\.[0-9a-f]{32}\.partial$|(_[0-9a-f]{1,16})?\.__lock$")
"""What writes leave that were cut short: zarr's LocalStore and tensorstore write beside the object
under a name of chance; tensorstore with locks, under one that it locks."""


def plain_name(name: str) -> str:
    """The name of an object; of what a write left that was cut short, the one it was to write."""
    return _TEMPORARY.sub("", name)


class Objects:
    """Objects of bytes by name, under a place in a store.

    A store that does not answer is asked again after each of the `delays`, and one that denies
    what was read before, as the object `was_read`.
    """

    def __init__(
        self,
        location: Location,
        *,
        delays: tuple[float, ...] = DELAYS,
        was_read: str | None = None,
    ) -> None:
        self.location = location
        self.delays = delays
        location.check_process()
        self._prefix = f"{location.path}/" if location.path else ""
        last_read = None if was_read is None else self._prefix + was_read
        self._store: Store = RememberingStore(_own(location.store), last_read)

    @property
    def creates_atomically(self) -> bool:
        """Whether `create` lets exactly one of several writers win."""
        store = self._store
        while isinstance(store, WrapperStore):
            store = store._store
        return isinstance(store, LocalStore | ObjectStore | MemoryStore)

    @property
    def _has_no_folder(self) -> bool:
        """Whether it is a folder that is not there, which a store makes where it only reads."""
        folder = self.location.local_path
        if folder is None:
            return False
        try:
            folder.stat()
        except (FileNotFoundError, NotADirectoryError):
            return True
        return False

    def exists(self, name: str) -> bool:
        def attempt() -> bool:
            return not self._has_no_folder and OBJECTS.wait(self._store.exists(self._prefix + name))

        return self._insist(attempt, f"Looking for {name}")

    def read(self, name: str) -> bytes | None:
        """The bytes of an object, or None if there is none."""

        def attempt() -> bytes | None:
            if self._has_no_folder:
                return None
            found = OBJECTS.wait(self._store.get(self._prefix + name, default_buffer_prototype()))
            return None if found is None else found.to_bytes()

        return self._insist(attempt, f"Reading {name}")

    def write(self, name: str, content: bytes) -> None:
        """Put an object in place of what is there, at once."""

        def attempt() -> None:
            OBJECTS.wait(self._store.set(self._prefix + name, _buffer(content)))

        self._insist(attempt, f"Writing {name}")

    def create(self, name: str, content: bytes) -> bool:
        """Put an object where there is none; whether it was this call that did.

        The content must be the caller's alone (hold a token).
        """

        def attempt() -> None:
            OBJECTS.wait(self._store.set_if_not_exists(self._prefix + name, _buffer(content)))

        self._insist(attempt, f"Creating {name}")
        # `set_if_not_exists` does not say whether it set anything, and there are servers that set
        # it whatever is there: what is there in the end says it.
        return self.read(name) == content

    def flush(self, names: Collection[str]) -> None:
        """See that objects outlast the machine.

        Raises
        ------
        OSError
            If they may be lost.
        """
        flush_objects(self.location, names)

    def delete(self, name: str) -> None:
        def attempt() -> None:
            OBJECTS.wait(self._store.delete(self._prefix + name))

        self._insist(attempt, f"Deleting {name}")

    def names(self, prefix: str = "", *, with_temporary: bool = False) -> list[str]:
        """The names that begin with a prefix (a folder, `claims/`), in order.

        With those of writes that were cut short, where that is asked for.
        """

        async def listed() -> list[str]:
            return [key async for key in self._store.list_prefix(self._prefix + prefix)]

        keys = self._insist(lambda: OBJECTS.wait(listed()), "Listing")
        start = len(self._prefix)
        # What a killed process was writing is left behind by LocalStore as *.partial.
        kept = (key for key in keys if with_temporary or not key.endswith(".partial"))
        return sorted(key[start:] for key in kept)

    def visit(self, see: Callable[[str], None]) -> bool:
        """Show all names, in no order, some perhaps twice; whether the store may be listed."""

        async def listed() -> None:
            _forget_listings(self.location.store)
            async for key in self._store.list_prefix(self._prefix):
                see(key[len(self._prefix) :])

        try:
            self._insist(lambda: OBJECTS.wait(listed()), "Listing")
        except PermissionError:
            return False
        return True

    def entries(self) -> list[str]:
        """The names of folders and objects directly at the place."""

        async def listed() -> list[str]:
            _forget_listings(self.location.store)
            return [name async for name in self._store.list_dir(self._prefix.rstrip("/"))]

        return sorted(
            name.rstrip("/") for name in self._insist(lambda: OBJECTS.wait(listed()), "Listing")
        )

    def delete_many(self, names: Sequence[str]) -> None:
        """Delete objects, several at a time, one batch after another; and folders left empty."""

        async def delete_one(name: str) -> None:
            what = f"Deleting {name} in {self.location.name}"
            await with_backoff_async(
                lambda: self._store.delete(self._prefix + name), what, self.delays
            )

        async def delete(batch: Sequence[str]) -> None:
            await asyncio.gather(*map(delete_one, batch))

        for start in range(0, len(names), _AT_A_TIME):
            batch = names[start : start + _AT_A_TIME]
            OBJECTS.wait(delete(batch))
        _remove_empty_folders(self.location, names)

    def _insist(self, attempt: Callable[[], T], what: str) -> T:
        try:
            return with_backoff(attempt, f"{what} in {self.location.name}", self.delays)
        except OSError as error:
            is_a_servers = type(error) is OSError and error.errno is None
            if not is_a_servers or self.location.local_path is not None:
                raise
            raise OSError(f"{error}. {CHECK_REMOTE}.") from None


def _remove_empty_folders(location: Location, names: Sequence[str]) -> None:
    """Those that objects lay in which are gone; whatever else is empty is not ours.

    But in hidden folders, which are records: what was in them may have gone one by one.
    """
    root = location.local_path
    if root is None:
        return
    around = (PurePosixPath(name).parents for name in names)
    folders = {root / folder for each in around for folder in each if folder.parts}
    hidden = [folder for folder in folders if folder.name.startswith(".")]
    folders.update(Path(inside) for folder in hidden for inside, _, _ in os.walk(folder))
    for folder in sorted(folders, key=lambda folder: len(folder.parts), reverse=True):
        with suppress(OSError):  # something is in it
            folder.rmdir()


def _buffer(content: bytes) -> Any:
    return default_buffer_prototype().buffer.from_bytes(content)


def _own(store: Store) -> Store:
    """The store for use on this module's event loop.

    An fsspec file system keeps to the loop it was first used on, which is zarr's: it gets a twin.
    """
    if isinstance(store, WrapperStore):
        inner = _own(store._store)
        return store if inner is store._store else store._with_store(inner)
    if isinstance(store, FsspecStore) and not hasattr(store.fs, "sync_fs"):
        return FsspecStore(_twin(store.fs), read_only=store.read_only, path=store.path)
    return store


def _forget_listings(store: Store) -> None:
    """Have fsspec ask again: it keeps what it once listed, for ever, whatever was written since."""
    while isinstance(store, WrapperStore):
        store = store._store
    if isinstance(store, FsspecStore):
        for fs in (store.fs, getattr(store.fs, "sync_fs", None), _twins.get(store.fs)):
            if fs is not None:
                fs.invalidate_cache()


def _twin(fs: Any) -> Any:
    """One for all stores of a file system, so that they share its sessions: nothing closes them."""
    with _making_twins:
        twin = _twins.get(fs)
        if twin is None:
            options = {**fs.storage_options, "asynchronous": True}
            twin = type(fs)(*fs.storage_args, skip_instance_cache=True, **options)
            _twins[fs] = twin
        return twin
