"""The record of a run: what lies under `.daskpatch/` inside an output array.

```
.daskpatch/
    run.json                            the run document: fingerprint, layout, blocks
    receipts/RUN/part-1-of-1/TOKEN-00000000
                                        segments of a part's log: of a run, under a claim
    failures/RUN/part-1-of-1.json       blocks that a part set aside
    claims/part-1-of-1/000001.json      who works on a part
    announced/RUN/part-1-of-1.json      blocks that a part may have begun
    passes/NAME/                        the same of a further pass, save for claims, and
        left/00000007                   what a block leaves beside its receipt
        end.json                        what the pass found in the end
```

Runs that were begun before they had ids have no folder `RUN`, and segments are numbers alone.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from ..store import Location, Objects, plain_name, writing
from ..support import DEFAULT_PACING, DaemonThreads, Pacing, counted, parsed
from .document import Document, decode_document, encode_document
from .receipt import FailedBlock, Receipt
from .sealing import unwrapped, wrapped
from .segments import FULL, Receipts, as_rows, decode, encode, latest, layouts_of

FOLDER = ".daskpatch"
"""Inside an array's prefix readers are undisturbed; beside the array zarr would warn."""

RUN = "run.json"

END = "end.json"

PASSES = "passes"

CLAIMS = "claims"

_ENTRY = re.compile(
    r"(passes/[^/]+/)?"
    r"(run\.json|end\.json|left/\d+|claims/part-\d+-of-\d+/\d+\.json"
    r"|receipts/([^/]+/)?part-\d+-of-\d+/([0-9a-f]+-)?\d+"
    r"|(failures|announced)/([^/]+/)?part-\d+-of-\d+\.json)"
)

_READERS = 16

_TOKEN = 12
"""Characters of a claim's token that name its segments."""

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


def is_entry(name: str) -> bool:
    """Whether an object in a record's folder is of the record: somebody may keep notes there.

    >>> is_entry("claims/part-1-of-1/000001.json"), is_entry("notes.txt")
    (True, False)
    """
    return _ENTRY.fullmatch(plain_name(name)) is not None


