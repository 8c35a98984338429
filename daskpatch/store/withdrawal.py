"""A store that denies what it allowed before: it may allow it again, and is waited for."""

from __future__ import annotations

import errno
from collections.abc import Awaitable

from zarr.abc.buffer import Buffer, BufferPrototype
from zarr.abc.store import ByteRequest, RangeByteRequest, Store
from zarr.storage import WrapperStore

from ..support import said_by
from .backoff import is_denied


class WithdrawnError(OSError):
    """A denial where there was none before: a token that expired, a disk mounted read-only."""


def is_denial(error: Exception) -> bool:
    """Whether a store says that something may not be done.

    tensorstore names the kind in front of its text.
    """
    is_read_only = getattr(error, "errno", None) == errno.EROFS
    return is_denied(error) or is_read_only or str(error).startswith("PERMISSION_DENIED")


def withdrawn(error: Exception) -> WithdrawnError:
    told = f"{type(error).__name__}: {said_by(error)}"
    return WithdrawnError(f"what was allowed before is denied now ({told})")


class RememberingStore(WrapperStore[Store]):
    """Tells denials of what it allowed before from those that stay.

    Servers that may not list deny what is missing: a read is withdrawn where the last object that
    could be read cannot be either. At first that is `last_read`, as of an array that was opened.
    """

    def __init__(self, store: Store, last_read: str | None = None) -> None:
        super().__init__(store)
        self._last_read = last_read
        self._has_written = False

    def _with_store(self, store: Store) -> RememberingStore:
        return type(self)(store, self._last_read)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        try:
            found = await self._store.get(key, prototype, byte_range)
        except Exception as error:
            if self._last_read is None or not is_denial(error):
                raise
            if await self._denies(self._last_read, prototype):
                raise withdrawn(error) from None
            # It may have been allowed again between the two.
            found = await self._store.get(key, prototype, byte_range)
        if found is not None:
            self._last_read = key
        return found

    async def set(self, key: str, value: Buffer) -> None:
        await self._written(self._store.set(key, value))

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        await self._written(self._store.set_if_not_exists(key, value))

    async def delete(self, key: str) -> None:
        await self._written(self._store.delete(key))

    async def _denies(self, key: str, prototype: BufferPrototype) -> bool:
        try:
            await self._store.get(key, prototype, RangeByteRequest(0, 1))
        except Exception as error:  # noqa: BLE001 (each kind of store raises its own)
            return is_denial(error)
        return False

    async def _written(self, call: Awaitable[None]) -> None:
        try:
            await call
        except Exception as error:
            if self._has_written and is_denial(error):
                raise withdrawn(error) from None
            raise
        self._has_written = True
