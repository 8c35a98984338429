"""zarr-python: opens everything, keeps nothing."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
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
from .transfers import fetched, put
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
        self._codec = chunk_codec_of(own) if _serves_any_loop(array.store) else None
        self._array = with_whole_blosc(own)
        self._store, self._prefix = store, f"{array.path}/" if array.path else ""
        # A store in memory may keep the very array that it is given.
        self._location = location = locate(array)
        self._keeps_values = location.lives_in_this_process
        # Far away it is the answers that take time.
        self._n_groups = 1 if location.is_near else _GROUPS_AT_A_TIME

    def read(self, box: Box) -> NDArray[np.generic]:
        return np.asarray(self._array[box])

    def read_chunks(self, boxes: Sequence[Box]) -> list[NDArray[Any] | None]:
        if self._codec is None:
            return self._merged(boxes)
        keys = [self._key_of(box) for box in boxes]
        with counting():  # None says it
            found = CHUNKS.wait(fetched(self._store, keys, boxes, self._codec, self._at_a_time))
        # What is damaged, or was written otherwise, is zarr's to tell of.
        return [
            self._merged([box])[0] if isinstance(each, Exception) else each
            for box, each in zip(boxes, found, strict=True)
        ]

    def write(self, box: Box, values: NDArray[np.generic]) -> None:
        array = self._array
        is_whole = is_of_whole_chunks(box, array.chunks, array.shape)
        if self._codec is None or not is_whole:
            array[box] = values.copy() if self._keeps_values else values
            return
        parts = list(chunk_parts(box, array.chunks))
        keys = [self._key_of(part) for part in parts]
        chunks = [values[slices_inside(part, box)] for part in parts]
        CHUNKS.wait(put(self._store, keys, chunks, self._codec, self._at_a_time))

    @property
    def _at_a_time(self) -> int:
        """Chunks of a box that are under way together, one for each of the groups at least."""
        nbytes = math.prod(self._array.chunks) * self._array.dtype.itemsize
        most = self._n_groups * min(MOST_CHUNKS, int(zarr.config.get("async.concurrency")))
        return min(max(_UNDER_WAY // max(nbytes, 1), self._n_groups), most)

    def _key_of(self, chunk: Box) -> str:
        """The key of a chunk in the store, by its box in the array."""
        array = self._array
        at = tuple(s.start // n for s, n in zip(chunk, array.chunks, strict=True))
        return self._prefix + str(array.metadata.encode_chunk_key(at))

    def _merged(self, boxes: Sequence[Box]) -> list[NDArray[Any] | None]:
        array = self._array
        return read_merged(self.read, boxes, array.dtype.itemsize, array.shards, self._n_groups)

    def flush(self, keys: Collection[str]) -> None:
        flush_objects(self._location, keys)


def _serves_any_loop(store: Store) -> bool:
    """Whether a store may be used on an event loop that is not zarr's."""
    while isinstance(store, LenientStore):
        store = store._store
    return type(store) in _ON_ANY_LOOP
