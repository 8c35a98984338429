"""A level of a pyramid as a pass: computed from the level before, block by block."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from uuid import uuid4

import numpy as np

from ..deciding import Decided, Memory
from ..engine import Job
from ..geometry import Dimensions, Factors, Region, RegularGrid, counterparts, finer_region
from ..image import look_at_all
from ..output import Level, Target, create_level, list_level
from ..receipts import (
    ArrayRecord,
    BlocksRecord,
    Document,
    Json,
    PassDocument,
    Receipt,
    as_json,
)
from ..store import Location, StoredArray, existing_array
from ..support import Pacing
from ..values import Downsample, downsampled
from .job import FusedLevel, write_level
from .passes import Ends, Leavings, Pass
from .run import Run

LEVEL = "level-"
"""What the names of these passes begin with."""

NUMERICS = 1
"""Raised when the same level before would give other voxels."""


@dataclass(frozen=True)
class LevelPass(Pass):
    """Computes one level of the images that have it, and lists it in their metadata in the end.

    Parameters
    ----------
    number
        Of the level, from 1 on.
    finer
        The blocks of the pass before: one grid for each image that it has.
    """

    decided: Decided
    number: int
    finer: tuple[RegularGrid, ...]
    begun: tuple[RegularGrid, ...] | None = None

    @property
    def name(self) -> str:
        return f"{LEVEL}{self.number}"

    @cached_property
    def members(self) -> tuple[int, ...]:
        """The images that have the level."""
        return _members(self.decided, self.number)

    @property
    def levels(self) -> list[Level]:
        """Of each image that has it."""
        return [self.decided.pyramid.images[i][self.number - 1] for i in self.members]

    @property
    def target(self) -> Target:
        assert self.decided.target is not None, "checked before a run"
        return self.decided.target

    @property
    def grids(self) -> tuple[RegularGrid, ...]:  # type: ignore[override]
        return self.begun or tuple(level.grid for level in self.levels)

    @property
    def goes_along(self) -> bool:
        return any(level.is_fused for level in self.levels)

    @property
    def numbers(self) -> Mapping[int, int]:
        return {data_idx: number for number, data_idx in enumerate(self.members)}

    def fused(self, pacing: Pacing) -> Mapping[int, FusedLevel]:
        """Of images whose prediction makes the level, by number: its arrays, created where needed.

        Not where the record has other blocks.
        """
        made = {}
        numbered = zip(self.members, self.levels, self.grids, self.blocks.firsts, strict=True)
        for data_idx, level, grid, first in numbered:
            if level.is_fused and grid == level.grid:
                arrays = self._created(data_idx, level, pacing)
                made[data_idx] = FusedLevel(arrays, level.outputs, level.factors, grid, first)
        return made

    def _created(self, data_idx: int, level: Level, pacing: Pacing) -> tuple[StoredArray, ...]:
        recipe, io = self.decided.recipe, self.decided.options.limits.io
        arrays = create_level(self.target, recipe, data_idx, level, io=io)
        grid = self.grids[self.members.index(data_idx)]
        unit = arrays[0].shards or arrays[0].chunks
        for cell, u, count in zip(grid.cell_shape, unit, grid.counts, strict=True):
            if count > 1 and cell % u:
                raise ValueError(
                    f"Level {self.number} of the output, {arrays[0].location.name}, was edited "
                    f"since it was begun: its blocks of {grid.cell_shape} are no whole {unit}. Put "
                    "its metadata right, or give overwrite=True to start anew."
                )
        return tuple(array.with_delays(pacing.delays) for array in arrays)

    @property
    def places(self) -> Sequence[Location]:
        placed = self.target.places(self.decided.recipe)
        return [placed[i][0] for i in self.members]

    @property
    def arrays(self) -> Sequence[ArrayRecord]:
        return [array for number in range(len(self.members)) for array in self._arrays(number)]

    def _arrays(self, number: int, start: Location | None = None) -> list[ArrayRecord]:
        """The arrays of an image, by the way from a place: by default from the output."""
        recipe, data_idx = self.decided.recipe, self.members[number]
        places = self.target.level_places(recipe, self.number)[data_idx]
        root = self.target.location if start is None else start
        return [
            ArrayRecord(
                place.path_from(root),
                dims.axes,
                dims.shape,
                dtype=np.dtype(dtype).str,
                fill_value=bytes(dtype.itemsize).hex(),
            )
            for place, dims, dtype in zip(
                places, self.levels[number].outputs, recipe.dtypes, strict=True
            )
        ]

    @property
    def memory(self) -> Memory:
        return self.decided.memory

    @property
    def fingerprint(self) -> Json:
        return {
            "numerics": NUMERICS,
            "downsample": list(self.decided.pyramid.methods),
            "factors": [level.factors for level in self.levels],
        }

    def check(self, run: Run) -> None:
        if not run.resumes:
            return
        placed = self.target.level_places(self.decided.recipe, self.number)
        for data_idx, record in zip(self.members, self.records(run.pacing), strict=True):
            places = placed[data_idx]
            gone = next((place for place in places if existing_array(place) is None), None)
            if gone is not None and record.document() and len(record.receipts()):
                raise ValueError(
                    f"Level {self.number} of the output, {gone.name}, is gone, and the record says "
                    "that blocks of it are written. daskpatch.verify(…, repair=True, model=…) "
                    "writes them again; overwrite=True starts anew."
                )

    def following(self, before: Pass) -> LevelPass:
        decided = getattr(before, "decided", self.decided)
        return replace(self, decided=decided, finer=before.grids)

    def document(self, number: int, ends: Ends) -> Document:  # noqa: ARG002 (the interface)
        grid = self.grids[number]
        return PassDocument(
            name=self.name,
            created=time.time(),
            fingerprint=as_json(self.fingerprint),
            settings={"factors": list(self.levels[number].factors[0])},
            of=grid.shape,
            blocks=BlocksRecord(self.blocks.firsts[number], grid.cell_shape, grid.merge),
            arrays=tuple(self._arrays(number, self.places[number])),
            run_id=uuid4().hex,
        )

    def as_begun(self, documents: Sequence[Document]) -> LevelPass:
        return replace(self, begun=self.grids_of(documents))

    def job(self, ends: Ends, pacing: Pacing) -> Job:  # noqa: ARG002 (none before it is needed)
        decided, recipe = self.decided, self.decided.recipe
        io = decided.options.limits.io
        made = []
        for data_idx, level in zip(self.members, self.levels, strict=True):
            placed = self.target.level_places(recipe, self.number - 1)[data_idx]
            finer = tuple(_there(place).with_io(io) for place in placed)
            made.append(
                LevelArrays(
                    tuple(array.with_delays(pacing.delays) for array in finer),
                    self._created(data_idx, level, pacing),
                    level.outputs,
                    level.factors,
                )
            )
        return LevelJob(tuple(made), self.grids, decided.pyramid.methods)

    def below(self, index: int) -> Iterable[int]:
        number = bisect_right(self.blocks.firsts, index) - 1
        level, grid = self.levels[number], self.grids[number]
        before = _members(self.decided, self.number - 1)
        at = before.index(self.members[number])
        finer = self.finer[at]
        first = sum(each.n_cells for each in self.finer[:at])
        region = grid.cell(index - self.blocks.firsts[number])
        ranges = finer.ranges(finer_region(region, level.factors[0], finer.shape))
        return (first + i for i in finer.indices(ranges, tuple(range(len(ranges)))))

    def end(self, leavings: Leavings) -> None:  # noqa: ARG002 (its blocks leave nothing)
        self.show(self.members)

    def show(self, images: Collection[int]) -> None:
        """Name the level in the metadata of some images, so that viewers see it."""
        recipe, methods = self.decided.recipe, self.decided.pyramid.methods
        for data_idx, level in zip(self.members, self.levels, strict=True):
            if data_idx in images:
                list_level(self.target, recipe, level, methods, data_idx)


def level_passes(decided: Decided, finer: tuple[RegularGrid, ...]) -> Iterator[LevelPass]:
    """The passes over the levels of an output, whose prediction has these blocks."""
    for number in range(1, decided.pyramid.n_levels + 1):
        each = LevelPass(decided, number, finer)
        yield each
        finer = each.grids


def _members(decided: Decided, number: int) -> tuple[int, ...]:
    images = decided.pyramid.images
    return tuple(i for i, levels in enumerate(images) if len(levels) >= number)


def _there(place: Location) -> StoredArray:
    array = existing_array(place)
    if array is None:
        raise FileNotFoundError(
            f"{place.name} is gone, of which the next level is computed; daskpatch.verify(…, "
            "repair=True, model=…) writes it again."
        )
    return array


@dataclass(frozen=True)
class LevelArrays:
    """Of one image: the arrays of the level before, and those of a level."""

    finer: tuple[StoredArray, ...]
    arrays: tuple[StoredArray, ...]
    outputs: tuple[Dimensions, ...]
    factors: tuple[Factors, ...]


@dataclass(frozen=True)
class LevelJob:
    """Reads what a block stands for in the level before, makes it coarser, and writes it."""

    images: tuple[LevelArrays, ...]
    grids: tuple[RegularGrid, ...]
    methods: tuple[Downsample, ...]

    def place(self, index: int) -> tuple[LevelArrays, Region]:
        """The image of a block, and its region of that image's first array."""
        ends = (0, *accumulate(grid.n_cells for grid in self.grids))
        number = bisect_right(ends, index) - 1
        return self.images[number], self.grids[number].cell(index - ends[number])

    def __call__(self, index: int) -> Receipt:
        """Compute a block and write it.

        Raises
        ------
        WriteError
            If it cannot be written, also after a while.
        """
        begin = time.perf_counter()
        image, region = self.place(index)
        made, bytes_read = [], 0
        boxes = counterparts(image.outputs, region)
        for finer, box, factors, how in zip(
            image.finer, boxes, image.factors, self.methods, strict=True
        ):
            values = finer.read(finer_region(box, factors, finer.shape).slices)
            bytes_read += values.nbytes
            made.append(downsampled(values, factors, how))
        written = write_level(image.arrays, image.outputs, region, made)
        return written.as_receipt(index, begin, bytes_read=bytes_read)

    def look(self, blocks: Iterable[int]) -> None:
        """Look at the arrays of blocks; see `Watchful`."""
        touched = {id(image): image for image, _ in map(self.place, blocks)}
        for image in touched.values():
            look_at_all([*image.finer, *image.arrays])
