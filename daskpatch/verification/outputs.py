"""The arrays of an output with their records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..receipts import Record
from ..region import RegularGrid
from ..store import Location, StoredArray, existing_array, locate


@dataclass(frozen=True)
class RecordedArray:
    """One output array of a run: `array` is None before it is created.

    `first` is the flat index of its first block, `grid` its blocks, `run` its run document.
    """

    location: Location
    array: StoredArray | None
    record: Record
    run: dict[str, Any]
    grid: RegularGrid
    first: int

    @property
    def blocks(self) -> range:
        return range(self.first, self.first + self.grid.n_cells)


def recorded_arrays(output: Any, *, read_only: bool = True) -> list[RecordedArray]:
    """The arrays that a run writes: one, or those of a series.

    Raises
    ------
    FileNotFoundError
        If there is no record of a run.
    """
    # Read-only, what is not there is not made.
    location = locate(output, read_only=read_only)
    folder = location.local_path
    if folder is not None and folder.is_file():
        raise FileNotFoundError(f"{location.name} is a file; name the output of a run, a folder.")
    alone = _recorded(location)
    if alone is not None:
        return [alone]
    first = _recorded(location.child("0"))
    if first is None:
        raise FileNotFoundError(
            f"{location.name} has no record of a daskpatch run; name the output of one: the array, "
            "or the group of a series."
        )
    count = first.run["fingerprint"]["source"]["of"]
    others = [_recorded(location.child(str(i))) for i in range(1, count)]
    return [first, *(other for other in others if other is not None)]


def _recorded(location: Location) -> RecordedArray | None:
    record = Record(location)
    run = record.run()
    if run is None:
        return None
    shape = tuple(run["fingerprint"]["output"]["shape"])
    blocks = run["blocks"]
    grid = RegularGrid(shape, tuple(blocks["shape"]), tuple(blocks["merge"]))
    return RecordedArray(location, existing_array(location), record, run, grid, blocks["first"])
