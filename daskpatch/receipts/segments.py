"""Receipts as bytes: segments of a log, each an object of its own.

```
segment = rows ─── CRC32C of their length and them, 4 bytes
row     = receipt, 84 bytes and 4 for each array but one ─── CRC32C of it, 4 bytes
```

A flipped bit costs one receipt: where a segment's checksum does not fit, those of its rows are
looked at. In records of format 1 rows have none, and the segment is lost whole. Both checksums are
of the names of columns that were added later, too: some rows of one width are as long as others of
another, and must not be taken for them.

Objects in a store cannot grow. The last segment of a log is written anew with every flush
until it is full, the full ones never again: a flush costs the same however long the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, fields
from functools import cache
from operator import attrgetter
from typing import Any, get_origin, get_type_hints

import numpy as np
from crc32c import crc32c
from numpy.typing import NDArray

from .receipt import Receipt

Receipts = NDArray[np.void]
RowLayout = np.dtype[np.void]

FULL = 8192
"""Receipts of a segment that is not written again."""


@cache
def layouts_of(receipt: type[Receipt], n_arrays: int = 1) -> tuple[RowLayout, ...]:
    """How receipts of blocks of so many arrays are stored, and how before each column was added."""
    hints = get_type_hints(receipt, include_extras=True)
    columns: list[Any] = []
    for field in fields(receipt):
        kind, stored = hints[field.name].__origin__, hints[field.name].__metadata__[0]
        if get_origin(kind) is not tuple:
            columns.append((field.name, stored))
        elif n_arrays > 1:
            columns.append((field.name, stored, (n_arrays - 1,)))
    n_first = sum(field.default is MISSING for field in fields(receipt))
    return tuple(np.dtype(columns[:n]) for n in range(len(columns), n_first - 1, -1))


_N_FIRST = 9
"""Columns of the first version, which the checksum does not name."""


def as_rows(receipts: Sequence[Receipt]) -> Receipts:
    """Receipts as an array of the record dtype; all are of blocks of as many arrays."""
    n_arrays = 1 + len(receipts[0].partial) if receipts else 1
    layout = layouts_of(Receipt, n_arrays)[0]
    columns = attrgetter(*(layout.names or ()))
    return np.array([columns(receipt) for receipt in receipts], layout)


def encode(rows: Receipts, *, is_former: bool = False) -> bytes:
    """A segment; the former kind has the columns and the checksum that format 1 has."""
    if is_former:
        body = _first_columns(rows).tobytes()
        return body + _checksum(body)
    checked = np.empty(len(rows), _checked(rows.dtype))
    checked["receipt"], checked["check"] = rows, _checks(rows)
    body = checked.tobytes()
    return body + _checksum(body, _salt(rows.dtype))


def decode(
    content: bytes, receipt: type[Receipt] = Receipt, n_arrays: int = 1
) -> tuple[Receipts, int]:
    """The receipts of a segment, with the defaults of columns that it lacks, and how many are lost.

    `n_arrays` are those of a block.

    Raises
    ------
    ValueError
        If it is torn, or of a later version.
    """
    layouts = layouts_of(receipt, n_arrays)  # type: ignore[arg-type] # takes objects for the class
    whole = next(filter(None, (_whole(content, layout) for layout in layouts)), None)
    if whole is not None:
        return _widened(whole[0], receipt, layouts[0]), 0
    for layout in layouts:
        rows = _rows(content, _checked(layout))
        kept = rows["check"] == _checks(rows["receipt"])
        if kept.any():
            # At least one: what is cut off is not seen.
            n_lost = max(len(rows) - int(kept.sum()), 1)
            return _widened(rows["receipt"][kept], receipt, layouts[0]), n_lost
    raise ValueError("the segment is torn, or of a later version")


def _whole(content: bytes, layout: RowLayout) -> tuple[Receipts] | None:
    """The receipts of a segment of such rows that is as it was written."""
    body, checksum = content[:-4], content[-4:]
    checked = _checked(layout)
    if len(body) % checked.itemsize == 0 and _checksum(body, _salt(layout)) == checksum:
        return (_rows(body, checked)["receipt"],)
    if len(body) % layout.itemsize == 0 and _checksum(body, _added(layout)) == checksum:
        return (_rows(body, layout),)
    return None


def _rows(content: bytes, layout: RowLayout) -> NDArray[Any]:
    rows: NDArray[Any] = np.frombuffer(content, layout, count=len(content) // layout.itemsize)
    return rows


def _checked(layout: RowLayout) -> RowLayout:
    """A row with its checksum."""
    checked: RowLayout = np.dtype([("receipt", layout), ("check", "<u4")])
    return checked


def _first_columns(rows: Receipts) -> Receipts:
    """Without the columns that were added since the first version, and without gaps."""
    names = (rows.dtype.names or ())[:_N_FIRST]
    first: NDArray[Any] = np.empty(len(rows), [(name, rows.dtype[name]) for name in names])
    for name in names:
        first[name] = rows[name]
    return first


def _checks(rows: Receipts) -> NDArray[np.uint32]:
    added, body, width = _added(rows.dtype), rows.tobytes(), rows.dtype.itemsize
    starts = range(0, len(body), width)
    return np.array([crc32c(body[at : at + width] + added) for at in starts], "<u4")


def _widened(rows: NDArray[Any], receipt: type[Receipt], layout: RowLayout) -> Receipts:
    wide: NDArray[Any] = np.empty(len(rows), layout)
    there, defaults = rows.dtype.names or (), {f.name: f.default or 0 for f in fields(receipt)}
    for name in layout.names or ():
        wide[name] = rows[name] if name in there else defaults[name]
    return wide


def _checksum(body: bytes, salt: bytes = b"") -> bytes:
    """Of the length too: a segment that is cut to nothing must not look like an empty one."""
    value = crc32c(len(body).to_bytes(8, "little") + body + salt)
    return value.to_bytes(4, "little")


def _added(layout: RowLayout) -> bytes:
    """The names of columns that the first version did not have."""
    return ",".join((layout.names or ())[_N_FIRST:]).encode()


def _salt(layout: RowLayout) -> bytes:
    """Of rows with checksums: 16 receipts with it are as long as others without."""
    return _added(layout) + b"+check"


def indices_of(rows: Receipts) -> NDArray[np.uint64]:
    """The blocks of receipts, one after another in memory.

    A column of rows is copied whole whenever something is looked for in it.
    """
    return np.ascontiguousarray(rows["index"])


def latest(rows: Receipts) -> Receipts:
    """One receipt per block, the one that finished last, by ascending index."""
    # A block may have several receipts: a run that was killed before it stored one writes it again.
    indices = indices_of(rows)
    if np.all(indices[1:] > indices[:-1]):
        return rows
    order = np.lexsort((np.ascontiguousarray(rows["finished"]), indices))
    ordered, indices = rows[order], indices[order]
    last = np.append(indices[1:] != indices[:-1], True)[: len(ordered)]
    kept: Receipts = ordered[last]
    return kept
