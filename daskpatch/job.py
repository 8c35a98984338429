"""The job of a run: blocks computed and written, one call each."""

from __future__ import annotations

import time
from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from numpy.typing import NDArray

from .block import Prediction, Tally, block_grid, block_grids, fill_region
from .buffers import BufferPool
from .model import single_threaded
from .receipts import Receipt, digest_of
from .region import Region
from .store import StoredArray


class WriteError(OSError):
    """The output cannot be written: no block after this one will fare better."""


class Flag:
    """Set by the driver, seen by the threads of its process; travels unset."""

    def __init__(self) -> None:
        self.is_set = False

    def set(self) -> None:
        self.is_set = True

    def __reduce__(self) -> tuple[type[Flag], tuple[()]]:
        return Flag, ()


@dataclass(frozen=True)
class Job:
    """A prediction and where its blocks are written; the same value for all blocks of a run."""

    prediction: Prediction
    block_shape: tuple[int, ...]
    targets: tuple[StoredArray, ...]
    side_by_side: bool
    abandoned: Flag = field(default_factory=Flag, repr=False)
    buffers: BufferPool = field(default_factory=BufferPool, repr=False)
    _ends: tuple[int, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        grids = block_grids(self.prediction, self.block_shape)
        object.__setattr__(self, "_ends", (0, *accumulate(g.n_cells for g in grids)))

    def place(self, index: int) -> tuple[int, Region]:
        """The image of a block, and its region of that image's prediction."""
        data_idx = bisect_right(self._ends, index) - 1
        grid = block_grid(self.prediction, data_idx, self.block_shape)
        return data_idx, grid.cell(index - self._ends[data_idx])

    def __call__(self, index: int) -> Receipt:
        """Compute a block and write it.

        Raises
        ------
        WriteError
            If the output cannot be written, also after a while.
        """
        begin = time.perf_counter()
        data_idx, region = self.place(index)
        tally = Tally()
        with self.buffers.lend(region.shape, self.prediction.dtype) as values:
            if self.side_by_side:
                single_threaded()
            fill_region(self.prediction, data_idx, region, values, tally, self.buffers)
            self._write(data_idx, region, values)
            digest = digest_of(values)
        dims = self.prediction.outputs[data_idx]
        channels = dims.channel_part(region)
        return Receipt(
            index=index,
            digest=digest,
            tiles=tally.tiles,
            nan_tiles=tally.nan_tiles,
            voxels=region.n_voxels // (channels.stop - channels.start),
            bytes_read=tally.bytes_read,
            bytes_written=region.n_voxels * self.prediction.dtype.itemsize,
            seconds=time.perf_counter() - begin,
            finished=time.time(),
        )

    def abandon(self) -> None:
        """Write no more, in this process: the run is over, and nobody waits for its last blocks."""
        self.abandoned.set()

    def _write(self, data_idx: int, region: Region, values: NDArray[Any]) -> None:
        if self.abandoned.is_set:
            raise WriteError("The run was given up; its output may be another's by now.")
        target = self.targets[data_idx]
        try:
            target.write(region.slices, values)
        except Exception as error:
            raise WriteError(
                f"{target.location.name} could not be written: {type(error).__name__}: {error}"
            ) from error
