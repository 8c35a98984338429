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
        self._sources: list[SourceRecord] = []

    def keep(self, statistics: tuple[Statistics, ...], sources: Sequence[SourceRecord]) -> None:
        """Keep what was found, of images of these identities."""
        self.statistics = statistics
        self._sources = list(sources)

    def of(self, sources: Sequence[SourceRecord]) -> tuple[Statistics, ...] | None:
        """The statistics, unless they are of other images: a source may be written to since."""
        return self.statistics if self._sources == list(sources) else None
