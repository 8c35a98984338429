"""The job of a prediction: blocks computed and written, one call each."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..block import (
    ChunkNeeds,
    OutputBox,
    Prediction,
    Tally,
    Workspace,
    block_grid,
    block_grids,
    fill_region,
    is_known_empty,
)
from ..engine import Job, Outlook, is_written_off
from ..geometry import Dimensions, Factors, Region, RegularGrid, counterparts
from ..image import look_at_all
from ..model import single_threaded
from ..reading import MOST_AHEAD, is_read_ahead, reading_ahead
from ..receipts import ClaimedError, Permit, Receipt, digests_of
from ..store import Flushable, StoredArray, guarded_by
from ..support import cause_of, said_by
from ..values import Downsample, downsampled
from .foresight import Foresight
from .unflushed import Unflushed

_REMEMBERED = 4096
"""Blocks of which it is remembered whether they are empty: those around one are asked for again."""

BlockReceipts = Receipt | tuple[Receipt, ...]
"""What a job gives: the receipt of its block, and those of blocks of further passes that it did."""


class WriteError(OSError):
    """The output cannot be written: no block after this one will fare better."""


class GivenUpError(RuntimeError):
    """Nobody waits for what a block would write: it is others' by now."""


class Flag:
    """Why no block is to begin, or to be written, any more.

    Seen by the threads of a process; travels unset.
    """

    def __init__(self) -> None:
        self.reason = ""

    def __reduce__(self) -> tuple[type[Flag], tuple[()]]:
        return Flag, ()


@dataclass(frozen=True)
class Permitted:
    """A job that writes only as long as somebody waits for it, and its claim holds.

    A run that was given up may leave threads in the model, and a call that timed out one: they
    must not write behind the back of whoever resumed it.

    `unflushed` is what its blocks wrote, None where nothing needs to outlast the machine.
    `foresight` is for the processes of workers, None where there are none.
    """

    job: Job
    permit: Permit
    unflushed: Unflushed | None = None
    foresight: Foresight | None = None
    abandoned: Flag = field(default_factory=Flag, repr=False)
    broken: Flag = field(default_factory=Flag, repr=False)

    def __call__(self, index: int) -> BlockReceipts:
        if self.broken.reason:
            raise WriteError(self.broken.reason)
        try:
            with guarded_by(self):
                done: BlockReceipts = self.job(index)
        except WriteError as error:
            # The next one would wait for the store as long, before the driver can stop it.
            self.broken.reason = str(error)
            raise
        return done

    def foresee(self, stretch: Sequence[int], outlook: Outlook | None) -> None:
        """See `engine.Foreseeing`."""
        if self.foresight is not None:
            self.foresight.foresee(stretch, outlook)

    def settle(self) -> None:
        """Flush what was written where nobody else can; see `engine.Settling`.

        Raises
        ------
        WriteError
            If it may be lost.
        """
        if self.unflushed is None or not self.unflushed.is_far:
            return
        try:
            self.flush()
        except WriteError as error:
            self.broken.reason = str(error)
            raise

    def __enter__(self) -> None:
        if self.abandoned.reason or is_written_off():
            raise GivenUpError("The run was given up; its output may be another's by now.")
        self.permit.__enter__()

    def __exit__(self, *error: object) -> None:
        self.permit.__exit__(*error)

    def wrote(self, place: Flushable, names: Collection[str]) -> None:
        if self.unflushed is not None:
            self.unflushed.add(place, names)

    def begin_flush(self) -> None:
        """Start to flush what blocks wrote in this process, without waiting for it."""
        if self.unflushed is not None:
            self.unflushed.begin()

    def flush(self) -> None:
        """See that what blocks wrote in this process outlasts the machine.

        Raises
        ------
        WriteError
            If it may be lost.
        """
        try:
            if self.unflushed is not None:
                self.unflushed.flush()
        except Exception as error:  # noqa: BLE001 (each kind of store raises its own)
            raise WriteError(
                f"What was written may be lost, it could not be flushed: {type(error).__name__}: "
                f"{said_by(error)}"
            ) from cause_of(error)

    def abandon(self) -> None:
        """Write no more, in this process: the run is over, and nobody waits for its last blocks."""
        self.abandoned.reason = "the run is over"
        if self.foresight is not None:
            self.foresight.end()
        self.permit.end()


