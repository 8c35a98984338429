"""zarr-python: opens everything, keeps nothing."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from zarr.types import AnyArray

from ..backoff import lasts_anywhere
from ..location import Location, locate
from ..patience import PatientStore
from ..reopening import remembering, reopened
from ..syncing import flush_objects
from .merging import read_merged
from .protocol import Box, Handle

_GROUPS_AT_A_TIME = 4
"""Of chunks that are asked for together."""


class ZarrPython:
    """The back end of all stores that zarr-python has."""

    name = "zarr"

    def opens(self, location: Location) -> bool:  # noqa: ARG002 (the interface)
        return True

    def check(self, location: Location) -> None:
        location.check_process()

    def lasts(self, error: Exception) -> bool:
        return lasts_anywhere(error)

    def open(self, array: AnyArray, delays: tuple[float, ...]) -> Handle:
        self.check(locate(array))
        return _ZarrHandle(array, delays)


class _ZarrHandle:
    def __init__(self, array: AnyArray, delays: tuple[float, ...]) -> None:
        # Each object on its own: a box has many, and few boxes would ever be read at once.
        store = PatientStore(remembering(array), delays=delays)
        self._array = reopened(array, store)
        # A store in memory may keep the very array that it is given.
        self._location = location = locate(array)
        self._keeps_values = location.lives_in_this_process
        # Far away it is the answers that take time.
        self._at_a_time = 1 if location.is_near else _GROUPS_AT_A_TIME

    def read(self, box: Box) -> NDArray[np.generic]:
        return np.asarray(self._array[box])

    def read_chunks(self, boxes: Sequence[Box]) -> list[NDArray[Any] | None]:
        array = self._array
        return read_merged(self.read, boxes, array.dtype.itemsize, array.shards, self._at_a_time)

    def write(self, box: Box, values: NDArray[np.generic]) -> None:
        self._array[box] = values.copy() if self._keeps_values else values

    def flush(self, keys: Collection[str]) -> None:
        flush_objects(self._location, keys)
