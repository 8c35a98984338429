"""Blocks that are announced in the record before they begin.

A crash in C, or the system for want of memory, ends a driver that computes in threads of its own,
and nothing is left to say which block did it. So no block begins that was not announced. What a
dead driver announced, and has no receipt, runs alone the next time, and is announced as such.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import msgspec
from msgspec import Struct

from ..support import Natural, Positive, decoded
from .record import Part, Record

_log = logging.getLogger("daskpatch")


class AnnouncementDocument(Struct, frozen=True):
    """What the driver of one part announced: ranges of flat indices, their ends excluded.

    `deaths` counts, by block, how often a driver ended while it computed nothing but that block.
    """

    number: Positive
    of: Positive
    ranges: tuple[tuple[Natural, Natural], ...] = ()
    alone: Natural | None = None
    deaths: dict[Natural, Positive] = msgspec.field(default_factory=dict)


@dataclass
class Suspects:
    """Blocks that dead drivers had announced, and at how many deaths each was alone."""

    blocks: set[int] = field(default_factory=set)
    deaths: dict[int, int] = field(default_factory=dict)


class Announcements:
    """Those of one part of a pass, under its claim."""

    def __init__(
        self, record: Record, part: Part, permit: AbstractContextManager[object] | None = None
    ) -> None:
        self._documents, self._part = record.documents, part
        self._permit = nullcontext() if permit is None else permit
        self._folder = record.folder_of_run("announced")
        self._written: bytes | None = b""  # not known

    def write(self, blocks: Iterable[int], deaths: dict[int, int], alone: int | None) -> None:
        """Say what may be begun from now on; nothing where there is nothing to say."""
        part, ranges = self._part, tuple(_ranges(blocks))
        document = AnnouncementDocument(part.number, part.of, ranges, alone, deaths)
        content = msgspec.json.encode(document) if ranges or deaths else None
        if content == self._written:
            return
        name, self._written = f"{self._folder}{part.name}.json", b""
        # Whoever lost the claim must not speak for the one who has it.
        with self._permit:
            if content is None:
                self._documents.delete(name)
            else:
                self._documents.write(name, content)
        self._written = content

    def take_over(self) -> Suspects:
        """What dead drivers of these blocks announced, which is ours from now on.

        Their documents stay: parts may be cut otherwise now, and each needs what is of its own.
        """
        suspects = Suspects()
        for document in self._found():
            if self._is_of_others(document):
                continue
            suspects.blocks.update(i for start, stop in document.ranges for i in range(start, stop))
            for index, count in _deaths(document).items():
                # Not their sum: what was taken over once is in two documents.
                suspects.deaths[index] = max(suspects.deaths.get(index, 0), count)
        if suspects.blocks or suspects.deaths:
            self.write(suspects.blocks, suspects.deaths, None)
        return suspects

    def forget(self) -> None:
        """Forget what was announced, by anybody: all blocks are as good as others again."""
        self._documents.delete_many(list(self._documents.names(self._folder)))

    def _is_of_others(self, document: AnnouncementDocument) -> bool:
        return Part(document.number, document.of).works_beside(self._part)

    def _found(self) -> Iterator[AnnouncementDocument]:
        for name in self._documents.names(self._folder):
            content = self._documents.read(name)
            try:
                if content is not None:
                    yield decoded(content, AnnouncementDocument)
            except msgspec.MsgspecError as error:
                _log.warning("%s is torn (%s); what it announced is not known.", name, error)


def _deaths(document: AnnouncementDocument) -> dict[int, int]:
    """By block, with the one that was alone when the driver ended."""
    deaths = dict(document.deaths)
    if document.alone is not None:
        deaths[document.alone] = deaths.get(document.alone, 0) + 1
    return deaths


def _ranges(indices: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Runs of neighbours.

    >>> list(_ranges([5, 1, 2, 3]))
    [(1, 4), (5, 6)]
    """
    start = stop = -1
    for index in sorted(indices):
        if index != stop:
            if stop > start:
                yield start, stop
            start = index
        stop = index + 1
    if stop > start:
        yield start, stop
