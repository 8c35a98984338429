"""Whether a stored array is still the one that was opened."""

from __future__ import annotations

import json
import time
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from zarr.types import AnyArray

from ..support import cause_of, said_by
from .backoff import lasts_anywhere, with_backoff
from .location import Location, locate
from .objects import Objects
from .reopening import array_told_by, document_of

_LOOKS = 3
"""Delays for which an array that is gone may come back."""

_FREE = ("attributes", "dimension_names")
"""What may change: an edit of OME metadata makes no voxel another."""


class ChangedError(OSError):
    """An array that is gone, or no longer the one that was opened."""


@dataclass
class _Seen:
    """The document that was last found to be that of the array; all twins of a sight share it."""

    document: bytes | None = None


class Sight:
    """An array as it was when it was opened; pickles without what only this process knows."""

    def __init__(self, array: AnyArray, delays: tuple[float, ...]) -> None:
        self.array, self.delays = array, delays
        self._folder = self._location.folder
        self._seen = _Seen()
        self._documents: Objects | None = None

    @cached_property
    def _location(self) -> Location:
        # Once: it is asked for around each read and write, and takes longer than a look.
        return locate(self.array)

    def look(self) -> None:
        """Compare it with what its store has now, and its folder: see `StoredArray.look`."""
        document = self._read()
        for delay in self.delays[:_LOOKS]:  # it was there: servers say "not found" for a while, too
            if document is not None:
                break
            time.sleep(delay)
            document = self._read()
        # A sparse image is looked at once a block, and comparing it costs as much as a small block.
        if document is None or document != self._seen.document:
            self._seen.document = self._compared(document)
        if self._folder is not None and self._location.folder not in (self._folder, None):
            raise ChangedError(
                f"{self._location.name} was made anew since it was opened: its folder is another "
                "one"
            )

    def notice_folder(self) -> None:
        """See which local folder it lies in, where this process did not yet."""
        self._folder = self._folder or self._location.folder

    def check_folder(self) -> None:
        """Refuse a local folder that is another one by now, or gone: a share may be unmounted.

        Raises
        ------
        ChangedError
            If it is.
        """
        if self._folder is not None and self._location.folder != self._folder:
            raise ChangedError(
                f"{self._location.name} is gone, or another folder: it was moved, deleted or "
                "unmounted since it was opened"
            )

    def with_delays(self, delays: tuple[float, ...]) -> Sight:
        """The same one, whatever lies there now; its store is waited for as long."""
        twin = copy(self)
        twin.delays, twin._folder = delays, self._folder
        return twin

    def _read(self) -> bytes | None:
        """The document that says what the array is, waited for; None where there is none."""
        return with_backoff(self._ask, f"Looking at {self._location.name}", self.delays)

    def _ask(self) -> bytes | None:
        name = document_of(self.array)
        if self._documents is None:
            self._documents = Objects(self._location, delays=(), was_read=name)
        try:
            return self._documents.read(name)
        except FileNotFoundError:  # a store whose root is gone
            return None

    def _compared(self, document: bytes | None) -> bytes:
        """The document if it says the array that was opened; the next one, where it is broken."""
        name = self._location.name
        read: list[bytes | None] = [document]

        def attempt() -> tuple[bytes, AnyArray] | None:
            there = read.pop() if read else self._ask()
            return None if there is None else (there, array_told_by(there, self.array))

        try:
            found = with_backoff(attempt, f"Looking at {name}", self.delays, _lasts)
        except (ValueError, KeyError, TypeError) as error:
            told = f"{type(error).__name__}: {said_by(error)}"
            raise ChangedError(f"{name} is no array any more ({told})") from cause_of(error)
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001 (each kind of store raises its own)
            told = f"{type(error).__name__}: {said_by(error)}"
            raise OSError(f"{name} could not be looked at: {told}") from cause_of(error)
        if found is None:
            raise ChangedError(f"{name} is gone; it was there when it was opened")
        document, now = found
        was, there = _facts(self.array), _facts(now)
        other = [f"{k} was {was[k]}, is {there.get(k)}" for k in was if was[k] != there.get(k)]
        if other:
            raise ChangedError(f"{name} was made anew since it was opened: {'; '.join(other)}")
        return document

    def __getstate__(self) -> dict[str, Any]:
        # A folder has another number on another host.
        kept = {name: value for name, value in self.__dict__.items() if name != "_location"}
        return {**kept, "_folder": None, "_documents": None}


def _lasts(error: Exception) -> bool:
    # Half a document is not the end: whoever edits attributes may be writing it.
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
        return False
    return isinstance(error, ValueError | KeyError) or lasts_anywhere(error)


def _facts(array: AnyArray) -> dict[str, str]:
    """An array's metadata as JSON, by field, save for what may change."""
    told: dict[str, Any] = {**array.metadata.to_dict()}
    return {
        key: json.dumps(value, default=str, sort_keys=True)
        for key, value in told.items()
        if key not in _FREE
    }
