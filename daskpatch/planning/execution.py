"""A plan carried out: output opened, blocks rolled, receipts kept and summed."""

from __future__ import annotations

import logging
import math
import time
import traceback
import warnings
from contextlib import closing
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np

from ..engine import Done, NoWorkersError, Run, progress_of
from ..job import Job, WriteError
from ..model import ModelError, restore_threads
from ..receipts import FailedBlock, Receipt, Report, RunFailed, Totals
from ..statistics import Statistics
from .claiming import Opened, opened
from .ledger import without
from .options import Options
from .selection import Selection
from .staffing import check_staff, staff

if TYPE_CHECKING:
    from .plan import Plan

_log = logging.getLogger("daskpatch")

_UNREADABLE = 10
"""Blocks in a row whose source could not be read, after which the source counts as gone."""


def execute(plan: Plan, options: Options) -> Report:
    """Run a plan."""
    target = plan.target
    if target is None:
        raise ValueError("The plan has no output to write to; give one to daskpatch.plan.")
    if options.resume and target.overwrite:
        raise ValueError(
            "Give overwrite or resume (which part implies), not both: one starts anew, the other "
            "goes on."
        )
    client, n_threads = staff(plan, options)
    if options.region is not None:
        plan.selection.within(options.region)  # refused before anything is written
    check_staff(plan, target, client, n_threads, options.resources)
    if client is not None and options.progress:
        _log.info("dashboard at %s", client.dashboard_link)
    if options.interruption.is_requested:
        raise KeyboardInterrupt("Nothing was written.")

    def measure() -> tuple[Statistics, ...]:
        return plan.measure_statistics(
            client, n_threads, options.interruption, progress=options.progress
        )

    with opened(plan, target, options.share, resume=options.resume, measure=measure) as output:
        return _Execution(output, options, client, n_threads).run()


class _Execution:
    """One run over an output that is open."""

    def __init__(
        self, output: Opened, options: Options, client: Any | None, n_threads: int
    ) -> None:
        self._output, self._options = output, options
        self._client, self._n_threads = client, n_threads
        self._selection = _selected(output.plan, options)
        self._totals = Totals()
        self._failed: list[tuple[FailedBlock, BaseException]] = []
        self._unreadable = 0
        self._lacks_receipts = False
        self._fatal: BaseException | None = None
        self._interruption = options.interruption

    def run(self) -> Report:
        done = self._output.ledger.receipts()
        plan = self._output.plan
        job = Job(
            plan.complete_prediction,
            plan.block_shape,
            self._output.arrays,
            side_by_side=self._n_threads > 1,
        )
        run = Run(
            job,
            without(iter(self._selection), done["index"]),
            key=f"daskpatch-{uuid4().hex}",
            threads=self._n_threads,
            client=self._client,
            retries=self._options.retries,
            is_lasting=lambda error: isinstance(error, WriteError),
            resources=self._options.resources,
            patience=self._options.patience,
            interruption=self._interruption,
            on_pulse=self._look_around,
        )
        threads_before = restore_threads(None)
        begin = time.perf_counter()
        self._interruption.is_heeded = True
        selected = self._before(done)
        try:
            self._collect(run, sum(int(v) for v in selected["voxels"]))
        except NoWorkersError as error:
            self._fatal = error
        finally:
            restore_threads(threads_before)
            self._flush()
            self._interruption.is_heeded = False
        report = self._totals.report(
            time.perf_counter() - begin,
            skipped=len(selected),
            retried=run.retried,
            taken_over=self._output.claim.taken_over,
            failed_blocks=tuple(failure for failure, _ in self._failed),
        )
        self._conclude(report)
        return report

    def _before(self, done: Any) -> Any:
        """The receipts of selected blocks that an earlier run wrote."""
        if self._options.region is None:
            share = self._selection.share
            share = range(self._selection.n_blocks) if share is None else share
            inside = (done["index"] >= share.start) & (done["index"] < share.stop)
            return done[inside]
        chosen = np.fromiter(self._selection, np.uint64, self._selection.n_blocks)
        return done[np.isin(done["index"], chosen)]

    def _collect(self, run: Run, voxels_before: int) -> None:
        total = self._selection.n_voxels
        with (
            progress_of(total, voxels_before, shown=self._options.progress) as advance,
            closing(iter(run)) as outcomes,
        ):
            for outcome in outcomes:
                if outcome.error is None:
                    self._done(outcome.result)
                    advance(outcome.result.voxels)
                else:
                    self._not_done(outcome)

    def _look_around(self) -> None:
        if self._output.claim.is_lost:
            self._stop(RuntimeError("Another driver took the output over."))
        if self._fatal is None:
            self._flush(due=not self._interruption.is_requested)

    def _flush(self, *, due: bool = False) -> None:
        try:
            self._output.ledger.flush(due=due)
            self._lacks_receipts = False
        except Exception as error:  # noqa: BLE001 (each kind of store raises its own)
            self._lacks_receipts = True
            self._stop(error)

    def _done(self, receipt: Receipt) -> None:
        self._unreadable = 0
        self._output.ledger.add(receipt)
        self._totals.add(receipt)
        if receipt.nan_tiles and self._totals.nan_tiles == receipt.nan_tiles:
            _warn_of_nan(receipt)

    def _not_done(self, outcome: Done) -> None:
        error = outcome.error
        assert error is not None
        if isinstance(error, WriteError):
            self._stop(error)
            return
        self._unreadable = self._unreadable + 1 if isinstance(error, OSError) else 0
        if self._unreadable >= _UNREADABLE:
            self._stop(error)
        failure = FailedBlock(
            index=outcome.index,
            tile=error.tile if isinstance(error, ModelError) else None,
            error=str(error) or type(error).__name__,
            traceback="".join(traceback.format_exception(error)),
        )
        self._failed.append((failure, error))
        self._output.ledger.set_aside(failure)

    def _stop(self, error: BaseException) -> None:
        """Begin no new block; those that run end."""
        self._fatal = self._fatal or error
        self._interruption.request(grace=math.inf)

    def _conclude(self, report: Report) -> None:
        failed = report.failed_blocks
        written = (
            f"{report.blocks + report.skipped} of {self._selection.n_blocks} blocks are written "
            "and stay; resume=True goes on from there"
        )
        if self._lacks_receipts:
            written += ", and computes the last ones again, whose receipts could not be stored"
        if self._fatal is not None:
            raise RunFailed(
                f"The run stopped: {_stripped(self._fatal)}. {written}.", report, failed
            ) from self._fatal
        finished = report.done + report.skipped == self._selection.n_blocks
        if self._interruption.is_requested and not finished:
            raise KeyboardInterrupt(f"{written}.")
        if failed:
            error = self._failed[0][1]
            reason = error.reason if isinstance(error, ModelError) and error.reason else error
            others = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
            raise RunFailed(
                f"Block {failed[0].index} failed{others}: {_stripped(error)}. {written}.",
                report,
                failed,
            ) from reason


def _selected(plan: Plan, options: Options) -> Selection:
    if options.part is not None:
        return plan.selection.part(options.share)
    return plan.selection if options.region is None else plan.selection.within(options.region)


def _stripped(error: BaseException) -> str:
    return (str(error) or type(error).__name__).rstrip(".")


def _warn_of_nan(receipt: Receipt) -> None:
    warnings.warn(
        f"The model gave NaN where its input had none, first in block {receipt.index}; the report "
        "counts the tiles (nan_tiles). In integer outputs NaN is stored as 0.",
        RuntimeWarning,
        stacklevel=7,
    )
