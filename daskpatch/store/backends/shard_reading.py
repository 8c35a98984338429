"""Chunks fetched out of shards: the index once, then neighbouring chunks by one request."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
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


class ChunkInShard(NamedTuple):
    """Where a chunk is: the key of its shard, its place in that, and its box in the array."""

    shard: str
    at: tuple[int, ...]
    box: Box


class Shards:
    """The shards of one array in a store; used on one event loop.

    Indices are kept, and read once for all who ask at a time. One may be that of a shard that was
    replaced since: a chunk that it does not list is looked for in a new one, and it is forgotten
    with the first error.

    Parameters
    ----------
    under_way
        Bytes that are fetched at a time, at most; one request may have more.
    """

    def __init__(self, store: Store, codec: ShardCodec, under_way: int) -> None:
        self.codec = codec
        self._store, self._under_way = store, under_way
        self._indices: OrderedDict[str, Index] = OrderedDict()
        self._asked_for: dict[str, asyncio.Task[Index | None]] = {}

    def forget(self, shards: Sequence[str]) -> None:
        """Of shards that are written anew."""
        for shard in shards:
            self._indices.pop(shard, None)

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
                    self.forget([shard])
            for number, each in zip(numbers, of_shard, strict=True):
                found[number] = each

        await side_by_side(fetch, list(by_shard.items()), at_a_time)
        return found

    async def _fetched(
        self, shard: str, chunks: Sequence[ChunkInShard], room: _Room, at_a_time: int
    ) -> list[Fetched]:
        index, whole = self._indices.get(shard), None
        if index is not None and not all(byte_range(index, chunk.at) for chunk in chunks):
            index = None
        if index is None:
            index, whole = await self._look_up(shard, len(chunks), room)
        if index is None:
            return [None] * len(chunks)
        self._keep(shard, index)
        found: list[Fetched] = [self.codec.fill(chunk.box) for chunk in chunks]
        stored = {
            number: place
            for number, chunk in enumerate(chunks)
            if (place := byte_range(index, chunk.at)) is not None
        }

        async def decode(number: int, content: Buffer | None, begin: int) -> None:
            place, box = stored[number], chunks[number].box
            inside = slice(place.start - begin, place.stop - begin)
            found[number] = await self._decoded(content, inside, box)

        async def fetch(run: _Run) -> None:
            content, begin = whole, 0
            if content is None:
                request, begin = RangeByteRequest(run.begin, run.end), run.begin
                content = await self._get(shard, run.end - run.begin, room, request)
            each = [(number, content, begin) for number in run.chunks]
            await side_by_side(decode, each, len(each))

        await side_by_side(fetch, [(run,) for run in _runs(stored)], at_a_time)
        return found

    async def _look_up(
        self, shard: str, n_chunks: int, room: _Room
    ) -> tuple[Index | None, Buffer | None]:
        """The index of a shard, and all of it, where most of its chunks are asked for."""
        codec = self.codec
        if 2 * n_chunks >= codec.n_chunks and codec.nbytes <= _RUN:
            whole = await self._get(shard, codec.nbytes, room)
            return None if whole is None else codec.index_of(whole.as_numpy_array()), whole
        asked = self._asked_for.get(shard)
        if asked is None:
            asked = self._asked_for[shard] = asyncio.create_task(self._index(shard, room))
            asked.add_done_callback(lambda _: self._asked_for.pop(shard))
        return await asyncio.shield(asked), None  # others may wait for it, too

    async def _index(self, shard: str, room: _Room) -> Index | None:
        codec = self.codec
        request: ByteRequest = SuffixByteRequest(codec.index_nbytes)
        if codec.index_is_first:
            request = RangeByteRequest(0, codec.index_nbytes)
        found = await self._get(shard, codec.index_nbytes, room, request)
        return None if found is None else codec.decode_index(found.as_numpy_array())

    async def _get(
        self, shard: str, nbytes: int, room: _Room, request: ByteRequest | None = None
    ) -> Buffer | None:
        async with room.taken(nbytes):
            return await self._store.get(shard, default_buffer_prototype(), request)

    async def _decoded(self, content: Buffer | None, inside: slice, box: Box) -> Fetched:
        try:
            if content is None or inside.stop > len(content):
                raise ValueError("it has fewer bytes than its index says")
            stored = content.as_numpy_array()[inside]
            return await in_threads(self.codec.chunk.decode, stored, box)
        except Exception as error:  # noqa: BLE001 (each codec raises its own)
            return error

    def _keep(self, shard: str, index: Index) -> None:
        self._indices[shard] = index
        self._indices.move_to_end(shard)
        while len(self._indices) * index.nbytes > _INDEX_BYTES and len(self._indices) > 1:
            self._indices.popitem(last=False)


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
