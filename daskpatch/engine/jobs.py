"""Jobs by name: a task carries a key and a number, whatever its job weighs."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, Protocol, runtime_checkable

import cloudpickle  # dask's and distributed's own way to send things

from ..support import all_said_by
from .tasks import worker_address

Job = Callable[[int], Any]


@runtime_checkable
class Abandonable(Protocol):
    """A job that can be told that its run is over, while some of its tasks still are not."""

    def abandon(self) -> None:
        """Let no task that still runs leave anything behind."""


@runtime_checkable
class Settling(Protocol):
    """A job that has something to see to before what it did counts as done."""

    def settle(self) -> None:
        """Do so for all blocks since the last time; they fail where it raises."""


class Outlook(NamedTuple):
    """What comes after the blocks of a task on the worker that it is meant for.

    Attributes
    ----------
    worker
        Its address.
    n_at_once
        Tasks that it works on at a time.
    last
        The last block that it will come to, unless others take some of them.
    coming
        The next ones that are to be done, in their order.
    """

    worker: str
    n_at_once: int
    last: int
    coming: tuple[int, ...]


class Task(NamedTuple):
    """What `run_registered` is given."""

    key: str
    stretch: tuple[int, ...]
    seconds: float
    outlook: Outlook | None


@runtime_checkable
class Foreseeing(Protocol):
    """A job that can make use of what comes after."""

    def foresee(self, stretch: Sequence[int], outlook: Outlook | None) -> None:
        """Told in the process that computes, before a task's blocks; none for those of others."""


def why_not_sent(value: object) -> str | None:
    """Why a value cannot be sent to workers, or None if it can."""
    try:
        cloudpickle.dumps(value)
    except Exception as error:  # noqa: BLE001 (pickling runs code of any class)
        return f"{type(error).__name__}: {all_said_by(error)}"
    return None


_jobs: dict[str, Job] = {}
_begun: dict[str, dict[int, float]] = {}
_holders: Counter[str] = Counter()
_lock = threading.Lock()


def register(key: str, job: Job) -> None:
    """Make a job known in this process.

    The first one under a key stays, until everybody who registered it (the driver, the workers
    that live in this process) forgets it.
    """
    with _lock:
        _holders[key] += 1
        # The first stays: in one process the driver's own job has the flags that its threads see; a
        # copy that came through pickle has its own.
        _jobs.setdefault(key, job)


def forget(key: str) -> None:
    """Take back one registration; with the last one, the job is abandoned."""
    with _lock:
        _holders[key] -= 1
        if _holders[key] > 0:
            return
        del _holders[key]
        job = _jobs.pop(key, None)
        _begun.pop(key, None)
    if isinstance(job, Abandonable):
        job.abandon()


class Stretch(NamedTuple):
    """What a task did of its blocks: the first of them, up to one that failed, where one did."""

    results: list[Any]
    seconds: float
    is_cut_by_failure: bool


def run_registered(
    key: str, indices: Sequence[int], seconds: float, outlook: Outlook | None = None
) -> Stretch:
    """A task: blocks of a registered job, one after another, no further one after some seconds.

    It ends before a block that fails, unless that is its first one: only one error can be told.
    """
    job, begin = _jobs[key], time.perf_counter()
    results: list[Any] = []
    has_failed = False
    try:
        if isinstance(job, Foreseeing):
            job.foresee(indices, outlook if _is_for_us(outlook) else None)
        for index in indices:
            if results and time.perf_counter() - begin > seconds:
                break
            try:
                results.append(_run_one(key, job, index))
            except Exception:
                if not results:
                    raise
                has_failed = True
                break
        if isinstance(job, Settling):
            job.settle()
    except Exception as error:
        if _is_tellable(error):
            raise
        raise _tellable(error) from None
    return Stretch(results, time.perf_counter() - begin, has_failed)


def _is_for_us(outlook: Outlook | None) -> bool:
    """Whether a task runs where it was meant to: whoever has nothing to do takes others' tasks."""
    return outlook is not None and outlook.worker == worker_address()


def _run_one(key: str, job: Job, index: int) -> Any:
    in_work = _begun.setdefault(key, {})
    in_work[index] = time.time()
    try:
        return job(index)
    finally:
        del in_work[index]


def _is_tellable(value: object) -> bool:
    """Whether a scheduler can pass it on: for one that it cannot, a client waits without end."""
    try:
        return bool(repr(value)) and bool(cloudpickle.dumps(value))
    except Exception:  # noqa: BLE001 (code of any class)
        return False


def _tellable(error: Exception) -> Exception:
    """An error like another, without what it holds that cannot be told."""
    held = [each if _is_tellable(each) else None for each in error.args]
    with suppress(Exception):
        like = type(error)(*held)
        if _is_tellable(like):
            return like
    return RuntimeError(f"{type(error).__name__}, which cannot be told ({held})")


def begun(key: str) -> dict[int, float]:
    """The tasks that this process works on, and since when (seconds since the epoch)."""
    return dict(_begun.get(key, {}))
