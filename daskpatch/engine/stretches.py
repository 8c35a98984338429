"""How many neighbouring blocks a task takes."""

from __future__ import annotations

_MOST = 64
"""Blocks: what a worker that dies takes with it is computed again, each by itself."""


class StretchLength:
    """As many as take so many seconds; one where nobody gives any, and until one has ended.

    Parameters
    ----------
    seconds
        After which a task begins no further block, however many it was given.

    Examples
    --------
    >>> length = StretchLength(2.0)
    >>> length.add(1, seconds=0.1)
    >>> length.of(n_ahead=1000, n_tasks=4), length.of(n_ahead=12, n_tasks=4)
    (20, 3)
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._of_block: float | None = None

    def add(self, n_blocks: int, seconds: float) -> None:
        """Tell what blocks took that ended."""
        taken = seconds / n_blocks
        # The first ones of a worker take long, and say nothing of those to come.
        self._of_block = taken if self._of_block is None else (self._of_block + taken) / 2

    @property
    def most(self) -> int:
        if self._of_block is None:
            return 1
        return max(min(int(self.seconds / max(self._of_block, 1e-9)), _MOST), 1)

    def of(self, n_ahead: int, n_tasks: int) -> int:
        """The next one; fewer towards the end, so that so many tasks end together."""
        return max(min(self.most, n_ahead // n_tasks), 1)
