"""The bytes of chunks and their voxels, by numcodecs alone, for the codecs that most arrays have.

They are those of zarr-python, without what it does around them, which takes as long again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numcodecs
import numpy as np
import zarr
from numcodecs import GZip, Zstd
from numpy.typing import NDArray
from zarr.buffer import default_buffer_prototype
from zarr.codecs import ShardingCodec
from zarr.types import AnyArray

from .checksum import Checksum
from .protocol import Box
from .whole_blosc import WholeBlosc, whole_of_v2


class Codec(Protocol):
    """From bytes (or voxels) to bytes, and back."""

    def encode(self, buf: Any) -> Any: ...

    def decode(self, buf: Any) -> Any: ...


_SHUFFLES = {"noshuffle": 0, "shuffle": 1, "bitshuffle": 2}


def _blosc(cname: str, clevel: int, shuffle: str, blocksize: int = 0, **_: object) -> Codec:
    codec: Codec = WholeBlosc(cname, clevel, _SHUFFLES[shuffle], blocksize)
    return codec


_V3: dict[str, Callable[..., Codec]] = {
    "blosc": _blosc,
    "gzip": GZip,
    "zstd": Zstd,
    "crc32c": Checksum,
}
"""Codecs of bytes of Zarr v3, by their names, made of their configuration."""

_V2 = ("blosc", "gzip", "lz4", "zlib", "zstd")
"""Compressors of Zarr v2."""

_ENDIAN: dict[str | None, Literal["<", ">", "="]] = {"little": "<", "big": ">", None: "="}


@dataclass(frozen=True)
class ChunkCodec:
    """The way from the voxels of a chunk to what is stored of it, and back.

    Parameters
    ----------
    shape, dtype
        Of a whole chunk, as it is stored where the array ends, too; in the byte order of the store.
    order
        The axes as they are stored, slowest first.
    codecs
        What encodes bytes, the first one first.
    fill_value, stores_empty
        What lies beyond the array's end; and whether chunks that are full of it are stored.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    order: tuple[int, ...]
    codecs: tuple[Codec, ...]
    fill_value: Any
    stores_empty: bool

    @property
    def nbytes(self) -> int:
        """Of its voxels."""
        return math.prod(self.shape) * self.dtype.itemsize

    def encode(self, voxels: NDArray[Any]) -> bytes | None:
        """What is stored of a chunk, which may end with the array; None where nothing is."""
        whole = voxels = np.asarray(voxels, self.dtype)
        if voxels.shape != self.shape:
            whole = np.full(self.shape, self.fill_value, self.dtype)
            whole[tuple(map(slice, voxels.shape))] = voxels
        if not self.stores_empty and self._is_empty(whole):
            return None
        turned = np.ascontiguousarray(whole.transpose(self.order))
        content: Any = turned.view(self.dtype.newbyteorder("="))
        for codec in self.codecs:
            content = codec.encode(content)
        return bytes(content) if self.codecs else turned.tobytes()

    def _is_empty(self, whole: NDArray[Any]) -> bool:
        """Whether a chunk is all fill value, as zarr compares them: -0.0 is not 0.0."""
        buffer = default_buffer_prototype().nd_buffer.from_numpy_array
        first = whole[(slice(1),) * whole.ndim]  # which tells nearly all that are not
        return all(buffer(each).all_equal(self.fill_value) for each in (first, whole))

    def decode(self, stored: NDArray[Any], box: Box) -> NDArray[Any]:
        """What a chunk's box in the array has: of the last one along an axis less than is stored.

        Raises
        ------
        Exception
            Whatever a codec raises for bytes that are damaged.
        ValueError
            If these are other than a chunk's voxels.
        """
        content: Any = stored
        for codec in reversed(self.codecs):
            content = codec.decode(content)
        flat = np.frombuffer(content, self.dtype)
        if flat.size != math.prod(self.shape):
            raise ValueError(f"it has {flat.size} voxels, a chunk {math.prod(self.shape)}")
        turned = flat.reshape([self.shape[axis] for axis in self.order])
        whole = turned.transpose(np.argsort(self.order))
        inside = whole[tuple(slice(s.stop - s.start) for s in box)]
        # A view would keep all that was decoded; and what a store has in memory is its own.
        is_copied = inside.size < flat.size or np.may_share_memory(flat, stored)
        native = self.dtype.newbyteorder("=")
        return np.array(inside, native, order="C", copy=is_copied or None)


