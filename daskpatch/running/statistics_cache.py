"""Statistics, once they are known."""

from __future__ import annotations

from collections.abc import Sequence

from ..receipts import SourceRecord
from ..values import Statistics


class StatisticsCache:
    """Statistics of images as they were, shared by plans of the same images.

    Attributes
    ----------
    statistics
        One per image; None before they are measured.
    """

    def __init__(self) -> None:
        self.statistics: tuple[Statistics, ...] | None = None
        self._sources: list[SourceRecord] | None = None

    def keep(
        self, statistics: tuple[Statistics, ...], sources: Sequence[SourceRecord] | None = None
    ) -> None:
        """Keep what was found, of images of these identities."""
        self.statistics = statistics
        self._sources = None if sources is None else list(sources)

    def of(self, sources: Sequence[SourceRecord]) -> tuple[Statistics, ...] | None:
        """The statistics, unless they are known to be of other images.

        What was measured before anybody looked at the images' identities counts for these.
        """
        # The source may have been written to since: what is known is of what it was.
        if self._sources is not None and self._sources != list(sources):
            return None
        if self.statistics is not None:
            self._sources = list(sources)
        return self.statistics
