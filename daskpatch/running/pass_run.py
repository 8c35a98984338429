"""One pass over blocks that are claimed: rolled through the window, receipts kept and summed."""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from uuid import uuid4

import numpy as np

from ..deciding import Selection
from ..engine import (
    Client,
    Done,
    Interruption,
    Job,
    NoWorkersError,
    TimedOutError,
    Window,
    once_within,
    progress_of,
)
from ..receipts import (
    LOST,
    Claim,
    ClaimedError,
    FailedBlock,
    Receipt,
    Receipts,
    Report,
    RunFailed,
    Totals,
    indices_of,
)
from ..store import Answers, ChangedError, answered_by
from ..support import cause_of, counted, give_back_freed, redacted
from .abilities import Provident, Sparse
from .announcing import Announcer
from .foresight import Foresight
from .job import Permitted, WriteError
from .ledger import Ledger
from .left import Left
from .on_workers import OnWorkers
from .passes import Pass
from .run import Run
from .unflushed import Unflushed

_UNREADABLE = 10
"""Blocks in a row whose source could not be read, after which the source counts as gone."""


_LOOKED_AT_AHEAD = 256
"""Blocks of which those that are known to be empty come last."""


_LASTING = (WriteError, ChangedError, ClaimedError)
"""After which no block fares better."""


@dataclass(frozen=True)
class Crew:
    """Who computes blocks: threads of this process, or a client's workers with so many each.

    `is_here` says whether this process does: a block that ends it ends the run.
    """

    client: Client | None
    n_threads: int
    is_here: bool


class EndedError(RuntimeError):
    """A block that ended the driver's process again and again."""


