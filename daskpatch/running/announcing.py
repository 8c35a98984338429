"""Blocks handed out, each announced before; those that may have ended a driver go alone."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice

from ..receipts import Announcements

_DEATHS = 2
"""Of drivers that computed one block alone, after which it is set aside."""

_MOST = 4096
"""Blocks announced ahead: what runs alone, at most, after a driver was killed."""


class Announcer:
    """The blocks of a pass, in two turns: side by side, then alone.

    Parameters
    ----------
    coming
        What is to be done.
    announcements
        Of this part.
    ahead
        Blocks to announce with each flush; twice as many whenever that was too few.
    on_poison
        Called with blocks that are set aside.
    resumes
        Whether an earlier driver may have left something.
    is_here
        Whether blocks are computed in this process: one that ends another names itself.
    forgives
        Whether blocks that were set aside are tried once more.
    """

    def __init__(
        self,
        coming: Iterator[int],
        announcements: Announcements,
        *,
        ahead: int,
        on_poison: Callable[[int], None],
        resumes: bool,
        is_here: bool,
        forgives: bool,
    ) -> None:
        self._announcements = announcements
        self._harmless = self._told_apart(coming)
        self._ahead, self._on_poison = ahead, on_poison
        self._is_here, self._forgives = is_here, forgives
        self._suspects: set[int] = set()
        self._deaths: dict[int, int] = {}
        if resumes:
            found = announcements.take_over()
            self._suspects, self._deaths = found.blocks, found.deaths
        self._next: deque[int] = deque()
        self._alone: deque[int] = deque()
        self._begun: set[int] = set()
        self._ended: list[int] = []
        self._followed: deque[int] | None = None
        self._is_followed_up = False
        self._announced = threading.Condition()

    def side_by_side(self) -> Iterator[int]:
        """Blocks that no driver is known to have died of."""
        self._announce_next()
        while self._next:
            index = self._next.popleft()
            self._begun.add(index)
            yield index
            if not self._next:
                # Receipts come in more slowly than blocks are done.
                self._ahead = min(2 * self._ahead, _MOST)
                self._announce_next()

    def of_workers(self, coming: Iterator[int]) -> Iterator[int]:
        """Those of some blocks that workers may compute: one that ends a worker names itself."""
        return self._told_apart(coming)

    def announced(self) -> Iterator[int]:
        """Blocks that may be begun side by side, once they are announced; for another thread.

        It waits for them, until `nothing_follows`: what is done for a block before it is announced
        may end the process, and nobody would know of which block.
        """
        with self._announced:
            self._followed = deque(self._next)
        while True:
            with self._announced:
                while not self._followed and not self._is_followed_up:
                    self._announced.wait()
                if self._is_followed_up:
                    return
                index = self._followed.popleft()
            yield index

    def nothing_follows(self) -> None:
        """Have whoever goes through what is announced come to an end."""
        with self._announced:
            self._is_followed_up = True
            self._announced.notify_all()

    def alone(self) -> Iterator[int]:
        """The others, once nothing else runs."""
        while self._alone:
            yield self._alone.popleft()

    def begin_alone(self, index: int) -> None:
        """Announce that nothing but this block runs from now on."""
        if self._is_here:
            self._announcements.write(self._open, self._deaths, index)

    def ended(self, index: int) -> None:
        """Tell that a block was done, or failed as others do."""
        self._ended.append(index)

    def stored(self) -> None:
        """Tell that receipts of all that ended are stored."""
        if not self._ended or not self._is_here:
            return
        self._settle()
        self._announce_next()

    def end(self) -> None:
        """Tell that nothing runs any more, and that this driver lives."""
        self._settle()
        self._begun.clear()
        self._next.clear()
        if self._is_here or self._deaths:
            self._announcements.write(self._suspects, self._deaths, None)

    @property
    def _open(self) -> set[int]:
        return self._begun | self._suspects | set(self._next)

    def _settle(self) -> None:
        self._begun.difference_update(self._ended)
        self._suspects.difference_update(self._ended)
        for index in self._ended:
            self._deaths.pop(index, None)
        self._ended.clear()

    def _announce_next(self) -> None:
        coming = list(islice(self._harmless, max(self._ahead - len(self._next), 0)))
        self._next.extend(coming)
        self._announcements.write(self._open, self._deaths, None)
        with self._announced:
            if self._followed is not None:
                self._followed.extend(coming)
                self._announced.notify_all()

    def _told_apart(self, coming: Iterator[int]) -> Iterator[int]:
        for index in coming:
            if self._deaths.get(index, 0) >= _DEATHS and not self._forgives:
                self._on_poison(index)
            elif index in self._suspects and self._is_here:
                self._alone.append(index)
            else:
                yield index
