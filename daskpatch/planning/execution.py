"""A plan carried out: output created, blocks rolled, receipts summed."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from dask.utils import parse_bytes

from ..image import why_not_portable
from ..job import Job
from ..model import ModelError, restore_threads
from ..receipts import FailedBlock, Receipt, Report, RunFailed, Totals
from ..running import Done, active_client, has_other_processes, run_job
from .memory import at_least_one, check_memory
from .provenance import provenance_of
from .selection import Selection
from .target import Target

if TYPE_CHECKING:
    from .plan import Plan


def execute(
    plan: Plan, *, client: Any | None, threads: int | None, region: Any | None, progress: bool
) -> Report:
    """Run a plan; `Plan.run` documents the options."""
    if plan.target is None:
        raise ValueError("The plan has no output to write to; give one to daskpatch.plan.")
    client, n_threads = _workers(plan, client, threads)
    selection = plan.selection if region is None else plan.selection.within(region)
    plan.target.check()
    if client is None or plan.limit_is_given:
        memory = replace(plan.memory, threads=n_threads)
        check_memory(memory, plan.memory_limit, "the memory_limit")
    if client is not None:
        _check_cluster(plan, plan.target, client)
    targets = plan.target.create(
        plan.outputs,
        plan.layout,
        dtype=plan.dtype,
        provenance=provenance_of(plan.prediction, plan.patching),
        io=plan.requested_io,
    )
    job = Job(plan.prediction, plan.block_shape, targets, side_by_side=n_threads > 1)
    threads_before = restore_threads(None)
    try:
        done = run_job(
            job, selection, key=f"daskpatch-{uuid4().hex}", threads=n_threads, client=client
        )
        return _collect(done, selection, progress=progress)
    finally:
        restore_threads(threads_before)


def _workers(plan: Plan, client: Any | None, threads: int | None) -> tuple[Any | None, int]:
    """The client, and how many threads compute side by side in one process."""
    if client is not None and threads is not None:
        raise ValueError("Give client or threads, not both: a client's workers have their own.")
    if threads is not None:
        return None, at_least_one("threads", threads)
    client = client if client is not None else active_client()
    if client is None:
        return None, plan.threads
    if not hasattr(client, "nthreads"):
        raise TypeError(
            f"client is {client!r}; needed is a dask.distributed client: Client(address)."
        )
    workers = client.nthreads()
    if not workers:
        raise ValueError("The client has no workers; start some, or wait for them, first.")
    return client, max(workers.values())


def _check_cluster(plan: Plan, target: Target, client: Any) -> None:
    """Refuse what workers in other processes cannot use, or have no memory for.

    Raises
    ------
    ValueError
        If the input or the output lives in this process.
    MemoryError
        If a worker has too little memory.
    """
    if not has_other_processes(client):
        return
    for image in plan.images:
        reason = why_not_portable(image)
        if reason:
            raise ValueError(
                f"The source {image.source} cannot be used by worker processes: {reason}, or run "
                "with threads (threads=…)."
            )
    from ..running.cluster import why_not_sent

    reason = why_not_sent(plan.prediction.model)
    if reason:
        raise ValueError(
            f"The model {plan.model_name} cannot be sent to worker processes ({reason}); name it "
            "as 'file.py:attribute', which they load themselves, or run with threads (threads=…)."
        )
    if target.location.lives_in_this_process:
        raise ValueError(
            f"The output {target.name} lives in this process's memory, of which worker processes "
            "would write into copies; write to disk, or run with threads (threads=…)."
        )
    for worker in client.scheduler_info()["workers"].values():
        limit = parse_bytes(worker.get("memory_limit") or 0)
        if limit:
            memory = replace(plan.memory, threads=worker["nthreads"])
            check_memory(memory, limit, f"the memory of worker {worker['name']}")


def _collect(done: Iterator[Done], selection: Selection, *, progress: bool) -> Report:
    """Sum the receipts; raise once the running blocks have ended if one failed."""
    totals = Totals()
    failed: list[Done] = []
    begin = time.perf_counter()
    with _bar(selection, shown=progress) as advance:
        for outcome in done:
            if outcome.error is not None:
                failed.append(outcome)
                continue
            receipt: Receipt = outcome.result
            totals.add(receipt)
            advance(receipt.voxels)
            if receipt.nan_tiles and totals.nan_tiles == receipt.nan_tiles:
                _warn_of_nan(receipt)
    report = totals.report(time.perf_counter() - begin)
    if failed:
        _raise(report, failed, selection.n_blocks)
    return report


def _warn_of_nan(receipt: Receipt) -> None:
    warnings.warn(
        f"The model gave NaN where its input had none, first in block {receipt.index}; the report "
        "counts the tiles (nan_tiles). In integer outputs NaN is stored as 0.",
        RuntimeWarning,
        stacklevel=5,
    )


def _raise(report: Report, failed: list[Done], n_blocks: int) -> None:
    error = failed[0].error
    blocks = tuple(
        FailedBlock(
            index=outcome.index,
            tile=outcome.error.tile if isinstance(outcome.error, ModelError) else None,
            error=str(outcome.error),
        )
        for outcome in failed
    )
    reason = error.reason if isinstance(error, ModelError) and error.reason else error
    raise RunFailed(
        f"Block {blocks[0].index} failed: {str(error).rstrip('.')}. {report.blocks} of {n_blocks} "
        "blocks are written and stay.",
        report,
        blocks,
    ) from reason


@contextmanager
def _bar(selection: Selection, *, shown: bool) -> Iterator[Any]:
    """A bar that counts voxels of space and samples."""
    if not shown:
        yield lambda _: None
        return
    with warnings.catch_warnings():
        # A notebook without ipywidgets gets a text bar; tqdm says so in a warning.
        warnings.simplefilter("ignore")
        from tqdm.auto import tqdm

    interval = 0.5 if sys.stderr.isatty() or "ipykernel" in sys.modules else 30.0
    with tqdm(
        total=selection.n_voxels,
        unit="voxel",
        unit_scale=True,
        mininterval=interval,
        desc="daskpatch",
    ) as bar:
        yield bar.update
