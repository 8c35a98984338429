"""A pass of a few lines: twice the first. In its own module, so that workers can import it."""

import time
from dataclasses import dataclass, replace
from typing import ClassVar

from daskpatch.block import block_grid
from daskpatch.geometry import RegularGrid
from daskpatch.planning import prediction_of
from daskpatch.receipts import ArrayRecord, Receipt, digest_of
from daskpatch.running import Pass
from daskpatch.store import Location, StoredArray, create_array, existing_array, locate


@dataclass(frozen=True)
class Doubling:
    source: StoredArray
    target: StoredArray
    grid: RegularGrid
    seconds: float

    def __call__(self, index):
        time.sleep(self.seconds)
        box = self.grid.cell(index)
        values = self.source.read(box.slices) * 2
        self.target.write(box.slices, values)
        facts = {"tiles": 0, "nan_tiles": 0, "bytes_read": 0, "bytes_written": values.nbytes}
        return Receipt(
            index=index, digest=digest_of(values), voxels=box.n_voxels, seconds=0.0,
            finished=time.time(), **facts,
        )  # fmt: skip


@dataclass(frozen=True)
class Doubled(Pass):
    """Writes twice what the prediction wrote into a second array beside it."""

    name: ClassVar[str] = "doubled"

    source: Location
    target: Location
    grids: tuple[RegularGrid, ...]
    seconds: float = 0.0

    @property
    def places(self):
        return [self.source]

    @property
    def arrays(self):
        return [ArrayRecord(self.target.path_from(self.source), "", self.grids[0].shape)]

    def following(self, before):
        return replace(self, grids=before.grids)

    def job(self, ends, pacing):
        shape, chunks = self.grids[0].shape, self.grids[0].cell_shape
        target = existing_array(self.target) or create_array(
            self.target, shape=shape, dtype="f4", chunks=chunks, shards=None,
            dimension_names=[f"d{i}" for i in range(len(shape))], attributes={},
        )  # fmt: skip
        return Doubling(existing_array(self.source), target, self.grids[0], self.seconds)


@dataclass(frozen=True)
class DoubledBlockwise(Doubled):
    """The same, whose blocks need only the block below them."""

    def below(self, index):
        return [index]


def doubled(plan, out, kind=Doubled, **options):
    """The pass after a plan of one image."""
    place = locate(out)
    twice = locate(f"{out}-twice")
    grid = block_grid(prediction_of(plan), 0, plan.block_shape)
    return kind(place, twice, (grid,), **options)
