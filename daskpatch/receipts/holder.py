"""The driver that holds a claim, and whether it is alive."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil

from .record import Part

living: set[str] = set()
"""The tokens of this process's own claims."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A driver: what its claim says.

    Attributes
    ----------
    boot, namespace
        Within which a process's number means something: one start of one kernel, and in it one
        container; empty where the system does not tell.
    heartbeat
        When it last renewed the claim, by its own clock.
    working
        Blocks that it worked on then, those that took longest: pass, index, since when.
    """

    token: str
    number: int
    of: int
    host: str
    namespace: str
    process: int
    process_started: float
    started: float
    heartbeat: float
    boot: str = ""
    working: Sequence[tuple[str, int, float]] = ()

    @classmethod
    def here(cls, part: Part) -> Holder:
        """The process that asks."""
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
            boot=_boot(),
        )

    @classmethod
    def of_json(cls, said: Mapping[str, Any]) -> Holder:
        """Out of a claim's content; what later versions add does not matter.

        Raises
        ------
        TypeError
            If something is missing.
        """
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in said.items() if name in known})

    @property
    def part(self) -> Part:
        return Part(self.number, self.of)

    @property
    def is_here(self) -> bool:
        """Whether it is, or was, a process of this system: then the system knows whether it lives.

        Two machines may have one name, and cloned ones all that lies on disk.
        """
        here = (_boot(), _namespace())
        return all(here) and here == (self.boot, self.namespace)

    def __str__(self) -> str:
        since = datetime.fromtimestamp(self.started).astimezone().isoformat(" ", "seconds")
        seen = time.time() - self.heartbeat
        by = "" if self.is_here else " by its clock"
        return (
            f"process {self.process} on {self.host}, part {self.number} of {self.of}, since "
            f"{since}, seen {seen:.0f} s ago{by}"
        )


@dataclass
class _Sign:
    """A heartbeat as told, since when it has been seen here, and whether it was seen to come."""

    heartbeat: str
    since: float
    is_new: bool


_signs: dict[str, _Sign] = {}


def is_alive(holder: Holder, silence: float) -> bool | None:
    """Whether a driver is alive; None where it has not been watched for long enough to know.

    Of this system whether the process exists: one that hangs still does. Of another, whether its
    claim is renewed, by the clock of this process: those of two hosts may differ by anything.
    """
    if holder.is_here:
        return _process_lives(holder)
    now = time.monotonic()
    sign, heartbeat = _signs.get(holder.token), repr(holder.heartbeat)
    if sign is None or sign.heartbeat != heartbeat:
        sign = _signs[holder.token] = _Sign(heartbeat, now, is_new=sign is not None)
    if now - sign.since >= silence:
        return False
    return True if sign.is_new else None


def _process_lives(holder: Holder) -> bool:
    try:
        process = psutil.Process(holder.process)
        started = process.create_time()
        if process.status() == psutil.STATUS_ZOMBIE:  # its parent does not ask how it ended
            return False
    except psutil.NoSuchProcess:
        return False
    if abs(started - holder.process_started) >= 1:  # numbers of processes are used again
        return False
    # A claim of this very process that it does not know of could not be taken back.
    return holder.process != os.getpid() or holder.token in living


def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
