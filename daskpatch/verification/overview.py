"""How far a run is, seen from outside: what its records say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from dask.utils import format_time
from numpy.typing import NDArray

from ..receipts import ClaimedError, FailedBlock, Holder, Receipts, Record, holders, is_alive
from ..store import StoreLike
from ..support import counted, html_table, speed_of
from .outputs import RecordedBlocks, recorded_run

_RECENT = 300.0
"""Seconds up to the last receipt over which the rate is taken."""

REMAINING, DONE, FAILED, EMPTY = 0, 1, 2, 3


_SHOWN = 8
"""Blocks in work that the text names."""


@dataclass(frozen=True)
class BlockInWork:
    """A block that is being computed: of which pass, and since when (seconds since the epoch)."""

    index: int
    of: str
    since: float

    def __str__(self) -> str:
        since = datetime.fromtimestamp(self.since).astimezone()
        of = "" if self.of == "prediction" else f" of {self.of}"
        return f"block {self.index}{of} is in work since {since.isoformat(' ', 'seconds')}"


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
    working
        Blocks in work when their driver gave its last sign of life, those that take longest:
        `BlockInWork`s.
    drivers
        Who works on the output, in words.
    passes
        Done and total blocks of each further pass, by name.
    failed_of_passes
        Those of them that were set aside, by name.
    has_begun
        Whether the prediction has begun. Before that, while statistics are measured, it counts as
        one block.
    empty
        Those of the done blocks that were not given to the model.
    """

    done: int
    failed: int
    total: int
    voxels_per_second: float
    seconds_left: float | None
    failed_blocks: tuple[FailedBlock, ...]
    drivers: tuple[str, ...]
    working: tuple[BlockInWork, ...]
    passes: dict[str, tuple[int, int]]
    failed_of_passes: dict[str, tuple[FailedBlock, ...]]
    has_begun: bool
    empty: int
    _images: tuple[tuple[RecordedBlocks, Receipts], ...] = field(repr=False)

    @property
    def remaining(self) -> int:
        return self.total - self.done - self.failed

    def block_map(self, data_idx: int = 0) -> NDArray[np.uint8]:
        """Blocks of one image along the output's axes: 0 remaining, 1 done, 2 failed, 3 empty.

        Empty ones are done, and were not given to the model.
        """
        blocks, done = self._images[data_idx]
        states = np.full(blocks.grid.n_cells, REMAINING, np.uint8)
        states[done["index"].astype(int) - blocks.first] = np.where(done["empty"], EMPTY, DONE)
        for failure in self.failed_blocks:
            if failure.index in blocks.indices:
                states[failure.index - blocks.first] = FAILED
        return states.reshape(blocks.grid.counts)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "done": self.done,
            "empty": self.empty,
            "failed": self.failed,
            "remaining": self.remaining,
            "total": self.total,
            "voxels_per_second": self.voxels_per_second,
            "seconds_left": self.seconds_left,
            "drivers": list(self.drivers),
            "working": [asdict(block) for block in self.working],
            "passes": {name: list(counts) for name, counts in self.passes.items()},
            "failed_blocks": [asdict(failure) for failure in self.failed_blocks],
            "failed_of_passes": {
                name: [asdict(failure) for failure in failed]
                for name, failed in self.failed_of_passes.items()
            },
            "has_begun": self.has_begun,
        }

    def __str__(self) -> str:
        return "\n".join(line for _, line in self._lines())

    def _repr_html_(self) -> str:
        bar = f"<progress max='{self.total}' value='{self.done}'></progress>"
        return html_table("daskpatch status", self._lines(), drawing=bar)

    def _lines(self) -> list[tuple[str, str]]:
        """What there is to say; the first of several of a kind has their name."""
        empty = f" ({self.empty:,} empty)" if self.empty else ""
        counts = (
            f"{self.done:,} of {counted(self.total, 'block')} done{empty}, "
            f"{self.remaining:,} remaining, {self.failed:,} failed"
        )
        lines = [("blocks", counts if self.has_begun else "the prediction has not begun")]
        if self.seconds_left and self.remaining:
            speed = speed_of(self.voxels_per_second)
            lines.append(("speed", f"{speed}, {format_time(self.seconds_left)} left"))
        if self.remaining and not self.drivers:
            lines.append(("driver", "nobody works on it"))
        lines += [
            (name, f"{name}: {done:,} of {counted(total, 'block')} done")
            for name, (done, total) in self.passes.items()
            if done < total
        ]
        working = list(map(str, self.working[:_SHOWN]))
        if len(self.working) > _SHOWN:
            working.append(f"and {len(self.working) - _SHOWN} more in work")
        lines += _named("driver", [f"being written by {driver}" for driver in self.drivers])
        lines += _named("in work", working)
        failed = list(map(str, self.failed_blocks))
        for name, of_pass in self.failed_of_passes.items():
            failed += [f"{name}: {failure}" for failure in of_pass]
        lines += _named("failed", failed)
        return lines


