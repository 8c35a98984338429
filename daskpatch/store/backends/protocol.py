"""What a back end is: it opens Zarr arrays, and moves boxes of voxels in and out of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from zarr.types import AnyArray

from ..location import Location

Box = tuple[slice, ...]


class Handle(Protocol):
    """Boxes in and out of one array; used by several threads at a time."""

    def read(self, box: Box) -> NDArray[np.generic]: ...

    def read_chunks(self, boxes: Sequence[Box]) -> list[NDArray[Any] | None]:
        """What is decoded at once, many at a time; None where it is absent."""

    def write(self, box: Box, values: NDArray[np.generic]) -> None:
        """Write a box; the caller owns every write unit that it touches.

        What it has written may be in the machine's memory only, until it is flushed.
        """

    def flush(self, keys: Collection[str]) -> None:
        """See that write units outlast the machine, by their keys inside the array's prefix.

        Raises
        ------
        OSError
            If they may be lost.
        """


class BackEnd(Protocol):
    """A library that reads and writes Zarr arrays."""

    @property
    def name(self) -> str:
        """What `io` calls it."""

    def opens(self, location: Location) -> bool:
        """Whether it is there, for arrays at a place."""

    def check(self, location: Location) -> None:
        """Refuse a place in words.

        Raises
        ------
        ValueError, ImportError
            If it does not open arrays there, or is not installed.
        """

    def lasts(self, error: Exception) -> bool:
        """Whether an error of its own would come again, however long one waits."""

    def open(self, array: AnyArray, delays: tuple[float, ...]) -> Handle:
        """A handle; what fails is tried again after each of the `delays`.

        Raises
        ------
        ValueError
            If it does not know the array's dtype or codecs.
        """
