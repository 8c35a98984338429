"""What a job can do beside computing blocks; each is asked for where it is of use."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Protocol, runtime_checkable


@runtime_checkable
class Watchful(Protocol):
    """A job that can tell whether what its blocks are read from and written to is still there."""

    def look(self, blocks: Iterable[int]) -> None:
        """Look at all that these blocks had to do with.

        Raises
        ------
        ChangedError
            If some of it is gone, or another.
        """


@runtime_checkable
class Sparse(Protocol):
    """A job that knows of some blocks that they are empty: they take next to no time."""

    def is_empty(self, index: int) -> bool:
        """Whether a block is known to be, without reading anything."""


@runtime_checkable
class Provident(Protocol):
    """A job that keeps what its blocks read for those to come, and may read for them.

    Attributes
    ----------
    n_ahead
        Blocks that it reads for before they begin, at most.
    """

    @property
    def n_ahead(self) -> int: ...

    def expecting(
        self, is_left: Callable[[int], bool], coming: Iterable[int]
    ) -> AbstractContextManager[None]:
        """Around the computing of blocks in this process: which will come, and in which order."""

    def expects_others(self) -> None:
        """Told within it when other blocks are left than before."""
