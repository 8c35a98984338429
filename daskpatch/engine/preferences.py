"""Tasks that prefer a worker, and what becomes of them when that one goes."""

from __future__ import annotations

from collections.abc import Callable, Collection
from concurrent.futures import Future
from typing import Any, NamedTuple


class _Preference(NamedTuple):
    worker: str
    task: str


class Preferences:
    """Which worker each task prefers, until it has ended.

    With distributed 2026.8 a task that prefers a worker, and may run elsewhere
    (`allow_other_workers`), waits for ever if nobody was there when its worker went: whoever comes
    later is not given it. It is stranded.

    Examples
    --------
    >>> preferences, future = Preferences(), Future()
    >>> preferences.add(future, "tcp://10.0.0.1:4000", "task-1")
    >>> for _ in range(3):  # looked at again, in case that it ends meanwhile
    ...     print(len(preferences.stranded({"tcp://10.0.0.2:4000"}, at_work=set)))
    0
    1
    0
    """

    def __init__(self) -> None:
        self._of: dict[Future[Any], _Preference] = {}
        self._is_nowhere: set[Future[Any]] = set()

    def add(self, future: Future[Any], worker: str, task: str) -> None:
        """Note that a task, by its name at the scheduler, prefers a worker."""
        self._of[future] = _Preference(worker, task)

    def stranded(
        self, workers: Collection[str], at_work: Callable[[], Collection[str]]
    ) -> list[Future[Any]]:
        """The tasks that no worker has, twice in a row; they are forgotten.

        Parameters
        ----------
        workers
            Those that are there.
        at_work
            Gives the tasks that workers have; called only if a worker is gone.
        """
        self._of = {future: each for future, each in self._of.items() if not future.done()}
        lonely = {future for future, each in self._of.items() if each.worker not in workers}
        there = at_work() if lonely else ()
        is_nowhere = {future for future in lonely if self._of[future].task not in there}
        found, self._is_nowhere = is_nowhere & self._is_nowhere, is_nowhere - self._is_nowhere
        for future in found:
            del self._of[future]
        return list(found)
