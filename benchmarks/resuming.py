"""What receipts cost: the start of a resume, bytes per block, and time on the I/O-bound job."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import io_bound
import numpy as np
from measuring import alternated, ratio, seconds
from volumes import create, microscopy

import daskpatch
from daskpatch.receipts import Receipt, Record
from daskpatch.receipts.segments import FULL, encode, layouts_of
from daskpatch.store import locate

BLOCKS = {False: (100, 100, 100), True: (10, 10, 10)}
CHUNK = 8


def run(smoke: bool, folder: Path) -> list[dict[str, Any]]:
    start, size, blocks = start_of_a_resume(BLOCKS[smoke], folder)
    return [
        {
            "blocks": blocks,
            "start of a resume s": start,
            "bytes per block": size / blocks,
            **overhead(smoke, folder),
        }
    ]


def start_of_a_resume(counts: tuple[int, int, int], folder: Path) -> tuple[float, int, int]:
    """Seconds of a run of many blocks that finds all but one done, and bytes of its receipts."""
    shape = tuple(CHUNK * n for n in counts)
    create(folder / "many.zarr", shape, "uint8")  # nothing in it: chunks of fill value
    options = {"patch_size": CHUNK, "chunks": CHUNK, "block_shape": CHUNK, "progress": False}
    output = folder / "many-out.zarr"
    shutil.rmtree(output, ignore_errors=True)
    region = np.s_[:CHUNK, :CHUNK, :CHUNK]
    daskpatch.predict(folder / "many.zarr", np.positive, output, region=region, **options)
    total = int(np.prod(counts))
    record = Record(locate(output))
    rows = np.zeros(total - 1, layouts_of(Receipt)[0])
    rows["index"] = np.arange(total - 1)
    rows["voxels"] = CHUNK**3
    for first in range(0, len(rows), FULL):
        name = f"{record.folder_of_run('receipts')}part-1-of-1/made-{first // FULL:08d}"
        record.documents.write(name, encode(rows[first : first + FULL]))
    size = sum(p.stat().st_size for p in (output / ".daskpatch" / "receipts").rglob("*0*"))
    planned = daskpatch.plan(
        folder / "many.zarr", np.positive, output, patch_size=CHUNK, chunks=CHUNK
    )
    began = time.perf_counter()
    report = planned.run(resume=True, progress=False)
    taken = time.perf_counter() - began
    assert (report.done, report.skipped) == (1, total - 1)
    shutil.rmtree(output)
    return taken, size, total


def overhead(smoke: bool, folder: Path) -> dict[str, float]:
    """The I/O-bound job with receipts and without: no digest, nothing kept, nothing stored."""
    source = folder / f"in-{io_bound.SHAPES[smoke][0]}.zarr"
    microscopy(source, io_bound.SHAPES[smoke])
    output = folder / "out.zarr"

    def with_receipts() -> float:
        planned = io_bound.plan(source, output, "tensorstore")
        return seconds(lambda: planned.run(progress=False))

    def without() -> float:
        with (
            patch("daskpatch.running.job.digests_of", lambda _: (0,)),
            patch("daskpatch.running.ledger.Ledger.add", _forget),
        ):
            return with_receipts()

    figures = alternated({"with": with_receipts, "without": without}, rounds=1 if smoke else 7)
    return {
        "with receipts s": float(np.median(figures["with"])),
        "without s": float(np.median(figures["without"])),
        "overhead": ratio(figures, "with", "without") - 1,
    }


def _forget(ledger: Any, receipt: Receipt) -> None:
    pass
