"""What an image asks of the array that it is of: one stored, in a file, or computed."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..store import BackEnd, Location


class Readable(Protocol):
    """An array that boxes are read from.

    Attributes
    ----------
    chunks
        What is decoded at once; None where there are no chunks.
    location
        Where it is stored; None where it is computed, or in this process's memory.
    locations
        All the places that it is read from.
    back_end
        What reads it; None where that is no Zarr array.
    is_at_hand
        Whether reading is all that a box costs: a Dask array computes it.
    is_held_by_cluster
        Whether tasks of a cluster would wait for others of its tasks to read it.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    @property
    def chunks(self) -> tuple[int, ...] | None: ...
    @property
    def location(self) -> Location | None: ...
    @property
    def locations(self) -> tuple[Location, ...]: ...
    @property
    def back_end(self) -> BackEnd | None: ...
    @property
    def is_at_hand(self) -> bool: ...
    @property
    def is_held_by_cluster(self) -> bool: ...

    def read(self, box: tuple[slice, ...]) -> NDArray[np.generic]:
        """The voxels of a box that lies inside."""

    def look(self) -> None:
        """Refuse to go on, with a `ChangedError`, where it is gone or another than was opened."""

    def identity(self) -> dict[str, Any] | None:
        """What tells it from others beside its place and voxels, as JSON; None where nothing."""

    def with_io(self, io: str) -> Readable:
        """The same array, read through a back end where it is a Zarr array."""

    def with_delays(self, delays: tuple[float, ...]) -> Readable:
        """The same array, waited for as long where it is in a store."""

    def why_not_portable(self) -> str | None:
        """Why another process could not use it, or None if it could."""

    def why_endangered(self, place: Location) -> str:
        """Why it may read from a place that its location does not name; empty where not."""
