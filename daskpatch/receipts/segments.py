"""Receipts as bytes: segments of a log, each an object of its own.

```
segment = receipts, 56 bytes each ─── CRC32C of their length and them, 4 bytes
```

Objects in a store cannot grow. The last segment of a log is written anew with every flush
until it is full, the full ones never again: a flush costs the same however long the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, fields
from typing import Any

import numpy as np
from crc32c import crc32c
from numpy.typing import NDArray

from .receipt import Receipt

FULL = 8192
"""Receipts of a segment that is not written again."""

_TYPES = {
    "index": "<u8",
    "digest": "<u4",
    "tiles": "<u4",
    "nan_tiles": "<u4",
    "voxels": "<u8",
    "bytes_read": "<u8",
    "bytes_written": "<u8",
    "seconds": "<f4",
    "finished": "<f8",
}
DTYPE = np.dtype([(field.name, _TYPES[field.name]) for field in fields(Receipt)])

Receipts = NDArray[np.void]


def as_rows(receipts: Sequence[Receipt]) -> Receipts:
    """Receipts as an array of the record dtype."""
    return np.array([astuple(receipt) for receipt in receipts], DTYPE)


def encode(rows: Receipts) -> bytes:
    body = rows.tobytes()
    return body + _checksum(body)


def decode(content: bytes) -> Receipts:
    """The receipts of a segment.

    Raises
    ------
    ValueError
        If it is torn.
    """
    body, checksum = content[:-4], content[-4:]
    whole = len(body) % DTYPE.itemsize == 0
    if not whole or _checksum(body) != checksum:
        raise ValueError("the segment is torn")
    rows: NDArray[Any] = np.frombuffer(body, DTYPE)
    return rows


def _checksum(body: bytes) -> bytes:
    """Of the length too: a segment that is cut to nothing must not look like an empty one."""
    value = crc32c(len(body).to_bytes(8, "little") + body)
    return value.to_bytes(4, "little")


def latest(rows: Receipts) -> Receipts:
    """One receipt per block, the one that finished last, by ascending index."""
    # A block may have several receipts: a run that was killed before it stored one writes it again.
    ordered = rows[np.lexsort((rows["finished"], rows["index"]))]
    last = np.append(ordered["index"][1:] != ordered["index"][:-1], True)[: len(ordered)]
    kept: Receipts = ordered[last]
    return kept
