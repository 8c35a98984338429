"""Who works on an output: one driver at a time, or parts that share no block.

A claim is an object that only one writer can create. Its holder renews it; one that is not
renewed any more may be replaced by the claim of the next number, which again only one writer
can create.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, wait
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..store import Objects, at_first
from ..support import parsed
from .holder import Holder, is_alive, living
from .permit import ClaimedError, Permit, seconds_since_boot
from .record import CLAIMS, Part, Record, is_entry

_FOLDER = f"{CLAIMS}/"

_LOOKS = 30
"""Times that a claim is looked at while it is watched."""

_NAMED = 64
"""Blocks in work that a claim names, those that take longest."""

_log = logging.getLogger("daskpatch")


class Claim:
    """The right to write one part of an output, for the time of a `with` block.

    Attributes
    ----------
    record
        Of the output.
    taken_over
        Claims of dead drivers that this one replaced.
    is_lost
        Whether somebody else replaced this one: its holder must stop.
    """

    def __init__(self, record: Record, part: Part) -> None:
        self.record, self._documents = record, record.documents
        self._holder = Holder.here(part)
        self._name = ""
        self._ended = threading.Event()
        self._renewer = threading.Thread(
            target=self._renew_often, name="daskpatch-claim", daemon=True
        )
        self._outlived = False
        self._left_behind: list[Future[Any]] = []
        self._pass_name, self._in_work = "", _nothing
        self.taken_over = 0
        self.is_lost = False

    def __enter__(self) -> Claim:
        living.add(self._holder.token)
        begin = seconds_since_boot()
        try:
            self._take()
        except BaseException:
            living.discard(self._holder.token)
            raise
        self.permit.saw(begin)
        self._renewer.start()
        return self

    def __exit__(self, *error: object) -> None:
        # A write that has begun cannot be called back. As long as the store may take for it, the
        # claim stays; and beyond that, until the write has ended or this process.
        patience = sum(self.record.pacing.delays)
        try:
            self._outlast_workers()
            is_over = self.permit.wait_for_writes(patience)
        finally:
            release = self._release_later()
        if is_over and all(call.done() for call in self._left_behind):
            release.join(patience)
        else:
            _log.warning("A write into %s goes on; so does its claim.", self.record.name)

    @property
    def permit(self) -> Permit:
        """What whoever writes blocks has to show."""
        documents = self._documents
        return Permit(documents.location, self._name, self._holder.token, self.record.pacing)

    def check(self) -> None:
        """Look in the store whether the claim is still ours.

        Raises
        ------
        ClaimedError
            If it is not.
        OSError
            If the store does not answer.
        """
        try:
            self.permit.look()
        except ClaimedError:
            self.is_lost = True
            raise

    def check_lately(self) -> None:
        """`check`, where this process did not see the claim within half a heartbeat.

        Raises
        ------
        ClaimedError, OSError
            As from `check`.
        """
        if not self.permit.was_seen:
            self.check()

    def works_on(self, pass_name: str, in_work: Callable[[], Mapping[int, float]]) -> None:
        """Tell what the claim says of blocks in work, and since when, whenever it is renewed."""
        self._pass_name, self._in_work = pass_name, in_work

    def outlived(self) -> None:
        """Tell that tasks may go on in worker processes when the run is over."""
        self._outlived = True

    def keep_until(self, calls: Iterable[Future[Any]]) -> None:
        """Keep the claim as long as some calls of the store go on, which may change the record."""
        self._left_behind += calls

    def _outlast_workers(self) -> None:
        """Wait until no task that goes on elsewhere may write."""
        if not self._outlived or self.is_lost:
            return
        self._ended.set()
        self._renewer.join()
        if self._is_mine(self._documents):
            # No permit any more, and still in others' way: its process is there.
            self._documents.write(self._name, self._ended_content())
            # Whoever saw the claim before this relies on it for half a heartbeat.
            time.sleep(self.record.pacing.heartbeat / 2)
            self._documents.delete(self._name)

    def _release_later(self) -> threading.Thread:
        """Give the claim back once all has ended that was begun under it."""

        def release() -> None:
            self.permit.wait_for_writes(None)
            wait(self._left_behind)
            self._release()

        thread = threading.Thread(target=release, name="daskpatch-release", daemon=True)
        thread.start()
        return thread

    def _release(self) -> None:
        self._ended.set()
        # Before the claim is deleted: a renewal after that would bring it back.
        self._renewer.join()
        self.permit.end()
        living.discard(self._holder.token)
        # The run is over: nobody waits for a store that is away, or deletes nothing.
        soon = Objects(self._documents.location, delays=self.record.pacing.delays[:1])
        try:
            if self._is_mine(soon):
                try:
                    soon.delete(self._name)
                except Exception:
                    soon.write(self._name, self._ended_content(process_started=0.0))
                    raise
        except Exception as error:  # noqa: BLE001 (it lapses)
            _log.warning("The claim on %s could not be taken back: %s", self.record.name, error)

    def _take(self) -> None:
        # Only the creation of an object is atomic in a store: a lock, a rename or a comparison is
        # not in all of them. So the right to write is the object of the next number, and whoever
        # finds a living one beside it afterwards gives its own back.
        part = self._holder.part
        there = _watched(self.record, part)
        _refuse(there.values(), part, self.record)
        mine = [name for name in there if name.startswith(f"{_FOLDER}{part.name}/")]
        number = max((int(Path(name).stem) + 1 for name in mine), default=1)
        self._name = f"{_FOLDER}{part.name}/{number:06d}.json"
        if not self._created():
            refuse_claimed(self.record, part)
            raise ClaimedError(
                f"{self.record.name} was claimed by somebody else just now; try again."
            )
        # Whoever created a claim of another part or number meanwhile sees this one, or is seen.
        others = holders(self.record, but=self._name)
        try:
            _refuse(others.values(), part, self.record)
        except ClaimedError:
            self._documents.delete(self._name)
            raise
        for name, holder in others.items():
            # Dead, or it would have been refused.
            if not holder.part.works_beside(part):
                self._documents.delete(name)
                self.taken_over += 1

    def _created(self) -> bool:
        """Whether the claim is there now, and ours.

        It is the first thing that is written: a place that takes nothing is told of at once.
        """
        objects = Objects(self._documents.location, delays=())
        try:
            return at_first(
                lambda: objects.create(self._name, self._content()),
                f"Claiming {self.record.name}",
            )
        except OSError as error:
            why = error if error.errno is None else os.strerror(error.errno)
            raise OSError(
                f"{self.record.name} cannot be written: {why}. Give an output in a place that can."
            ) from error

    def _replaces(self, name: str) -> bool:
        """Whether a claim is this one, or an earlier one of the same part."""
        return Path(name).parent == Path(self._name).parent and name <= self._name

    def _is_mine(self, documents: Objects) -> bool:
        there = _read(documents, self._name)
        return there is not None and there.token == self._holder.token

    def _ended_content(self, **changes: float) -> bytes:
        """Of a claim that allows no writes; with a start that no process has, in nobody's way."""
        ended = {"token": f"ended {self._holder.token}", **changes}
        return json.dumps(asdict(self._holder) | ended).encode()

    def _content(self) -> bytes:
        return json.dumps(asdict(self._holder)).encode()

    def _renew_often(self) -> None:
        while not self._ended.wait(self.record.pacing.heartbeat):
            try:
                self._renew()
            except Exception:  # noqa: BLE001 (a store that is away: others see no sign of life)
                continue

    def _renew(self) -> None:
        silence = self.record.pacing.silence
        others = [
            holder
            for name, holder in holders(self.record).items()
            # One that is only just seen lives, until it is known better; one that ours replaced
            # may have been put back by a late renewal.
            if not self._replaces(name) and is_alive(holder, silence) is not False
        ]
        mine = self._holder.part
        # Also where a claim of an overlapping part came up: `part=(1, 2)` and the whole share
        # blocks.
        try:
            self.check()
        except ClaimedError:
            self._ended.set()
            return
        if not all(other.part.works_beside(mine) for other in others):
            self.is_lost = True
            self._ended.set()
            return
        longest = sorted(self._in_work().items(), key=lambda item: item[1])[:_NAMED]
        state = asdict(self._holder) | {
            "heartbeat": time.time(),
            "working": [(self._pass_name, index, since) for index, since in longest],
        }
        # Not atomic with the look above: whoever takes over in between wins with the next number.
        self._documents.write(self._name, json.dumps(state).encode())


