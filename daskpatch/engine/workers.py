"""Who computes blocks: threads of this process, or the workers of a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, Protocol

TASKS_PER_THREAD = 2
"""One that runs and one that waits, so that no thread is ever idle."""


class Client(Protocol):
    """What is used of a `dask.distributed.Client`; distributed is not imported for it."""

    @property
    def status(self) -> str: ...
    @property
    def dashboard_link(self) -> str: ...
    def nthreads(self) -> Mapping[str, int]: ...
    def scheduler_info(self, n_workers: int = ...) -> Mapping[str, Any]: ...
    def get_executor(self, **options: object) -> Executor: ...
    def register_plugin(self, plugin: Any) -> Any: ...
    def unregister_worker_plugin(self, name: str) -> Any: ...


class Workers(Protocol):
    """What the rolling window needs to know of those who compute."""

    @property
    def executor(self) -> Executor: ...

    def window(self) -> int:
        """How many tasks to hand out at a time."""

    def is_death(self, error: BaseException) -> bool:
        """Whether an error says that the worker died, not that the task failed."""

    def is_gone(self) -> bool:
        """Whether nobody will ever answer again."""

    def check(self) -> None:
        """Called every second or so.

        Raises
        ------
        NoWorkersError
            If nobody was there for too long.
        """


class NoWorkersError(RuntimeError):
    """All workers are gone, and none came back in time."""


class Threads:
    """Threads of this process."""

    def __init__(self, count: int) -> None:
        self._count = count
        # Never joined by us: a thread that hangs in a model must not hang the driver.
        self._executor = ThreadPoolExecutor(count, thread_name_prefix="daskpatch")

    @property
    def executor(self) -> Executor:
        return self._executor

    def window(self) -> int:
        return TASKS_PER_THREAD * self._count

    def is_death(self, error: BaseException) -> bool:  # noqa: ARG002 (the interface)
        return False

    def is_gone(self) -> bool:
        return False

    def check(self) -> None:
        pass
