"""A level of a pyramid as a pass: computed from the level before, block by block."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, compress
from uuid import uuid4

from ..deciding import Memory
from ..engine import Job
from ..geometry import (
    Dimensions,
    Factors,
    Region,
    RegularGrid,
    counterparts,
    differing_scales,
    finer_region,
)
from ..image import look_at_all, why_not_portable
from ..output import Level, create_level, list_level
from ..receipts import (
    RESUMED,
    ArrayRecord,
    BlocksRecord,
    Document,
    GoingOn,
    Json,
    PassDocument,
    Receipt,
    Record,
    as_json,
)
from ..store import Location, StoredArray, existing_array
from ..support import Pacing, without_secrets
from ..values import Downsample, downsampled
from .job import FusedLevel, write_level
from .level_set import LevelSet, Origin
from .passes import Ends, Leavings, Pass
from .run import Run

LEVEL = "level-"
"""What the names of these passes begin with."""

NUMERICS, NUMERICS_OF_MODE = 1, 2
"""Raised when the same level before would give other voxels; apart for the mode of floats."""


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

    level_set: LevelSet
    number: int
    finer: tuple[RegularGrid, ...]
    begun: tuple[RegularGrid, ...] | None = None

    @property
    def name(self) -> str:
        return f"{LEVEL}{self.number}"

    @cached_property
    def members(self) -> tuple[int, ...]:
        """The images that have the level."""
        return tuple(self.level_set.having(self.number))

    @property
    def levels(self) -> list[Level]:
        """Of each image that has it."""
        return list(self.level_set.having(self.number).values())

    @property
    def _origin(self) -> Origin | None:
        """What it is made of, where that is an image that is there, which no pass writes."""
        is_lowest = self.number == self.level_set.numbers[0]
        return self.level_set.origin if is_lowest else None

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
        levels = self.level_set
        places = levels.placed[self.number][data_idx]
        arrays = create_level(places, level, levels.dtypes, levels.zarr_format, io=levels.io)
        grid = self.grids[self.members.index(data_idx)]
        unit = arrays[0].shards or arrays[0].chunks
        for cell, u, count in zip(grid.cell_shape, unit, grid.counts, strict=True):
            if count > 1 and cell % u:
                raise ValueError(
                    f"Level {self.number} of the output, {arrays[0].location.name}, was edited "
                    f"since it was begun: its blocks of {grid.cell_shape} are no whole {unit}. Put "
                    f"its metadata right{self.going_on.or_anew}."
                )
        return tuple(array.with_delays(pacing.delays) for array in arrays)

    @property
    def places(self) -> Sequence[Location]:
        return [self.level_set.records[i] for i in self.members]

    @property
    def arrays(self) -> Sequence[ArrayRecord]:
        return [array for number in range(len(self.members)) for array in self._arrays(number)]

    def _arrays(self, number: int, start: Location | None = None) -> list[ArrayRecord]:
        """The arrays of an image, by the way from a place: by default from the output."""
        levels = self.level_set
        places = levels.placed[self.number][self.members[number]]
        root = levels.root if start is None else start
        outputs = self.levels[number].outputs
        return [
            ArrayRecord(
                place.path_from(root),
                dims.axes,
                dims.shape,
                dtype=dtype.str,
                fill_value=bytes(dtype.itemsize).hex(),
                scale=scale,
            )
            for place, dims, dtype, scale in zip(
                places, outputs, levels.dtypes, differing_scales(outputs), strict=True
            )
        ]

    @property
    def memory(self) -> Memory:
        return self.level_set.memory

    @property
    def fingerprint(self) -> Json:
        return {
            "numerics": NUMERICS_OF_MODE if self._is_mode_of_floats else NUMERICS,
            "downsample": list(self.level_set.methods),
            "factors": [level.factors for level in self.levels],
            **({} if self._origin is None else {"source": self._origin.identity}),
        }

    @property
    def _is_mode_of_floats(self) -> bool:
        levels = self.level_set
        of_floats = (dtype.kind == "f" for dtype in levels.dtypes)
        return "mode" in compress(levels.methods, of_floats)

    def beside(self, pacing: Pacing) -> Sequence[Record]:
        places = () if self._origin is None else self._origin.beside
        return [Record(place, pacing=pacing) for place in places]

    def changed(self, numbers: Sequence[int], pacing: Pacing) -> Mapping[int, str]:
        origin = self._origin
        if origin is None or origin.looked_at(pacing) == origin.identity:
            return {}
        told = (
            f"{origin.image.source} was made anew during the run, or lost chunks: its voxels "
            "are others, and what the run wrote from it does not count"
        )
        return dict.fromkeys(numbers, told)

    def check_portable(self) -> None:
        if self._origin is None:
            return
        root = self.level_set.root
        reason = why_not_portable(self._origin.image)
        if reason is None and root.lives_in_this_process:
            reason = f"{root.name} lives in this process's memory"
        if reason is not None:
            raise ValueError(
                f"Level {self.number} cannot be built by workers: {reason}; or run with threads "
                "(threads=…)."
            )

    def check(self, run: Run) -> None:
        if not run.resumes:
            return
        placed = self.level_set.placed[self.number]
        for data_idx, record in zip(self.members, self.records(run.pacing), strict=True):
            places = placed[data_idx]
            gone = next((place for place in places if existing_array(place) is None), None)
            if gone is not None and record.document() and len(record.receipts()):
                raise ValueError(
                    f"Level {self.number} of the output, {gone.name}, is gone, and the record says "
                    f"that blocks of it are written. {self._repair} writes them again."
                )

    @property
    def going_on(self) -> GoingOn:
        return RESUMED if self.level_set.origin is None else GoingOn(anew="")

    @property
    def _repair(self) -> str:
        model = "" if self.level_set.origin is not None else ", model=…"
        return f"daskpatch.verify(…, repair=True{model})"

    def following(self, before: Pass) -> LevelPass:
        level_set = getattr(before, "level_set", self.level_set)
        return replace(self, level_set=level_set, finer=before.grids)

    def document(self, number: int, ends: Ends) -> Document:  # noqa: ARG002 (the interface)
        grid = self.grids[number]
        return PassDocument(
            name=self.name,
            created=time.time(),
            fingerprint=as_json(self.fingerprint),
            settings={"factors": list(self.levels[number].factors[0]), **self._told(number)},
            of=grid.shape,
            blocks=BlocksRecord(self.blocks.firsts[number], grid.cell_shape, grid.merge),
            arrays=tuple(self._arrays(number, self.places[number])),
            run_id=uuid4().hex,
        )

    def _told(self, number: int) -> Json:
        """What no run document tells of levels: all that are built, and of what."""
        if self._origin is None:
            return {}
        levels = self.level_set.images[self.members[number]]
        return {
            "levels": [list(level.factors[0]) for level in levels],
            "source": without_secrets(self._origin.image.source),
            "axes": levels[0].outputs[0].axes,
        }

    def as_begun(self, documents: Sequence[Document]) -> LevelPass:
        return replace(self, begun=self.grids_of(documents))

    def job(self, ends: Ends, pacing: Pacing) -> Job:  # noqa: ARG002 (none before it is needed)
        levels = self.level_set
        made = []
        for data_idx, level in zip(self.members, self.levels, strict=True):
            placed = levels.placed[self.number - 1][data_idx]
            finer = tuple(self._there(place).with_io(levels.io) for place in placed)
            made.append(
                LevelArrays(
                    tuple(array.with_delays(pacing.delays) for array in finer),
                    self._created(data_idx, level, pacing),
                    level.outputs,
                    level.factors,
                )
            )
        return LevelJob(tuple(made), self.grids, levels.methods)

    def _there(self, place: Location) -> StoredArray:
        array = existing_array(place)
        if array is None:
            raise FileNotFoundError(
                f"{place.name} is gone, of which the next level is computed; {self._repair} "
                "writes it again."
            )
        return array

    def below(self, index: int) -> Iterable[int]:
        number = bisect_right(self.blocks.firsts, index) - 1
        level, grid = self.levels[number], self.grids[number]
        at = self._before.index(self.members[number])
        finer = self.finer[at]
        first = sum(each.n_cells for each in self.finer[:at])
        region = grid.cell(index - self.blocks.firsts[number])
        ranges = finer.ranges(finer_region(region, level.factors[0], finer.shape))
        return (first + i for i in finer.indices(ranges, tuple(range(len(ranges)))))

    def end(self, leavings: Leavings) -> None:  # noqa: ARG002 (its blocks leave nothing)
        self.show(self.members)

    @cached_property
    def _before(self) -> tuple[int, ...]:
        """The images that have the level before: full resolution all of them."""
        is_built = self.number - 1 in self.level_set.numbers
        images = range(len(self.level_set.images))
        return tuple(self.level_set.having(self.number - 1) if is_built else images)

    def show(self, images: Collection[int]) -> None:
        """Name the level in the metadata of some images, so that viewers see it."""
        levels = self.level_set
        attributes = None if levels.origin is None else levels.origin.attributes
        for data_idx, level in zip(self.members, self.levels, strict=True):
            if data_idx in images:
                list_level(
                    levels.placed[self.number - 1][data_idx],
                    levels.placed[self.number][data_idx],
                    level,
                    levels.methods,
                    levels.zarr_format,
                    attributes=attributes,
                )


def level_passes(level_set: LevelSet, finer: tuple[RegularGrid, ...]) -> Iterator[LevelPass]:
    """The passes over levels, of which the first is made of these blocks."""
    for number in level_set.numbers:
        each = LevelPass(level_set, number, finer)
        yield each
        finer = each.grids


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
            values = values.astype(values.dtype.newbyteorder("="), copy=False)
            bytes_read += values.nbytes
            made.append(downsampled(values, factors, how))
        written = write_level(image.arrays, image.outputs, region, made)
        return written.as_receipt(index, begin, bytes_read=bytes_read)

    def look(self, blocks: Iterable[int]) -> None:
        """Look at the arrays of blocks; see `Watchful`."""
        touched = {id(image): image for image, _ in map(self.place, blocks)}
        for image in touched.values():
            look_at_all([*image.finer, *image.arrays])
