"""Threads of this process as those who compute."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from typing import ClassVar

from ..support import DaemonThreads, counted
from .deadline import TimedOutError
from .jobs import Stretch, Task, run_registered
from .workers import ANYBODY, TASKS_PER_THREAD, NoWorkersError


class Threads:
    """Threads of this process; each that hangs is replaced, as often as there are threads."""

    takes_back: ClassVar[bool] = True
    task_seconds = 0.0

    def __init__(self, count: int) -> None:
        self._count, self._n_hanging = count, 0
        # Never joined by us: a thread that hangs in a model must not hang the driver.
        self._executor = DaemonThreads(count, "daskpatch")

    def submit(self, worker: str, task: Task) -> Future[Stretch]:  # noqa: ARG002 (the interface)
        return self._executor.submit(run_registered, *task)

    def stranded(self) -> Mapping[Future[Stretch], bool]:
        return {}

    def shutdown(self) -> None:
        self._executor.shutdown(wait=False)

    def slots(self) -> Mapping[str, int]:
        return {ANYBODY: TASKS_PER_THREAD * self._count}

    def is_death(self, error: BaseException) -> bool:  # noqa: ARG002 (the interface)
        return False

    def replaces(self, error: TimedOutError) -> bool:  # noqa: ARG002 (the interface)
        self._n_hanging += 1
        return False

    def is_gone(self) -> bool:
        return False

    def check(self) -> None:
        check_hanging(self._n_hanging, self._count)


def check_hanging(n_hanging: int, n_threads: int) -> None:
    """Refuse to go on with more threads of this process that hang: they hold memory.

    Raises
    ------
    NoWorkersError
        If more hang than there are to compute.
    """
    if n_hanging > n_threads:
        raise NoWorkersError(
            f"{counted(n_hanging, 'block')} took longer than their timeout, and their threads "
            f"hang; no more than {counted(n_threads, 'thread')} of this process can be replaced"
        )
