"""Threads that do not keep the process alive."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_Call = tuple["Future[Any]", Callable[[], Any]]


class DaemonThreads(Executor):
    """An executor whose threads do not keep the process alive.

    That of the standard library joins its threads when the interpreter ends: a script that was
    interrupted waits for as long as a model hangs. As there, no more are started than are needed.

    >>> with DaemonThreads(2, "doubling") as threads:
    ...     list(threads.map(lambda n: 2 * n, range(3)))
    [0, 2, 4]
    """

    def __init__(self, count: int, name: str, begin: Callable[[], object] = lambda: None) -> None:
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._count, self._name, self._begin = count, name, begin
        self._threads: list[threading.Thread] = []
        self._idle, self._lock = threading.Semaphore(0), threading.Lock()

    def submit(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()
        self._calls.put((future, lambda: call(*args, **kwargs)))
        self._start_one()
        return future

    def _start_one(self) -> None:
        if self._idle.acquire(blocking=False):  # one waits, and takes the call
            return
        with self._lock:
            number = len(self._threads)
            if number == self._count:
                return
            name = f"{self._name}-{number}"
            self._threads.append(threading.Thread(target=self._work, name=name, daemon=True))
            self._threads[-1].start()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002 (the interface)
        """Let the threads end once nothing waits; what waits is cancelled by whoever submitted."""
        for _ in self._threads:
            self._calls.put(None)
        if wait:
            for thread in self._threads:
                thread.join()

    def _work(self) -> None:
        self._begin()
        while (waiting := self._calls.get()) is not None:
            future, call = waiting
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = call()
            except BaseException as error:  # noqa: BLE001 (whoever waits raises it)
                future.set_exception(error)
            else:
                future.set_result(result)
            # A thread that waits holds nothing: blocks are large.
            del future, call, waiting
            self._idle.release()
