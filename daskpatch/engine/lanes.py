"""Blocks shared out among workers: each goes along a lane of neighbours, whose chunks it keeps."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple, Protocol, runtime_checkable

from .jobs import Outlook
from .stretches import StretchLength
from .workers import ANYBODY, TASKS_PER_THREAD

_AT_ONCE = 256
"""Places that are looked at together: most of them may be done."""


@runtime_checkable
class Visits(Protocol):
    """Blocks in an order of visits, of which any part can be asked for.

    Attributes
    ----------
    n_places
        How many there are in that order, those among them that are done.
    n_foreseen
        Of how many blocks after its own a task is told.
    """

    @property
    def n_places(self) -> int: ...

    @property
    def n_foreseen(self) -> int: ...

    def at(self, places: range) -> Sequence[int]:
        """The blocks at some places that are to be done."""

    def block_at(self, place: int) -> int:
        """The block at a place, done or not."""


@dataclass
class Lane:
    """Places in the order of visits, taken from the front; the later half may be split off."""

    blocks: Visits
    places: range
    ahead: deque[int] = field(default_factory=deque)

    @property
    def n_left(self) -> int:
        """Blocks that are left, at most."""
        return len(self.ahead) + len(self.places)

    def take(self, count: int) -> tuple[int, ...]:
        """The next ones; none where nothing is left."""
        self._look(count)
        return tuple(self.ahead.popleft() for _ in range(min(count, len(self.ahead))))

    def outlook(self, worker: str, n_slots: int, stretch: Sequence[int]) -> Outlook | None:
        """What comes after blocks that were just taken; None where anybody may have taken them."""
        if worker == ANYBODY:
            return None
        count = self.blocks.n_foreseen
        self._look(count)
        if self.places:
            last = self.blocks.block_at(self.places[-1])
        else:
            last = self.ahead[-1] if self.ahead else stretch[-1]
        return Outlook(
            worker, max(n_slots // TASKS_PER_THREAD, 1), last, tuple(islice(self.ahead, count))
        )

    def split(self) -> Lane:
        """The later half, which is another lane from now on."""
        middle = self.n_left - self.n_left // 2
        if middle >= len(self.ahead):
            kept = middle - len(self.ahead)
            later = Lane(self.blocks, self.places[kept:])
            self.places = self.places[:kept]
            return later
        ahead = list(self.ahead)
        later = Lane(self.blocks, self.places, deque(ahead[middle:]))
        self.ahead, self.places = deque(ahead[:middle]), range(0)
        return later

    def _look(self, count: int) -> None:
        while len(self.ahead) < count and self.places:
            coming, self.places = self.places[:_AT_ONCE], self.places[_AT_ONCE:]
            self.ahead.extend(self.blocks.at(coming))


class Portion(NamedTuple):
    """Blocks for one task, with what comes after them, and the lane that they are of, if any."""

    stretch: tuple[int, ...]
    outlook: Outlook | None = None
    lane: Lane | None = None


class Lanes:
    """One lane for each worker; whoever comes, or is done, takes half of the longest.

    Examples
    --------
    >>> class All:
    ...     n_places, n_foreseen = 8, 1
    ...     def at(self, places):
    ...         return list(places)
    ...     def block_at(self, place):
    ...         return place
    >>> lanes, length, slots = Lanes(All()), StretchLength(2.0), {"a": 1, "b": 1}
    >>> [lanes.take(length, worker, slots)[0] for worker in "abbbbb"]
    [(0,), (4,), (5,), (6,), (7,), (3,)]
    >>> lanes.take(length, "a", slots).outlook
    Outlook(worker='a', n_at_once=1, last=2, coming=(2,))
    """

    def __init__(self, blocks: Visits) -> None:
        self._blocks = blocks
        self._whole: Lane | None = Lane(blocks, range(blocks.n_places))
        self._free: list[Lane] = []
        self._of: dict[str, Lane] = {}
        self._again: deque[int] = deque()

    def take(self, length: StretchLength, worker: str, slots: Mapping[str, int]) -> Portion:
        """The next ones for a worker, of those that have so many slots each; none if there are."""
        self._share_out(slots)
        while (lane := self._lane_of(worker)) is not None:
            taken = lane.take(length.of(lane.n_left, slots[worker]))
            if taken:
                return Portion(taken, lane.outlook(worker, slots[worker], taken), lane)
        return Portion((self._again.popleft(),) if self._again else ())

    def put_back(self, indices: Iterable[int], lane: Lane | None = None) -> None:
        """Those that were taken, and have not begun, come next, if somebody is on their lane."""
        left = deque(indices)
        if lane is not None and any(lane is each for each in self._of.values()):
            lane.ahead.extendleft(reversed(left))
        elif left:
            self._free.append(Lane(self._blocks, range(0), left))

    def put_again(self, index: int) -> None:
        """One that failed comes after all others."""
        self._again.append(index)

    def _share_out(self, slots: Mapping[str, int]) -> None:
        gone = [worker for worker in self._of if worker not in slots]
        self._free += [lane for worker in gone if (lane := self._of.pop(worker)).n_left]
        if self._whole is None:
            return
        places = self._whole.places
        self._whole = None
        edges = [len(places) * i // len(slots) for i in range(len(slots) + 1)]
        for worker, start, stop in zip(slots, edges, edges[1:], strict=False):
            self._of[worker] = Lane(self._blocks, places[start:stop])

    def _lane_of(self, worker: str) -> Lane | None:
        """A lane with blocks that are left, its own if possible."""
        own = self._of.get(worker)
        if own is not None and own.n_left:
            return own
        found = self._free.pop() if self._free else self._half_of_longest()
        if found is None:
            return None
        self._of[worker] = found
        return found

    def _half_of_longest(self) -> Lane | None:
        longest = max(self._of.values(), key=lambda lane: lane.n_left, default=None)
        # The last one is left to whoever has it.
        return None if longest is None or longest.n_left < 2 else longest.split()
