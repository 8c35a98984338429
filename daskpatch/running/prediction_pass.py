"""The prediction as a pass: compared with its record, cleared or joined, computed and written."""

from __future__ import annotations

import time
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import chain
from pathlib import PurePath
from typing import Any, ClassVar
from uuid import uuid4

from ..block import Workspace, block_grids
from ..deciding import Decided, Memory, Selection, decide_anew
from ..engine import Job
from ..geometry import RegularGrid
from ..image import Mask, look_at_all, with_delays
from ..model import ModelError, restore_threads
from ..output import (
    KnownLevels,
    Layout,
    Shown,
    Target,
    check_own,
    check_unedited,
    create_arrays,
    facts_of,
    is_lossy,
    list_labels,
)
from ..reading import ChunkCache
from ..receipts import (
    ArrayRecord,
    BlocksRecord,
    Document,
    Fingerprint,
    LayoutRecord,
    PlacedArray,
    Receipt,
    Record,
    RunDocument,
    SourceRecord,
    Totals,
    refuse_claimed,
)
from ..store import ChangedError, Location, Occupancy, StoredArray, existing_array
from ..support import DaemonThreads, Heap, Pacing, without_secrets
from ..values import Statistics
from .job import FusedLevel, PredictionJob
from .known_inputs import KnownInputs
from .level_set import LevelSet, level_set_of
from .passes import Ends, Leavings, Pass
from .portability import check_in_tasks, check_portable
from .provenance import provenance_of
from .read_by_model import check_not_read
from .run import Run
from .same_model import check_same_results, check_unchanged
from .same_run import check_begun_alike, fingerprint_of, identity_record_of
from .statistics_cache import StatisticsCache

Listed = list[bytes | None]
"""Of each image what is stored of it, encoded; None where that could not be listed."""

_READERS = 8


