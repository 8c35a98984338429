"""Who computes blocks: threads of this process, or the workers of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor, Future
from typing import Any, ClassVar, Protocol

from .deadline import TimedOutError
from .jobs import Stretch, Task

TASKS_PER_THREAD = 2
"""One that runs and one that waits, so that no thread is ever idle."""


class Client(Protocol):
    """What is used of a `dask.distributed.Client`; distributed is not imported for it."""

    @property
    def status(self) -> str: ...
    @property
    def dashboard_link(self) -> str: ...
    def nthreads(self) -> Mapping[str, int]: ...
    def processing(self) -> Mapping[str, Iterable[str]]: ...
    def scheduler_info(self, n_workers: int = ...) -> Mapping[str, Any]: ...
    def get_executor(self, **options: object) -> Executor: ...
    def register_plugin(self, plugin: Any) -> Any: ...
    def unregister_worker_plugin(self, name: str) -> Any: ...
    def compute(self, collections: Any, *, sync: bool = ...) -> Any: ...
    def run(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any: ...


ANYBODY = ""
"""The name of a worker where it makes no difference which."""


def lives_here(address: str) -> bool:
    """Whether a worker is threads of this process."""
    return not address or address.startswith("inproc://")


class Workers(Protocol):
    """What the rolling window needs to know of those who compute."""

    def submit(self, worker: str, task: Task) -> Future[Stretch]:
        """Hand blocks to a worker, or to another one if it is gone: see `run_registered`."""

    def stranded(self) -> Mapping[Future[Stretch], bool]:
        """Tasks that nobody was given, and whether their worker is gone; to be handed out again."""

    def shutdown(self) -> None:
        """Hand out no more."""

    takes_back: ClassVar[bool]
    """Whether a task that is cancelled has not begun, for certain."""

    @property
    def task_seconds(self) -> float:
        """How long a task is to take at least, where blocks take less; 0 where it has one."""

    def slots(self) -> Mapping[str, int]:
        """How many tasks to hand out at a time, by who is to have them; one at least."""

    def is_death(self, error: BaseException) -> bool:
        """Whether an error says that the worker died, not that the task failed."""

    def replaces(self, error: TimedOutError) -> bool:
        """Replace whoever hangs; whether the task may be tried again, as nobody works on it now."""

    def is_gone(self) -> bool:
        """Whether nobody will ever answer again."""

    def check(self) -> None:
        """Called every second or so.

        Raises
        ------
        NoWorkersError
            If nobody was there for too long, or too many hang.
        """


class WorkerDiedError(RuntimeError):
    """A worker process ended while it computed one block, and nothing else."""


class NoWorkersError(RuntimeError):
    """All workers are gone, and none came back in time."""
