"""Masks as a pass: each is read once, and what is in it is kept for parts, workers and resume."""

from __future__ import annotations

import math
import time
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, chain
from typing import Any, ClassVar

import msgspec
import numpy as np

from ..engine import Job
from ..geometry import Region, RegularGrid
from ..image import Mask, look_at_all, unseen_cells
from ..receipts import Json, Receipt, Record
from ..store import Location, Occupancy
from ..support import Pacing
from .leaving import leave
from .passes import Ends, Leavings, Pass
from .prediction_pass import PredictionPass

_BLOCKS = 1024
"""What blocks find is stored, one object each."""

Seen = tuple[int, tuple[int, ...], bytes]
"""Of which mask, from which cell on, and those cells."""

_SEEN = msgspec.msgpack.Decoder(list[Seen])


@dataclass(frozen=True)
class MaskPass(Pass):
    """Reads where images are to be predicted; writes no array.

    A block is a run of boxes of masks.
    """

    name: ClassVar[str] = "mask"
    is_shared: ClassVar[bool] = False
    end_type: ClassVar[Any] = list[bytes]

    prediction: PredictionPass
    boxes: MaskBoxes
    grids: tuple[RegularGrid, ...]

    @classmethod
    def before(cls, prediction: PredictionPass) -> MaskPass:
        """The pass that a prediction needs which has masks."""
        boxes = MaskBoxes(prediction.decided.recipe.masks)
        n_boxes = boxes.firsts[-1]
        return cls(prediction, boxes, (RegularGrid.clipped((n_boxes,), (-(-n_boxes // _BLOCKS),)),))

    @property
    def places(self) -> Sequence[Location]:
        return self.prediction.places[:1]

    @property
    def n_voxels(self) -> int:
        return sum(math.prod(mask.image.dimensions.shape) for mask in self.boxes.masks)

    @property
    def fingerprint(self) -> Json:
        return {"masks": self.prediction.inputs.of_masks}

    def job(self, ends: Ends, pacing: Pacing) -> Job:  # noqa: ARG002 (there are none before)
        masks = tuple(mask.with_delays(pacing.delays) for mask in self.boxes.masks)
        return MaskJob(replace(self.boxes, masks=masks), self.grids[0], self.places[0], pacing)

    def changed(self, numbers: Sequence[int], pacing: Pacing) -> Mapping[int, str]:
        masks = self.prediction.inputs.changed_masks(range(len(self.boxes.masks)), pacing)
        return dict.fromkeys(numbers, next(iter(masks.values()))) if masks else {}

    def end(self, leavings: Leavings) -> object:
        seen = chain.from_iterable(map(_SEEN.decode, leavings))
        return [occupancy.encoded() for occupancy in self.boxes.together(seen)]


@dataclass(frozen=True)
class MaskBoxes:
    """Masks cut into boxes of whole chunks, one after another, and into cells.

    So many voxels of a mask are read `at_a_time`, at least.
    """

    masks: tuple[Mask, ...]
    at_a_time: int = 2**22

    @cached_property
    def grids(self) -> tuple[RegularGrid, ...]:
        """The boxes of each."""
        return tuple(_boxes_of(mask, self.at_a_time) for mask in self.masks)

    @cached_property
    def firsts(self) -> tuple[int, ...]:
        """The number of each mask's first box, and how many there are."""
        return (0, *accumulate(grid.n_cells for grid in self.grids))

    def number_of(self, box: int) -> int:
        """Of the mask that a box is of."""
        return bisect_right(self.firsts, box) - 1

    def region(self, box: int) -> Region:
        """A box, in the mask that it is of."""
        number = self.number_of(box)
        return self.grids[number].cell(box - self.firsts[number])

    def nothing(self, number: int) -> Occupancy:
        """A mask of which nothing was seen."""
        return unseen_cells(self.masks, number)

    def __call__(self, box: int) -> Seen:
        """Read a box: what is in its cells."""
        number, region = self.number_of(box), self.region(box)
        per_cell = self.nothing(number).units_per_cell
        values = self.masks[number].read(region)
        for axis, (start, stop, n) in enumerate(
            zip(region.start, region.stop, per_cell, strict=True)
        ):
            edges = [max(edge - start, 0) for edge in range(start // n * n, stop, n)]
            values = np.logical_or.reduceat(values, edges, axis)
        first = tuple(a // n for a, n in zip(region.start, per_cell, strict=True))
        return number, first, Occupancy((1,) * values.ndim, per_cell, values).encoded()

    def together(self, seen: Iterable[Seen]) -> list[Occupancy]:
        """What is in each mask, of what is in its boxes."""
        found = [self.nothing(number) for number in range(len(self.masks))]
        for number, start, content in seen:
            part = Occupancy.of_bytes(content).cells
            inside = tuple(slice(a, a + n) for a, n in zip(start, part.shape, strict=True))
            # Boxes need not end where cells do: two may have seen parts of one.
            found[number].cells[inside] |= part
        return found


def _boxes_of(mask: Mask, n_voxels: int) -> RegularGrid:
    shape = mask.image.dimensions.shape
    box = list(mask.image.array.chunks or (1,) * len(shape))
    while math.prod(box) < n_voxels and any(b < n for b, n in zip(box, shape, strict=True)):
        # The last axis first: neighbours lie there.
        axis = max(i for i, (b, n) in enumerate(zip(box, shape, strict=True)) if b < n)
        box[axis] = min(2 * box[axis], -(-shape[axis] // box[axis]) * box[axis])
    return RegularGrid.clipped(shape, tuple(map(min, box, shape)))


@dataclass(frozen=True)
class MaskJob:
    """Reads a block's boxes, and leaves what is in them."""

    boxes: MaskBoxes
    grid: RegularGrid
    place: Location
    pacing: Pacing

    def _boxes_of(self, index: int) -> range:
        cell = self.grid.cell(index)
        return range(cell.start[0], cell.stop[0])

    def look(self, blocks: Iterable[int]) -> None:
        """Look at the masks of blocks; see `Watchful`."""
        touched = {self.boxes.number_of(box) for index in blocks for box in self._boxes_of(index)}
        look_at_all([self.boxes.masks[number].image for number in touched])

    def __call__(self, index: int) -> Receipt:
        begin = time.perf_counter()
        left = msgspec.msgpack.encode(list(map(self.boxes, self._boxes_of(index))))
        record = Record(self.place, MaskPass.name, pacing=self.pacing)
        voxels = sum(self.boxes.region(box).n_voxels for box in self._boxes_of(index))
        return leave(record, index, left, voxels=voxels, begin=begin)
