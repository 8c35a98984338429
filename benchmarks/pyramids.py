"""A pyramid against the same run in full resolution alone, all of it I/O, and nearly all model."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from compute_bound import ALIGN, UNet
from measuring import alternated, ratio, seconds
from volumes import microscopy

import daskpatch

THREADS = 2
JOBS: dict[str, tuple[Any, dict[bool, tuple[int, int, int]], dict[str, Any]]] = {
    "I/O alone": (
        lambda: np.negative,
        {False: (512, 1024, 1024), True: (128, 256, 256)},
        {"patch_size": (64, 128, 128), "overlaps": 16, "dtype": "uint16"},
    ),
    "I/O alone, 2-D": (
        lambda: np.negative,
        {False: (64, 2048, 2048), True: (16, 256, 256)},
        {"patch_size": (512, 512), "overlaps": 32, "dtype": "uint16"},
    ),
    "3-D U-Net": (
        UNet,
        {False: (96, 192, 192), True: (16, 48, 48)},
        {"patch_size": 64, "overlaps": 16, "align": ALIGN},
    ),
}
PYRAMIDS: dict[str, int | None] = {"none": None, "one level": 1, "two levels": 2}


def run(smoke: bool, folder: Path) -> list[dict[str, Any]]:
    return [row for job in JOBS for row in _compared(job, smoke, folder)]


def _compared(job: str, smoke: bool, folder: Path) -> list[dict[str, Any]]:
    model, shapes, options = JOBS[job]
    source = folder / f"in-{shapes[smoke][0]}.zarr"
    microscopy(source, shapes[smoke])
    network = model()
    planned = {
        kind: daskpatch.plan(
            source, network, folder / "pyramid.zarr", ome=True, pyramid=pyramid, threads=THREADS,
            overwrite=True, **options,
        )
        for kind, pyramid in PYRAMIDS.items()
    }  # fmt: skip

    def taken(kind: str) -> float:
        return seconds(lambda: planned[kind].run(progress=False))

    figures = alternated({kind: partial(taken, kind) for kind in PYRAMIDS}, 1 if smoke else 5)
    return [
        {
            "job": job,
            "pyramid": kind,
            "levels": len(plan.to_dict()["levels"][0]),
            "s": float(np.median(figures[kind])),
            "of none": ratio(figures, kind, "none"),
            "plan MB": plan.peak_memory / 1e6,
        }
        for kind, plan in planned.items()
    ]
