"""The statistics that images are normalised by, as a pass: what blocks find is kept for resume."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from ..engine import Job
from ..geometry import RegularGrid
from ..image import look_at_all, with_delays
from ..receipts import (
    Document,
    Json,
    PassDocument,
    Receipt,
    Record,
    RunDocument,
    StatisticsSettings,
)
from ..statistics import Accumulator, Boxes, conclude, encode_known, merge_encoded
from ..store import Location
from ..support import Pacing
from ..values import Statistics
from .leaving import leave
from .passes import Ends, Leavings, Pass
from .prediction_pass import PredictionPass
from .same_run import NUMERICS

_BLOCKS = 1024
"""What blocks find is stored, one object each: counts of values may take a megabyte."""


@dataclass(frozen=True)
class StatisticsPass(Pass):
    """Measures what images are normalised by; writes no array.

    A block is a run of boxes. Every part measures all that nobody has measured yet: none could go
    on without.
    """

    name: ClassVar[str] = "statistics"
    is_shared: ClassVar[bool] = False
    end_type: ClassVar[Any] = tuple[Statistics, ...]

    prediction: PredictionPass
    boxes: Boxes
    grids: tuple[RegularGrid, ...]

    @classmethod
    def before(cls, prediction: PredictionPass, voxels: int) -> StatisticsPass:
        """The pass that a prediction needs; boxes of so many voxels are read at a time."""
        recipe = prediction.decided.recipe
        boxes = Boxes(recipe.images, recipe.normalize, voxels)
        n_boxes = len(boxes)
        grid = RegularGrid.clipped((n_boxes,), (-(-n_boxes // _BLOCKS),))
        return cls(prediction, boxes, (grid,))

    @property
    def places(self) -> Sequence[Location]:
        return self.prediction.places[:1]

    @property
    def n_voxels(self) -> int:
        return self.boxes.n_voxels

    @property
    def fingerprint(self) -> Json:
        return {
            "numerics": NUMERICS,
            "sources": self.prediction.inputs.of_images,
            "normalize": self.boxes.normalize.to_dict(),
        }

    @property
    def settings(self) -> Json:
        return {"voxels": self.boxes.voxels}

    def known_end(self, *, resumes: bool) -> object | None:
        if resumes:
            begun = [Record(place).document() for place in self.prediction.places]
            found = [d.statistics for d in begun if isinstance(d, RunDocument)]
            statistics = tuple(one for one in found if one is not None)
            if len(statistics) == len(begun):
                return statistics
        return self.prediction.measured.of(self.prediction.inputs.of_images)

    def as_begun(self, documents: Sequence[Document]) -> StatisticsPass:
        (document,) = documents
        begun = super().as_begun(documents)
        assert isinstance(document, PassDocument)
        voxels = document.settings_as(StatisticsSettings).voxels
        return replace(begun, boxes=replace(self.boxes, voxels=voxels))

    def job(self, ends: Ends, pacing: Pacing) -> Job:  # noqa: ARG002 (there are none before)
        boxes = replace(self.boxes, images=with_delays(self.boxes.images, pacing.delays))
        return StatisticsJob(boxes, self.grids[0], self.places[0], pacing)

    def end(self, leavings: Leavings) -> object:
        totals = [self.boxes.nothing(i) for i in range(len(self.boxes.images))]
        for left in leavings:
            merge_encoded(totals, left)
        statistics = conclude(totals, self.boxes.normalize, self.boxes.fractions)
        self.prediction.measured.keep(statistics, self.prediction.inputs.of_images)
        return statistics


@dataclass(frozen=True)
class StatisticsJob:
    """Reads a block's boxes, and leaves what is known of their values."""

    boxes: Boxes
    grid: RegularGrid
    place: Location
    pacing: Pacing

    def look(self, blocks: Iterable[int]) -> None:
        """Look at the images of blocks; see `Watchful`."""
        cells = [self.grid.cell(index) for index in blocks]
        touched = {self.boxes.image_of(box) for c in cells for box in range(c.start[0], c.stop[0])}
        look_at_all([self.boxes.images[i] for i in touched])

    def __call__(self, index: int) -> Receipt:
        begin = time.perf_counter()
        (start,), (stop,) = self.grid.cell(index).start, self.grid.cell(index).stop
        voxels = 0
        known: dict[int, list[Accumulator]] = {}
        for box in range(start, stop):
            data_idx, found, read = self.boxes(box)
            voxels += read
            if data_idx not in known:
                known[data_idx] = found
                continue
            for total, part in zip(known[data_idx], found, strict=True):
                total.merge(part.state())
        left = encode_known(known)
        record = Record(self.place, StatisticsPass.name, pacing=self.pacing)
        return leave(record, index, left, voxels=voxels, begin=begin)