def _nothing() -> Mapping[int, float]:
    return {}


def holders(record: Record, *, but: str = "") -> dict[str, Holder]:
    """The claims of an output by name, those of dead drivers too; without one, if that is named."""
    documents = record.documents
    names = [name for name in documents.names(_FOLDER) if is_entry(name) and name != but]
    found = {name: _read(documents, name) for name in names}
    return {name: holder for name, holder in found.items() if holder is not None}


def refuse_claimed(record: Record, part: Part) -> None:
    """Refuse to work on a part while a living driver has blocks of it.

    The claim of another host is watched for as long as it takes to know.

    Raises
    ------
    ClaimedError
        If one has; it is named.
    """
    _refuse(_watched(record, part).values(), part, record)


def remove_dead(record: Record, part: Part) -> None:
    """Remove the claims of dead drivers that had blocks of a part: nobody watches them again.

    For whoever has the claim on all of them elsewhere.

    Raises
    ------
    ClaimedError
        If one of them lives.
    """
    there = _watched(record, part)
    _refuse(there.values(), part, record)
    record.documents.delete_many([n for n, h in there.items() if not h.part.works_beside(part)])


def _watched(record: Record, part: Part) -> dict[str, Holder]:
    """The claims of an output, of which those in the way are known to be alive or dead."""
    silence = record.pacing.silence
    is_told = False
    while True:
        there = holders(record)
        unknown = [
            holder
            for holder in there.values()
            if not holder.part.works_beside(part) and is_alive(holder, silence) is None
        ]
        if not unknown:
            return there
        if not is_told:
            _log.warning(
                "%s is claimed by %s. Clocks may differ: watching it for up to %.0f s.",
                record.name,
                unknown[0],
                silence,
            )
            is_told = True
        time.sleep(silence / _LOOKS)


def _refuse(there: Iterable[Holder], part: Part, record: Record) -> None:
    silence = record.pacing.silence
    for holder in there:
        if is_alive(holder, silence) is not False and not holder.part.works_beside(part):
            raise ClaimedError(
                f"{record.name} is being written by {holder}. Wait for it, or end it and resume "
                f"(another host's claim lapses after {silence:.0f} s without a sign of life)."
            )


def _read(documents: Objects, name: str) -> Holder | None:
    content = documents.read(name)
    try:
        return None if content is None else Holder.of_json(parsed(content))
    except (ValueError, TypeError, AttributeError):
        raise ClaimedError(
            f"{documents.location.name}/{name}, a claim, cannot be read; delete it if nobody "
            "writes the output."
        ) from None