@dataclass(frozen=True)
class PredictionPass(Pass):
    """Computes a prediction and writes it.

    Parameters
    ----------
    measured
        Where statistics are kept that the record knows.
    side_by_side
        Whether several blocks are computed at a time in one process.
    fill_values
        Those that the arrays of each image were begun with; None where no record says them.
    is_repair
        Whether what is bad is computed again, for somebody who does not begin runs.
    is_vacant
        Whether nothing is at the output's place, which a run has cleared: it need not look.
    """

    name: ClassVar[str] = "prediction"
    is_first: ClassVar[bool] = True

    decided: Decided
    measured: StatisticsCache
    side_by_side: bool
    statistics: tuple[Statistics, ...] | None = None
    sources: list[SourceRecord] = field(default_factory=list, repr=False, compare=False)
    masks: list[SourceRecord] = field(default_factory=list, repr=False, compare=False)
    further: tuple[Pass, ...] = ()
    fill_values: tuple[tuple[str | None, ...], ...] = ()
    is_repair: bool = False
    is_vacant: bool = False

    @property
    def is_overwritable(self) -> bool:
        return not self.is_repair

    @cached_property
    def level_set(self) -> LevelSet:
        """The levels that are made of what it writes."""
        return level_set_of(self.decided)

    @property
    def target(self) -> Target:
        assert self.decided.target is not None, "checked before a run"
        return self.decided.target

    @property
    def grids(self) -> tuple[RegularGrid, ...]:  # type: ignore[override]
        return block_grids(self.decided.recipe, self.decided.layout.block_shape)

    @property
    def places(self) -> Sequence[Location]:
        return [arrays[0] for arrays in self.target.places(self.decided.recipe)]

    @property
    def arrays(self) -> Sequence[ArrayRecord]:
        root = self.target.location
        return [
            ArrayRecord(place.path_from(root), dims.axes, dims.shape)
            for places, outputs in zip(
                self.target.places(self.decided.recipe), self.decided.recipe.outputs, strict=True
            )
            for place, dims in zip(places, outputs, strict=True)
        ]

    @cached_property
    def blocks(self) -> Selection:
        return self.decided.selection

    @property
    def memory(self) -> Memory:
        return self.decided.memory

    def check(self, run: Run) -> None:
        try:
            look_at_all(with_delays(self.decided.recipe.images, run.pacing.delays))
            look_at_all([] if self.target.array is None else [self.target.array])
        except ChangedError as error:
            raise ChangedError(f"{error}. Make the plan anew.") from error
        if self.decided.identity is not None:
            check_unchanged(self.decided.identity)
            check_not_read(self.decided.identity, self.target)
        if run.resumes:
            self.check_resumable()
            self._check_there()
            return
        self.target.check()
        for record in self.target.claimed_inside(run.pacing):
            refuse_claimed(record, run.share)

    def beside(self, pacing: Pacing) -> Sequence[Record]:
        return self.target.records_beside(self.decided.recipe, pacing)

    def check_resumable(self) -> None:
        """Refuse to go on with a run that began otherwise.

        Raises
        ------
        ValueError
            If it did, or the model has no identity.
        FileExistsError
            If something is at the place, and no record.
        """
        self._check_told()
        is_taken = self.target.is_taken  # first: another part may be beginning the record just now
        begun = [Record(place).document() for place in self.places]
        # Of a series that lost members the others go on, and those are computed again.
        if is_taken and not any(begun):
            raise FileExistsError(f"{self.target.name} {self._why_not_begun()}")
        documents = {n: document for n, document in enumerate(begun) if document is not None}
        for number, document in documents.items():
            self._compared(number, document)
        self._check_results(documents.values())

    def _why_not_begun(self) -> str:
        """Why what is at the place is no output that this run could go on with."""
        if self.target.is_level_of_ours:
            image = PurePath(self.target.name).parent
            return (
                f"is an array of an OME-Zarr image that daskpatch wrote; name the image, {image}."
            )
        if not self.target.is_ours:
            return "exists, and daskpatch did not make it; give another output."
        there, paths = self.target.begun_with(), self.target.array_paths(self.decided.recipe)
        if there and list(there) != paths:
            was, now = (", ".join(path or "one" for path in each) for each in (there, paths))
            return (
                f"cannot be resumed: its run began with the arrays {was}, and the model gives "
                f"{now}. Give the model that it began with, its arrays in the same order, or "
                "overwrite=True to start anew."
            )
        return (
            "cannot be resumed: it has no record of a run of one image, or a series, that gave "
            "such arrays, or that was deleted. Give the source and the model that it began with, "
            "another output, or overwrite=True, alone, to start anew."
        )

    def _check_there(self) -> None:
        """Refuse an output that lacks an array whose blocks are written, by its record.

        What is made anew would be empty, and count as done. So is what somebody else put there.
        """
        if self.target.array is not None:
            return
        placed = self.target.places(self.decided.recipe)
        with DaemonThreads(_READERS, "daskpatch-io") as pool:
            arrays = list(pool.map(existing_array, chain.from_iterable(placed)))
        for array in filter(None, arrays):
            check_own(array)
        found = iter(arrays)
        for places in placed:
            # Of one that lacks its metadata alone the chunks are there, and are found again.
            gone = [place for place in places if next(found) is None and not place.is_occupied]
            # Without a record there are no receipts: that image was not begun.
            if gone and Record(places[0]).document() and len(Record(places[0]).receipts()):
                raise ValueError(
                    f"The output {gone[0].name} is gone, and the record says that blocks of it are "
                    "written. daskpatch.verify(…, repair=True, model=…) writes them again; "
                    "overwrite=True starts anew."
                )

    def _check_told(self) -> None:
        identity = self.decided.identity
        assert identity is not None, "looked at for every output"
        for what, code in identity.codes.items():
            if code.told is None:
                fix = (
                    "a function that holds nothing but plain values, or a value"
                    if what == "skip_empty"
                    else f"{what}_id, a text of your own that changes when the {what} does"
                )
                raise ValueError(
                    f"The {what} {code.shared.handle.name} has no identity that a later run could "
                    f"be compared with ({code.lacks}); give {fix}."
                )

    def check_in_tasks(self) -> None:
        check_in_tasks(self.decided.recipe.images)

    def check_portable(self) -> None:
        check_portable(self.decided.recipe, self.target)

    def cleared(self, records: Sequence[Record], *, keep: Collection[str]) -> PredictionPass:
        if self.target.array is None and not self.target.overwrite:
            self.target.check_vacant()
            return replace(self, is_vacant=True)
        self.target.announce_clearing()
        # Receipts first: cut short in between, they would speak of blocks that are gone.
        for record in records:
            record.clear(keep=keep)
        self.target.clear(self.decided.recipe)
        return replace(self, is_vacant=True)

    def document(self, number: int, ends: Ends) -> Document:
        grid = self.grids[number]
        statistics = ends.get("statistics")
        return RunDocument(
            run_id=uuid4().hex,
            created=time.time(),
            fingerprint=self._fingerprint(number, self.decided.layout),
            blocks=BlocksRecord(self.blocks.firsts[number], grid.cell_shape, grid.merge),
            source=without_secrets(self.decided.recipe.images[number].source),
            model=self.decided.recipe.model_name,
            is_series=self.decided.options.source.is_series,
            statistics=statistics[number] if isinstance(statistics, tuple) else None,
            identity=identity_record_of(self.decided),
            arrays={
                output.name: PlacedArray(path, fill_value)
                for output, path, fill_value in zip(
                    self.decided.recipe.stored,
                    self.target.array_paths(self.decided.recipe),
                    self.target.fill_values(self.decided.recipe),
                    strict=True,
                )
            },
            levels=tuple(level.factors[0] for level in self.decided.pyramid.images[number]),
            downsample=self.decided.pyramid.methods,
        )

    def as_begun(self, documents: Sequence[Document]) -> PredictionPass:
        """The prediction with the recorded layout in what was not asked for, and its statistics.

        Raises
        ------
        ValueError
            If it began otherwise.
        """
        decided = self.decided
        for number, document in enumerate(documents):
            decided = self._compared(number, document, decided)
        self._check_results(documents)
        decided = with_levels(decided, documents)
        found = [d.statistics for d in documents if isinstance(d, RunDocument)]
        statistics = tuple(one for one in found if one is not None)
        if len(statistics) == len(found) and decided.recipe.normalize.measures:
            self.measured.keep(statistics, self.inputs.of_images)
        else:
            statistics = ()
        names = [output.name for output in decided.recipe.stored]
        placed = [d.arrays for d in documents if isinstance(d, RunDocument)]
        return replace(
            self,
            decided=decided,
            statistics=statistics or None,
            sources=self.inputs.of_images,
            fill_values=tuple(
                tuple(arrays[n].fill_value if n in arrays else None for n in names)
                for arrays in placed
            ),
        )

    def with_further(self, further: Sequence[Pass]) -> PredictionPass:
        return replace(self, further=tuple(further))

    def _levels(self, pacing: Pacing) -> tuple[tuple[FusedLevel, ...], ...]:
        """Of each image the levels that its blocks make; viewers are told of them."""
        made: list[list[FusedLevel]] = [[] for _ in self.decided.recipe.images]
        for number, each in enumerate(self.further):
            fused = each.fused(pacing)
            # One level after another: each is made of the one before.
            along = {i: level for i, level in fused.items() if len(made[i]) == number}
            for data_idx, level in along.items():
                made[data_idx].append(level)
            each.show(along.keys())
        return tuple(map(tuple, made))

    def job(self, ends: Ends, pacing: Pacing) -> Job:
        decided = self.decided
        recipe = decided.recipe
        prediction = replace(
            recipe.prediction(self.statistics),  # which its record has
            images=with_delays(recipe.images, pacing.delays),
            occupancies=_occupancies(ends.get("stored")),
            masks=_known(self.inputs.masks_within(pacing), ends.get("mask")),
        )
        arrays = create_arrays(
            self.target,
            recipe,
            decided.layout,
            provenance=provenance_of(decided, self.statistics),
            io=decided.options.limits.io,
            shown=Shown(self._ranges(), tuple(decided.options.output.channel_names or ())),
            fill_values=self.fill_values,
            is_vacant=self.is_vacant,
        )
        return PredictionJob(
            prediction,
            decided.layout.block_shape,
            tuple(tuple(array.with_delays(pacing.delays) for array in each) for each in arrays),
            side_by_side=self.side_by_side,
            reads_back=any(map(is_lossy, chain.from_iterable(arrays))),
            levels=self._levels(pacing) if self.further else (),
            methods=decided.pyramid.methods,
            workspace=Workspace(
                ChunkCache(decided.memory.chunks), Heap(decided.memory.before_a_call)
            ),
        )

    def _ranges(self) -> dict[str, tuple[float, float]]:
        """What values of each array may be, by the trial, where they are the model's own."""
        decided = self.decided
        if decided.recipe.assembly.function is not None or decided.options.normalize.undo:
            return {}
        found = {name: one.range for name, one in decided.tiling.trial.samples.items()}
        return {name: each for name, each in found.items() if each is not None}

    def end(self, leavings: Leavings) -> None:  # noqa: ARG002 (its blocks leave nothing)
        # Again: somebody who knew a list from before may have written it since.
        list_labels(self.target)

    @contextmanager
    def computing(self) -> Iterator[None]:
        # Blocks compute with one thread each, which torch keeps for threads to come.
        before = restore_threads(None)
        try:
            yield
        finally:
            restore_threads(before)

    def notice(self, receipt: Receipt, totals: Totals) -> None:
        if receipt.nan_tiles and totals.nan_tiles == receipt.nan_tiles:
            are_floats = all(dtype.kind == "f" for dtype in self.decided.recipe.dtypes)
            of_post = "" if self.decided.options.output.function is None else ", of post"
            what = (
                "The model gave NaN where its input had none"
                if are_floats
                else f"NaN, of the model{of_post} or of its input, is stored as 0 in integers"
            )
            warnings.warn(
                f"{what}, first in block {receipt.index}; the report counts the tiles (nan_tiles).",
                RuntimeWarning,
                stacklevel=10,
            )

    def explained(self, error: BaseException) -> tuple[dict[str, Any] | None, BaseException]:
        if isinstance(error, ModelError):
            return error.tile, error.reason or error
        return None, error

    def changed(self, numbers: Sequence[int], pacing: Pacing) -> Mapping[int, str]:
        return self.inputs.changed(numbers, pacing)

    @cached_property
    def inputs(self) -> KnownInputs:
        """Its images and masks, and what is known of them."""
        return KnownInputs(
            self.decided.recipe.images,
            self.decided.recipe.masks,
            self.side_by_side,
            min(self.decided.options.limits.nbytes, self.memory.peak),
            self.sources,
            self.masks,
        )

    def fingerprints(self) -> list[Fingerprint]:
        """What the voxels of each image depend on, as a record of now would tell it."""
        layout = self.decided.layout
        return [self._fingerprint(n, layout) for n in range(len(self.decided.recipe.images))]

    def _fingerprint(self, number: int, layout: Layout) -> Fingerprint:
        mask = self.inputs.of_masks[number] if self.decided.recipe.masks else None
        return fingerprint_of(self.decided, number, self.inputs.of_images[number], mask, layout)

    def _compared(self, number: int, document: Document, decided: Decided | None = None) -> Decided:
        """What is decided, with the recorded layout in what was not asked for.

        Raises
        ------
        ValueError
            If the run began otherwise.
        """
        decided = self.decided if decided is None else decided
        target, output = self.target, decided.options.output
        if not isinstance(document, RunDocument):
            raise ValueError(f"The record of {target.name} is of another kind of pass.")
        begun, layout = document.fingerprint.layout, decided.layout
        if target.array is not None:
            self._check_given(target.array, document)
        # What the user did not ask for was the first machine's choice, and stays that.
        free = [name for name in LayoutRecord.__struct_fields__ if getattr(output, name) is None]
        taken_over = {name: getattr(begun, name) for name in free}
        current = self._fingerprint(number, replace(layout, **taken_over))
        check_begun_alike(
            document, current, decided, target.name, is_overwritable=self.is_overwritable
        )
        if LayoutRecord(**asdict(layout)) == begun:
            return decided
        if target.array is not None:  # chunks and shards are the array's own
            free = [name for name in free if name == "block_shape"]
        wanted = {name: taken_over[name] for name in free if taken_over[name] is not None}
        options = replace(decided.options, output=replace(output, **wanted))
        return decide_anew(decided, options, target)

    def _check_results(self, documents: Iterable[Document]) -> None:
        """Refuse a model that gives other values: after all else, which may be why it does."""
        current = self.decided.identity
        for document in documents:
            recorded = document.identity if isinstance(document, RunDocument) else None
            if recorded is not None and current is not None:
                check_same_results(
                    recorded, current, self.target.name, is_overwritable=self.is_overwritable
                )

    def _check_given(self, array: StoredArray, document: RunDocument) -> None:
        """Refuse an array of the user's that was edited since the run began."""
        (told,), dims = document.fingerprint.output.values(), self.decided.recipe.outputs[0][0]
        layout = document.fingerprint.layout
        placed = next(iter(document.arrays.values()), None)
        facts = facts_of(
            array,
            dims.shape,
            told.dtype,
            layout=Layout(layout.chunks, layout.shards, layout.block_shape),
            fill_value=None if placed is None else placed.fill_value,
        )
        check_unedited(array.location, facts)


