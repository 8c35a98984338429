"""Chunks fetched out of shards: the index once, then neighbouring chunks by one request."""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Hashable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import NamedTuple

from zarr.abc.buffer import Buffer
from zarr.abc.store import ByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.buffer import default_buffer_prototype

from .protocol import Box
from .shard_codec import DamagedIndexError, Index, ShardCodec, byte_range
from .transfers import Fetched, in_threads, side_by_side

FREE, GAP = 2**16, 2**20
"""Bytes that are fetched with what lies before and behind them, which else took two requests:
always, and where half of what is fetched is used."""

_RUN = 2**23
"""Bytes that one request gives, at most; a chunk may have more."""

_INDEX_BYTES = 2**24
"""Of indices that are kept."""

_SECONDS = 2.0
"""That an index from far away is used for."""


class ChunkInShard(NamedTuple):
    """Where a chunk is: the key of its shard, its place in that, and its box in the array."""

    shard: str
    at: tuple[int, ...]
    box: Box


@dataclass(frozen=True)
class _Kept:
    index: Index
    state: Hashable
    end: float


class Shards:
    """The shards of one array in a store; used on one event loop.

    The index of a shard is read once for all who ask at a time, and used again as long as it is
    surely, or probably, that of the shard: what is replaced meanwhile may hold the same chunks at
    other places.

    Parameters
    ----------
    folder
        That the keys are paths in, where the store is one: an index is used as long as the file of
        its shard is the same.
    is_far
        Whether answers take time: an index is used for a moment.
    under_way
        Bytes that are fetched and decoded at a time, at most; one request may have more.
    """

    def __init__(
        self,
        store: Store,
        codec: ShardCodec,
        *,
        folder: str | None = None,
        is_far: bool = False,
        under_way: int,
    ) -> None:
        self.codec = codec
        self._store, self._folder, self._under_way = store, folder, under_way
        self._seconds = math.inf if folder is not None else _SECONDS if is_far else 0.0
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._asked_for: dict[str, asyncio.Task[Index | None]] = {}
        self._n_changes = 0

    async def forget(self, shards: Sequence[str]) -> None:
        """Of shards that were written anew; what was asked for before that is not kept."""
        self._n_changes += 1
        for shard in shards:
            self._kept.pop(shard, None)
            self._asked_for.pop(shard, None)

    async def fetched(self, chunks: Sequence[ChunkInShard], at_a_time: int) -> list[Fetched]:
        """The voxels of chunks, so many requests at a time; None for those of absent shards.

        Raises
        ------
        Exception
            What the store raised first. Nothing goes on then.
        """
        found: list[Fetched] = [None] * len(chunks)
        room, by_shard = _Room(at_a_time, self._under_way), dict[str, list[int]]()
        for number, chunk in enumerate(chunks):
            by_shard.setdefault(chunk.shard, []).append(number)

        async def fetch(shard: str, numbers: Sequence[int]) -> None:
            asked = [chunks[number] for number in numbers]
            of_shard: Sequence[Fetched] = []
            try:
                of_shard = await self._fetched(shard, asked, room, at_a_time)
            except DamagedIndexError as error:
                of_shard = [error] * len(numbers)
            finally:
                if not of_shard or any(isinstance(each, Exception) for each in of_shard):
                    await self.forget([shard])
            for number, each in zip(numbers, of_shard, strict=True):
                found[number] = each

        await side_by_side(fetch, list(by_shard.items()), at_a_time)
        return found

    async def _fetched(
        self, shard: str, chunks: Sequence[ChunkInShard], room: _Room, at_a_time: int
    ) -> Sequence[Fetched]:
        index = await self._known(shard)
        if index is not None and not all(byte_range(index, chunk.at) for chunk in chunks):
            index = None  # a chunk may have come
        if index is None and self._comes_whole(len(chunks)):
            async with room.taken(self.codec.nbytes):
                return await self._out_of_whole(shard, chunks)
        if index is None:
            index = await self._looked_up(shard, room)
        if index is None:
            return [None] * len(chunks)
        places = [byte_range(index, chunk.at) for chunk in chunks]
        found: list[Fetched] = [None] * len(chunks)

        async def fetch(run: _Run) -> None:
            async with room.taken(run.end - run.begin):
                content = await self._get(shard, RangeByteRequest(run.begin, run.end))
                of_run = [chunks[number] for number in run.chunks]
                here = [places[number] for number in run.chunks]
                decoded = await self._decoded(content, run.begin, of_run, here)
            for number, each in zip(run.chunks, decoded, strict=True):
                found[number] = each

        stored = {n: place for n, place in enumerate(places) if place is not None}
        await side_by_side(fetch, [(run,) for run in _runs(stored)], at_a_time)
        return [
            self.codec.fill(chunk.box) if place is None else each
            for chunk, place, each in zip(chunks, places, found, strict=True)
        ]

    def _comes_whole(self, n_chunks: int) -> bool:
        """Whether a shard is fetched whole, of which so many chunks are asked for."""
        codec = self.codec
        is_most = 2 * n_chunks >= codec.n_chunks and codec.nbytes <= _RUN
        return is_most or codec.n_chunks == 1

    async def _out_of_whole(self, shard: str, chunks: Sequence[ChunkInShard]) -> list[Fetched]:
        whole = await self._get(shard)
        if whole is None:
            return [None] * len(chunks)
        index = self.codec.index_of(whole.as_numpy_array())
        return await self._decoded(whole, 0, chunks, [byte_range(index, c.at) for c in chunks])

    async def _looked_up(self, shard: str, room: _Room) -> Index | None:
        asked = self._asked_for.get(shard)
        if asked is None:
            asked = self._asked_for[shard] = asyncio.create_task(self._index(shard, room))
            asked.add_done_callback(lambda done: self._answered(shard, done))
        return await asyncio.shield(asked)  # others may wait for it, too

    def _answered(self, shard: str, done: asyncio.Task[Index | None]) -> None:
        if self._asked_for.get(shard) is done:
            del self._asked_for[shard]

    async def _index(self, shard: str, room: _Room) -> Index | None:
        codec, n_changes = self.codec, self._n_changes
        state, end = await self._state(shard), time.monotonic() + self._seconds
        request: ByteRequest = SuffixByteRequest(codec.index_nbytes)
        if codec.index_is_first:
            request = RangeByteRequest(0, codec.index_nbytes)
        async with room.taken(codec.index_nbytes):
            found = await self._get(shard, request)
        index = None if found is None else codec.decode_index(found.as_numpy_array())
        if index is not None and n_changes == self._n_changes:
            self._keep(shard, _Kept(index, state, end))
        return index

    async def _known(self, shard: str) -> Index | None:
        kept = self._kept.get(shard)
        if kept is None or kept.end < time.monotonic():
            return None
        return kept.index if await self._state(shard) == kept.state else None

    async def _state(self, shard: str) -> Hashable:
        """What changes where a shard's file is replaced, or written to."""
        if self._folder is None:
            return None
        try:
            there = await in_threads(os.stat, f"{self._folder}/{shard}")
        except OSError:
            return None
        return there.st_ino, there.st_mtime_ns, there.st_size

    async def _get(self, shard: str, request: ByteRequest | None = None) -> Buffer | None:
        return await self._store.get(shard, default_buffer_prototype(), request)

    async def _decoded(
        self,
        content: Buffer | None,
        begin: int,
        chunks: Sequence[ChunkInShard],
        places: Sequence[range | None],
    ) -> list[Fetched]:
        """Chunks out of bytes of a shard, from its byte `begin` on."""

        async def decode(chunk: ChunkInShard, place: range | None) -> Fetched:
            if place is None:
                return self.codec.fill(chunk.box)
            inside = slice(place.start - begin, place.stop - begin)
            try:
                if content is None or inside.stop > len(content):
                    raise ValueError("it has fewer bytes than its index says")
                stored = content.as_numpy_array()[inside]
                return await in_threads(self.codec.chunk.decode, stored, chunk.box)
            except Exception as error:  # noqa: BLE001 (each codec raises its own)
                return error

        each = list(zip(chunks, places, strict=True))
        return await side_by_side(decode, each, len(each))

    def _keep(self, shard: str, kept: _Kept) -> None:
        self._kept[shard] = kept
        self._kept.move_to_end(shard)
        while len(self._kept) * kept.index.nbytes > _INDEX_BYTES and len(self._kept) > 1:
            self._kept.popitem(last=False)


