"""The plan: everything that is decided, and what can be done with it."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any, TypedDict, Unpack

from ..block import Prediction
from ..deciding import Decided, decide_anew
from ..engine import Client
from ..geometry import Sizes
from ..image import look_at_all
from ..output import as_target
from ..receipts import Record, Report
from ..running import (
    Pass,
    PredictionPass,
    Run,
    RunWords,
    StatisticsCache,
    carry_out,
    check_crew,
    crew_of,
    passes_in_order,
)
from ..statistics import measure
from ..store import StoreLike
from ..support import (
    Options,
    is_integer,
    refuse_unknown,
    shown,
    taken,
    with_signature,
    with_words,
)
from ..values import Statistics
from ..view import View, as_dask
from .figures import Figures
from .labelled import as_xarray
from .naming import name_of
from .picture import picture_of
from .summary import as_dict, as_html, as_text


class ToWords(TypedDict, total=False):
    """The flat words that `Plan.to` takes."""

    chunks: Sizes | None
    shards: Sizes | None
    block_shape: Sizes | None
    overwrite: bool
    memory_limit: int | float | str | None
    threads: int | None
    io: str
    cache: int | float | str | None
    durable: bool


class Plan(Figures):
    """What will happen and what it costs; made by `daskpatch.plan`.

    Nothing is written before `run`. `array` (or `arrays`, for a series) is the prediction as a
    lazy Dask array, `view` as an array-like without Dask. `to` gives the same plan for another
    output or other limits. Its figures are those of `Figures`.
    """

    def __init__(self, decided: Decided, measured: StatisticsCache | None = None) -> None:
        super().__init__(decided)
        self._measured = StatisticsCache() if measured is None else measured
        self._has_begun_anew = False

    @property
    def statistics(self) -> tuple[Statistics, ...] | None:
        """What each image is normalised by, measured when it is first asked for; else None.

        Raises
        ------
        OSError
            If an image cannot be read.
        """
        if not self._decided.recipe.normalize.measures:
            return None
        if self._measured.statistics is None:
            look_at_all(self.images)
            # Of which images they are, before they are read: a run compares it.
            known = PredictionPass(self._decided, self._measured, side_by_side=True).inputs
            sources = known.of_images
            self._measured.keep(self._measure(), sources)
        return self._measured.statistics

    @cached_property
    def views(self) -> tuple[View, ...]:
        """The predictions as array-likes: one per image, or as many as the model gives arrays.

        Images that are normalised by what they are like are read once for it.
        """
        return tuple(
            View(self._prediction, data_idx, self.block_shape, output)
            for data_idx in range(len(self.images))
            for output in range(len(self.output_names))
        )

    @property
    def view(self) -> View:
        """The prediction as an array-like: a slice of it costs only its tiles."""
        self._check_single("views")
        return self.views[0]

    @cached_property
    def arrays(self) -> tuple[Any, ...]:
        """The predictions as lazy Dask arrays, as `views`.

        Those of equal plans have equal names, where source and model have an identity: then a
        sample of the source is read when they are first asked for.
        """
        name = name_of(self._decided)
        return tuple(
            as_dask(view, name and f"{name}-{number}") for number, view in enumerate(self.views)
        )

    @property
    def array(self) -> Any:
        """The prediction as a lazy `dask.array.Array`: one task per block."""
        self._check_single("arrays")
        return self.arrays[0]

    def to_xarray(self, number: int | None = None) -> Any:
        """The prediction as a lazy `xarray.DataArray`, with dims, coordinates and units.

        Dims are called as the source's array calls its axes, else "t", "c", "z", "y", "x".
        Coordinates are those of the source, where it has some; names of channels where there are
        as many.

        Parameters
        ----------
        number
            Of the array among `arrays`, for a series or a model that gives several.

        Raises
        ------
        ImportError
            If xarray is missing.
        ValueError
            If there are several arrays, or there is no such one.

        Examples
        --------
        >>> import numpy as np, daskpatch
        >>> tiled = daskpatch.plan(np.zeros((64, 64)), np.negative, axes="YX", patch_size=32)
        >>> tiled.to_xarray().dims
        ('y', 'x')
        """
        if number is None:
            self._check_single("to_xarray(number)")
        elif not (is_integer(number) and 0 <= number < len(self.views)):
            raise ValueError(
                f"number is {shown(number)}; needed is that of an array, from 0 to "
                f"{len(self.views) - 1}."
            )
        index = number or 0
        place = divmod(index, len(self.output_names))
        return as_xarray(self._decided, *place, self.arrays[index])

    @with_signature(Run)
    def run(
        self,
        run: Run | Client | None = None,
        /,
        *,
        threads: int | None = None,
        **words: Unpack[RunWords],
    ) -> Report:
        """Write the prediction.

        A block that fails is tried again, then set aside; the others are written, and `RunFailed`
        is raised at the end. Whatever ends a run, `resume=True` goes on with it.

        Parameters
        ----------
        run
            How: a `Run`; or its client alone, beside flat words: `resume`, `part`, `region`,
            `progress`, `client`, `retries`, `resources`, `patience`, `timeout`, `interruption`,
            `pacing`. What a plan with `overwrite` began, `resume` goes on with.
        threads
            Of this process; by default the plan's. Not with a client, whose workers have theirs.

        Raises
        ------
        ValueError
            If the plan has no output, the options don't fit, or the run to resume began with
            another source, tiling, model or layout; the message lists what differs.
        FileExistsError
            If the output is taken.
        ClaimedError
            If somebody else writes the output; a `RuntimeError`.
        MemoryError
            If the peak is above what the machine or a worker has.
        RunFailed
            If blocks failed, or the output could not be written; what was written stays.
        """
        left: dict[str, Any] = dict(words)
        refuse_unknown(left, "run", Run)
        how = taken(Run, run, left, "run", plain="client")
        decided = self._decided
        if decided.target is None:
            raise ValueError(
                "The plan has no output to write to, output is None; give one to daskpatch.plan."
            )
        if how.resumes and decided.target.overwrite:
            if how.part is not None:
                refuse_both(self, how)
            if self._has_begun_anew and not self._is_there_to_go_on():
                # It ended before it had replaced what was there.
                return self.run(replace(how, resume=False), threads=threads)
            # What is there is what this plan began, or `check` says what differs.
            return self.to(overwrite=False).run(how, threads=threads)
        self._has_begun_anew = decided.target.overwrite
        crew = crew_of(how, threads, self.threads, images=self.images)
        if how.region is not None:
            decided.selection.within(how.region)  # refused before anything is written
        passes = self._passes(crew.n_threads, keeps_sample=crew.client is None, resumes=how.resumes)
        check_crew(passes, crew, decided.options.limits, how.resources)
        if how.interruption is not None and how.interruption.is_requested:
            raise KeyboardInterrupt("Nothing was written.")
        report = carry_out(passes, how, crew, is_durable=decided.options.limits.durable)
        self._has_begun_anew = False
        return report

    def _is_there_to_go_on(self) -> bool:
        """Whether there is the record of a run of this plan."""
        decided = self.to(overwrite=False)._decided
        prediction = PredictionPass(decided, self._measured, side_by_side=True)
        try:
            prediction.resumption.check()
        except (ValueError, FileExistsError):
            return False
        return bool(Record(prediction.places[0]).document())

    def to(self, output: StoreLike | None = None, **words: Unpack[ToWords]) -> Plan:
        """The same plan with another output or other limits; the trial is not done again.

        Only where the plan had no output does the model run, on the trial tile, once: what tells
        it from others, and the source, is part of an output's record.

        Parameters
        ----------
        output
            Path, URL, store or array, as in `daskpatch.plan`; by default the plan's own.
        chunks, shards, block_shape, overwrite, memory_limit, threads, io, cache, durable
            As in `daskpatch.plan`; by default the plan's own. Statistics that were measured go
            along.

        Raises
        ------
        TypeError
            If something else is asked for.
        ValueError, MemoryError
            As from `daskpatch.plan`.

        Examples
        --------
        >>> import numpy as np, daskpatch
        >>> one = daskpatch.plan(np.zeros((64, 64)), np.negative, axes="YX", patch_size=32)
        >>> one.to(chunks=16).chunks
        (16, 16)
        """
        unknown = sorted(words.keys() - ToWords.__annotations__.keys())
        if unknown:
            raise TypeError(
                f"to() does not change {', '.join(unknown)}: that takes another trial; make a "
                "plan with daskpatch.plan."
            )
        if isinstance(output, Options):
            raise TypeError(
                f"to() takes a place and flat words, to(place, chunks=…), not {shown(output)}; for "
                "all else make a plan with daskpatch.plan."
            )
        options = self._decided.options
        asked = with_words(options.output, words)
        options = replace(
            options,
            output=asked if output is None else replace(asked, place=output),
            limits=with_words(options.limits, words),
        )
        io = options.limits.io
        target = as_target(options.output, self.images, source=options.source, io=io)
        return Plan(decide_anew(self._decided, options, target), self._measured)

    def plot(self, data_idx: int = 0) -> Any:
        """Tiles, crops, blocks and chunks over the middle of an image, as a matplotlib figure.

        Reads that part of one section (1024 x 1024 voxels at most); the model does not run.

        Raises
        ------
        ImportError
            If matplotlib is missing.
        ValueError
            If there is no such image.
        OSError
            If the image cannot be read.
        """
        return picture_of(self._decided, data_idx)

    def to_dict(self) -> dict[str, Any]:
        """The plan's figures as plain values, ready for JSON."""
        return as_dict(self, self._decided)

    def __repr__(self) -> str:
        return as_text(self, self._decided)

    def _repr_html_(self) -> str:
        return as_html(self, self._decided)

    @property
    def _prediction(self) -> Prediction:
        """The recipe with all that it takes: statistics too."""
        return self._decided.recipe.prediction(self.statistics)

    def _passes(
        self, n_threads: int, *, keeps_sample: bool = False, resumes: bool = False
    ) -> list[Pass]:
        return passes_in_order(
            self._decided, self._measured, n_threads, keeps_sample=keeps_sample, resumes=resumes
        )

    def _measure(self) -> tuple[Statistics, ...]:
        """Read the images, in threads of this process."""
        recipe, voxels = self._decided.recipe, self._decided.statistics_voxels(self.threads)
        return measure(recipe.images, recipe.normalize, threads=self.threads, voxels=voxels)

    def _check_single(self, plural: str) -> None:
        if self._decided.options.source.is_series:
            raise ValueError(f"The source is a series of {len(self.images)}; use plan.{plural}.")
        if len(self.output_names) > 1:
            raise ValueError(
                f"The model gives {', '.join(self.output_names)}; use plan.{plural}, in this order."
            )


def refuse_both(plan: Plan, how: Run) -> None:
    """Refuse to delete what is to be gone on with.

    Raises
    ------
    ValueError
        If both are asked for.
    """
    target = plan._decided.target
    if how.resumes and target is not None and target.overwrite:
        goes_on = "resume is True" if how.part is None else f"part is {how.part}, which resumes"
        raise ValueError(
            f"overwrite is True, and {goes_on}: one starts anew, the other goes on; give one of "
            "them."
        )


def prediction_of(plan: Plan) -> Prediction:
    """What a plan computes voxels from; measures statistics, where that takes them."""
    return plan._prediction


def passes_of(plan: Plan, n_threads: int) -> list[Pass]:
    """What a run of a plan does, in order, with so many threads in a process."""
    return plan._passes(n_threads)


def check_repairable(plan: Plan) -> None:
    """Refuse to repair what a run wrote that began otherwise.

    Raises
    ------
    ValueError
        If it did, or the model has no identity.
    FileExistsError
        If something is at the place, and no record.
    """
    PredictionPass(
        plan._decided, plan._measured, side_by_side=True, is_repair=True
    ).resumption.check()
