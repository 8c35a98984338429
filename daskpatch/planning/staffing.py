"""Who computes a run, and whether they can: threads, or the workers of a client."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dask.utils import parse_bytes

from ..engine import active_client, has_other_processes
from ..image import why_not_portable
from .memory import at_least_one, available_memory, check_memory
from .target import Target

if TYPE_CHECKING:
    from .options import Options
    from .plan import Plan


def staff(plan: Plan, options: Options) -> tuple[Any | None, int]:
    """The client, and how many threads compute side by side in one process."""
    client, threads = options.client, options.threads
    if client is not None and threads is not None:
        raise ValueError("Give client or threads, not both: a client's workers have their own.")
    if threads is None:
        client = client if client is not None else active_client()
    if client is None:
        if options.resources:
            raise ValueError("resources are those of a cluster's workers; give a client too.")
        return None, plan.threads if threads is None else at_least_one("threads", threads)
    if not hasattr(client, "nthreads"):
        raise TypeError(
            f"client is {client!r}; needed is a dask.distributed client: Client(address)."
        )
    if getattr(client, "status", "") in ("closed", "closing"):
        raise ValueError(f"The client {client!r} is closed; open a new one: Client(address).")
    workers = client.nthreads()
    if not workers:
        raise ValueError("The client has no workers; start some, or wait for them, first.")
    return client, max(workers.values())


def check_staff(
    plan: Plan,
    target: Target,
    client: Any | None,
    n_threads: int,
    resources: Mapping[str, float] | None,
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
    limit = plan.request.memory_limit
    if client is None or limit is not None:
        memory = replace(plan.memory, threads=n_threads)
        check_memory(memory, limit or available_memory(), "the memory_limit")
    if client is not None and resources:
        from ..engine.cluster import check_resources

        check_resources(client, resources)
    if client is not None and has_other_processes(client):
        _check_portable(plan, target)
        _check_workers(plan, client)


def _check_portable(plan: Plan, target: Target) -> None:
    for image in plan.images:
        reason = why_not_portable(image)
        if reason:
            raise ValueError(
                f"The source {image.source} cannot be used by worker processes: {reason}, or run "
                "with threads (threads=…)."
            )
    from ..engine.cluster import why_not_sent

    for what, code in (("model", plan.prediction.model), ("function post", plan.prediction.post)):
        reason = why_not_sent(code)
        if code is not None and reason:
            raise ValueError(
                f"The {what} {code.handle.name} cannot be sent to worker processes ({reason}); "
                "name it as 'file.py:attribute', which they load themselves, or run with threads "
                "(threads=…)."
            )
    if target.location.lives_in_this_process:
        raise ValueError(
            f"The output {target.name} lives in this process's memory, of which worker processes "
            "would write into copies; write to disk, or run with threads (threads=…)."
        )


def _check_workers(plan: Plan, client: Any) -> None:
    for worker in client.scheduler_info()["workers"].values():
        limit = parse_bytes(worker.get("memory_limit") or 0)
        if limit:
            memory = replace(plan.memory, threads=worker["nthreads"])
            check_memory(memory, limit, f"the memory of worker {worker['name']}")
