"""zarr-python: opens everything, keeps nothing."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Coroutine, Sequence
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.store import Store
from zarr.storage import LocalStore, MemoryStore, ObjectStore, ZipStore
from zarr.types import AnyArray

from ..absence import counting
from ..awaited import AwaitedStore
from ..backoff import lasts_anywhere
from ..lenient import LenientStore
from ..location import Location, locate
from ..loops import CHUNKS
from ..patience import PatientStore
from ..reopening import remembering, through
from ..syncing import flush_objects
from .chunk_boxes import chunk_parts, is_of_whole_chunks, slices_inside
from .chunk_codec import chunk_codec_of
from .merging import MOST_CHUNKS, read_merged
from .protocol import Box, Handle
from .shard_codec import shard_codec_of
from .shard_reading import ChunkInShard, Shards
from .transfers import Fetched, fetched, put
from .whole_blosc import with_whole_blosc

_UNDER_WAY = 2**25
"""Bytes of chunks that are encoded or decoded together, for one box."""

_GROUPS_AT_A_TIME = 4
"""Of chunks that are asked for together."""


_ON_ANY_LOOP = {LocalStore, MemoryStore, ZipStore, ObjectStore, AwaitedStore}
"""Stores that are bound to no event loop: of fsspec's, and of anybody's, that is not known."""


class ZarrPython:
    """The back end of all stores that zarr-python has."""

    name = "zarr"

    def opens(self, location: Location) -> bool:  # noqa: ARG002 (the interface)
        return True

    def check(self, location: Location) -> None:
        location.check_process()

    def lasts(self, error: Exception) -> bool:
        return lasts_anywhere(error)

    def open(self, array: AnyArray, delays: tuple[float, ...]) -> Handle:
        self.check(locate(array))
        return _ZarrHandle(array, delays)


class _ZarrHandle:
    def __init__(self, array: AnyArray, delays: tuple[float, ...]) -> None:
        # Each object on its own: a box has many, and few boxes would ever be read at once.
        store = PatientStore(remembering(array), delays=delays)
        own = through(array, store)
        is_direct = _serves_any_loop(array.store)
        self._codec = chunk_codec_of(own) if is_direct else None
        shard_codec = shard_codec_of(own) if is_direct else None
        self._array = with_whole_blosc(own)
        self._store, self._prefix = store, f"{array.path}/" if array.path else ""
        # A store in memory may keep the very array that it is given.
        self._location = location = locate(array)
        self._keeps_values = location.lives_in_this_process
        # Far away it is the answers that take time.
        self._n_groups = 1 if location.is_near else _GROUPS_AT_A_TIME
        self._shards = None
        if shard_codec is not None:
            self._shards = Shards(
                store,
                shard_codec,
                folder=_root_of(location),
                is_far=not location.is_near,
                under_way=_UNDER_WAY,
            )

    def read(self, box: Box) -> NDArray[np.generic]:
        return np.asarray(self._array[box])

    def read_chunks(self, boxes: Sequence[Box]) -> list[NDArray[Any] | None]:
        fetching = self._fetching(boxes)
        if fetching is None:
            return self._merged(boxes)
        with counting():  # None says it
            found = CHUNKS.wait(fetching)
        # What is damaged, or was written otherwise, is zarr's to tell of.
        return [
            self._merged([box])[0] if isinstance(each, Exception) else each
            for box, each in zip(boxes, found, strict=True)
        ]

    def _fetching(self, boxes: Sequence[Box]) -> Coroutine[Any, Any, list[Fetched]] | None:
        """Chunks fetched without zarr's arrays; None where these know codecs that are not ours."""
        if self._shards is not None:
            return self._shards.fetched([self._in_shard(box) for box in boxes], self._at_a_time)
        if self._codec is None:
            return None
        keys = [self._key_of(box) for box in boxes]
        return fetched(self._store, keys, boxes, self._codec, self._at_a_time)

    def write(self, box: Box, values: NDArray[np.generic]) -> None:
        array, unit = self._array, self._array.shards or self._array.chunks
        codec = self._codec if self._shards is None else self._shards.codec
        parts = list(chunk_parts(box, unit))
        keys = [self._key_of(part) for part in parts]
        if codec is None or not is_of_whole_chunks(box, unit, array.shape):
            array[box] = values.copy() if self._keeps_values else values
        else:
            each = [values[slices_inside(part, box)] for part in parts]
            CHUNKS.wait(put(self._store, keys, each, codec, self._units_at_a_time(unit)))
        if self._shards is not None:
            CHUNKS.wait(self._shards.forget(keys))

    @property
    def _at_a_time(self) -> int:
        """Chunks of a box that are under way together, one for each of the groups at least."""
        return self._units_at_a_time(self._array.chunks)

    def _units_at_a_time(self, unit: tuple[int, ...]) -> int:
        nbytes = math.prod(unit) * self._array.dtype.itemsize
        most = self._n_groups * min(MOST_CHUNKS, int(zarr.config.get("async.concurrency")))
        return min(max(_UNDER_WAY // max(nbytes, 1), self._n_groups), most)

    def _key_of(self, box: Box) -> str:
        """The key in the store of the chunk, or shard, that a box in the array lies in."""
        array = self._array
        unit = array.shards or array.chunks
        at = tuple(s.start // n for s, n in zip(box, unit, strict=True))
        return self._prefix + str(array.metadata.encode_chunk_key(at))

    def _in_shard(self, box: Box) -> ChunkInShard:
        array = self._array
        sizes = zip(box, array.shards or array.chunks, array.chunks, strict=True)
        at = tuple(s.start % shard // chunk for s, shard, chunk in sizes)
        return ChunkInShard(self._key_of(box), at, box)

    def _merged(self, boxes: Sequence[Box]) -> list[NDArray[Any] | None]:
        array = self._array
        return read_merged(self.read, boxes, array.dtype.itemsize, array.shards, self._n_groups)

    def flush(self, keys: Collection[str]) -> None:
        flush_objects(self._location, keys)


def _root_of(location: Location) -> str | None:
    """The folder that keys in a store are paths in, where it is one."""
    return os.fspath(location.store.root) if isinstance(location.store, LocalStore) else None


def _serves_any_loop(store: Store) -> bool:
    """Whether a store may be used on an event loop that is not zarr's."""
    while isinstance(store, LenientStore):
        store = store._store
    return type(store) in _ON_ANY_LOOP