def with_levels(decided: Decided, documents: Sequence[Document | None]) -> Decided:
    """The same, with the recorded levels: what sources say of their scale may be edited."""
    recorded = {
        number: document
        for number, document in enumerate(documents)
        if isinstance(document, RunDocument) and document.levels is not None
    }
    factors = {number: tuple(document.levels or ()) for number, document in recorded.items()}
    methods: Any = next((d.downsample for d in recorded.values() if d.downsample), ())
    planned = decided.pyramid
    if methods in ((), planned.methods) and all(
        tuple(level.factors[0] for level in planned.images[number]) == levels
        for number, levels in factors.items()
    ):
        return decided
    known = KnownLevels(factors, methods)
    return decide_anew(decided, decided.options, decided.target, levels=known)


def _known(masks: Sequence[Mask], read: object) -> tuple[Mask, ...]:
    """Masks with what a pass has read of them."""
    if not isinstance(read, list):
        return tuple(masks)
    cells = map(Occupancy.of_bytes, read)
    return tuple(replace(mask, cells=each) for mask, each in zip(masks, cells, strict=True))


def _occupancies(listed: object) -> tuple[Occupancy | None, ...] | None:
    if not isinstance(listed, list):
        return None
    return tuple(one and Occupancy.of_bytes(one) for one in listed)
