"""A rolling window of tasks over the `concurrent.futures` interface.

The one loop for threads and clusters: a job (any picklable callable) and block indices in,
what it returns out. Neither the driver nor a scheduler ever holds more than a few tasks per
thread.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from .jobs import Job, forget, register, run_registered

TASKS_PER_THREAD = 2
"""One that runs and one that waits, so that no thread is ever idle."""


@dataclass(frozen=True, slots=True)
class Done:
    """A task that ended: with a result, or with an error."""

    index: int
    result: Any
    error: BaseException | None


def active_client() -> Any | None:
    """The current `dask.distributed` client; distributed is not imported for it."""
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return None
    try:
        return distributed.Client.current()
    except ValueError:
        return None


def has_other_processes(client: Any) -> bool:
    """Whether some worker does not live in this process."""
    return any(not address.startswith("inproc://") for address in client.nthreads())


def run_job(
    job: Job, indices: Iterable[int], *, key: str, threads: int, client: Any | None = None
) -> Iterator[Done]:
    """Run a job over block indices; yields the tasks that ended, in the order in which they did.

    After an error no new task is started; those that run are waited for. Closing the iterator
    early cancels what has not begun.
    """
    with _registered(job, key, client):
        if client is None:
            executor: Executor = ThreadPoolExecutor(threads, thread_name_prefix="daskpatch")
        else:
            executor = client.get_executor(pure=False)

        def window() -> int:
            # Workers may come and go while the run goes on.
            n_threads = threads if client is None else sum(client.nthreads().values())
            return max(TASKS_PER_THREAD * n_threads, 1)

        task = partial(run_registered, key)
        yield from _roll(executor, task, iter(indices), window)


def _roll(
    executor: Executor,
    task: Callable[[int], Any],
    indices: Iterator[int],
    window: Callable[[], int],
) -> Iterator[Done]:
    pending: dict[Future[Any], int] = {}
    failed = False
    try:
        while True:
            if not failed:
                _fill(pending, executor, task, indices, window())
            if not pending:
                return
            for future in wait(pending, return_when=FIRST_COMPLETED).done:
                index = pending.pop(future)
                if future.cancelled():
                    continue
                error = future.exception()
                # What was submitted may be running already: it ends, so that nothing writes any
                # more when the caller hears of the failure.
                failed = failed or error is not None
                yield Done(index, None if error else future.result(), error)
    finally:
        for future in pending:
            future.cancel()
        executor.shutdown(wait=False)


def _fill(
    pending: dict[Future[Any], int],
    executor: Executor,
    task: Callable[[int], Any],
    indices: Iterator[int],
    size: int,
) -> None:
    while len(pending) < size:
        index = next(indices, None)
        if index is None:
            return
        pending[executor.submit(task, index)] = index


@contextmanager
def _registered(job: Job, key: str, client: Any | None) -> Iterator[None]:
    """Make a job known under a key here and, once, in every worker process of a cluster."""
    with ExitStack() as stack:
        register(key, job)
        stack.callback(forget, key)
        if client is not None and has_other_processes(client):
            from .cluster import JobPlugin

            client.register_plugin(JobPlugin(key, job))
            stack.callback(client.unregister_worker_plugin, key)
        yield
