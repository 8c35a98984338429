"""What a run did, and what it could not do."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from dask.utils import format_bytes

from ..support import counted, html_table, speed_of
from .receipt import FailedBlock, Receipt


@dataclass(frozen=True, slots=True)
class Report:
    """What a run did.

    Attributes
    ----------
    blocks, tiles
        Blocks written (`done` is another name for it), and tiles predicted for them; a tile that
        touches two blocks counts twice.
    skipped
        Blocks that an earlier run had done.
    retried
        Calls that failed and were tried again.
    failed, failed_blocks
        How many blocks were set aside, and which: `FailedBlock`s.
    taken_over
        Claims of dead drivers that this run took over.
    seconds, voxels_per_second
        Wall time, and voxels of space and samples written per second.
    bytes_read
        Decoded bytes of the source's chunks that the blocks touched; a cache may have spared
        some of the reads.
    bytes_written
        Bytes of the blocks, before compression.
    nan_tiles
        Tiles that gave NaN where their input had none, or whose NaN was stored as 0; and blocks
        of which `post` gave NaN that was stored as 0.
    absent_chunks
        Chunks that the source did not have when blocks were read (a missing shard may count as
        one), each time that one was read; they read as its fill value.
    unfinished
        What a part could not begin, because other parts are not done; else empty.
    empty
        Blocks among those written that were not given to the model (`skip_empty`).
    chunks_fetched, fetched_again
        Chunks of source and mask that were fetched and decoded, and how many of them not for the
        first time in their process, because there was no memory to keep them.
    reading_seconds, model_seconds, writing_seconds
        What blocks spent in waiting for the source and filling tiles from it, in the model, and in
        writing: sums over blocks, several of which are in work at a time.
    """

    blocks: int
    tiles: int
    seconds: float
    voxels_per_second: float
    bytes_read: int
    bytes_written: int
    nan_tiles: int
    skipped: int = 0
    retried: int = 0
    taken_over: int = 0
    failed_blocks: tuple[FailedBlock, ...] = ()
    unfinished: str = ""
    absent_chunks: int = 0
    empty: int = 0
    chunks_fetched: int = 0
    fetched_again: int = 0
    reading_seconds: float = 0.0
    model_seconds: float = 0.0
    writing_seconds: float = 0.0

    @property
    def done(self) -> int:
        return self.blocks

    @property
    def failed(self) -> int:
        return len(self.failed_blocks)

    def __add__(self, other: Report) -> Report:
        """Of two runs, one after the other."""
        seconds = self.seconds + other.seconds
        voxels = sum(each.voxels_per_second * each.seconds for each in (self, other))
        summed = {
            name: getattr(self, name) + getattr(other, name)
            for name in (each.name for each in fields(Report))
            if name not in ("seconds", "voxels_per_second", "unfinished")
        }
        return Report(
            **summed,
            seconds=seconds,
            voxels_per_second=voxels / seconds if seconds > 0 else 0.0,
            unfinished=self.unfinished or other.unfinished,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {**asdict(self), "done": self.done, "failed": self.failed}

    def __str__(self) -> str:
        return "; ".join(line for _, line in self._lines())

    def _repr_html_(self) -> str:
        return html_table("daskpatch report", self._lines())

    def _spent(self) -> str:
        """What blocks spent their time in, the most first; empty where they took none."""
        parts = {
            "reading": self.reading_seconds,
            "the model": self.model_seconds,
            "writing": self.writing_seconds,
        }
        total = sum(parts.values())
        if not total:
            return ""
        shares = sorted(parts.items(), key=lambda part: -part[1])
        (first, seconds), *others = shares
        rest = "".join(f", {spent / total:.0%} in {name}" for name, spent in others)
        return f"{seconds / total:.0%} of the time in {first}{rest}"

    def _lines(self) -> list[tuple[str, str]]:
        """What there is to say, each with its name."""
        speed = speed_of(self.voxels_per_second)
        done = f"{counted(self.blocks, 'block')} ({counted(self.tiles, 'tile')})"
        lines = [
            ("done", f"{done} in {self.seconds:.1f} s, {speed}"),
            (
                "data",
                f"{format_bytes(self.bytes_read)} read, {format_bytes(self.bytes_written)} written",
            ),
        ]
        if self.chunks_fetched:
            again = f", {self.fetched_again:,} of them again" if self.fetched_again else ""
            lines.append(("chunks", f"{counted(self.chunks_fetched, 'chunk')} fetched{again}"))
        if spent := self._spent():
            lines.append(("time", spent))
        if self.empty:
            lines.append(("empty", f"{_were(self.empty, 'block')} empty"))
        if self.skipped:
            lines.append(("before", f"{_were(self.skipped, 'block')} done before"))
        if self.nan_tiles:
            lines.append(("NaN", f"{counted(self.nan_tiles, 'tile')} gave NaN"))
        if self.failed:
            lines.append(("failed", f"{counted(self.failed, 'block')} failed"))
        if self.absent_chunks:
            lines.append(("absent", f"{_were(self.absent_chunks, 'chunk')} absent when read"))
        if self.unfinished:
            lines.append(("unfinished", self.unfinished))
        return lines


def _were(number: int, noun: str) -> str:
    return f"{counted(number, noun)} {'was' if number == 1 else 'were'}"


class Totals:
    """Sums over receipts, kept while a run goes on."""

    def __init__(self) -> None:
        self.blocks = self.tiles = self.nan_tiles = self.voxels = 0
        self.bytes_read = self.bytes_written = 0
        self.skipped = self.retried = self.absent_chunks = self.empty = 0
        self.chunks_fetched = self.fetched_again = 0
        self.seconds = self.reading = self.model = self.writing = 0.0

    def add(self, receipt: Receipt) -> None:
        self.blocks += 1
        self.tiles += receipt.tiles
        self.nan_tiles += receipt.nan_tiles
        self.voxels += receipt.voxels
        self.bytes_read += receipt.bytes_read
        self.bytes_written += receipt.bytes_written
        self.absent_chunks += receipt.absent
        self.empty += receipt.empty > 0
        self.chunks_fetched += receipt.fetched
        self.fetched_again += receipt.again
        self.reading += receipt.reading
        self.model += receipt.model
        self.writing += receipt.writing

    def report(
        self,
        *,
        taken_over: int = 0,
        failed_blocks: tuple[FailedBlock, ...] = (),
        unfinished: str = "",
    ) -> Report:
        seconds = self.seconds
        return Report(
            blocks=self.blocks,
            tiles=self.tiles,
            seconds=seconds,
            voxels_per_second=self.voxels / seconds if seconds > 0 else 0.0,
            bytes_read=self.bytes_read,
            bytes_written=self.bytes_written,
            nan_tiles=self.nan_tiles,
            skipped=self.skipped,
            retried=self.retried,
            taken_over=taken_over,
            failed_blocks=failed_blocks,
            unfinished=unfinished,
            absent_chunks=self.absent_chunks,
            empty=self.empty,
            chunks_fetched=self.chunks_fetched,
            fetched_again=self.fetched_again,
            reading_seconds=self.reading,
            model_seconds=self.model,
            writing_seconds=self.writing,
        )


class RunFailed(RuntimeError):  # noqa: N818 (a name that users know)
    """A run that could not finish; what was written stays.

    Attributes
    ----------
    report
        The `Report` of the blocks that were done.
    failed
        The blocks that were not, as `FailedBlock`s.
    """

    def __init__(self, message: str, report: Report, failed: tuple[FailedBlock, ...]) -> None:
        super().__init__(message, report, failed)
        self.report = report
        self.failed = failed

    def __str__(self) -> str:
        return str(self.args[0])
