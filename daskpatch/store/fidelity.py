"""Whether an array gives back what is written to it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.buffer import default_buffer_prototype
from zarr.storage import MemoryStore
from zarr.types import AnyArray

_DOCUMENTS: dict[int, tuple[str, ...]] = {2: (".zarray", ".zattrs"), 3: ("zarr.json",)}
"""An array's metadata, by Zarr format."""


def is_lossless(array: AnyArray, documents: dict[str, bytes]) -> bool:
    """Whether a chunk of random bits comes back, tried in memory.

    `documents` are the array's metadata. Filters that round (Quantize, BitRound,
    FixedScaleOffset, AsType) give back other values than they were given.
    """
    prototype = default_buffer_prototype()
    store = MemoryStore({n: prototype.buffer.from_bytes(c) for n, c in documents.items()})
    twin = zarr.open_array(store=store, mode="r+", zarr_format=array.metadata.zarr_format)
    box = tuple(slice(0, min(c, n)) for c, n in zip(twin.chunks, twin.shape, strict=True))
    values = _random(tuple(s.stop for s in box), np.dtype(twin.dtype))
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            twin[box] = values
            found = np.asarray(twin[box])
    except Exception:  # noqa: BLE001 (each codec raises its own; a run may hold values that it takes)
        return False
    return found.tobytes() == values.tobytes()


def documents_of(array: AnyArray, read: Callable[[str], bytes | None]) -> dict[str, bytes]:
    """The metadata that there are of an array, by name; `read` gives the bytes of one, or None."""
    found = {name: read(name) for name in _DOCUMENTS[array.metadata.zarr_format]}
    return {name: content for name, content in found.items() if content is not None}


def _random(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    rng = np.random.default_rng(0)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(dtype)
    size = int(np.prod(shape)) * dtype.itemsize
    values = np.frombuffer(rng.bytes(size), dtype).copy()
    if dtype.kind == "f" and dtype.itemsize <= 8:
        # NaN too, also signalling ones: a codec may keep all numbers, and not their bits.
        bits = values.view(dtype.str.replace("f", "u"))
        bits[::8] |= np.array(np.inf, dtype).view(bits.dtype)
    return values.reshape(shape)