class Record:
    """Run document, receipts and failures of one pass over one output array.

    Parameters
    ----------
    location
        The array's, inside whose prefix the record lies.
    name
        Of a further pass; empty for the prediction.

    Attributes
    ----------
    is_new
        Whether this one began the run: nobody has receipts of it yet, or failures.
    """

    def __init__(
        self, location: Location, name: str = "", *, pacing: Pacing = DEFAULT_PACING
    ) -> None:
        self.name = location.name
        self.location = location
        self.pass_name = name
        self.pacing = pacing
        folder = location.child(FOLDER)
        if name:
            folder = folder.child(PASSES).child(name)
        self.documents = Objects(folder, delays=pacing.delays)
        self._seen: Document | None = None
        self.is_new = False

    def document(self) -> Document | None:
        """What the pass was begun with, or None where there is nothing.

        Raises
        ------
        ValueError
            If it cannot be understood; the field that is wrong is named.
        """
        content = self.documents.read(RUN)
        if content is None:
            return None
        try:
            self._seen = decode_document(content)
            return self._seen
        except ValueError as error:
            inside = f"{PASSES}/{self.pass_name}/" if self.pass_name else ""
            raise ValueError(
                f"The record of {self.name} ({FOLDER}/{inside}{RUN}) is broken, or of another "
                f"version of daskpatch: {error}. {self._without_it}overwrite=True starts anew."
            ) from error

    @property
    def _without_it(self) -> str:
        # What a further pass found is needed until the prediction has begun.
        return "" if self.pass_name else "Without it nothing can be resumed or verified; "

    @property
    def run_id(self) -> str:
        """Of the run whose document was looked at last; empty where it has none."""
        document = self._seen or self.document()
        return "" if document is None else document.run_id

    @property
    def _n_arrays(self) -> int:
        """Of a block, by the document that was looked at last."""
        document = self._seen or self.document()
        return 1 if document is None else document.n_arrays

    def folder_of_run(self, folder: str) -> str:
        """The folder of a run's receipts or failures."""
        return f"{folder}/{self.run_id}/" if self.run_id else f"{folder}/"

    def begin(self, document: Document) -> Document:
        """Store a document unless there is one; the one that is there then."""
        content = encode_document(document)
        # What could not be read again is refused before it is written.
        own = decode_document(content)
        # Atomic where the store can: of parts that begin together, one document counts for all.
        if self.documents.create(RUN, content):
            # Not looked at yet: where a store cannot, what is there in the end counts.
            self.is_new = True
            return own
        there = self.document()
        if there is None:
            raise self._not_stored(RUN)
        return there

    def clear(self, *, keep: Collection[str] = ()) -> None:
        """Forget the run, its receipts and its further passes, save for some; claims stay."""
        # The claim under which this runs lies here, too.
        kept = (f"{CLAIMS}/", *(f"{PASSES}/{name}/" for name in keep))
        names = self.documents.names(with_temporary=True)
        self.documents.delete_many([n for n in names if is_entry(n) and not n.startswith(kept)])

    def passes(self) -> list[str]:
        """The names of further passes that were begun."""
        found = (name.split("/") for name in self.documents.names(f"{PASSES}/"))
        return sorted({parts[1] for parts in found if parts[2:] == [RUN]})

    def leave(self, index: int, content: bytes) -> None:
        """Store what a block leaves beside its receipt."""
        with writing() as wrote:
            self.documents.write(_left(index), content)
            wrote(self.documents, [_left(index)])

    def left(self, index: int) -> bytes | None:
        """What a block left."""
        return self.documents.read(_left(index))

    def conclude(self, end: bytes) -> bytes:
        """Store what the pass found in the end, unless that is there; what is there then."""
        self.documents.create(END, wrapped(end))
        there = self.end()
        if there is None:
            raise self._not_stored(END)
        return there

    def _not_stored(self, name: str) -> FileExistsError:
        return FileExistsError(
            f"The record of {self.name} cannot hold {name}: there is something else of that name, "
            f"such as a folder, in its {FOLDER} folder, or another process deleted it just now. "
            "Move that away, or try again."
        )

    def end(self) -> bytes | None:
        """What the pass found in the end; None before that.

        Raises
        ------
        ValueError
            If it is not what was written.
        """
        content = self.documents.read(END)
        try:
            return None if content is None else unwrapped(content)
        except ValueError as error:
            raise ValueError(
                f"The record of {self.name} ({FOLDER}/{PASSES}/{self.pass_name}/{END}) is broken: "
                f"{error}. overwrite=True starts anew."
            ) from error

    def receipts(self) -> Receipts:
        """One receipt per finished block, of all parts, by ascending index."""
        # One request each, and far away: together they take as long as one.
        with DaemonThreads(_READERS, "daskpatch-io") as pool:
            segments = list(pool.map(self._segment, self._segments()))
        return latest(np.concatenate([self.no_receipts(), *segments]))

    def failures(self, done: Receipts) -> dict[int, FailedBlock]:
        """Blocks that were set aside, and that no later run has done."""
        found = {
            failure.index: failure
            for name in self.documents.names(self.folder_of_run("failures"))
            for failure in _failures(self.documents.read(name), name)
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
                self.documents.write(name, self.encoded(kept))

    def encoded(self, rows: Receipts) -> bytes:
        """A segment as the record has them."""
        return encode(rows, is_former=not self.run_id)

    def _segments(self) -> list[str]:
        folder = self.folder_of_run("receipts")
        return [
            name
            for name in self.documents.names(folder)
            # Not those of runs with ids, in the record of one without.
            if _number(name) is not None and name.count("/") == folder.count("/") + 1
        ]

    def _segment(self, name: str) -> Receipts:
        content = self.documents.read(name)
        try:
            if content is None:
                return self.no_receipts()
            rows, n_lost = decode(content, n_arrays=self._n_arrays)
            if n_lost:
                _log.warning(
                    "%s of %s: %s damaged; what they say does not count as done.",
                    name,
                    self.name,
                    f"{counted(n_lost, 'receipt')} {'is' if n_lost == 1 else 'are'}",
                )
            return rows
        except ValueError as error:
            _log.warning(
                "%s of %s: %s; blocks that only it has receipts of count as not done.",
                name,
                self.name,
                error,
            )
            return self.no_receipts()

    def no_receipts(self) -> Receipts:
        """As `receipts` of a run of which no block is done."""
        return np.empty(0, layouts_of(Receipt, self._n_arrays)[0])


class Journal:
    """The log of one part, while its run goes on: receipts come in, segments go out."""

    def __init__(self, record: Record, part: Part, token: str, *, is_durable: bool = True) -> None:
        self._record, self._documents = record, record.documents
        self._is_durable = is_durable
        self._folder = f"{record.folder_of_run('receipts')}{part.name}/"
        # Two drivers of one part, of which one does not know yet that it was taken over, never
        # write one object.
        self._log = f"{token[:_TOKEN]}-" if record.run_id else ""
        self._failures_name = f"{record.folder_of_run('failures')}{part.name}.json"
        self._stored_failures = None if record.is_new else self._documents.read(self._failures_name)
        found = _failures(self._stored_failures, self._failures_name)
        self._failures = {failure.index: failure for failure in found}
        self._segment = self._next_segment()
        self._first = self._segment
        # Those of the last segment, which is written anew until it is full.
        self._pending: list[Receipt] = []
        self._n_stored = self.n_receipts = 0
        # Blocks for which chunks of the source were absent: if it goes away, these are doubtful.
        self._doubtful: list[int] = []
        self._changed = False

    def add(self, receipt: Receipt) -> None:
        self._pending.append(receipt)
        self.n_receipts += 1
        if receipt.absent:
            self._doubtful.append(receipt.index)
        self._changed = True

    def set_aside(self, failure: FailedBlock) -> None:
        self._failures[failure.index] = failure
        self._changed = True

    @property
    def is_changed(self) -> bool:
        """Whether there is something to store."""
        return self._changed

    @property
    def unstored(self) -> list[int]:
        """The blocks whose receipts came since the last flush."""
        return [receipt.index for receipt in self._pending[self._n_stored :]]

    def forget(self) -> int:
        """Drop what came since the last flush, and all that is doubtful; how many receipts."""
        before = self.n_receipts
        stored = self._pending[: self._n_stored]
        unstored = self._pending[self._n_stored :]
        if self._doubtful:  # else there is nothing to look for among the stored ones
            self._record.drop(self._doubtful)
        self._pending = [receipt for receipt in stored if not receipt.absent]
        self._n_stored = len(self._pending)
        kept = [receipt for receipt in unstored if not receipt.absent]
        self.n_receipts -= len(kept) + len(self._doubtful)
        self._doubtful = []
        return before - self.n_receipts

    def discard(self) -> int:
        """Drop what came since the last flush, and touch nothing that is stored."""
        n_dropped = len(self._pending) - self._n_stored
        del self._pending[self._n_stored :]
        self.n_receipts -= n_dropped
        self._changed = False
        return n_dropped

    def take_back(self) -> int:
        """Drop all receipts that came, the stored ones too; how many these were."""
        n_dropped = self.n_receipts
        for segment in range(self._first, self._segment + 1):
            self._documents.delete(self._name_of(segment))
        self._pending, self._doubtful, self._segment = [], [], self._first
        self._n_stored = self.n_receipts = 0
        return n_dropped

    def flush(self) -> None:
        """Store what came since the last flush."""
        if not self._changed:
            return
        for receipt in self._pending:
            # A block that failed before and is done now is no failure any more.
            self._failures.pop(receipt.index, None)
        while len(self._pending) > self._n_stored:
            rows, name = as_rows(self._pending[:FULL]), self._name_of(self._segment)
            self._documents.write(name, self._record.encoded(rows))
            if self._is_durable:
                self._documents.flush([RUN, name])
            # The last segment is written anew until it is full: objects in a store cannot grow.
            self._n_stored = len(rows)
            if len(rows) == FULL:
                self._pending, self._n_stored = self._pending[FULL:], 0
                self._segment += 1
        self._write_failures()
        self._changed = False

    def _write_failures(self) -> None:
        content = json.dumps([asdict(failure) for failure in self._failures.values()]).encode()
        is_known = content == self._stored_failures
        if not is_known and (self._failures or self._stored_failures is not None):
            self._documents.write(self._failures_name, content)
            self._stored_failures = content

    def _name_of(self, segment: int) -> str:
        return f"{self._folder}{self._log}{segment:08d}"

    def _next_segment(self) -> int:
        if self._log:
            return 0
        numbers = map(_number, self._documents.names(self._folder))
        return max((number + 1 for number in numbers if number is not None), default=0)


def _number(segment: str) -> int | None:
    """Of a segment; None for what somebody else left in the folder."""
    stem = segment.rpartition("/")[2].rpartition("-")[2]
    return int(stem) if stem.isdecimal() else None


def _left(index: int) -> str:
    return f"left/{index:08d}"


def _failures(content: bytes | None, name: str) -> list[FailedBlock]:
    try:
        return [FailedBlock(**failure) for failure in parsed(content or b"[]")]
    except (ValueError, TypeError):
        _log.warning("%s is torn; the blocks that it names will be tried again.", name)
        return []
