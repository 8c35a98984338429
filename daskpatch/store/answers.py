"""How long a thread waits for a store's answers once its run is to end."""

from __future__ import annotations

import math
import time
from asyncio import AbstractEventLoop, run_coroutine_threadsafe
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from ..support import DaemonThreads

T = TypeVar("T")

_PULSE = 0.2
"""Seconds between two looks whether the run is to end."""


class UnansweredError(OSError):
    """A store that did not answer while a run was to end."""


class Answers:
    """What a run's thread asks of stores: waited for without end until the run is to end.

    From then on each call has some seconds. One that was left behind may still change something,
    later than whatever is asked afterwards: as long as it goes on, nothing is.

    Parameters
    ----------
    is_ending
        Whether the run is to end.
    patience
        Seconds that each call has then.

    Attributes
    ----------
    left_behind
        Calls that did not answer in time.
    """

    def __init__(self, is_ending: Callable[[], bool], patience: float) -> None:
        self._is_ending, self._patience = is_ending, patience
        self.left_behind: list[Future[Any]] = []

    def of(self, call: Coroutine[Any, Any, T], loop: AbstractEventLoop) -> T:
        """The answer to a call, which is begun here.

        Raises
        ------
        UnansweredError
            If there is none in time, or an earlier call goes on.
        """
        if not all(begun.done() for begun in self.left_behind):
            call.close()
            raise self._error()
        begun = run_coroutine_threadsafe(call, loop)
        try:
            self._wait_for(begun)
        except BaseException:
            self.left_behind.append(begun)
            raise
        return begun.result()

    def of_threads(self, look: Callable[[], T]) -> T:
        """What a look gives that asks stores in threads of its own, and changes nothing there.

        So it may go on, and what is asked afterwards is not kept from asking.

        Raises
        ------
        UnansweredError
            If it does not end in time.
        """
        pool = DaemonThreads(1, "daskpatch-look")
        begun = pool.submit(look)
        pool.shutdown(wait=False)
        self._wait_for(begun)
        return begun.result()

    def _wait_for(self, call: Future[Any]) -> None:
        until = math.inf
        while wait([call], _PULSE).not_done:
            if self._is_ending():
                until = min(until, time.monotonic() + self._patience)
            if time.monotonic() >= until:
                raise self._error()

    def _error(self) -> UnansweredError:
        return UnansweredError(f"the store has not answered for {self._patience:g} s")


_current: ContextVar[Answers | None] = ContextVar("daskpatch_answers", default=None)


@contextmanager
def answered_by(answers: Answers) -> Iterator[None]:
    """Have this thread wait for stores so."""
    token = _current.set(answers)
    try:
        yield
    finally:
        _current.reset(token)


def answer_to(call: Coroutine[Any, Any, T], loop: AbstractEventLoop) -> T:
    """The answer to a call, waited for as this thread is to."""
    answers = _current.get()
    if answers is None:
        return run_coroutine_threadsafe(call, loop).result()
    return answers.of(call, loop)
