"""Passes carried out in order: one claim for all, each begun or joined, run, brought to its end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..engine import Job
from ..receipts import (
    Claim,
    ClaimedError,
    Document,
    Part,
    Record,
    Report,
    Totals,
    holders,
    is_alive,
    refuse_claimed,
    remove_dead,
)
from ..store import flush_metadata
from ..support import DaemonThreads, decoded
from .abilities import Watchful
from .ledger import Ledger, are_among
from .pass_run import Crew, PassRun
from .passes import Pass, check_exclusive
from .run import Run

_AT_ONCE = 16
"""Records that are read, or begun, at a time."""


_INTERRUPTED = (
    "The run was interrupted between its steps. What it wrote stays, and resume=True goes on from "
    "there; where it had not begun yet, run it anew."
)


def carry_out(passes: Sequence[Pass], run: Run, crew: Crew, *, is_durable: bool = True) -> Report:
    """Run passes one after another, each on what those before it made.

    A part that finds the pass before incomplete, because other parts are not done, ends normally:
    its report says so (`unfinished`), and the same call again goes on. The part that finds all
    blocks done that levels are made of builds what is left of them, for all parts; another that
    finds it at that ends normally, too.

    Receipts, and what they speak of, outlast the machine if the run `is_durable`.

    Raises
    ------
    ValueError
        If two passes write one array, or one is to be resumed that began otherwise.
    FileExistsError
        If something else is at the place.
    ClaimedError
        If somebody else writes the output.
    RunFailed
        If blocks failed, or something could not be written; what was written stays.
    """
    check_exclusive(passes)
    try:
        own = _carried_out(passes, run, crew, Totals(), is_durable=is_durable)
    except KeyboardInterrupt as interrupt:
        if str(interrupt):  # while blocks are computed it is told what is written
            raise
        raise KeyboardInterrupt(_INTERRUPTED) from interrupt
    except ClaimedError as claimed:
        report = None if run.part is None else _left_to_another(passes, run, claimed)
        if report is None:
            raise
        return report
    # After its claim is given back: of parts that end together, the last one finds no other.
    if run.part is None or not own.leaves_ready_blocks or _is_held(own.record):
        return own.report
    skipped = own.totals.skipped
    try:
        whole = replace(run, part=None, resume=True)
        rest = _carried_out(passes, whole, crew, own.totals, is_durable=is_durable)
    except ClaimedError:  # another part was first: it builds them
        return own.report
    taken_over = own.report.taken_over + rest.report.taken_over
    # What other parts had done is not what this one found done.
    return replace(rest.report, skipped=skipped, taken_over=taken_over)


def _left_to_another(passes: Sequence[Pass], run: Run, claimed: ClaimedError) -> Report | None:
    """The report of a part of which only levels are left, which whoever has the claim builds.

    None where there is more to do.
    """
    for each, level in pairwise(passes):
        if level.below(0) is None:
            continue
        records = each.records(run.pacing)
        documents = [found for found in (record.document() for record in records) if found]
        if len(documents) < len(records):
            return None
        total = each.as_begun(documents).blocks.n_blocks
        if sum(len(record.receipts()) for record in records) < total:
            return None
        totals = Totals()
        totals.skipped = len(run.share.share(total))
        return totals.report(unfinished=f"{level.name} is left to another run: {claimed}")
    return None


def _is_held(record: Record) -> bool:
    """Whether somebody works on an output, as far as is known without watching."""
    silence = record.pacing.silence
    return any(is_alive(holder, silence) is not False for holder in holders(record).values())


def _carried_out(
    passes: Sequence[Pass], run: Run, crew: Crew, totals: Totals, *, is_durable: bool
) -> _Driver:
    """Passes that were run, under one claim."""
    for each in passes:
        # All of them before the claim, so that what is refused has left no trace.
        each.check(run)
    main = next((each for each in passes if each.is_first), passes[0])
    record = Record(main.places[0], pacing=run.pacing)
    _each_beside(passes, run, refuse_claimed)
    # One for all passes: whoever has the output has every pass over it.
    with Claim(record, run.share) as claim:
        # Again: whoever claimed meanwhile finds ours when they look again, or we find theirs.
        _each_beside(passes, run, remove_dead)
        driver = _Driver(passes, run, crew, claim, totals, is_durable=is_durable)
        driver.drive()
    return driver


def _each_beside(passes: Sequence[Pass], run: Run, look: Callable[[Record, Part], None]) -> None:
    """Look at the claims on members of what is written, and on groups around it."""
    records = [record for each in passes for record in each.beside(run.pacing)]
    with DaemonThreads(_AT_ONCE, "daskpatch-io") as pool:
        list(pool.map(lambda record: look(record, Part()), records))


@dataclass(frozen=True)
class _Progress:
    """How far a pass is: its blocks with receipts, of all parts."""

    each: Pass
    done: NDArray[np.uint64]
    finished: NDArray[np.float64]

    @property
    def n_missing(self) -> int:
        return self.each.blocks.n_blocks - len(self.done)


class _Driver:
    """The passes of one run, whose output is claimed."""

    def __init__(
        self,
        passes: Sequence[Pass],
        run: Run,
        crew: Crew,
        claim: Claim,
        totals: Totals,
        *,
        is_durable: bool,
    ) -> None:
        self._passes, self._run, self._crew, self._claim = passes, run, crew, claim
        self._is_durable = is_durable
        self._ends: dict[str, object] = {}
        self._ledgers: dict[str, tuple[Pass, Ledger]] = {}
        self._along: dict[str, Ledger] = {}
        self._unfinished = ""
        self.totals = totals

    @property
    def record(self) -> Record:
        """That of the claim."""
        return self._claim.record

    @property
    def report(self) -> Report:
        taken_over = self._claim.taken_over
        return self.totals.report(taken_over=taken_over, unfinished=self._unfinished)

    @property
    def leaves_ready_blocks(self) -> bool:
        """Whether there are blocks left of a level, and nothing of what they are made of is."""
        # As the store has it now: parts that end together see each other's last receipts.
        for number, (each, ledger) in enumerate(self._ledgers.values()):
            if len(ledger.receipts()) < each.blocks.n_blocks:
                return number > 0 and each.below(0) is not None
        return False

    def drive(self) -> None:
        before: _Progress | None = None
        begun: Pass | None = None
        for number, planned in enumerate(self._passes):
            # Its blocks are whole chunks of what is there, not of what would be planned today.
            each = planned if begun is None else planned.following(begun)
            known = each.known_end(resumes=self._run.resumes)
            if known is not None:
                self._ends[each.name] = known
                continue
            begun = self._ended_before(each)
            if begun is not None:
                continue
            if before is not None and before.n_missing:
                self._unfinished = self._unfinished or _unfinished(each, before, self._run)
                if each.below(0) is None:
                    break
            before = self._carry_out(each, before, self._passes[number + 1 :])
            begun = before.each

    def _ended_before(self, each: Pass) -> Pass | None:
        """A pass as it began, whose end an earlier run recorded; None where there is none."""
        if each.is_first or not self._run.resumes:
            return None
        records = each.records(self._run.pacing)
        content = records[0].end()
        documents = [record.document() for record in records]
        if content is None or None in documents:
            return None
        self._ends[each.name] = _understood(each, records[0], content)
        return each.as_begun([document for document in documents if document is not None])

    def _carry_out(self, each: Pass, before: _Progress | None, later: Sequence[Pass]) -> _Progress:
        begun, records = self._begin(each)
        further = self._begin_along(begun, later)
        job = begun.with_further([one for one, _ in further]).job(self._ends, self._run.pacing)
        # One ledger for all that a run does of a pass: another would write over its receipts.
        ledger = self._along.get(begun.name) or self._ledger(begun, records)
        ledger.look, n_along = _look_of(job), ledger.n_added
        if before is not None and self._run.resumes and self._run.part is None:
            _forget_stale(begun, ledger, before)
        for one, theirs in further:
            ledger.take_along(theirs, one.numbers)
        totals = self.totals if begun.arrays else None
        waits = _waiting(begun, before)
        run = PassRun(begun, ledger, self._run, self._crew, self._claim, totals, waits, n_along)
        run.run(job)
        self._along |= {one.name: theirs for one, theirs in further}
        self._ledgers[begun.name] = begun, ledger
        rows = ledger.receipts()
        progress = _Progress(begun, rows["index"], rows["finished"])
        if not progress.n_missing:
            self._conclude(begun, ledger, records[0])
        if self._is_durable:  # what images and levels are called is written last
            for place in begun.places:
                flush_metadata(place)
        return progress

    def _begin(self, each: Pass) -> tuple[Pass, list[Record]]:
        """A pass as its record has it, which is made where there is none."""
        records = each.records(self._run.pacing)
        # Whoever lost the claim while statistics were measured must not delete another's output.
        self._claim.check_lately()
        if not self._run.resumes and each.name not in self._along:
            each = each.cleared(records, keep=self._ledgers.keys())

        def begun(number: int) -> Document:
            # What is recorded counts, also what another part began with just now.
            record = records[number]
            return record.document() or record.begin(each.document(number, self._ends))

        with DaemonThreads(_AT_ONCE, "daskpatch-io") as pool:
            # The first by itself: what all have in common is found once.
            documents = [begun(0), *pool.map(begun, range(1, len(records)))]
        return each.as_begun(documents), records

    def _begin_along(self, begun: Pass, later: Sequence[Pass]) -> list[tuple[Pass, Ledger]]:
        """The passes after the prediction of which its blocks do some, too."""
        if not begun.is_first:
            return []
        along: list[tuple[Pass, Ledger]] = []
        before = begun
        for planned in later:
            each = planned.following(before)
            if not each.goes_along:
                break
            before, records = self._begin(each)
            along.append((before, self._ledger(before, records)))
        return along

    def _ledger(self, begun: Pass, records: Sequence[Record]) -> Ledger:
        return Ledger(
            records,
            begun.blocks.firsts,
            self._run.share,
            self._claim.permit,
            self._run.pacing.flush,
            is_durable=self._is_durable,
        )

    def _conclude(self, each: Pass, ledger: Ledger, record: Record) -> None:
        """Let a pass whose blocks are all done find its end; what was recorded first counts."""
        left = (ledger.left(index) for index in range(each.blocks.n_blocks))
        end = each.end(content for content in left if content is not None)
        if end is None:
            return
        # Parts may end it at the same time, from the same blocks: the first result is everybody's.
        recorded = record.conclude(msgspec.json.encode(end))
        self._ends[each.name] = _understood(each, record, recorded)


def _understood(each: Pass, record: Record, end: bytes) -> object:
    """What a pass found in the end, out of its record."""
    try:
        return decoded(end, each.end_type)
    except ValueError as error:
        raise ValueError(
            f"The record of {record.name} (end.json of its {each.name}) is broken, or of another "
            f"version of daskpatch: {error}. overwrite=True starts anew."
        ) from error


def _forget_stale(each: Pass, ledger: Ledger, before: _Progress) -> None:
    """Drop receipts of blocks that are older than one of the pass before that they were made of.

    It was computed again since, and may have come out otherwise.
    """
    rows = ledger.receipts()
    if not len(rows) or not len(before.done) or each.below(0) is None:
        return
    if before.finished.max() <= rows["finished"].min():
        return
    stale = []
    for row in rows:
        below = np.fromiter(each.below(int(row["index"])) or (), np.uint64)
        at = np.minimum(np.searchsorted(before.done, below), len(before.done) - 1)
        is_there = before.done[at] == below
        if (before.finished[at][is_there] > row["finished"]).any():
            stale.append(int(row["index"]))
    ledger.drop(stale)


def _look_of(job: Job) -> Callable[[Sequence[int]], None]:
    return job.look if isinstance(job, Watchful) else lambda _: None


def _waiting(each: Pass, before: _Progress | None) -> Callable[[int], bool] | None:
    """Which blocks wait for some of the pass before; None where nothing is waited for."""
    if before is None or not before.n_missing:
        return None

    def waits(index: int) -> bool:
        below = np.fromiter(each.below(index) or (), np.uint64)
        return not are_among(below, before.done).all()

    return waits


def _unfinished(each: Pass, before: _Progress, run: Run) -> str:
    goes_on = "which are not done; resume=True goes on"
    if run.part is not None:
        by = "the same command again goes on"
        if each.below(0) is not None:
            by = "the part that ends last goes on, else the same command again"
        goes_on = f"which other parts compute; {by}"
    return (
        f"{each.name} waits for {before.n_missing} of {before.each.blocks.n_blocks} blocks of "
        f"{before.each.name}, {goes_on}"
    )
