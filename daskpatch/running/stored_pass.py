"""What of the source is stored, as a pass: listed once, so that the rest need not be read."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec

from ..engine import Job
from ..geometry import RegularGrid
from ..image import ImageStack, look_at_all, stored_array_of, with_delays
from ..receipts import Json, Receipt, Record
from ..store import MOST_CELLS, Location, Occupancy, occupancy_of
from ..support import DaemonThreads, Pacing
from .leaving import leave
from .passes import Ends, Leavings, Pass
from .prediction_pass import Listed, PredictionPass

_AT_ONCE = 16
"""Images of a block, which are listed at the same time."""

_LEFT = msgspec.msgpack.Decoder(Listed)


@dataclass(frozen=True)
class StoredPass(Pass):
    """Lists what is stored of each image; writes no array.

    A part that comes later, and a resume, take what was listed first: what has gone since is
    missed, not taken for empty.
    """

    name: ClassVar[str] = "stored"
    is_shared: ClassVar[bool] = False
    end_type: ClassVar[Any] = Listed

    prediction: PredictionPass
    grids: tuple[RegularGrid, ...]

    @classmethod
    def before(cls, prediction: PredictionPass) -> StoredPass:
        """The pass that a prediction needs which skips what is not stored."""
        n_images = len(prediction.decided.recipe.images)
        return cls(prediction, (RegularGrid.clipped((n_images,), (min(_AT_ONCE, n_images),)),))

    @property
    def places(self) -> Sequence[Location]:
        return self.prediction.places[:1]

    @property
    def n_voxels(self) -> int:
        return len(self.prediction.decided.recipe.images)

    @property
    def fingerprint(self) -> Json:
        return {"sources": self.prediction.inputs.of_images}

    def job(self, ends: Ends, pacing: Pacing) -> Job:  # noqa: ARG002 (there are none before)
        images = with_delays(self.prediction.decided.recipe.images, pacing.delays)
        return ListingJob(images, self.grids[0], self.places[0], pacing)

    def end(self, leavings: Leavings) -> object:
        return [one for left in leavings for one in _LEFT.decode(left)]


@dataclass(frozen=True)
class ListingJob:
    """Lists some images, and leaves what is stored of each."""

    images: tuple[ImageStack, ...]
    grid: RegularGrid
    place: Location
    pacing: Pacing

    def _images_of(self, index: int) -> Sequence[ImageStack]:
        cell = self.grid.cell(index)
        return self.images[cell.start[0] : cell.stop[0]]

    def look(self, blocks: Iterable[int]) -> None:
        """Look at the images of blocks; see `Watchful`."""
        look_at_all([image for index in blocks for image in self._images_of(index)])

    def __call__(self, index: int) -> Receipt:
        begin = time.perf_counter()
        images = self._images_of(index)
        with DaemonThreads(_AT_ONCE, "daskpatch-io") as pool:
            found = list(pool.map(self._listed, images))
        # After it: what went away meanwhile would count as never stored.
        look_at_all(images)
        left = msgspec.msgpack.encode([one and one.encoded() for one in found])
        record = Record(self.place, StoredPass.name, pacing=self.pacing)
        return leave(record, index, left, voxels=len(images), begin=begin)

    def _listed(self, image: ImageStack) -> Occupancy | None:
        array = stored_array_of(image)
        return None if array is None else occupancy_of(array, MOST_CELLS // len(self.images) or 1)
