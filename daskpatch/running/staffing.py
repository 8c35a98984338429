"""Who computes a run, and whether they can: threads, or the workers of a client."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from dask.utils import parse_bytes

from ..deciding import Limits, Memory, available_memory, check_memory
from ..engine import Client, active_client, has_other_processes
from ..image import ImageStack, is_held_by_cluster
from ..support import as_count, shown
from .pass_run import Crew
from .passes import Pass
from .run import Run

_log = logging.getLogger("daskpatch")


def crew_of(
    run: Run, threads: int | None, planned_threads: int, *, images: Sequence[ImageStack] = ()
) -> Crew:
    """The client, and how many threads compute side by side in one process.

    The active client is not used where its cluster holds the source: its tasks could not wait for
    one another.

    Raises
    ------
    ValueError
        If client and threads don't go together, or the client has no workers.
    """
    client = run.client
    if client is not None and threads is not None:
        raise ValueError("Give client or threads, not both: a client's workers have their own.")
    if threads is None:
        client = client if client is not None else _active_for(images)
    if client is None:
        if run.resources:
            raise ValueError(
                f"resources is {shown(dict(run.resources))}, what a block takes of a cluster's "
                "workers; give client= too."
            )
        n_threads = planned_threads if threads is None else as_count("threads", threads)
        return Crew(None, n_threads, is_here=True)
    if client.status in ("closed", "closing"):
        raise ValueError(f"The client {shown(client)} is closed; open a new one: Client(address).")
    if run.progress:
        _log.info("dashboard at %s", client.dashboard_link)
    workers = client.nthreads()
    if not workers:
        raise ValueError("The client has no workers; start some, or wait for them, first.")
    # Now: later the client may be closed, and know no workers.
    return Crew(client, max(workers.values()), is_here=not has_other_processes(client))


def _active_for(images: Sequence[ImageStack]) -> Client | None:
    client = active_client()
    held = None if client is None else next(filter(is_held_by_cluster, images), None)
    if held is None:
        return client
    _log.warning(
        "The cluster of the active client holds %s, which its tasks cannot wait for: computing in "
        "threads of this process.",
        held.source,
    )
    return None


def check_crew(
    passes: Sequence[Pass], crew: Crew, limits: Limits, resources: Mapping[str, float] | None
) -> None:
    """Refuse what workers cannot use, or have no memory for, and resources they don't offer.

    Raises
    ------
    ValueError
        If the input or the output lives in this process, and workers in others; if no worker
        offers the resources.
    MemoryError
        If this process or a worker has too little memory.
    """
    needs = [each.memory for each in passes if each.memory is not None]
    client = crew.client
    if client is None or limits.memory is not None:
        limit = available_memory() if limits.memory is None else limits.nbytes
        _check_memory(needs, crew.n_threads, limit, "the memory_limit")
    if client is None:
        return
    if resources:
        from ..engine.cluster import check_resources

        check_resources(client, resources)
    for each in passes:
        each.check_in_tasks()
    if has_other_processes(client):
        for each in passes:
            each.check_portable()
        _check_workers(needs, client)


def _check_memory(needs: Sequence[Memory], threads: int, limit: int, what: str) -> None:
    for memory in needs:
        check_memory(replace(memory, threads=threads), limit, what)


def _check_workers(needs: Sequence[Memory], client: Client) -> None:
    for worker in client.scheduler_info()["workers"].values():
        limit = parse_bytes(worker.get("memory_limit") or 0)
        if limit:
            what = f"the memory of worker {worker['name']}"
            _check_memory(needs, worker["nthreads"], limit, what)
