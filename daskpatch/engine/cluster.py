"""The workers of a cluster. Imported only where a client is used."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import signal
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, Future
from contextlib import contextmanager, suppress
from typing import Any, ClassVar
from uuid import uuid4

import dask
from distributed import Client as DaskClient
from distributed import Future as DaskFuture
from distributed import (
    KilledWorker,
    LocalCluster,
    Security,
    WorkerPlugin,
    rejoin,
    rpc,
    secede,
)

from ..support import cause_of, said_by, without_secrets
from .deadline import TimedOutError
from .jobs import Job, Stretch, Task, forget, register, run_registered
from .preferences import Preferences
from .threads import check_hanging
from .workers import ANYBODY, TASKS_PER_THREAD, Client, NoWorkersError, lives_here

_COUNT_EVERY = 1.0
"""Seconds between two looks at the workers: each is a question to the scheduler."""

_TASK = 2.0
"""Seconds that a task takes at least, where blocks take less."""

_ANSWER = 10.0
"""Seconds that a scheduler has to say that it is one."""

_TRIM = "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_"

_LOST_AFTER = "distributed.deploy.lost-worker-timeout"

_log = logging.getLogger("daskpatch")


class Cluster:
    """A client's workers, as they come and go.

    Parameters
    ----------
    client
        A `dask.distributed.Client`.
    resources
        What a task takes of a worker's resources, such as `{"GPU": 1}`.
    patience
        Seconds to wait for a worker when there is none.
    """

    takes_back: ClassVar[bool] = False

    def __init__(
        self, client: Client, *, resources: Mapping[str, float] | None, patience: float
    ) -> None:
        self._client = client
        self._resources = dict(resources or {})
        self._patience = patience
        self._alone_since: float | None = None
        self._counted = -math.inf
        self._threads: Mapping[str, int] = {}
        self._n_hanging = 0
        self._preferences = Preferences()
        self._looked_for_stranded = -math.inf
        # A scheduler takes some milliseconds for a task, whatever that does. In one process with
        # the driver blocks are announced before they are handed out.
        elsewhere = any(not lives_here(address) for address in client.nthreads())
        self.task_seconds = _TASK if elsewhere else 0.0
        self._executor: Executor = client.get_executor(
            pure=False, **({"resources": self._resources} if self._resources else {})
        )

    def submit(self, worker: str, task: Task) -> Future[Stretch]:
        if worker == ANYBODY:
            return self._executor.submit(run_registered, *task)
        name = f"{run_registered.__name__}-{uuid4().hex}"
        # Where that is gone, or others have nothing to do, they may have its tasks.
        preferring: Any = {"key": name, "workers": [worker], "allow_other_workers": True}
        # An executor of distributed gives what is named to `Client.submit`.
        future = self._executor.submit(run_registered, *task, **preferring)
        self._preferences.add(future, worker, name)
        return future

    def stranded(self) -> Mapping[Future[Stretch], bool]:
        there = self._looked_up()
        if self._looked_for_stranded == self._counted or not len(self._preferences):
            return {}
        self._looked_for_stranded = self._counted
        at_work = {task for tasks in self._client.processing().values() for task in tasks}
        return self._preferences.stranded(there, at_work, self._is_pending)

    def _is_pending(self, task: str) -> bool:
        client: Any = self._client
        # The client knows from the scheduler what has ended, before it has the result.
        return DaskFuture(task, client).status not in ("finished", "error")

    def shutdown(self) -> None:
        self._executor.shutdown(wait=False)

    def slots(self) -> Mapping[str, int]:
        """Two tasks per thread, or per share of the resources.

        More would wait in the scheduler: of many handed out at once, a worker that dies takes all
        down that wait for it.
        """
        there = {worker: TASKS_PER_THREAD * n for worker, n in self._looked_up().items() if n}
        if self._resources:
            # With distributed 2026.8 a task that prefers a worker may also run where its resources
            # are not.
            return {ANYBODY: max(sum(there.values()), 1)}
        return there or {ANYBODY: 1}

    def is_death(self, error: BaseException) -> bool:
        return isinstance(error, KilledWorker)

    def replaces(self, error: TimedOutError) -> bool:
        if lives_here(error.worker):
            self._n_hanging += 1
            return False
        # Its thread cannot be ended alone; a nanny starts the process anew.
        with suppress(OSError):  # it is gone already
            self._client.run(_end_process, workers=[error.worker], wait=False, on_error="ignore")
        return True

    def is_gone(self) -> bool:
        return self._client.status in ("closed", "closing")

    def check(self) -> None:
        n_threads = sum(self._looked_up().values())
        if n_threads:
            self._alone_since = None
            check_hanging(self._n_hanging, n_threads)
            return
        now = time.monotonic()
        if self._alone_since is None:
            self._alone_since = now
            _log.warning("No worker is left; waiting %g s for one.", self._patience)
        if now - self._alone_since > self._patience:
            raise NoWorkersError(f"No worker was left, and none came within {self._patience:g} s.")

    def _looked_up(self) -> Mapping[str, int]:
        """Tasks that can run at a time, by worker; asked of the scheduler once a second."""
        now = time.monotonic()
        if now - self._counted > _COUNT_EVERY:
            # Each count is a question to the scheduler; asked at every refill it would be the
            # bottleneck.
            self._counted, self._threads = now, _slots_of(self._client, self._resources)
        return self._threads


@contextmanager
def seceded() -> Iterator[None]:
    """Give the thread of the task that this is back to its worker, for a `with` block."""
    is_ours = True
    try:
        secede()
    except KeyError:  # it has been given back before: inside worker_client(), or by the task itself
        is_ours = False
    try:
        yield
    finally:
        if is_ours:
            rejoin()


async def _end_process() -> None:
    """Runs in a worker, which answers before it; its other tasks run elsewhere then."""
    os._exit(1)


def check_resources(client: Client, resources: Mapping[str, float]) -> None:
    """Refuse resources that no worker offers.

    Raises
    ------
    ValueError
        If none does.
    """
    if not count_slots(client, resources):
        wanted = ",".join(f"{name}={amount:g}" for name, amount in resources.items())
        raise ValueError(
            f"No worker offers the resources {wanted}; start workers with them, for example dask "
            f"worker ADDRESS --resources '{wanted}'."
        )


def count_slots(client: Client, resources: Mapping[str, float]) -> int:
    """Tasks that can run at a time, each of which takes so much of a worker's resources."""
    return sum(_slots_of(client, resources).values())


