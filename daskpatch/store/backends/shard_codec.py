"""The bytes of shards and the chunks in them, for inner codecs that are known here.

The format is the sharding codec of Zarr v3,
https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/index.html
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from zarr.types import AnyArray

from .checksum import Checksum
from .chunk_codec import ChunkCodec, codec_of_v3
from .protocol import Box

_ABSENT = np.iinfo(np.uint64).max
"""Offset and number of bytes of a chunk that is not stored."""

_OFFSET_AND_SIZE = 2

_EXPANSION, _OVERHEAD = 4, 2**16
"""How much larger than its voxels, and by how many bytes more, what is stored of a chunk can be."""

_LARGEST = 2**62
"""Bytes of a shard."""

_INDEX_ORDERS = {"little": "<u8", "big": ">u8"}

Index = NDArray[np.uint64]
"""By the chunk's place in the shard: where its bytes begin, and how many there are."""


class DamagedIndexError(ValueError):
    """The index of a shard is none."""


@dataclass(frozen=True)
class ShardCodec:
    """The way from the voxels of a shard to what is stored of it; which bytes are which chunk.

    Parameters
    ----------
    chunk
        How each chunk is stored.
    shape
        Of a whole shard.
    index_dtype, index_is_checked
        Of the index: its order of bytes, and whether a checksum follows it.
    index_is_first
        Whether it lies before the chunks, and not behind them.
    """

    chunk: ChunkCodec
    shape: tuple[int, ...]
    index_dtype: np.dtype[Any]
    index_is_checked: bool
    index_is_first: bool

    @property
    def counts(self) -> tuple[int, ...]:
        """Chunks along each axis."""
        return tuple(n // c for n, c in zip(self.shape, self.chunk.shape, strict=True))

    @property
    def n_chunks(self) -> int:
        return math.prod(self.counts)

    @property
    def nbytes(self) -> int:
        """Of its voxels."""
        return self.n_chunks * self.chunk.nbytes

    @property
    def index_nbytes(self) -> int:
        checksum = Checksum.n_bytes if self.index_is_checked else 0
        return self.n_chunks * _OFFSET_AND_SIZE * self.index_dtype.itemsize + checksum

    def index_of(self, stored: NDArray[Any]) -> Index:
        """The index of a whole shard.

        Raises
        ------
        DamagedIndexError
            If it is none.
        """
        part = slice(self.index_nbytes) if self.index_is_first else slice(-self.index_nbytes, None)
        return self.decode_index(stored[part])

    def decode_index(self, stored: NDArray[Any]) -> Index:
        """An index of its bytes.

        Raises
        ------
        DamagedIndexError
            If they are none.
        """
        if len(stored) != self.index_nbytes:
            raise DamagedIndexError(f"its index has {len(stored)} of {self.index_nbytes} bytes")
        try:
            content: Any = Checksum().decode(stored) if self.index_is_checked else stored
        except ValueError as error:
            raise DamagedIndexError("the checksum of its index is another") from error
        index = np.frombuffer(content, self.index_dtype).reshape(*self.counts, _OFFSET_AND_SIZE)
        offsets, sizes = np.moveaxis(index, -1, 0)
        is_there = (offsets != _ABSENT) | (sizes != _ABSENT)
        largest = _EXPANSION * self.chunk.nbytes + _OVERHEAD
        if np.any(is_there & ((sizes > largest) | (offsets > _LARGEST))):
            raise DamagedIndexError("its index names bytes that no chunk of it can have")
        return index.astype(np.uint64)

    def encode(self, voxels: NDArray[Any]) -> bytes | None:
        """What is stored of a shard, which may end with the array; None where nothing is."""
        index = np.full((*self.counts, _OFFSET_AND_SIZE), _ABSENT, np.uint64)
        parts = list[bytes]()
        end = self.index_nbytes if self.index_is_first else 0
        for at in product(*map(range, self.counts)):
            sizes = zip(at, self.chunk.shape, strict=True)
            inside = voxels[tuple(slice(i * n, (i + 1) * n) for i, n in sizes)]
            content = self.chunk.encode(inside) if inside.size else None
            if content is not None:
                index[at] = end, len(content)
                end += len(content)
                parts.append(content)
        if not parts:
            return None
        table = self._encode_index(index)
        return b"".join([table, *parts] if self.index_is_first else [*parts, table])

    def _encode_index(self, index: Index) -> bytes:
        content = index.astype(self.index_dtype).tobytes()
        return Checksum().encode(content) if self.index_is_checked else content

    def fill(self, box: Box) -> NDArray[Any]:
        """The voxels of a chunk that is not stored."""
        native = self.chunk.dtype.newbyteorder("=")
        return np.full([s.stop - s.start for s in box], self.chunk.fill_value, native)


def byte_range(index: Index, at: tuple[int, ...]) -> range | None:
    """Which bytes of a shard are those of a chunk; None where it is not stored."""
    offset, size = map(int, index[at])
    return None if offset == size == _ABSENT else range(offset, offset + size)


def shard_codec_of(array: AnyArray) -> ShardCodec | None:
    """How shards of an array are stored; None where their codecs are not among those known here."""
    if array.shards is None:
        return None
    codecs: Any = array.metadata.to_dict()["codecs"]
    if len(codecs) != 1 or codecs[0]["name"] != "sharding_indexed":
        return None  # others lie around the shards
    told: Mapping[str, Any] = codecs[0]["configuration"]
    chunk = codec_of_v3(array, told["codecs"])
    index, *others = told["index_codecs"]
    order = _INDEX_ORDERS.get(index.get("configuration", {}).get("endian", "little"))
    is_known = index["name"] == "bytes" and [c["name"] for c in others] in ([], ["crc32c"])
    if chunk is None or order is None or not is_known:
        return None
    return ShardCodec(
        chunk,
        tuple(array.shards),
        np.dtype(order),
        index_is_checked=bool(others),
        index_is_first=told.get("index_location", "end") == "start",
    )
