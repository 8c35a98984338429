"""An array in a file of another format: named by path and name, opened where it is read."""

from __future__ import annotations

import threading
from copy import copy
from dataclasses import asdict, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..store import BackEnd, Location, Places, locate
from .adapters import opened
from .array_choice import ArrayChoice
from .open_readers import OPEN_READERS
from .reader import Box, Facts, Reader
from .stamp import Stamp


class FileArray:
    """An array in a file; the counterpart of `StoredArray`.

    It pickles as path and name, with what the file was when it was opened, and opens anew in
    another process.
    """

    back_end: BackEnd | None = None
    is_at_hand = True
    is_held_by_cluster = False

    def __init__(self, path: str, reader: str, choice: ArrayChoice, *, name: str = "") -> None:
        self.path, self.reader, self.choice = path, reader, choice
        self.name = name or path  # what the user calls it
        self.stamp = Stamp.of(path)
        self._lock = threading.Lock()
        facts = self.facts
        self.shape, self.dtype, self.chunks = facts.shape, facts.dtype, facts.chunks

    @property
    def facts(self) -> Facts:
        """All that the file says of it; the file is opened."""
        return self._open().facts

    @property
    def axis_names(self) -> tuple[str, ...] | None:
        return self.facts.axis_names

    @property
    def places(self) -> Places | None:
        return self.facts.places

    @cached_property
    def location(self) -> Location:
        return locate(self.path, read_only=True)

    @property
    def locations(self) -> tuple[Location, ...]:
        return (self.location,)

    def identity(self) -> dict[str, Any]:
        """What tells it from others, beside where it is and what is in it."""
        chosen = {key: value for key, value in asdict(self.choice).items() if value}
        if self.choice.image is not None:
            chosen["image"] = self.choice.image
        return {**chosen, "bytes": self.stamp.size, "modified": self.stamp.modified}

    def read(self, box: Box) -> NDArray[np.generic]:
        """Read a box that lies inside.

        Raises
        ------
        ChangedError
            If the file is another than was opened, in this process for the first time.
        OSError
            If it is torn there.
        """
        return self._open().read(box)

    def look(self) -> None:
        """Look whether it is still the file that was opened.

        Raises
        ------
        ChangedError
            If it is gone, or another: its size, its time, or the file itself.
        """
        self.stamp.check(self.path)

    def with_io(self, io: str) -> FileArray:  # noqa: ARG002 (of Zarr)
        return self

    def with_delays(self, delays: tuple[float, ...]) -> FileArray:  # noqa: ARG002 (of Zarr)
        return self

    def why_not_portable(self) -> str | None:
        return None

    def why_endangered(self, place: Location) -> str:  # noqa: ARG002 (its location says it)
        return ""

    def beside(self, path: str, name: str | None, stamp: Stamp) -> FileArray:
        """An array that is alike, of a name in another file, as that was when it was opened."""
        twin = copy(self)
        twin.path, twin.choice, twin.stamp = path, replace(self.choice, name=name), stamp
        twin.name = path if name is None else f"{path}:{name}"
        return twin

    def _open(self) -> Reader:
        key = (self.path, self.reader, self.choice, self.stamp)
        found = OPEN_READERS.get(key)
        if found is not None:
            return found
        with self._lock:  # else each thread would open it
            return OPEN_READERS.opened(key, self._opened)

    def _opened(self) -> Reader:
        self.stamp.check(self.path)
        return opened(self.path, self.reader, self.choice)

    def __getstate__(self) -> dict[str, Any]:
        private = ("_lock", "location")
        return {name: value for name, value in self.__dict__.items() if name not in private}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def __repr__(self) -> str:
        return f"<{self.name} {self.shape} {self.dtype}>"