@dataclass
class _Run:
    """Chunks, by number, that one request gives, and the bytes that it asks for."""

    begin: int
    end: int
    chunks: list[int]
    n_used: int

    def takes(self, place: range) -> bool:
        """Whether a chunk behind comes along."""
        gap, n_used = place.start - self.end, self.n_used + len(place)
        n_bytes = max(self.end, place.stop) - self.begin
        is_near = gap <= FREE or (gap <= GAP and n_bytes <= 2 * n_used)
        return is_near and n_bytes <= _RUN

    def take(self, number: int, place: range) -> None:
        self.chunks.append(number)
        self.end, self.n_used = max(self.end, place.stop), self.n_used + len(place)


def _runs(stored: Mapping[int, range]) -> list[_Run]:
    """Chunks by the bytes of each, and those that are fetched together."""
    runs: list[_Run] = []
    for number, place in sorted(stored.items(), key=lambda item: item[1].start):
        if not runs or not runs[-1].takes(place):
            runs.append(_Run(place.start, place.start, [], 0))
        runs[-1].take(number, place)
    return runs


class _Room:
    """Requests and bytes that may be under way; one of more bytes than that goes alone."""

    def __init__(self, n_requests: int, nbytes: int) -> None:
        self._n_requests, self._nbytes = n_requests, nbytes
        self._under_way: list[int] = []
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def taken(self, nbytes: int) -> AsyncIterator[None]:
        async with self._changed:
            await self._changed.wait_for(lambda: self._has_room(nbytes))
            self._under_way.append(nbytes)
        try:
            yield
        finally:
            async with self._changed:
                self._under_way.remove(nbytes)
                self._changed.notify_all()

    def _has_room(self, nbytes: int) -> bool:
        under_way = self._under_way
        fits = sum(under_way) + nbytes <= self._nbytes and len(under_way) < self._n_requests
        return fits or not under_way