def _slots_of(client: Client, resources: Mapping[str, float]) -> Mapping[str, int]:
    """The same by the addresses of workers."""
    if not resources:
        return client.nthreads()
    workers = client.scheduler_info(n_workers=-1)["workers"]
    return {address: _fitting(worker, resources) for address, worker in workers.items()}


def _fitting(worker: Mapping[str, Any], resources: Mapping[str, float]) -> int:
    # Like the scheduler itself: a task needs a thread and its share of every resource.
    offered = worker.get("resources", {})
    shares = [int(offered.get(name, 0) // needed) for name, needed in resources.items()]
    return min([int(worker["nthreads"]), *shares])


@contextmanager
def connected(address: str) -> Iterator[Client]:
    """A client of the scheduler at an address, for the time of a `with` block.

    Raises
    ------
    ValueError
        If none answers.
    """
    try:
        # Asked first: a client waits for ever where something else listens.
        kind = asyncio.run(_kind_of_server(address))
    except Exception as error:  # noqa: BLE001 (whatever else listens there may send anything)
        why = f"{type(error).__name__}: {said_by(error)}".removesuffix(": ")
        raise ValueError(
            f"No dask scheduler answers at {without_secrets(address)!r} ({why}); "
            "needed is the address that it prints when it starts, such as tcp://10.0.0.1:8786."
        ) from cause_of(error)
    if kind != "Scheduler":
        raise ValueError(
            f"At {without_secrets(address)} answers a {kind} of dask; needed is the scheduler's "
            "address."
        )
    with DaskClient(address, timeout="10s", set_as_default=False) as client:
        yield client


async def _kind_of_server(address: str) -> str:
    arguments = Security().get_connection_args("client")
    async with rpc(address, connection_args=arguments, timeout=_ANSWER) as server:
        identity = await asyncio.wait_for(server.identity(), _ANSWER)
        return str(identity["type"])


@contextmanager
def local_workers(n_workers: int, threads: int | None) -> Iterator[Client]:
    """A client of worker processes on this machine, for the time of a `with` block.

    `threads` are of each; by default the processors are shared out.
    """
    with (
        # distributed makes its workers' allocator return memory to the system at once, and a
        # network on a CPU takes a quarter longer: it touches fresh pages in every layer. And 15 s
        # after a worker died it looks once whether it is back, and gives it up for ever if it is
        # not: if the machine was slow to start it, or it died again.
        dask.config.set({_TRIM: None, _LOST_AFTER: "1000 days"}),
        LocalCluster(
            n_workers=n_workers, threads_per_worker=threads, processes=True, dashboard_address=":0"
        ) as cluster,
        DaskClient(cluster, set_as_default=False) as client,
    ):
        client.register_plugin(DeafToSignals())
        yield client


class DeafToSignals(WorkerPlugin):
    """Workers go on when the terminal or the batch system signals the whole group of processes.

    The driver decides what to do then, and closes them in the end.
    """

    name = "daskpatch-deaf-to-signals"
    idempotent = True

    def setup(self, worker: object) -> None:  # noqa: ARG002 (the interface)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)


@contextmanager
def registered_with(client: Client, key: str, job: Job, patience: float) -> Iterator[None]:
    """Make a job known in every worker process, also in those that come, for a `with` block.

    The scheduler tells workers that it believes in; where one just died, it says so. Whoever is
    left was told, or will be.
    """
    give_up = time.monotonic() + patience
    while True:
        try:
            client.register_plugin(JobPlugin(key, job))
            break
        except OSError as error:  # dask's CommClosedError among them
            if client.status in ("closed", "closing") or time.monotonic() > give_up:
                raise
            _log.info("A worker died while it was told of the run (%s); telling all again.", error)
            time.sleep(_COUNT_EVERY)
    try:
        yield
    finally:
        try:
            client.unregister_worker_plugin(key)
        except OSError as error:
            _log.info("A worker died while the run took its leave: %s", error)


class JobPlugin(WorkerPlugin):
    """Registers a job on every worker, also on those that join later or restart."""

    # Registered anew where a worker died meanwhile: then the scheduler tells all of them again.
    idempotent = False

    def __init__(self, key: str, job: Job) -> None:
        self.name = key
        self.job = job

    def setup(self, worker: object) -> None:  # noqa: ARG002 (the interface)
        register(self.name, self.job)

    def teardown(self, worker: object) -> None:  # noqa: ARG002 (the interface)
        forget(self.name)