def chunk_codec_of(array: AnyArray) -> ChunkCodec | None:
    """How chunks of an array are stored; None where its codecs are not among those known here."""
    if array.shards is not None:
        return None
    document: Mapping[str, Any] = array.metadata.to_dict()
    if array.metadata.zarr_format == 3:
        return codec_of_v3(array, document["codecs"])
    return _codec_of(array, _of_v2(document, _axes_of(array)))


def codec_of_v3(array: AnyArray, codecs: Sequence[Any]) -> ChunkCodec | None:
    """How codecs, as metadata have them, store chunks of an array; None with one not known here."""
    document: Mapping[str, Any] = array.metadata.to_dict()
    if document["chunk_grid"]["name"] != "regular" or document.get("storage_transformers"):
        return None
    return _codec_of(array, _of_v3(codecs, _axes_of(array), array.dtype.itemsize))


def _axes_of(array: AnyArray) -> tuple[int, ...]:
    return tuple(range(len(array.shape)))


def _codec_of(array: AnyArray, found: _Told | None) -> ChunkCodec | None:
    is_plain = array.dtype.kind in "biuf" and bool(array.shape)
    if found is None or not is_plain or not _are_zarrs_own(array):
        return None
    endian, order, codecs = found
    dtype = array.dtype.newbyteorder(endian)
    fill_value = array.dtype.type(0) if array.fill_value is None else array.fill_value
    stores_empty = array.config.write_empty_chunks
    return ChunkCodec(array.chunks, dtype, order, codecs, fill_value, stores_empty)


def _are_zarrs_own(array: AnyArray) -> bool:
    """Whether nobody registered other code for its codecs, or for how they are called."""
    pipeline = str(zarr.config.get("codec_pipeline.path"))
    codecs = array.metadata.codecs if array.metadata.zarr_format == 3 else ()
    inner = [each for codec in codecs if isinstance(codec, ShardingCodec) for each in codec.codecs]
    names = [pipeline, *(type(codec).__module__ for codec in (*codecs, *inner))]
    return all(name.partition(".")[0] == "zarr" for name in names)


_Told = tuple[Literal["<", ">", "=", "|"], tuple[int, ...], tuple[Codec, ...]]
"""Byte order (`|`: that of the dtype), order of the axes, codecs."""


def _of_v3(codecs: Sequence[Any], order: tuple[int, ...], itemsize: int) -> _Told | None:
    named = [(each["name"], each.get("configuration", {})) for each in codecs]
    while named[0][0] == "transpose":
        order = tuple(order[axis] for axis in named.pop(0)[1]["order"])
    (serializer, how), *others = named
    if serializer != "bytes" or not {name for name, _ in others} <= _V3.keys():
        return None
    # Blosc shuffles by the size of what it is given: an item of voxels, a byte of bytes.
    sizes = [told.get("typesize", itemsize) for name, told in others if name == "blosc"]
    if sizes and (sizes != [itemsize] or others[0][0] != "blosc"):
        return None
    return _ENDIAN[how.get("endian")], order, tuple(_V3[name](**told) for name, told in others)


def _compressor(told: Mapping[str, Any]) -> Codec:
    codec: Codec = whole_of_v2(numcodecs.get_codec(told))
    return codec


def _of_v2(document: Mapping[str, Any], axes: tuple[int, ...]) -> _Told | None:
    told = document["compressor"]
    if document["filters"] or (told is not None and told["id"] not in _V2):
        return None
    codecs = () if told is None else (_compressor(told),)
    return "|", axes if document["order"] == "C" else axes[::-1], codecs
