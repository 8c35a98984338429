"""Who works on an output: one driver at a time, or parts that share no block.

A claim is an object that only one writer can create. Its holder renews it; one that is not
renewed any more may be replaced by the claim of the next number, which again only one writer
can create.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import threading
import time
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from uuid import uuid4

import psutil

from ..store import Objects
from .record import CLAIMS, Part, Record

_FOLDER = f"{CLAIMS}/"

_log = logging.getLogger("daskpatch")


class ClaimedError(RuntimeError):
    """Somebody else works on the output."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A driver: what its claim says."""

    token: str
    number: int
    of: int
    host: str
    namespace: str
    process: int
    process_started: float
    started: float
    heartbeat: float

    @classmethod
    def here(cls, part: Part) -> Holder:
        now = time.time()
        return cls(
            token=uuid4().hex,
            number=part.number,
            of=part.of,
            host=platform.node(),
            namespace=_namespace(),
            process=os.getpid(),
            process_started=psutil.Process().create_time(),
            started=now,
            heartbeat=now,
        )

    @property
    def part(self) -> Part:
        return Part(self.number, self.of)

    def is_alive(self, silence: float) -> bool:
        """On this host whether the process exists, elsewhere whether it gives signs of life.

        A process that hangs still exists: only its own host can tell that from one that is gone.
        """
        if (self.host, self.namespace) != (platform.node(), _namespace()):
            return time.time() - self.heartbeat < silence
        try:
            started = psutil.Process(self.process).create_time()
        except psutil.NoSuchProcess:
            return False
        return bool(abs(started - self.process_started) < 1)  # numbers of processes are used again

    def __str__(self) -> str:
        since = datetime.fromtimestamp(self.started).astimezone().isoformat(" ", "seconds")
        seen = time.time() - self.heartbeat
        return (
            f"process {self.process} on {self.host}, part {self.number} of {self.of}, since "
            f"{since}, seen {seen:.0f} s ago"
        )


class Claim:
    """The right to write one part of an output, for the time of a `with` block.

    Attributes
    ----------
    taken_over
        Claims of dead drivers that this one replaced.
    is_lost
        Whether somebody else replaced this one: its holder must stop.
    """

    def __init__(self, record: Record, part: Part) -> None:
        self._record, self._documents = record, record.documents
        self._holder = Holder.here(part)
        self._name = ""
        self._ended = threading.Event()
        self._renewer = threading.Thread(
            target=self._renew_often, name="daskpatch-claim", daemon=True
        )
        self.taken_over = 0
        self.is_lost = False

    def __enter__(self) -> Claim:
        self._take()
        self._renewer.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        # Before the claim is deleted: a renewal after that would bring it back.
        self._renewer.join()
        try:
            if self._is_mine():
                self._documents.delete(self._name)
        except Exception as error:  # noqa: BLE001 (a store that is away: the claim lapses)
            _log.warning("The claim on %s could not be taken back: %s", self._record.name, error)

    def _take(self) -> None:
        # Only the creation of an object is atomic in a store: a lock, a rename or a comparison is
        # not in all of them. So the right to write is the object of the next number, and whoever
        # finds a living one beside it afterwards gives its own back.
        part = self._holder.part
        there = holders(self._record)
        _refuse(there, part, self._record)
        mine = [name for name in there if name.startswith(f"{_FOLDER}{part.name}/")]
        number = max((int(Path(name).stem) + 1 for name in mine), default=1)
        self._name = f"{_FOLDER}{part.name}/{number:06d}.json"
        if not self._documents.create(self._name, self._content()):
            refuse_claimed(self._record, part)
            raise ClaimedError(
                f"{self._record.name} was claimed by somebody else just now; try again."
            )
        # Whoever created a claim of another part or number meanwhile sees this one, or is seen.
        others = {n: h for n, h in holders(self._record).items() if n != self._name}
        try:
            _refuse(others, part, self._record)
        except ClaimedError:
            self._documents.delete(self._name)
            raise
        for name, holder in others.items():
            if not self._lives(holder) and not holder.part.works_beside(part):
                self._documents.delete(name)
                self.taken_over += 1

    def _lives(self, holder: Holder) -> bool:
        return holder.is_alive(self._record.pacing.silence)

    def _is_mine(self) -> bool:
        there = _read(self._documents, self._name)
        return there is not None and there.token == self._holder.token

    def _content(self) -> bytes:
        return json.dumps(asdict(self._holder)).encode()

    def _renew_often(self) -> None:
        while not self._ended.wait(self._record.pacing.heartbeat):
            try:
                self._renew()
            except Exception:  # noqa: BLE001 (a store that is away: others see no sign of life)
                continue

    def _renew(self) -> None:
        others = [h for n, h in holders(self._record).items() if n != self._name and self._lives(h)]
        mine = self._holder.part
        # Also where a claim of an overlapping part came up: `part=(1, 2)` and the whole share
        # blocks.
        if not self._is_mine() or not all(other.part.works_beside(mine) for other in others):
            self.is_lost = True
            self._ended.set()
            return
        state = {**asdict(self._holder), "heartbeat": time.time()}
        # Not atomic with the look above: whoever takes over in between wins with the next number.
        self._documents.write(self._name, json.dumps(state).encode())


def holders(record: Record) -> dict[str, Holder]:
    """The claims of an output by name, those of dead drivers too."""
    documents = record.documents
    names = [name for name in documents.names(_FOLDER) if Path(name).stem.isdecimal()]
    found = {name: _read(documents, name) for name in names}
    return {name: holder for name, holder in found.items() if holder is not None}


def refuse_claimed(record: Record, part: Part) -> None:
    """Refuse to work on a part while a living driver has blocks of it.

    Raises
    ------
    ClaimedError
        If one has; it is named.
    """
    _refuse(holders(record), part, record)


def _refuse(there: dict[str, Holder], part: Part, record: Record) -> None:
    silence = record.pacing.silence
    for holder in there.values():
        if holder.is_alive(silence) and not holder.part.works_beside(part):
            raise ClaimedError(
                f"{record.name} is being written by {holder}. Wait for it, or end it and resume "
                f"(another host's claim lapses after {silence:.0f} s without a sign of life)."
            )


def _read(documents: Objects, name: str) -> Holder | None:
    content = documents.read(name)
    try:
        return None if content is None else Holder(**json.loads(content))
    except (ValueError, TypeError):
        raise ClaimedError(
            f"{documents.location.name}/{name}, a claim, cannot be read; delete it if nobody "
            "writes the output."
        ) from None


def _namespace() -> str:
    """Where process numbers mean something: containers on one host have their own."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""