def status(output: StoreLike) -> Status:
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
    run = recorded_run(output)
    parts = tuple((blocks, _receipts(blocks)) for blocks in run.main)
    failures = [f for blocks, done in parts for f in blocks.record.failures(done).values()]
    rows = np.concatenate([done for _, done in parts])
    total = sum(blocks.grid.n_cells for blocks, _ in parts)
    there, unread = _drivers(Record(run.main[0].record.location))
    drivers = (*map(str, there), *unread)
    rate = _rate(rows)
    return Status(
        done=len(rows),
        failed=len(failures),
        total=total,
        voxels_per_second=rate,
        seconds_left=_seconds_left(rows, total - len(rows) - len(failures), rate, bool(drivers)),
        failed_blocks=tuple(sorted(failures, key=lambda failure: failure.index)),
        drivers=drivers,
        working=_working(there),
        passes=_of_passes(run.further),
        failed_of_passes=_failed_of_passes(run.further),
        has_begun=run.unbegun is None,
        empty=int(np.count_nonzero(rows["empty"])),
        _images=parts,
    )


def _named(name: str, lines: Sequence[str]) -> list[tuple[str, str]]:
    """Lines under one name."""
    return [(name if number == 0 else "", line) for number, line in enumerate(lines)]


def _of_passes(others: Sequence[RecordedBlocks]) -> dict[str, tuple[int, int]]:
    """Done and total blocks of each further pass, of all images together."""
    counts: dict[str, tuple[int, int]] = {}
    for blocks in others:
        done, total = counts.get(blocks.name, (0, 0))
        n_done = blocks.grid.n_cells if blocks.has_ended else len(_receipts(blocks))
        counts[blocks.name] = done + n_done, total + blocks.grid.n_cells
    return counts


def _failed_of_passes(others: Sequence[RecordedBlocks]) -> dict[str, tuple[FailedBlock, ...]]:
    failed: dict[str, tuple[FailedBlock, ...]] = {}
    for blocks in others:
        found = tuple(blocks.record.failures(_receipts(blocks)).values())
        if found:
            failed[blocks.name] = (*failed.get(blocks.name, ()), *found)
    return failed


def _receipts(blocks: RecordedBlocks) -> Receipts:
    """The receipts of blocks that there are; of those that lack an array there are none."""
    done, indices = blocks.record.receipts(), blocks.indices
    if None in blocks.arrays:
        return done[:0]
    inside: Receipts = done[(done["index"] >= indices.start) & (done["index"] < indices.stop)]
    return inside


def _drivers(record: Record) -> tuple[list[Holder], list[str]]:
    """Those who live, as far as is known, and what is wrong with a claim that cannot be read."""
    silence = record.pacing.silence
    try:
        there = holders(record).values()
    except ClaimedError as error:
        return [], [str(error)]
    return [each for each in there if is_alive(each, silence) is not False], []


def _working(drivers: Sequence[Holder]) -> tuple[BlockInWork, ...]:
    blocks = [
        BlockInWork(int(index), str(of), float(since))
        for driver in drivers
        for of, index, since in driver.working
    ]
    return tuple(sorted(blocks, key=lambda block: block.since))


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
