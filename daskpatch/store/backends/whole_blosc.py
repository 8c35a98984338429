"""Blosc that is told how many bytes there are: by itself it believes what their header says.

What was cut off, it reads from whatever lies behind in memory: other voxels each time, or none and
the end of the process (c-blosc 1, through numcodecs 0.16).
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from typing import Any

import numcodecs
import zarr
from numcodecs.compat import ensure_contiguous_ndarray
from zarr.abc.buffer import Buffer
from zarr.codecs import BloscCodec, ShardingCodec
from zarr.codecs.numcodecs import Blosc as NumcodecsBlosc
from zarr.storage import StorePath
from zarr.types import AnyArray

_HEADER = 16
"""Bytes in front; the last four of them say how many there are, header included.

https://github.com/Blosc/c-blosc/blob/main/README_CHUNK_FORMAT.rst
"""


class WholeBlosc(numcodecs.Blosc):  # type: ignore[misc] # numcodecs is not typed
    """Blosc of numcodecs that refuses what is cut off."""

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> WholeBlosc:
        """The one of a configuration of numcodecs."""
        return cls(**{name: value for name, value in told.items() if name != "id"})

    def decode(self, buf: Any, out: Any = None) -> Any:
        check_whole(buf)
        return super().decode(buf, out)


class _WholeBloscCodec(BloscCodec):
    # The methods that zarr 3.1 calls: one by one, or in a thread.
    def _decode_sync(self, chunk_bytes: Buffer, chunk_spec: Any) -> Buffer:
        check_whole(chunk_bytes.as_numpy_array())
        return super()._decode_sync(chunk_bytes, chunk_spec)

    async def _decode_single(self, chunk_bytes: Buffer, chunk_spec: Any) -> Buffer:
        check_whole(chunk_bytes.as_numpy_array())
        return await super()._decode_single(chunk_bytes, chunk_spec)


class _WholeNumcodecsBlosc(NumcodecsBlosc):
    async def _decode_single(self, chunk_data: Buffer, chunk_spec: Any) -> Buffer:
        check_whole(chunk_data.as_numpy_array())
        return await super()._decode_single(chunk_data, chunk_spec)


_WHOLE: dict[type, type] = {BloscCodec: _WholeBloscCodec, NumcodecsBlosc: _WholeNumcodecsBlosc}


def check_whole(buf: Any) -> None:
    """Refuse less than the header of Blosc says.

    Raises
    ------
    ValueError
        If something is cut off.

    Examples
    --------
    >>> header = bytes(12) + (20).to_bytes(4, "little")
    >>> check_whole(header + bytes(4))
    >>> check_whole(header)
    Traceback (most recent call last):
    ...
    ValueError: it has 16 bytes, and Blosc's header says 20: it is cut off
    """
    # Of voxels, where it is a filter, in whatever order of bytes.
    there = ensure_contiguous_ndarray(buf).reshape(-1).view("u1")
    told = int.from_bytes(there[_HEADER - 4 : _HEADER].tobytes(), "little")
    if len(there) < max(told, _HEADER):
        raise ValueError(
            f"it has {len(there)} bytes, and Blosc's header says {told}: it is cut off"
        )


def with_whole_blosc(array: AnyArray) -> AnyArray:
    """The array with each Blosc as one that refuses what is cut off."""
    metadata: Any = array.metadata
    if metadata.zarr_format == 3:
        metadata = replace(metadata, codecs=tuple(map(_whole, metadata.codecs)))
    else:
        filters = metadata.filters and tuple(map(whole_of_v2, metadata.filters))
        compressor = whole_of_v2(metadata.compressor)
        metadata = replace(metadata, filters=filters, compressor=compressor)
    place = StorePath(array.store, array.path)
    return zarr.Array(zarr.AsyncArray(metadata, place, array.config))


def whole_of_v2(codec: Any) -> Any:
    """A codec of numcodecs; where it is Blosc, one that refuses what is cut off."""
    # Not a codec of anybody's own that is a kind of it.
    return WholeBlosc.of(codec.get_config()) if type(codec) is numcodecs.Blosc else codec


def _whole(codec: Any) -> Any:
    if isinstance(codec, ShardingCodec):
        return replace(codec, codecs=tuple(map(_whole, codec.codecs)))
    kind = _WHOLE.get(type(codec))
    if kind is None:
        return codec
    # Made anew, one of numcodecs would warn again that it is none of Zarr v3.
    twin = copy(codec)
    object.__setattr__(twin, "__class__", kind)
    return twin
