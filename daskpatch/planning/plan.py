"""The plan: everything that is decided before the first block is computed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from ..block import Prediction
from ..engine import Interruption, progress_of
from ..geometry import Dimensions
from ..image import ImageStack
from ..model import Signature
from ..receipts import Report
from ..statistics import Statistics, box_voxels, measure, n_voxels
from ..view import View, as_dask
from .choice import Choice
from .cost import Cost
from .execution import execute
from .layout import Layout
from .memory import Memory, available_memory
from .options import Options
from .request import Request
from .selection import Selection
from .summary import as_dict, as_html, as_text
from .target import Target
from .treatment import Treatment
from .trial import Trial


@dataclass
class Known:
    """Statistics, once they are known, and the identities of the images that they are of."""

    statistics: tuple[Statistics, ...] | None = None
    sources: list[Any] | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Plan:
    """What will happen and what it costs; made by `daskpatch.plan`.

    Nothing is written before `run`. `array` (or `arrays`, for a series) is the prediction as a
    lazy Dask array, `view` as an array-like without Dask.

    Attributes
    ----------
    n_tiles, n_blocks, n_tasks
        Tiles of the tiling, blocks of the output, tasks of a run.
    block_shape, chunks, shards
        Voxels per axis of the output.
    bytes_in, bytes_out
        Of the voxels, before compression.
    read_ratio
        Decoded bytes of the source's chunks that blocks touch, per byte of the image: what is
        read without a cache.
    compute_ratio
        Voxels computed per voxel kept.
    peak_memory
        Bytes one worker holds at its peak, beyond the idle process.
    io
        The back end: `tensorstore` or `zarr`.
    choice
        What `"auto"` stood for, and why; None where nothing was left to choose.
    """

    prediction: Prediction
    patching: Any
    layout: Layout
    memory: Memory
    cost: Cost
    trial: Trial
    target: Target | None
    request: Request
    treatment: Treatment
    choice: Choice | None
    is_series: bool
    io: str
    model_id: str | None
    replan: Callable[[Request], Plan]
    known: Known = field(default_factory=Known)

    @property
    def images(self) -> tuple[ImageStack, ...]:
        """The sources, as `S C (Z) Y X`."""
        return self.prediction.images

    @property
    def outputs(self) -> tuple[Dimensions, ...]:
        """Axes and shapes of the predictions, one per image: of the first array each."""
        return self.prediction.primary

    @property
    def output_names(self) -> tuple[str, ...]:
        """Of the arrays, where the model (or `post`) gives several; else one empty name."""
        return tuple(output.name for output in self.prediction.stored)

    @property
    def signature(self) -> Signature:
        """What the model said of itself on the trial tile."""
        return self.prediction.signature

    @property
    def model_name(self) -> str:
        return self.prediction.model.handle.name

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype that is stored, in the first array."""
        return self.prediction.dtypes[0]

    @property
    def chunks(self) -> tuple[int, ...]:
        return self.layout.chunks

    @property
    def shards(self) -> tuple[int, ...] | None:
        return self.layout.shards

    @property
    def block_shape(self) -> tuple[int, ...]:
        return self.layout.block_shape

    @property
    def n_tiles(self) -> int:
        return sum(grid.n_tiles for grid in self.prediction.grids)

    @property
    def n_blocks(self) -> int:
        return self.selection.n_blocks

    @property
    def n_tasks(self) -> int:
        """One task per block."""
        return self.n_blocks

    @property
    def bytes_in(self) -> int:
        return self.cost.bytes_in

    @property
    def bytes_out(self) -> int:
        return self.cost.bytes_out

    @property
    def read_ratio(self) -> float:
        return self.cost.read_ratio

    @property
    def compute_ratio(self) -> float:
        return self.cost.compute_ratio

    @property
    def tile_ratio(self) -> float:
        """Voxels of all tiles per voxel of the images: what would be computed in one block."""
        tiles = kept = 0.0
        for image, grid in zip(self.images, self.prediction.grids, strict=True):
            tile = math.prod(axis.tile(axis.n_tiles // 2).size for axis in grid.axes)
            tiles += float(tile * grid.n_tiles)
            kept += float(image.data_shape[0] * math.prod(image.data_shape[2:]))
        return tiles / kept

    @property
    def peak_memory(self) -> int:
        return self.memory.peak

    @property
    def threads(self) -> int:
        return self.memory.threads

    @property
    def tile_shape(self) -> tuple[int, ...]:
        """The size of the tile in the middle."""
        return self.trial.tile_shape

    @property
    def step(self) -> tuple[int, ...]:
        """Distance of neighbouring tiles, per spatial axis."""
        return self.prediction.grids[len(self.images) // 2].step

    @property
    def model_seconds(self) -> float:
        """Time in the model for the whole run, from the trial tile and the plan's threads."""
        tile_voxels = math.prod(self.tile_shape)
        voxels = sum(
            float(image.data_shape[0] * math.prod(image.data_shape[2:])) for image in self.images
        )
        return self.trial.seconds / tile_voxels * voxels * self.compute_ratio / self.threads

    @property
    def statistics(self) -> tuple[Statistics, ...] | None:
        """What each image is normalised by, measured when it is first asked for; else None.

        Raises
        ------
        OSError
            If an image cannot be read.
        """
        if self.measures and self.known.statistics is None:
            self.known.statistics = self.measure_statistics(progress=False)
        return self.known.statistics

    @property
    def measures(self) -> bool:
        """Whether images are normalised by what they are like."""
        normalization = self.treatment.normalization
        return normalization is not None and normalization.constants is None

    def measure_statistics(
        self,
        client: Any | None = None,
        threads: int | None = None,
        interruption: Interruption | None = None,
        *,
        progress: bool,
    ) -> tuple[Statistics, ...]:
        """Read the images, with threads of this process or a client's workers."""
        normalization = self.treatment.normalization
        assert normalization is not None
        total = n_voxels(self.images, normalization)
        n_threads = threads or self.threads
        limit = self.request.memory_limit or available_memory()
        with progress_of(total, 0, shown=progress, name="statistics") as advance:
            return measure(
                self.images,
                normalization,
                threads=n_threads,
                client=client,
                voxels=box_voxels(limit, n_threads),
                advance=advance,
                interruption=interruption,
            )

    @property
    def complete_prediction(self) -> Prediction:
        """The prediction with all that it takes to compute a block: statistics too."""
        normalization = self.treatment.normalization
        if normalization is None:
            return self.prediction
        if normalization.constants is not None:
            maps = (normalization.constants,) * len(self.images)
        else:
            maps = tuple(statistics.value_map for statistics in self.statistics or ())
        return replace(self.prediction, maps=maps)

    @cached_property
    def selection(self) -> Selection:
        """All blocks."""
        return Selection.everything(self.prediction, self.block_shape)

    @cached_property
    def views(self) -> tuple[View, ...]:
        """The predictions as array-likes: one per image, or as many as the model gives arrays.

        Images that are normalised by what they are like are read once for it.
        """
        return tuple(
            View(self.complete_prediction, data_idx, self.block_shape, output)
            for data_idx in range(len(self.images))
            for output in range(len(self.prediction.stored))
        )

    @property
    def view(self) -> View:
        """The prediction as an array-like: a slice of it costs only its tiles."""
        self._check_single("views")
        return self.views[0]

    @cached_property
    def arrays(self) -> tuple[Any, ...]:
        """The predictions as lazy Dask arrays, as `views`."""
        return tuple(as_dask(view) for view in self.views)

    @property
    def array(self) -> Any:
        """The prediction as a lazy `dask.array.Array`: one task per block."""
        self._check_single("arrays")
        return self.arrays[0]

    def run(
        self,
        client: Any | None = None,
        threads: int | None = None,
        region: Any | None = None,
        progress: bool = True,
        *,
        resume: bool = False,
        part: tuple[int, int] | None = None,
        retries: int = 2,
        resources: Mapping[str, float] | None = None,
        patience: float = 600.0,
        interruption: Interruption | None = None,
    ) -> Report:
        """Write the prediction.

        A block that fails is tried again, then set aside; the others are written, and `RunFailed`
        is raised at the end. Whatever ends a run, `resume=True` goes on with it.

        Parameters
        ----------
        client
            A `dask.distributed.Client`; by default the active one, else threads of this
            process.
        threads
            Of this process; by default the plan's. Not with a client, whose workers have theirs.
        region
            Slices of the output (of a single image), rounded out to blocks; by default all.
        progress
            Whether to show a bar: in a terminal or a notebook; elsewhere a line is logged (to
            the logger `daskpatch`, level INFO) every half minute.
        resume
            Go on with an interrupted run, or start it. Chunks, shards and block shape that were
            not given to the plan are those it began with.
        part
            `(i, n)`, 1 <= i <= n: only the i-th of n shares of the blocks. Parts may run at the
            same time, on machines that share the store; implies `resume`.
        retries
            Tries after the first one of a block that fails.
        resources
            What a block takes of a worker's resources, such as `{"GPU": 1}`; with a client.
        patience
            Seconds to wait for a worker when none is left; with a client.
        interruption
            What stops the run early when it is requested: no new block begins, those that run
            end, and `KeyboardInterrupt` is raised.

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
        return execute(
            self,
            Options(
                client=client,
                threads=threads,
                region=region,
                progress=progress,
                resume=resume or part is not None,
                part=part,
                retries=retries,
                resources=resources,
                patience=patience,
                interruption=Interruption() if interruption is None else interruption,
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        """The plan's figures as plain values, ready for JSON."""
        return as_dict(self)

    def __repr__(self) -> str:
        return as_text(self)

    def _repr_html_(self) -> str:
        return as_html(self)

    def _check_single(self, plural: str) -> None:
        if self.is_series:
            raise ValueError(f"The source is a series of {len(self.images)}; use plan.{plural}.")
        if len(self.output_names) > 1:
            raise ValueError(
                f"The model gives {', '.join(self.output_names)}; use plan.{plural}, in this order."
            )
