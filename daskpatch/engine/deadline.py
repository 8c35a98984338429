"""Calls that may take so long and no longer."""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import wait
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from types import FrameType
from typing import Any, TypeVar

from ..support import DaemonThreads
from .jobs import Abandonable, Foreseeing, Job, Outlook, Settling
from .tasks import worker_address

T = TypeVar("T")


class TimedOutError(RuntimeError):
    """A call took longer than it may; its thread was written off. A note has its stack.

    Attributes
    ----------
    worker
        The address of the worker in which it hangs; empty in a thread of the driver's own.
    """

    worker: str = ""


class _WrittenOff:
    """Whether nobody waits for a call any more."""

    is_set = False


_current: ContextVar[_WrittenOff | None] = ContextVar("daskpatch_written_off", default=None)


class _Partner:
    """A thread that computes for another one; it ends with it, or with its last call."""

    def __init__(self) -> None:
        self.executor = DaemonThreads(1, f"{threading.current_thread().name}-timed")

    def __del__(self) -> None:
        self.executor.shutdown(wait=False)


# Used again as long as its calls end: a new thread for each would start torch's own anew, too.
_of_thread = threading.local()


def is_written_off() -> bool:
    """Whether nobody waits for what this thread computes."""
    current = _current.get()
    return current is not None and current.is_set


def end_if_written_off() -> None:
    """End a call that nobody waits for any more, between two steps of it.

    Raises
    ------
    TimedOutError
        If that is so; nobody sees it.
    """
    if is_written_off():
        raise TimedOutError("Nobody waits for this any more.")


@dataclass(frozen=True)
class Timed:
    """A job whose calls may take so many seconds each."""

    job: Job
    seconds: float

    def __call__(self, index: int) -> Any:
        """The job's result.

        Raises
        ------
        TimedOutError
            If there is none in time. A call that holds the interpreter's lock is not seen.
        """
        return within(self.seconds, lambda: self._settled(index))

    def _settled(self, index: int) -> Any:
        result = self.job(index)
        if isinstance(self.job, Settling):
            self.job.settle()
        return result

    def foresee(self, stretch: Sequence[int], outlook: Outlook | None) -> None:
        """See `jobs.Foreseeing`."""
        if isinstance(self.job, Foreseeing):
            self.job.foresee(stretch, outlook)

    def abandon(self) -> None:
        """See `jobs.Abandonable`."""
        if isinstance(self.job, Abandonable):
            self.job.abandon()


def within(seconds: float, call: Callable[[], T]) -> T:
    """The result of a call, made in a thread that is written off if it takes too long.

    >>> within(60.0, lambda: 7)
    7

    Raises
    ------
    TimedOutError
        If it takes longer.
    """
    written_off = _WrittenOff()
    thread: list[int] = []

    def begin() -> T:
        thread.append(threading.get_ident())
        _current.set(written_off)
        return call()

    partner = getattr(_of_thread, "partner", None)
    if partner is None:
        partner = _of_thread.partner = _Partner()
    future = partner.executor.submit(copy_context().run, begin)
    # Not the future's own timeout: what the call raises may be a TimeoutError, too.
    if wait([future], min(seconds, threading.TIMEOUT_MAX)).done:
        return future.result()
    written_off.is_set = True
    partner.executor.shutdown(wait=False)  # it ends with this call, if ever
    _of_thread.partner = None
    raise _timed_out(seconds, sys._current_frames().get(thread[0]) if thread else None)


def once_within(seconds: float, call: Callable[[], T]) -> T:
    """`within`, for a thread that makes no further such calls: nothing is kept for them.

    Raises
    ------
    TimedOutError
        If the call takes longer.
    """
    try:
        return within(seconds, call)
    finally:
        partner, _of_thread.partner = getattr(_of_thread, "partner", None), None
        if partner is not None:
            partner.executor.shutdown()


def _timed_out(seconds: float, frame: FrameType | None) -> TimedOutError:
    stack = traceback.extract_stack(frame) if frame is not None else traceback.StackSummary()
    where = f", in {stack[-1].name} ({stack[-1].filename}:{stack[-1].lineno})" if stack else ""
    error = TimedOutError(f"It took longer than timeout={seconds:g} s{where}")
    error.worker = worker_address()
    error.add_note("It hangs here:\n" + "".join(stack.format()))
    return error
