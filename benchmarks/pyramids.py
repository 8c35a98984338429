"""A pyramid against the same run in full resolution alone, where nothing but I/O takes time."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from measuring import alternated, ratio, seconds
from volumes import microscopy

import daskpatch

THREADS = 2
SHAPES = {False: (512, 1024, 1024), True: (128, 256, 256)}
PYRAMIDS: dict[str, int | str | None] = {"none": None, "one level": 1, "auto": "auto"}


def run(smoke: bool, folder: Path) -> list[dict[str, Any]]:
    source = folder / f"in-{SHAPES[smoke][0]}.zarr"
    microscopy(source, SHAPES[smoke])
    planned = {
        kind: daskpatch.plan(
            source, np.negative, folder / "pyramid.zarr", patch_size=(64, 128, 128), overlaps=16,
            dtype="uint16", ome=True, pyramid=pyramid, threads=THREADS,
            overwrite=True,
        )
        for kind, pyramid in PYRAMIDS.items()
    }  # fmt: skip

    def taken(kind: str) -> float:
        return seconds(lambda: planned[kind].run(progress=False))

    figures = alternated({kind: partial(taken, kind) for kind in PYRAMIDS}, 1 if smoke else 5)
    return [
        {
            "pyramid": kind,
            "levels": len(plan.to_dict()["levels"][0]),
            "s": float(np.median(figures[kind])),
            "of none": ratio(figures, kind, "none"),
            "plan MB": plan.peak_memory / 1e6,
        }
        for kind, plan in planned.items()
    ]
