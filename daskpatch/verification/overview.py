"""How far a run is, seen from outside: what its records say."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from dask.utils import format_time
from numpy.typing import NDArray

from ..receipts import ClaimedError, FailedBlock, Receipts, holders
from .outputs import RecordedImage, recorded_images

_RECENT = 300.0
"""Seconds up to the last receipt over which the rate is taken."""

REMAINING, DONE, FAILED = 0, 1, 2


@dataclass(frozen=True)
class Status:
    """How far a run is.

    Attributes
    ----------
    done, failed, remaining, total
        Blocks; the first three add up to the last.
    voxels_per_second
        Of space and samples, over the last minutes in which blocks were finished; 0 without
        receipts.
    seconds_left
        For the remaining blocks at that rate; None where nobody works on them.
    failed_blocks
        Those that were set aside: `FailedBlock`s.
    drivers
        Who works on the output, in words.
    """

    done: int
    failed: int
    total: int
    voxels_per_second: float
    seconds_left: float | None
    failed_blocks: tuple[FailedBlock, ...]
    drivers: tuple[str, ...]
    _parts: tuple[tuple[RecordedImage, Receipts], ...] = field(repr=False)

    @property
    def remaining(self) -> int:
        return self.total - self.done - self.failed

    def block_map(self, data_idx: int = 0) -> NDArray[np.uint8]:
        """Blocks of one image along the output's axes: 0 remaining, 1 done, 2 failed."""
        image, done = self._parts[data_idx]
        states = np.full(image.grid.n_cells, REMAINING, np.uint8)
        states[done["index"].astype(int) - image.first] = DONE
        for failure in self.failed_blocks:
            if failure.index in image.blocks:
                states[failure.index - image.first] = FAILED
        return states.reshape(image.grid.counts)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "done": self.done,
            "failed": self.failed,
            "remaining": self.remaining,
            "total": self.total,
            "voxels_per_second": self.voxels_per_second,
            "seconds_left": self.seconds_left,
            "drivers": list(self.drivers),
            "failed_blocks": [asdict(failure) for failure in self.failed_blocks],
        }

    def __str__(self) -> str:
        lines = [
            f"{self.done:,} of {self.total:,} blocks done, {self.remaining:,} remaining, "
            f"{self.failed:,} failed"
        ]
        if self.seconds_left is not None:
            lines.append(
                f"{self.voxels_per_second / 1e6:.2f} Mvoxel/s, {format_time(self.seconds_left)} "
                "left"
            )
        if self.remaining and not self.drivers:
            lines.append("nobody works on it")
        lines += [f"being written by {driver}" for driver in self.drivers]
        lines += map(str, self.failed_blocks)
        return "\n".join(lines)


def status(output: Any) -> Status:
    """How far the run that writes an output is, here or elsewhere; reads its records only.

    Parameters
    ----------
    output
        Path, URL or store of the array, or of the group of a series or of several arrays.

    Raises
    ------
    FileNotFoundError
        If there is no record of a run.

    Examples
    --------
    >>> import numpy as np, zarr, daskpatch
    >>> store = zarr.storage.MemoryStore()
    >>> image = np.ones((64, 64), "uint8")
    >>> report = daskpatch.predict(
    ...     image, np.negative, store, axes="YX", patch_size=32, overlaps=8, progress=False
    ... )
    >>> status(store).remaining
    0
    """
    images = recorded_images(output)
    parts = tuple((image, _known(image)) for image in images)
    failures = [f for image, done in parts for f in image.record.failures(done).values()]
    rows = np.concatenate([done for _, done in parts])
    total = sum(image.grid.n_cells for image in images)
    drivers = _drivers(images[0])
    rate = _rate(rows)
    return Status(
        done=len(rows),
        failed=len(failures),
        total=total,
        voxels_per_second=rate,
        seconds_left=_seconds_left(rows, total - len(rows) - len(failures), rate, bool(drivers)),
        failed_blocks=tuple(sorted(failures, key=lambda failure: failure.index)),
        drivers=drivers,
        _parts=parts,
    )


def _known(image: RecordedImage) -> Receipts:
    """The receipts of blocks that there are."""
    done = image.record.receipts()
    blocks = image.blocks
    inside: Receipts = done[(done["index"] >= blocks.start) & (done["index"] < blocks.stop)]
    return inside


def _drivers(image: RecordedImage) -> tuple[str, ...]:
    try:
        return tuple(str(holder) for holder in holders(image.record).values() if holder.is_alive)
    except ClaimedError as error:  # one that cannot be read
        return (str(error),)


def _rate(rows: Receipts) -> float:
    if not len(rows):
        return 0.0
    recent = rows[rows["finished"] > rows["finished"].max() - _RECENT]
    begin = (recent["finished"] - recent["seconds"]).min()
    taken = float(recent["finished"].max() - begin)
    return float(recent["voxels"].sum()) / taken if taken > 0 else 0.0


def _seconds_left(rows: Receipts, remaining: int, rate: float, is_running: bool) -> float | None:
    if not (is_running and rate):
        return None
    return remaining * float(rows["voxels"].mean()) / rate
