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
    (`allow_other_workers`), waits for ever if nobody was there to take it when its worker went or
    was paused: whoever comes later is not given it. It is stranded.

    Examples
    --------
    >>> preferences, future = Preferences(), Future()
    >>> preferences.add(future, "tcp://10.0.0.1:4000", "task-1")
    >>> for _ in range(3):  # looked at again, in case that it ends meanwhile
    ...     found = preferences.stranded(["tcp://10.0.0.2:4000"], (), lambda task: True)
    ...     print([*found.values()])
    []
    [True]
    []
    """

    def __init__(self) -> None:
        self._of: dict[Future[Any], _Preference] = {}
        self._is_nowhere: set[Future[Any]] = set()

    def __len__(self) -> int:
        return len(self._of)

    def add(self, future: Future[Any], worker: str, task: str) -> None:
        """Note that a task, by its name at the scheduler, prefers a worker."""
        self._of[future] = _Preference(worker, task)

    def stranded(
        self,
        workers: Collection[str],
        at_work: Collection[str],
        is_pending: Callable[[str], bool],
    ) -> dict[Future[Any], bool]:
        """The tasks that no worker has, twice in a row, and whether theirs is gone.

        They are forgotten.

        Parameters
        ----------
        workers
            Those that are there.
        at_work
            The tasks that workers have.
        is_pending
            Whether a task has not ended, though its result may not have come.
        """
        self._of = {future: each for future, each in self._of.items() if not future.done()}
        is_nowhere = {
            future
            for future, each in self._of.items()
            if each.task not in at_work and is_pending(each.task)
        }
        found, self._is_nowhere = is_nowhere & self._is_nowhere, is_nowhere - self._is_nowhere
        return {future: self._of.pop(future).worker not in workers for future in found}
