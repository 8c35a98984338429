"""A store for servers that forbid what is not there: those that may not list cannot tell."""

from __future__ import annotations

from zarr.abc.buffer import Buffer, BufferPrototype
from zarr.abc.store import ByteRequest, Store
from zarr.storage import WrapperStore

from .backoff import is_denied
from .patience import is_metadata


class LenientStore(WrapperStore[Store]):
    """Takes metadata that may not be read for absent; chunks are not, which would be fill value."""

    def _with_store(self, store: Store) -> LenientStore:
        return type(self)(store)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        try:
            return await self._store.get(key, prototype, byte_range)
        except Exception as error:
            if is_metadata(key) and is_denied(error):
                return None
            raise
