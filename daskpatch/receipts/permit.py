"""The right to write while a claim holds, as it travels to whoever writes blocks."""

from __future__ import annotations

import posixpath
import re
import threading
import time
from dataclasses import dataclass

from ..store import Location, Objects
from ..support import Pacing, parsed

_CLAIM = re.compile(r"/\d+\.json$")
"""Files of a desktop's may lie beside claims."""


class ClaimedError(RuntimeError):
    """Somebody else works on the output."""


LOST = (
    "Another driver took the output over, or the output is not where it was: the claim of this one "
    "is gone (was the machine asleep, or the store away?), and it writes nothing more"
)


class _Sighting:
    """When this process last saw the claim, and how many of its writes are going on."""

    def __init__(self) -> None:
        self.looking = threading.Lock()
        self.changed = threading.Condition()
        self.at = float("-inf")
        self.n_writes = 0


_sightings: dict[str, _Sighting] = {}
_table = threading.Lock()


@dataclass(frozen=True)
class Permit:
    """Entered around a write; refuses it where the claim was lost.

    A process has seen the claim in the store within half a heartbeat before a write of its begins.

    Attributes
    ----------
    folder
        Of the record that the claim lies in.
    name
        Of the claim, in that folder.
    token
        What the claim holds as long as it is ours.
    """

    folder: Location
    name: str
    token: str
    pacing: Pacing

    def __enter__(self) -> None:
        sighting = self._sighting
        # Counted first: whoever gives the claim back meanwhile waits for this write, or takes the
        # sighting away before it begins.
        self._count(+1)
        try:
            with sighting.looking:
                if not self.was_seen:
                    self.look()
        except BaseException:
            self._count(-1)
            raise

    def __exit__(self, *error: object) -> None:
        self._count(-1)

    @property
    def was_seen(self) -> bool:
        """Whether this process saw the claim within half a heartbeat."""
        return seconds_since_boot() - self._sighting.at <= self.pacing.heartbeat / 2

    def saw(self, at: float) -> None:
        """Tell that the claim was in the store, by the clock of `seconds_since_boot`."""
        self._sighting.at = at

    def look(self) -> None:
        """Look for the claim in the store.

        Raises
        ------
        ClaimedError
            If it is gone, or another's.
        OSError
            If the store does not answer.
        """
        begin = seconds_since_boot()
        documents = Objects(self.folder, delays=self.pacing.delays)
        # A claim of a later number replaced ours, whatever a late renewal put back.
        there = documents.names(f"{posixpath.dirname(self.name)}/")
        latest = max(filter(_CLAIM.search, there), default="")
        content = documents.read(self.name) if latest == self.name else None
        if content is None or _token_in(content) != self.token:
            self._sighting.at = float("-inf")
            raise ClaimedError(LOST)
        self.saw(begin)

    def wait_for_writes(self, timeout: float | None) -> bool:
        """Wait until no write of this process goes on; False if some still do after a while."""
        changed = self._sighting.changed
        with changed:
            return changed.wait_for(lambda: self._sighting.n_writes == 0, timeout)

    def end(self) -> None:
        """Forget the claim: the next write looks for it."""
        with _table:
            sighting = _sightings.get(self.token)
            if sighting is None:
                return
            sighting.at = float("-inf")
            if sighting.n_writes == 0:
                del _sightings[self.token]

    @property
    def _sighting(self) -> _Sighting:
        with _table:
            return _sightings.setdefault(self.token, _Sighting())

    def _count(self, change: int) -> None:
        # In one step with the look-up: the table forgets what nobody writes under.
        with _table:
            sighting = _sightings.setdefault(self.token, _Sighting())
            with sighting.changed:
                sighting.n_writes += change
                sighting.changed.notify_all()


def _token_in(content: bytes) -> object:
    try:
        return parsed(content).get("token")
    except (ValueError, AttributeError):
        return None


def seconds_since_boot() -> float:
    """A clock that nobody sets, and that goes on while the machine sleeps."""
    clock = getattr(time, "CLOCK_BOOTTIME", None) or getattr(time, "CLOCK_MONOTONIC", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)
