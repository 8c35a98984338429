"""zarr-python: opens everything, keeps nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from zarr.types import AnyArray

from ..backoff import lasts_anywhere
from ..location import Location, locate
from ..patience import PatientStore
from ..reopening import reopened
from ..withdrawal import RememberingStore
from .protocol import Box, Handle


class ZarrPython:
    """The back end of all stores that zarr-python has."""

    name = "zarr"
    cache_bytes = 0

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
        store = PatientStore(RememberingStore(array.store), delays=delays)
        self._array = reopened(array, store)
        # A store in memory may keep the very array that it is given.
        self._keeps_values = locate(array).lives_in_this_process

    def read(self, box: Box) -> NDArray[np.generic]:
        return np.asarray(self._array[box])

    def write(self, box: Box, values: NDArray[np.generic]) -> None:
        self._array[box] = values.copy() if self._keeps_values else values
