"""Blocks that wait for their turn, and how many of them go together."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from itertools import islice

from .lanes import Lane, Portion
from .stretches import StretchLength


class Coming:
    """New blocks first, then those that failed, each by itself: they have time to recover.

    Whoever is free takes what comes next.

    Examples
    --------
    >>> coming, length = Coming(range(5)), StretchLength(2.0)
    >>> length.add(1, seconds=1.0)
    >>> coming.put_again(9)
    >>> [coming.take(length, "a", {"a": 1, "b": 1})[0] for _ in range(5)]
    [(0, 1), (2,), (3,), (4,), (9,)]
    """

    def __init__(self, indices: Iterable[int]) -> None:
        self._new = iter(indices)
        self._ahead: deque[int] = deque()
        self._again: deque[int] = deque()

    def take(
        self,
        length: StretchLength,
        worker: str,  # noqa: ARG002 (as `Lanes.take`)
        slots: Mapping[str, int],
    ) -> Portion:
        """The next ones for a worker, of those that have so many slots each; none if there are."""
        n_tasks = sum(slots.values())
        # No more is asked for than is needed to share out what is left.
        wanted = length.most * n_tasks if length.most > 1 else 1
        self._ahead.extend(islice(self._new, max(wanted - len(self._ahead), 0)))
        if not self._ahead:
            return Portion((self._again.popleft(),) if self._again else ())
        count = min(length.of(len(self._ahead), n_tasks), len(self._ahead))
        return Portion(tuple(self._ahead.popleft() for _ in range(count)))

    def put_back(
        self,
        indices: Iterable[int],
        lane: Lane | None = None,  # noqa: ARG002 (as `Lanes.put_back`)
    ) -> None:
        """Those that were taken, and have not begun, come next."""
        self._ahead.extendleft(reversed(tuple(indices)))

    def put_again(self, index: int) -> None:
        """One that failed comes after all others."""
        self._again.append(index)
