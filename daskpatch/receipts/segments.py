"""Receipts as bytes: segments of a log, each an object of its own.

```
segment = receipts, 60 bytes each ─── CRC32C of their length and them, 4 bytes
```

Where receipts have columns that were added later, the checksum is of their names too: some rows of
one width are as long as others of another, and must not be taken for them.

Objects in a store cannot grow. The last segment of a log is written anew with every flush
until it is full, the full ones never again: a flush costs the same however long the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, astuple, fields
from typing import Any, get_type_hints

import numpy as np
from crc32c import crc32c
from numpy.typing import NDArray

from .receipt import Receipt

Receipts = NDArray[np.void]
Layout = np.dtype[np.void]

FULL = 8192
"""Receipts of a segment that is not written again."""


def layouts_of(receipt: type[Receipt]) -> list[Layout]:
    """How receipts are stored, and how they were before each column that was added since."""
    hints = get_type_hints(receipt, include_extras=True)
    columns = [(field.name, hints[field.name].__metadata__[0]) for field in fields(receipt)]
    n_first = sum(field.default is MISSING for field in fields(receipt))
    return [np.dtype(columns[:n]) for n in range(len(columns), n_first - 1, -1)]


DTYPE = layouts_of(Receipt)[0]

_N_FIRST = 9
"""Columns of the first version, which the checksum does not name."""


def as_rows(receipts: Sequence[Receipt]) -> Receipts:
    """Receipts as an array of the record dtype."""
    return np.array([astuple(receipt) for receipt in receipts], DTYPE)


def encode(rows: Receipts) -> bytes:
    body = rows.tobytes()
    return body + _checksum(body, rows.dtype)


def decode(content: bytes, receipt: type[Receipt] = Receipt) -> Receipts:
    """The receipts of a segment, with the defaults of columns that it lacks.

    Raises
    ------
    ValueError
        If it is torn, or of a later version.
    """
    body, checksum = content[:-4], content[-4:]
    for layout in layouts_of(receipt):
        if len(body) % layout.itemsize == 0 and _checksum(body, layout) == checksum:
            rows: NDArray[Any] = np.frombuffer(body, layout)
            return _widened(rows, receipt)
    raise ValueError("the segment is torn, or of a later version")


def _widened(rows: NDArray[Any], receipt: type[Receipt]) -> Receipts:
    wide: NDArray[Any] = np.empty(len(rows), layouts_of(receipt)[0])
    there = rows.dtype.names or ()
    for field in fields(receipt):
        wide[field.name] = rows[field.name] if field.name in there else field.default
    return wide


def _checksum(body: bytes, layout: Layout) -> bytes:
    """Of the length too: a segment that is cut to nothing must not look like an empty one."""
    added = ",".join((layout.names or ())[_N_FIRST:]).encode()
    value = crc32c(len(body).to_bytes(8, "little") + body + added)
    return value.to_bytes(4, "little")


def latest(rows: Receipts) -> Receipts:
    """One receipt per block, the one that finished last, by ascending index."""
    # A block may have several receipts: a run that was killed before it stored one writes it again.
    ordered = rows[np.lexsort((rows["finished"], rows["index"]))]
    last = np.append(ordered["index"][1:] != ordered["index"][:-1], True)[: len(ordered)]
    kept: Receipts = ordered[last]
    return kept
