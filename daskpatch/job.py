"""The job of a run: blocks computed and written, one call each."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import accumulate

from .block import Part, Prediction, Tally, Workspace, block_grid, block_grids, fill_region
from .geometry import Region
from .model import single_threaded
from .receipts import Receipt, digest_of
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
    """A prediction and where its blocks are written; the same value for all blocks of a run.

    `targets` holds, per image, the arrays that are stored.
    """

    prediction: Prediction
    block_shape: tuple[int, ...]
    targets: tuple[tuple[StoredArray, ...], ...]
    side_by_side: bool
    abandoned: Flag = field(default_factory=Flag, repr=False)
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
        with ExitStack() as lent:
            parts = [lent.enter_context(part) for part in self._parts(data_idx, region)]
            if self.side_by_side:
                single_threaded()
            fill_region(self.prediction, data_idx, parts, self.workspace, tally)
            for part in parts:
                self._write(data_idx, part)
            digest = digest_of(*(part.values for part in parts))
        dims = self.prediction.outputs[data_idx][0]
        channels = dims.channel_part(region)
        return Receipt(
            index=index,
            digest=digest,
            tiles=tally.tiles,
            nan_tiles=tally.nan_tiles,
            voxels=region.n_voxels // (channels.stop - channels.start),
            bytes_read=tally.bytes_read,
            bytes_written=sum(part.values.nbytes for part in parts),
            seconds=time.perf_counter() - begin,
            finished=time.time(),
        )

    def _parts(self, data_idx: int, region: Region) -> Iterator[AbstractContextManager[Part]]:
        """The block's box of each array, with room for its voxels."""
        first, *_ = self.prediction.outputs[data_idx]
        for output, dims in enumerate(self.prediction.outputs[data_idx]):
            box = region if output == 0 else dims.counterpart(first, region)
            yield self._part(output, box)

    @contextmanager
    def _part(self, output: int, box: Region) -> Iterator[Part]:
        with self.workspace.buffers.lend(box.shape, self.prediction.dtypes[output]) as values:
            yield Part(output, box, values)

    def abandon(self) -> None:
        """Write no more, in this process: the run is over, and nobody waits for its last blocks."""
        self.abandoned.set()

    def _write(self, data_idx: int, part: Part) -> None:
        if self.abandoned.is_set:
            raise WriteError("The run was given up; its output may be another's by now.")
        target = self.targets[data_idx][part.output]
        try:
            target.write(part.region.slices, part.values)
        except Exception as error:
            raise WriteError(
                f"{target.location.name} could not be written: {type(error).__name__}: {error}"
            ) from error
