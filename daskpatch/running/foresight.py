"""What a worker's process expects of the blocks that will come there."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from queue import SimpleQueue
from typing import NamedTuple

from ..engine import Outlook
from .abilities import Provident
from .left import Left

_MOST_OTHERS = 16
"""Tasks meant for others, whose blocks are told apart from those that are not expected."""

Turn = tuple[int, ...]


class _Lane(NamedTuple):
    first: Turn
    last: Turn


class Foresight:
    """Has a job expect the blocks of its worker's lane: from each task it hears how that goes on.

    What it expects only decides which chunks are kept, and fetched early. Travels unset.

    """

    def __init__(self, job: Provident, left: Left) -> None:
        self._job, self._left = job, left
        self._lock = threading.Lock()
        self._lane: _Lane | None = None
        # Whoever has nothing to do is given tasks that were meant for others.
        self._others: deque[_Lane] = deque(maxlen=_MOST_OTHERS)
        # Of the tasks that may be in work; what lies before them is done, or was taken by others.
        self._firsts: deque[Turn] = deque()
        self._next: int | None = None
        self._foreseen: Turn = ()
        self._coming: SimpleQueue[int | None] = SimpleQueue()
        self._has_begun = self._is_over = False
        self._around = ExitStack()

    def __reduce__(self) -> tuple[type[Foresight], tuple[Provident, Left]]:
        return Foresight, (self._job, self._left)

    def foresee(self, stretch: Sequence[int], outlook: Outlook | None) -> None:
        """Blocks begin; `outlook` tells what comes after them, if they are of the own lane."""
        with self._lock:
            if self._is_over:
                return
            if outlook is None:
                turn = self._left.selection.turn
                self._others.append(_Lane(turn(stretch[0]), turn(stretch[-1])))
                has_changed = False  # what was fetched is needed as before
            else:
                has_changed = self._follow(stretch, outlook)
            if not self._has_begun:
                self._has_begun = True
                self._around.enter_context(self._job.expecting(self._is_left, self._announced()))
            elif has_changed:
                self._job.expects_others()

    def end(self) -> None:
        """Expect nothing any more; what is under way ends behind."""
        self._is_over = True
        self._coming.put(None)
        # Whoever ends a run on a worker is its event loop, which must not wait.
        threading.Thread(target=self._close, daemon=True).start()

    def _close(self) -> None:
        with self._lock:
            self._around.close()

    def _follow(self, stretch: Sequence[int], outlook: Outlook) -> bool:
        """Go along the lane, or to another one; whether it goes on otherwise than was known."""
        turn, before = self._left.selection.turn, self._lane
        first, last = turn(stretch[0]), turn(outlook.last)
        if before is None or not before.first <= first <= before.last:
            self._firsts.clear()
            self._foreseen = first
        self._firsts.append(first)
        while len(self._firsts) > outlook.n_at_once:
            self._firsts.popleft()
        self._lane = _Lane(min(self._firsts), last)
        for index in (*stretch[1:], *outlook.coming) if self._job.n_ahead else ():
            if turn(index) > self._foreseen:
                self._foreseen = turn(index)
                self._coming.put(index)
        is_as_known = self._next in (None, stretch[0])
        self._next = outlook.coming[0] if outlook.coming else None
        return before is not None and not (is_as_known and before.last == last)

    def _is_left(self, index: int) -> bool:
        turn = self._left.selection.turn(index)
        lanes = (*self._others, *(() if self._lane is None else (self._lane,)))
        return any(lane.first <= turn <= lane.last for lane in lanes) and index in self._left

    def _announced(self) -> Iterator[int]:
        while (index := self._coming.get()) is not None:
            yield index
