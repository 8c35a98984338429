"""The arrays of an output with their records."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..geometry import Dimensions, Region, RegularGrid
from ..receipts import Record
from ..store import Location, StoredArray, attributes_at, existing_array, locate


@dataclass(frozen=True)
class RecordedImage:
    """One image's output of a run: its arrays, None before they are created.

    `first` is the flat index of its first block, `grid` the blocks of its first array, `run` its
    run document.
    """

    locations: tuple[Location, ...]
    arrays: tuple[StoredArray | None, ...]
    record: Record
    run: dict[str, Any]
    dimensions: tuple[Dimensions, ...]
    grid: RegularGrid
    first: int

    @property
    def blocks(self) -> range:
        return range(self.first, self.first + self.grid.n_cells)

    def boxes(self, index: int) -> list[Region]:
        """A block's box in each array."""
        region = self.grid.cell(index - self.first)
        primary, *others = self.dimensions
        return [region, *(dims.counterpart(primary, region) for dims in others)]


def recorded_images(output: Any, *, read_only: bool = True) -> list[RecordedImage]:
    """What a run writes for its images: one, or those of a series.

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
            "or the group of a series or of several arrays."
        )
    count = first.run["fingerprint"]["source"]["of"]
    others = [_recorded(location.child(str(i))) for i in range(1, count)]
    return [first, *(other for other in others if other is not None)]


def _recorded(location: Location) -> RecordedImage | None:
    """What is at the place of an image: an array with a record, or a group of several."""
    place = next((p for p in _places(location) if Record(p).run() is not None), None)
    if place is None:
        return None
    record = Record(place)
    run = record.run()
    assert run is not None
    outputs = run["fingerprint"]["output"]
    ndim = len(run["fingerprint"]["source"]["data_shape"]) - 2
    dimensions = tuple(Dimensions(o["axes"], tuple(o["shape"]), ndim) for o in outputs.values())
    locations = tuple(location.child(name) if name else location for name in outputs)
    blocks = run["blocks"]
    grid = RegularGrid(dimensions[0].shape, tuple(blocks["shape"]), tuple(blocks["merge"]))
    arrays = tuple(map(existing_array, locations))
    return RecordedImage(locations, arrays, record, run, dimensions, grid, blocks["first"])


def _places(location: Location) -> Iterator[Location]:
    """Where the record of an image may be: inside its array, or inside the first of several."""
    yield location
    names = attributes_at(location).get("daskpatch", {}).get("outputs", [])
    yield from (location.child(name) for name in names[:1] if name)
