"""Chunks to and from a store, many at a time, encoded and decoded in threads beside that."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from zarr.abc.store import Store
from zarr.buffer import default_buffer_prototype

from ...support import DaemonThreads
from .chunk_codec import ChunkCodec
from .protocol import Box

T = TypeVar("T")

Fetched = NDArray[Any] | Exception | None
"""The voxels of a chunk; None where it is absent; why it could not be decoded."""


class Encoder(Protocol):
    """Makes bytes of the voxels of a chunk, or a shard."""

    def encode(self, voxels: NDArray[Any]) -> bytes | None:
        """What is stored; None where nothing is."""


async def fetched(
    store: Store, keys: Sequence[str], boxes: Sequence[Box], codec: ChunkCodec, at_a_time: int
) -> list[Fetched]:
    """Chunks by their keys in a store and their boxes in the array, so many at a time.

    Raises
    ------
    Exception
        What the store raised first. Nothing goes on then.
    """

    async def fetch(key: str, box: Box) -> Fetched:
        found = await store.get(key, default_buffer_prototype())
        if found is None:
            return None
        try:
            return await in_threads(codec.decode, found.as_numpy_array(), box)
        except Exception as error:  # noqa: BLE001 (each codec raises its own)
            return error

    return await side_by_side(fetch, list(zip(keys, boxes, strict=True)), at_a_time)


async def put(
    store: Store,
    keys: Sequence[str],
    chunks: Sequence[NDArray[np.generic]],
    codec: Encoder,
    at_a_time: int,
) -> None:
    """Put chunks, or shards, in place of what is there, so many at a time; empty ones are deleted.

    Raises
    ------
    Exception
        What the store raised first, or a codec. Nothing goes on then.
    """
    buffer = default_buffer_prototype().buffer

    async def put_one(key: str, voxels: NDArray[np.generic]) -> None:
        content = await in_threads(codec.encode, voxels)
        if content is None:
            await store.delete(key)
        else:
            await store.set(key, buffer.from_bytes(content))

    await side_by_side(put_one, list(zip(keys, chunks, strict=True)), at_a_time)


async def side_by_side(
    call: Callable[..., Awaitable[T]], each: Sequence[tuple[Any, ...]], at_a_time: int
) -> list[T]:
    """What calls give, so many at a time; after the first error no more begin, and none goes on."""
    room, errors = asyncio.Semaphore(at_a_time), list[BaseException]()

    async def one(arguments: tuple[Any, ...]) -> T | None:
        async with room:
            if errors:
                return None
            try:
                return await call(*arguments)
            except BaseException as error:
                errors.append(error)
                raise

    # All are waited for: a request that goes on has nobody who ends it.
    results = await asyncio.gather(*map(one, each), return_exceptions=True)
    if errors:
        raise errors[0]
    return results  # type: ignore[return-value] # there were no errors


async def in_threads(call: Callable[..., T], *arguments: Any) -> T:
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_threads(os.getpid()), call, *arguments)


@lru_cache(maxsize=1)
def _threads(process: int) -> DaemonThreads:  # noqa: ARG001 (a fork has no threads)
    """Those that encode and decode, for all arrays of a process."""
    return DaemonThreads(os.cpu_count() or 1, "daskpatch-codec")