class PassRun:
    """One pass, begun and claimed, over the blocks that a run selects.

    Parameters
    ----------
    waits
        Whether a block has to wait for blocks of the pass before, which others compute.
    totals
        What the run has done so far; None where the pass does not count.
    n_along
        How many of its blocks were done along with those of a pass before.
    """

    def __init__(
        self,
        each: Pass,
        ledger: Ledger,
        run: Run,
        crew: Crew,
        claim: Claim,
        totals: Totals | None,
        waits: Callable[[int], bool] | None = None,
        n_along: int = 0,
    ) -> None:
        self._pass, self._ledger, self._run, self._crew = each, ledger, run, crew
        self._claim, self._waits, self._n_along = claim, waits, n_along
        self._totals = Totals() if totals is None else totals
        self._selection = _selected(each, run)
        self._interruption = Interruption() if run.interruption is None else run.interruption
        patience = sum(run.pacing.delays)
        self._is_interrupted = False
        self._answers = Answers(self._is_ending, patience)
        self._failed: list[tuple[FailedBlock, BaseException]] = []
        self._unreadable = self._done_now = 0
        self._lacks_receipts = False
        self._unflushed = Unflushed() if ledger.is_durable else None
        self._fatal: BaseException | None = None

    def run(self, job: Job) -> None:
        """Do what has no receipt yet; the claim stays as long as calls of the store go on.

        Raises
        ------
        RunFailed
            If blocks failed, or something could not be written.
        KeyboardInterrupt
            If the run was asked to stop.
        """
        try:
            with answered_by(self._answers):
                self._roll(job)
        finally:
            self._claim.keep_until(self._answers.left_behind)

    def _is_ending(self) -> bool:
        """Whether stores have only so long to answer from now on."""
        return self._is_interrupted or self._interruption.is_requested

    def _roll(self, job: Job) -> None:
        give_back_freed()  # by the trial, whose threads are gone: others would not use it again
        done = self._ledger.receipts_before()
        left = Left(self._selection, indices_of(done))
        coming = self._that_may(iter(left))
        if isinstance(job, Sparse):
            coming = _empty_last(coming, job)
        announcer = self._announcer = self._announces(coming, job)
        self._job = Permitted(job, self._claim.permit, self._unflushed, self._foresight(job, left))
        window = Window(
            self._job,
            self._insisting(announcer.side_by_side())
            if self._crew.is_here
            else OnWorkers(left, self._that_workers_may, _n_ahead(job)),
            key=f"daskpatch-{self._pass.name}-{uuid4().hex}",
            threads=self._crew.n_threads,
            client=self._crew.client,
            retries=self._run.retries,
            is_lasting=lambda error: isinstance(error, _LASTING),
            resources=self._run.resources,
            patience=self._run.patience,
            timeout=self._run.timeout,
            interruption=self._interruption,
            on_pulse=self._look_around,
            alone=self._insisting(announcer.alone()),
            on_alone=self._begin_alone,
            pulse=self._run.pacing.pulse,
        )
        begin = time.perf_counter()
        interrupted: KeyboardInterrupt | None = None
        # From here on a signal waits for running blocks; before, there was nothing to wait for.
        self._interruption.is_heeded = True
        before = self._before(done)
        self._claim.works_on(self._pass.name, lambda: window.in_work)
        try:
            with self._pass.computing(), self._expecting(job, left):
                self._collect(window, sum(before["voxels"].tolist()))
            self._look_back()
        except (NoWorkersError, ClaimedError, OSError) as error:  # also of an announcement
            self._stop(error)
        except KeyboardInterrupt as interrupt:
            interrupted = interrupt
            self._is_interrupted = True
            self._flush()
            self._look_back()
        finally:
            if window.left_behind:
                self._claim.outlived()
            self._flush()
            self._end_announcing()
            self._claim.works_on(self._pass.name, dict)
            self._interruption.is_heeded = False
        self._totals.seconds += time.perf_counter() - begin
        self._totals.skipped += max(len(before) - self._n_along, 0)
        self._totals.retried += window.retried
        if interrupted is not None and not interrupted.args:
            # Python's own says nothing, and a notebook shows it as it is.
            raise KeyboardInterrupt(f"{self._written(len(before))}.") from interrupted
        if interrupted is not None:
            raise interrupted
        self._conclude(len(before))

    def _announces(self, coming: Iterator[int], job: Job) -> Announcer:
        return Announcer(
            coming,
            self._ledger.announcements,
            ahead=max(4 * self._crew.n_threads, _n_ahead(job)),
            on_poison=self._poisonous,
            resumes=self._run.resumes,
            is_here=self._crew.is_here,
            forgives=self._run.region is not None,
        )

    def _insisting(self, blocks: Iterator[int]) -> Iterator[int]:
        """Blocks that are announced; none any more where the store does not take that."""
        try:
            yield from blocks
        except Exception as error:  # noqa: BLE001 (each kind of store raises its own)
            self._stop(error)

    def _begin_alone(self, index: int) -> None:
        # What the others did must not be lost with this one.
        self._flush()
        self._announcer.begin_alone(index)

    def _end_announcing(self) -> None:
        try:
            self._announcer.end()
        except Exception as error:  # noqa: BLE001 (each kind of store raises its own)
            self._stop(error)

    def _that_may(self, left: Iterator[int]) -> Iterator[int]:
        """Those of the blocks that are left that wait for no others."""
        waits = self._waits
        return left if waits is None else (index for index in left if not waits(index))

    def _that_workers_may(self, left: Iterator[int]) -> Iterator[int]:
        return self._announcer.of_workers(self._that_may(left))

    def _foresight(self, job: Job, left: Left) -> Foresight | None:
        if self._crew.is_here or not isinstance(job, Provident):
            return None
        return Foresight(job, left)

    @contextmanager
    def _expecting(self, job: Job, left: Left) -> Iterator[None]:
        """Around the computing of blocks: a job in this process is told which will come."""
        if not isinstance(job, Provident) or self._crew.client is not None:
            yield
            return
        announcer = self._announcer
        with job.expecting(left.__contains__, announcer.announced()):
            try:
                yield
            finally:
                announcer.nothing_follows()

    def _before(self, done: Receipts) -> Receipts:
        """The receipts of selected blocks that an earlier run wrote."""
        if self._selection.is_whole:
            share = self._selection.share
            share = range(self._selection.n_blocks) if share is None else share
            inside = (done["index"] >= share.start) & (done["index"] < share.stop)
            return done[inside]
        chosen = np.fromiter(self._selection, np.uint64, self._selection.n_blocks)
        return done[np.isin(done["index"], chosen)]

    def _collect(self, window: Window, voxels_before: int) -> None:
        total = self._pass.n_voxels
        total = self._selection.n_voxels if total is None else total
        name = "daskpatch" if self._pass.is_first else self._pass.name
        with (
            progress_of(total, voxels_before, shown=self._run.progress, name=name) as advance,
            closing(iter(window)) as outcomes,
        ):
            for outcome in outcomes:
                if outcome.error is None:
                    advance(self._done(outcome.result).voxels)
                else:
                    self._not_done(outcome, outcome.error)

    def _look_back(self) -> None:
        """Take back what was read from images that are others by now, though they look the same."""
        if self._fatal is not None or not self._done_now:
            return
        # Whoever asked for an end may not wait for the look, and what made a block fail may hold
        # it up, too.
        if self._interruption.is_requested or self._failed:
            self._flush()
        try:
            changed = self._changed(self._ledger.touched)
            if changed:  # receipts are deleted; else the next flush looks for the claim
                self._claim.check()
            for number, told in changed.items():
                self._stop(ChangedError(told))
                self._uncount(self._ledger.take_back(number))
        except Exception as error:  # noqa: BLE001 (each kind of source and store raises its own)
            self._stop(error)

    def _changed(self, touched: Sequence[int]) -> Mapping[int, str]:
        """Of images that blocks read those that are others by now; each may take what a block may.

        Raises
        ------
        OSError
            If they cannot be looked at in time.
        """
        look = partial(self._pass.changed, touched, self._run.pacing)
        if self._run.timeout is not None:
            look = partial(once_within, self._run.timeout * len(touched), look)
        try:
            return self._answers.of_threads(look)
        except TimedOutError as error:
            raise OSError(
                "the last look at the source, which would show that it was made anew during the "
                f"run, was not answered within timeout={self._run.timeout:g} s an image"
            ) from error

    def _uncount(self, n_dropped: int) -> None:
        self._done_now -= n_dropped
        self._totals.blocks -= n_dropped

    def _look_around(self) -> None:
        # Somebody else writes these blocks now; ours would overwrite theirs.
        if self._claim.is_lost:
            self._stop(ClaimedError(LOST))
        self._job.begin_flush()
        if self._fatal is None:
            # Whoever is asked to stop may be killed soon: nothing waits any more.
            self._flush(due=not self._interruption.is_requested)

    def _flush(self, *, due: bool = False) -> None:
        try:
            if self._ledger.is_due(due=due):
                # Receipts of ours would hide from the other driver what it has to compute.
                self._claim.check()
                self._job.flush()
                self._ledger.flush()
                self._announcer.stored()
            self._lacks_receipts = False
        except (ClaimedError, WriteError) as error:
            self._stop(error)
            self._uncount(self._ledger.discard())
        except ChangedError as error:
            self._stop(error)
            self._uncount(self._ledger.forget())
            self._flush()  # what failed before is told of
        except Exception as error:  # noqa: BLE001 (each kind of store raises its own)
            self._lacks_receipts = True
            self._stop(error)

    def _done(self, result: Receipt | tuple[Receipt, ...]) -> Receipt:
        receipt, *further = result if isinstance(result, tuple) else (result,)
        self._unreadable = 0
        self._done_now += 1
        self._ledger.add(receipt, *further)
        self._announcer.ended(receipt.index)
        self._totals.add(receipt)
        self._pass.notice(receipt, self._totals)
        return receipt

    def _not_done(self, outcome: Done, error: BaseException) -> None:
        if isinstance(error, _LASTING):
            self._stop(error)
            return
        # A source that went away fails every block; going on would try them all, for hours.
        self._unreadable = self._unreadable + 1 if isinstance(error, OSError) else 0
        if self._unreadable >= _UNREADABLE:
            self._stop(error)
        tile, _ = self._pass.explained(error)
        failure = FailedBlock(
            index=outcome.index,
            tile=tile,
            error=redacted(str(error)) or type(error).__name__,
            traceback=redacted("".join(traceback.format_exception(error))),
        )
        self._set_aside(failure, error)
        self._announcer.ended(outcome.index)

    def _set_aside(self, failure: FailedBlock, error: BaseException) -> None:
        self._failed.append((failure, error))
        self._ledger.set_aside(failure)

    def _poisonous(self, index: int) -> None:
        error = EndedError(
            "the process ended twice while it computed nothing but this block: a crash inside the "
            "model, or too little memory (or somebody ended it). It is not tried again unless "
            "region= selects it, or verify repairs the output (repair=True)"
        )
        self._set_aside(FailedBlock(index, None, str(error)), error)

    def _stop(self, error: BaseException) -> None:
        """Begin no new block; those that run end."""
        if self._fatal is None:
            self._fatal = self._with_output(error) if isinstance(error, ClaimedError) else error
            if isinstance(error, OSError) and not isinstance(error, ChangedError):
                # Its store was waited for: what comes now is tried once.
                self._ledger.be_brief()
        self._interruption.request(grace=math.inf)

    def _with_output(self, error: ClaimedError) -> BaseException:
        """A claim goes with its output: where that was moved or deleted, that is the reason."""
        try:
            self._ledger.look([next(iter(self._selection))])
        except ChangedError as changed:
            return changed
        except Exception:  # noqa: BLE001 (a store that does not answer says nothing)
            return error
        return error

    def _conclude(self, n_before: int) -> None:
        n_blocks, n_done = self._selection.n_blocks, self._done_now + n_before
        written = self._written(n_before)
        if isinstance(self._fatal, ChangedError):
            written += ", once source and output are what they were"
        if self._lacks_receipts:
            written += ", and computes the last ones again, whose receipts could not be stored"
        if self._fatal is not None:
            report = self._report()
            raise RunFailed(
                f"The run stopped: {_stripped(self._fatal)}. {written}.",
                report,
                report.failed_blocks,
            ) from cause_of(self._fatal)
        if self._interruption.is_requested and n_done < n_blocks:
            raise KeyboardInterrupt(f"{written}.")
        if self._failed:
            failure, error = self._failed[0]
            report = self._report()
            _, reason = self._pass.explained(error)
            others = f" (and {len(self._failed) - 1} more)" if len(self._failed) > 1 else ""
            raise RunFailed(
                f"Block {failure.index}{self._of_pass} failed{others}: {_stripped(error)}. "
                f"{written}.",
                report,
                report.failed_blocks,
            ) from cause_of(reason)

    def _written(self, n_before: int) -> str:
        """What of the run is kept, in words."""
        n_done = self._done_now + n_before
        if self._lacks_receipts:  # those blocks are computed again
            n_done -= self._ledger.n_unstored
        of = counted(self._selection.n_blocks, "block")
        is_one = 1 in (n_done, self._selection.n_blocks)
        are = "is written and stays" if is_one else "are written and stay"
        n_ended = sum(isinstance(error, EndedError) for _, error in self._failed)
        # Those are left alone: where nothing else is left, there is nothing to go on with.
        is_all = n_ended > 0 and n_done + n_ended == self._selection.n_blocks
        goes_on = "" if is_all else "; resume=True goes on from there"
        return f"{n_done:,} of {of}{self._of_pass} {are}{goes_on}"

    @property
    def _of_pass(self) -> str:
        return "" if self._pass.is_first else f" of the {self._pass.name}"

    def _report(self) -> Report:
        return self._totals.report(
            taken_over=self._claim.taken_over,
            failed_blocks=tuple(failure for failure, _ in self._failed),
        )


def _selected(each: Pass, run: Run) -> Selection:
    if run.part is not None and each.is_shared:
        return each.blocks.part(run.share)
    if run.region is not None and each.is_first:
        return each.blocks.within(run.region)
    return each.blocks


def _empty_last(coming: Iterator[int], job: Sparse) -> Iterator[int]:
    """The same blocks; of those that come soon the ones that take long first.

    What remains is spread evenly over threads: else the last long one runs alone. Of very many
    blocks nobody is kept waiting while they are looked at.
    """
    while ahead := list(islice(coming, _LOOKED_AT_AHEAD)):
        yield from sorted(ahead, key=job.is_empty)


def _stripped(error: BaseException) -> str:
    return (redacted(str(error)) or type(error).__name__).rstrip(".")


def _n_ahead(job: Job) -> int:
    return job.n_ahead if isinstance(job, Provident) else 0
