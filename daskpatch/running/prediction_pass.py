"""The prediction as a pass: compared with its record, cleared or joined, computed and written."""

from __future__ import annotations

import time
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from typing import Any, ClassVar
from uuid import uuid4

from ..block import Workspace, block_grids
from ..deciding import Decided, Memory, Selection
from ..engine import Job
from ..geometry import RegularGrid
from ..image import Mask, look_at_all, with_delays
from ..model import ModelError, restore_threads
from ..output import (
    Shown,
    Target,
    create_arrays,
    is_lossy,
    list_labels,
)
from ..reading import ChunkCache, SampledChunks
from ..receipts import (
    REPAIRED,
    RESUMED,
    ArrayRecord,
    BlocksRecord,
    Document,
    Fingerprint,
    GoingOn,
    PlacedArray,
    Receipt,
    Record,
    RunDocument,
    SourceRecord,
    Totals,
    refuse_claimed,
)
from ..store import ChangedError, Location, Occupancy
from ..support import Heap, Pacing, without_secrets
from ..values import Statistics
from .job import FusedLevel, PredictionJob
from .known_inputs import KnownInputs
from .level_set import LevelSet, level_set_of
from .passes import Ends, Leavings, Pass
from .portability import check_in_tasks, check_portable
from .provenance import provenance_of
from .read_by_model import check_not_read
from .resumption import Resumption
from .run import Run
from .same_model import check_unchanged
from .same_run import fingerprint_of, identity_record_of
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
    sampled
        Chunks that were read to tell images from others; those that are kept serve its blocks.
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
    sampled: SampledChunks = field(default_factory=SampledChunks, repr=False, compare=False)

    @property
    def going_on(self) -> GoingOn:
        return REPAIRED if self.is_repair else RESUMED

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
        return self.target.record_places(self.decided.recipe)

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
            identity = self.decided.identity
            if identity is not None and identity.seen is not None:
                self.inputs.check_seen(identity.seen, run.pacing)
        except ChangedError as error:
            raise ChangedError(f"{error}. Make the plan anew.") from error
        if identity is not None:
            check_unchanged(identity)
            check_not_read(identity, self.target)
        self.target.check_folders()
        if run.resumes:
            self.resumption.check()
            self.resumption.check_there()
            return
        self.target.check()
        for record in self.target.claimed_inside(run.pacing):
            refuse_claimed(record, run.share)

    def beside(self, pacing: Pacing) -> Sequence[Record]:
        return self.target.records_beside(self.decided.recipe, pacing)

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
            fingerprint=fingerprint_of(self.decided, self.inputs, number, self.decided.layout),
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
        decided = self.resumption.decided_of(documents)
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
                ChunkCache(decided.memory.chunks, self.sampled.take()),
                Heap(decided.memory.before_a_call),
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
            self.sampled,
        )

    @property
    def resumption(self) -> Resumption:
        """What it is compared with, where it goes on with a run."""
        return Resumption(self.decided, self.inputs, self.going_on)

    def fingerprints(self) -> list[Fingerprint]:
        """What the voxels of each image depend on, as a record of now would tell it."""
        layout, n_images = self.decided.layout, len(self.decided.recipe.images)
        return [fingerprint_of(self.decided, self.inputs, n, layout) for n in range(n_images)]


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
