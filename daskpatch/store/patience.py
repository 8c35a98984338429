"""A store that asks again when the one behind it does not answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from zarr.abc.buffer import Buffer, BufferPrototype
from zarr.abc.store import ByteRequest, Store
from zarr.storage import WrapperStore

from .absence import notice
from .backoff import DELAYS, with_backoff_async

T = TypeVar("T")

_METADATA = ("zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata")


class PatientStore(WrapperStore[Store]):
    """Reads and writes each object until it works, for a while.

    A box has many chunks: with one call in twenty failing, few boxes would ever be read at once.
    """

    def __init__(self, store: Store, delays: tuple[float, ...] = DELAYS) -> None:
        super().__init__(store)
        self._delays = delays

    def _with_store(self, store: Store) -> PatientStore:
        return type(self)(store, self._delays)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        def attempt() -> Awaitable[Buffer | None]:
            return self._store.get(key, prototype, byte_range)

        try:
            found = await self._insist("Reading", key, attempt)
        except OverflowError as error:  # of obstore (0.12), for the last bytes of what has fewer
            raise OSError(f"{key} is damaged: it has fewer bytes than its index") from error
        if not is_metadata(key):
            _look_at_chunk(key, found)
        return found

    async def set(self, key: str, value: Buffer) -> None:
        await self._insist("Writing", key, lambda: self._store.set(key, value))

    async def delete(self, key: str) -> None:
        await self._insist("Deleting", key, lambda: self._store.delete(key))

    async def _insist(self, what: str, key: str, call: Callable[[], Awaitable[T]]) -> T:
        # On zarr's event loop: others' requests go on while this one waits.
        return await with_backoff_async(call, f"{what} {key}", self._delays)


def is_metadata(key: str) -> bool:
    """Whether a key is of a node's metadata, by its name."""
    return key.rpartition("/")[2] in _METADATA


def _look_at_chunk(key: str, found: Buffer | None) -> None:
    if found is None:
        notice()
    elif not len(found):
        # zarr takes a shard without bytes for one without chunks, and gives fill values.
        raise OSError(f"{key} is damaged: it has no bytes")
