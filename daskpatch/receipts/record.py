"""The record of a run: what lies under `.daskpatch/` inside an output array.

```
.daskpatch/
    run.json                            the run document: fingerprint, layout, blocks
    receipts/part-1-of-1/00000000       segments of a part's log
    failures/part-1-of-1.json           blocks that a part set aside
    claims/part-1-of-1/000001.json      who works on a part
```
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..store import Location, Objects
from .receipt import FailedBlock, Receipt
from .segments import DTYPE, FULL, Receipts, as_rows, decode, encode, latest

FOLDER = ".daskpatch"
"""Inside an array's prefix readers are undisturbed; beside the array zarr would warn."""

RUN = "run.json"

FORMAT = 1
"""Of all documents under the folder."""

_READERS = 16

_log = logging.getLogger("daskpatch")


@dataclass(frozen=True, slots=True)
class Part:
    """Part `number` of `of`: a static share of the blocks, with its own log and claim."""

    number: int = 1
    of: int = 1

    @property
    def name(self) -> str:
        return f"part-{self.number}-of-{self.of}"

    def share(self, total: int) -> range:
        """Flat indices of this part's blocks.

        >>> Part(2, 3).share(10)
        range(3, 6)
        """
        return range((self.number - 1) * total // self.of, self.number * total // self.of)

    def works_beside(self, other: Part) -> bool:
        """Whether the blocks of both are different ones."""
        return self.of == other.of and self.number != other.number


class Record:
    """Run document, receipts and failures of one output array."""

    def __init__(self, location: Location) -> None:
        self.name = location.name
        self.documents = Objects(location.child(FOLDER))

    def run(self) -> dict[str, Any] | None:
        """The run document, or None where there is none.

        Raises
        ------
        ValueError
            If it cannot be understood.
        """
        content = self.documents.read(RUN)
        if content is None:
            return None
        try:
            run: dict[str, Any] = json.loads(content)
        except ValueError:
            run = {}
        if not _is_run(run):
            raise ValueError(
                f"The record of {self.name} ({FOLDER}/{RUN}) is broken, or of another version of "
                "daskpatch. Without it nothing can be resumed or verified; overwrite=True starts "
                "anew."
            )
        return run

    def begin(self, run: dict[str, Any]) -> dict[str, Any]:
        """Store a run document unless there is one; the one that is there then."""
        self.documents.create(RUN, json.dumps(run, indent=1).encode())
        there = self.run()
        assert there is not None
        return there

    def clear(self) -> None:
        """Forget the run and its receipts; claims stay."""
        self.documents.delete_all(but=["claims"])

    def receipts(self) -> Receipts:
        """One receipt per finished block, of all parts, by ascending index."""
        with ThreadPoolExecutor(_READERS) as pool:
            segments = list(pool.map(self._segment, self._segments()))
        return latest(np.concatenate([np.empty(0, DTYPE), *segments]))

    def failures(self, done: Receipts) -> dict[int, FailedBlock]:
        """Blocks that were set aside, and that no later run has done."""
        found = {
            failure.index: failure
            for name in self.documents.names("failures/")
            for failure in _failures(self.documents, name)
        }
        for index in done["index"][np.isin(done["index"], list(found))]:
            del found[int(index)]
        return found

    def drop(self, indices: Sequence[int]) -> None:
        """Take back receipts: of blocks that turned out to be bad."""
        for name in self._segments():
            rows = self._segment(name)
            kept = rows[~np.isin(rows["index"], np.asarray(indices, np.uint64))]
            if len(kept) < len(rows):
                self.documents.write(name, encode(kept))

    def _segments(self) -> list[str]:
        return [name for name in self.documents.names("receipts/") if _number(name) is not None]

    def _segment(self, name: str) -> Receipts:
        content = self.documents.read(name)
        try:
            return np.empty(0, DTYPE) if content is None else decode(content)
        except ValueError:
            _log.warning(
                "%s of %s is torn; blocks that only it has receipts of count as not done.",
                name,
                self.name,
            )
            return np.empty(0, DTYPE)


class Journal:
    """The log of one part, while its run goes on: receipts come in, segments go out."""

    def __init__(self, record: Record, part: Part) -> None:
        self._documents = record.documents
        self._folder = f"receipts/{part.name}/"
        self._failures_name = f"failures/{part.name}.json"
        self._failures = {f.index: f for f in _failures(self._documents, self._failures_name)}
        self._segment = self._next_segment()
        self._pending: list[Receipt] = []
        self._changed = False

    def add(self, receipt: Receipt) -> None:
        self._pending.append(receipt)
        self._changed = True

    def set_aside(self, failure: FailedBlock) -> None:
        self._failures[failure.index] = failure
        self._changed = True

    def flush(self) -> None:
        """Store what came since the last flush."""
        if not self._changed:
            return
        for receipt in self._pending:
            self._failures.pop(receipt.index, None)
        while self._pending:
            rows = as_rows(self._pending[:FULL])
            self._documents.write(f"{self._folder}{self._segment:08d}", encode(rows))
            if len(rows) < FULL:
                break
            self._pending = self._pending[FULL:]
            self._segment += 1
        self._write_failures()
        self._changed = False

    def _write_failures(self) -> None:
        failures = [asdict(failure) for failure in self._failures.values()]
        if failures or self._documents.read(self._failures_name) is not None:
            self._documents.write(self._failures_name, json.dumps(failures).encode())

    def _next_segment(self) -> int:
        numbers = map(_number, self._documents.names(self._folder))
        return max((number + 1 for number in numbers if number is not None), default=0)


def _number(segment: str) -> int | None:
    """Of a segment; None for what somebody else left in the folder."""
    stem = segment.rpartition("/")[2]
    return int(stem) if stem.isdecimal() else None


def _is_run(run: Any) -> bool:
    """Whether a run document has what resume, status and verify take from it."""
    try:
        fields, blocks = run["fingerprint"], run["blocks"]
        shape = next(iter(fields["output"].values()))["shape"]
        return bool(
            run["format"] == FORMAT
            and {"source", "tiling", "treatment", "layout", "input_dtype"} <= fields.keys()
            and fields["source"]["of"] >= 1
            and isinstance(run["is_series"], bool)
            and {"chunks", "shards", "block_shape"} <= fields["layout"].keys()
            and len(shape) == len(blocks["shape"]) == len(blocks["merge"])
            and all(n > 0 for n in blocks["shape"])
            and blocks["first"] >= 0
        )
    except (TypeError, KeyError, AttributeError):
        return False


def _failures(documents: Objects, name: str) -> list[FailedBlock]:
    try:
        return [FailedBlock(**failure) for failure in json.loads(documents.read(name) or b"[]")]
    except (ValueError, TypeError):
        _log.warning("%s is torn; the blocks that it names will be tried again.", name)
        return []
