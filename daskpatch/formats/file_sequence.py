"""Files that are stacked along an axis: a plane, or a time, each."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..store import BackEnd, Location, Places
from ..support import DaemonThreads, without_secrets
from .file_array import FileArray
from .file_lookup import find_file
from .reader import Box, Facts
from .stamp import Stamp

_AT_ONCE = 16
"""Files that are opened at a time."""


class FileSequence:
    """Arrays in files, alike, stacked along a first axis of its own; opened where they are read.

    It holds the names that it was made with, whatever files appear later. It pickles as these,
    with size and time of each, compressed: about 10 bytes a file.

    Raises
    ------
    ValueError
        If a file has another shape or dtype than the first.
    FileNotFoundError, ImportError, OSError
        If one is gone, or cannot be opened.
    """

    back_end: BackEnd | None = None
    is_at_hand = True
    is_held_by_cluster = False

    def __init__(
        self,
        paths: Sequence[str | os.PathLike[str]],
        axis: str,
        *,
        level: int = 0,
        image: int | str | None = None,
    ) -> None:
        def opened(path: str | os.PathLike[str]) -> FileArray:
            found = find_file(path, level, image)
            if found is not None:
                return found
            name = without_secrets(os.fsdecode(path))
            if not os.path.lexists(path):
                raise FileNotFoundError(f"There is no file {name}.")
            raise ValueError(
                f"{name} is no file of a format that is stacked: TIFF, HDF5, NIfTI, CZI."
            )

        self.axis = axis
        with DaemonThreads(_AT_ONCE, "daskpatch-io") as pool:
            self._members = list(pool.map(opened, paths))
        first = self._members[0]
        for each in self._members:
            if (each.shape, each.dtype, each.reader) != (first.shape, first.dtype, first.reader):
                raise ValueError(
                    f"{each.name} is {each.shape} {each.dtype}, and {first.name} is {first.shape} "
                    f"{first.dtype}; files that are stacked must be alike."
                )
        self._set_shape()

    def _set_shape(self) -> None:
        first = self._members[0]
        self.shape = (len(self._members), *first.shape)
        self.dtype = first.dtype
        self.chunks = None if first.chunks is None else (1, *first.chunks)

    @property
    def facts(self) -> Facts:
        """What the first file says, and nothing of the axis of files."""
        return self._members[0].facts

    @property
    def axis_names(self) -> tuple[str, ...] | None:
        names = self.facts.axis_names
        return None if names is None else (self.axis, *names)

    @property
    def places(self) -> Places | None:
        places = self.facts.places
        return None if places is None else ((1.0, 0.0, None), *places)

    @property
    def name(self) -> str:
        """The first file, and how many there are."""
        first, more = self._members[0].name, len(self._members) - 1
        return f"{first} and {more} more" if more else first

    @property
    def location(self) -> Location:
        """That of the first file."""
        return self._members[0].location

    @property
    def locations(self) -> tuple[Location, ...]:
        return tuple(each.location for each in self._members)

    def identity(self) -> dict[str, Any]:
        """What tells it from others: the first file's choice, all sizes, times and names."""
        stamps = [each.stamp for each in self._members]
        told = "\n".join(
            f"{each.path}:{each.choice.name} {each.stamp.size} {each.stamp.modified}"
            for each in self._members
        )
        return {
            **self._members[0].identity(),
            "bytes": sum(stamp.size for stamp in stamps),
            "modified": max(stamp.modified for stamp in stamps),
            "files": len(stamps),
            "names": hashlib.sha256(os.fsencode(told)).hexdigest(),
        }

    def read(self, box: Box) -> NDArray[np.generic]:
        """Read a box that lies inside, from the files that it touches."""
        parts = (self._members[i].read(box[1:]) for i in range(box[0].start, box[0].stop))
        return np.stack(list(parts))

    def look(self) -> None:
        """Look whether all files are still those that were opened.

        Raises
        ------
        ChangedError
            If one is gone, or another.
        """
        for each in self._members:
            each.look()

    def with_io(self, io: str) -> FileSequence:  # noqa: ARG002 (of Zarr)
        return self

    def with_delays(self, delays: tuple[float, ...]) -> FileSequence:  # noqa: ARG002 (of Zarr)
        return self

    def why_not_portable(self) -> str | None:
        return None

    def why_endangered(self, place: Location) -> str:  # noqa: ARG002 (its locations say it)
        return ""

    def __getstate__(self) -> dict[str, Any]:
        names = "\0".join(f"{each.path}\0{each.choice.name or ''}" for each in self._members)
        stamps = chain.from_iterable((s.size, s.modified) for s in (m.stamp for m in self._members))
        # Differences of one after the other are small, and much alike.
        numbers = np.array([*stamps], np.int64).reshape(-1, 2)
        numbers[1:] -= numbers[:-1].copy()
        return {
            "axis": self.axis,
            "first": self._members[0],
            "names": zlib.compress(os.fsencode(names)),
            "stamps": zlib.compress(numbers.tobytes()),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.axis = state["axis"]
        texts = os.fsdecode(zlib.decompress(state["names"])).split("\0")
        names = zip(texts[::2], texts[1::2], strict=True)
        numbers = np.frombuffer(zlib.decompress(state["stamps"]), np.int64).reshape(-1, 2)
        stamps = numbers.cumsum(axis=0).tolist()
        first: FileArray = state["first"]
        self._members = [
            first.beside(path, name or None, Stamp(size, modified, None))
            for (path, name), (size, modified) in zip(names, stamps, strict=True)
        ]
        self._set_shape()

    def __repr__(self) -> str:
        return f"<{self.name} {self.shape} {self.dtype}>"