@dataclass(frozen=True)
class FusedLevel:
    """Arrays of a level of one image, whose blocks are made by those of the prediction.

    `first` is the flat index of the image's first block, in the pass over that level.
    """

    arrays: tuple[StoredArray, ...]
    outputs: tuple[Dimensions, ...]
    factors: tuple[Factors, ...]
    grid: RegularGrid
    first: int


@dataclass(frozen=True)
class PredictionJob:
    """A prediction and where its blocks are written; the same value for all blocks of a run.

    `targets` holds, per image, the arrays that are stored. Where they give back other values than
    they are given, `reads_back`: the digest is of what was read then. `levels` holds, per image,
    those that its blocks make beside their own; `methods`, per array, how.
    """

    prediction: Prediction
    block_shape: tuple[int, ...]
    targets: tuple[tuple[StoredArray, ...], ...]
    side_by_side: bool
    reads_back: bool = False
    levels: tuple[tuple[FusedLevel, ...], ...] = ()
    methods: tuple[Downsample, ...] = ()
    workspace: Workspace = field(default_factory=Workspace, repr=False)
    _ends: tuple[int, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        grids = block_grids(self.prediction, self.block_shape)
        object.__setattr__(self, "_ends", (0, *accumulate(g.n_cells for g in grids)))

    def place(self, index: int) -> tuple[int, Region]:
        """The image of a block, and its region of that image's first array."""
        data_idx = bisect_right(self._ends, index) - 1
        grid = block_grid(self.prediction, data_idx, self.block_shape)
        return data_idx, grid.cell(index - self._ends[data_idx])

    def __call__(self, index: int) -> tuple[Receipt, ...]:
        """Compute a block and write it; its receipt, and those of levels that it makes.

        Raises
        ------
        WriteError
            If the output cannot be written, also after a while.
        """
        try:
            return self._computed(index)
        finally:
            self.workspace.chunks.finish(index)

    def _computed(self, index: int) -> tuple[Receipt, ...]:
        begin = time.perf_counter()
        data_idx, region = self.place(index)
        further: tuple[Receipt, ...] = ()
        tally = Tally()
        with ExitStack() as lent:
            boxes = [lent.enter_context(box) for box in self._boxes(data_idx, region)]
            # In each thread: torch keeps the number of its own threads per calling thread.
            if self.side_by_side:
                single_threaded()
            fill_region(self.prediction, data_idx, boxes, self.workspace, tally, index)
            empty = 0 if tally.samples else tally.empty
            computed = time.perf_counter()
            for box in boxes:
                write_block(self.targets[data_idx][box.output], box.region, box.values)
            *partial, digest = digests_of(self._as_stored(data_idx, box) for box in boxes)
            # Before its levels: what is made of a block is not older than it.
            written, finished = time.perf_counter(), time.time()
            if self.levels and self.levels[data_idx]:
                values = [box.values for box in boxes]
                at = index - self._ends[data_idx]
                levels = self._make_levels(data_idx, at, values)
                further = tuple(replace(r, absent=tally.absent, empty=empty) for r in levels)
        dims = self.prediction.outputs[data_idx][0]
        channels = dims.channel_part(region)
        fetched, again = self.workspace.chunks.news()
        own = Receipt(
            index=index,
            digest=digest,
            tiles=tally.tiles,
            nan_tiles=tally.nan_tiles,
            voxels=region.n_voxels // (channels.stop - channels.start),
            bytes_read=tally.bytes_read,
            bytes_written=sum(box.values.nbytes for box in boxes),
            seconds=time.perf_counter() - begin,
            finished=finished,
            absent=tally.absent,
            empty=empty,
            partial=tuple(partial),
            reading=tally.reading,
            model=tally.model,
            writing=written - computed,
            fetched=fetched,
            again=again,
        )
        return own, *further

    def _make_levels(
        self, data_idx: int, index: int, values: list[NDArray[Any]]
    ) -> Iterator[Receipt]:
        """Make a block coarser, level by level, and write that."""
        for level in self.levels[data_idx]:
            begin = time.perf_counter()
            region = level.grid.cell(index)
            values = [
                downsampled(each, factors, how)
                for each, factors, how in zip(values, level.factors, self.methods, strict=True)
            ]
            yield write_level(level.arrays, level.outputs, region, values).as_receipt(
                level.first + index, begin
            )

    def _boxes(self, data_idx: int, region: Region) -> Iterator[AbstractContextManager[OutputBox]]:
        """The block's box of each array, with room for its voxels."""
        places = counterparts(self.prediction.outputs[data_idx], region)
        for output, place in enumerate(places):
            yield self._box(output, place)

    @contextmanager
    def _box(self, output: int, place: Region) -> Iterator[OutputBox]:
        with self.workspace.buffers.lend(place.shape, self.prediction.dtypes[output]) as values:
            yield OutputBox(output, place, values)

    @contextmanager
    def expecting(self, is_left: Callable[[int], bool], coming: Iterable[int]) -> Iterator[None]:
        """Keep chunks for the blocks that will come, and read ahead for them; see `Provident`."""
        self.workspace.heap.begin()
        prediction, chunks = self.prediction, self.workspace.chunks

        is_empty = lru_cache(_REMEMBERED)(self.is_empty)

        def will_read(index: int) -> bool:
            # Those that are empty would hold what they do not read until they come.
            return is_left(index) and not is_empty(index)

        reads = is_left if prediction.reads_all else will_read
        needs = ChunkNeeds(prediction, self.block_shape, reads, prediction.occupancy)
        chunks.count(needs)
        ahead = coming if prediction.is_told_ahead else ()
        try:
            with reading_ahead(chunks, prediction.images, needs, ahead):
                yield
        finally:
            chunks.clear()  # a worker may keep what it ran for as long as it lives

    def expects_others(self) -> None:
        """See `Provident`."""
        self.workspace.chunks.recount()

    @property
    def n_ahead(self) -> int:
        """See `Provident`."""
        prediction = self.prediction
        reads = prediction.is_told_ahead and any(map(is_read_ahead, prediction.images))
        return MOST_AHEAD if reads else 0

    def is_empty(self, index: int) -> bool:
        """Whether nothing of a block is given to the model; see `Sparse`."""
        return is_known_empty(self.prediction, *self.place(index))

    def look(self, blocks: Iterable[int]) -> None:
        """Look at the images and arrays of blocks; see `Watchful`."""
        touched = {self.place(index)[0] for index in blocks}
        look_at_all([self.prediction.images[i] for i in touched])
        look_at_all([self.prediction.masks[i].image for i in touched if self.prediction.masks])
        look_at_all([array for i in touched for array in self.targets[i]])
        if self.levels:
            look_at_all([a for i in touched for level in self.levels[i] for a in level.arrays])

    def _as_stored(self, data_idx: int, box: OutputBox) -> NDArray[np.generic]:
        if not self.reads_back:
            return box.values
        target = self.targets[data_idx][box.output]
        return target.read(box.region.slices).astype(target.dtype.newbyteorder("="), copy=False)


@dataclass(frozen=True)
class WrittenLevel:
    """What was written of a level, in numbers."""

    digests: tuple[int, ...]
    voxels: int
    nbytes: int

    def as_receipt(self, index: int, begin: float, *, bytes_read: int = 0) -> Receipt:
        *partial, digest = self.digests
        return Receipt(
            index=index,
            digest=digest,
            tiles=0,
            nan_tiles=0,
            voxels=self.voxels,
            bytes_read=bytes_read,
            bytes_written=self.nbytes,
            seconds=time.perf_counter() - begin,
            finished=time.time(),
            partial=tuple(partial),
        )


def write_level(
    arrays: Sequence[StoredArray],
    outputs: Sequence[Dimensions],
    region: Region,
    values: Sequence[NDArray[Any]],
) -> WrittenLevel:
    """Write a block of a level: `region` is that of its first array.

    Raises
    ------
    WriteError
        If it cannot be written, also after a while.
    """
    for array, box, each in zip(arrays, counterparts(outputs, region), values, strict=True):
        write_block(array, box, each)
    channels = outputs[0].channel_part(region)
    return WrittenLevel(
        digests_of(values),
        region.n_voxels // (channels.stop - channels.start),
        sum(each.nbytes for each in values),
    )


def write_block(target: StoredArray, region: Region, values: NDArray[np.generic]) -> None:
    """Write a block's voxels, which are settled in place.

    Raises
    ------
    WriteError
        If they cannot be written, also after a while.
    """
    if not region.n_voxels:  # of a coarse array, at the end of a box
        return
    target.settle(values)
    try:
        target.write(region.slices, values)
    except (ClaimedError, GivenUpError):
        raise
    except Exception as error:  # noqa: BLE001 (each back end raises its own kinds)
        raise WriteError(
            f"{target.location.name} could not be written: {type(error).__name__}: {said_by(error)}"
        ) from cause_of(error)
