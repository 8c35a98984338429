"""The pass for statistics against reading alone, and against the job that is all model."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import compute_bound
import numpy as np
import torch
from measuring import alternated, ratio, seconds
from volumes import microscopy

import daskpatch
from daskpatch import open_image
from daskpatch.statistics import Boxes, measure
from daskpatch.values import Normalize

THREADS = 2
SHAPES = {False: (512, 1024, 1024), True: (128, 256, 256)}


def run(smoke: bool, folder: Path) -> list[dict[str, Any]]:
    source = folder / f"in-{SHAPES[smoke][0]}.zarr"
    microscopy(source, SHAPES[smoke])
    image = open_image(source)

    def read() -> float:
        """The same boxes, with as many threads."""
        grid = Boxes((image,), Normalize("minmax")).grids[0]

        def one(index: int) -> None:
            cell = grid.cell(index)
            image.extract_patch(cell.start[0], None, cell.start[1:], cell.shape[1:])

        with ThreadPoolExecutor(THREADS) as pool:
            return seconds(lambda: list(pool.map(one, range(grid.n_cells))))

    def measured(kind: str) -> float:
        return seconds(lambda: measure([image], Normalize(kind), threads=THREADS))

    kinds: dict[str, Callable[[], float]] = {
        kind: partial(measured, kind) for kind in ("zscore", "minmax", "percentile")
    }
    figures = alternated({"reading": read, **kinds}, rounds=1 if smoke else 5)
    voxels = np.prod(SHAPES[smoke])
    share = share_of_a_run(smoke, folder)
    return [
        {
            "statistics": kind,
            "Mvoxel/s": voxels / np.median(figures[kind]) / 1e6,
            "reading alone Mvoxel/s": voxels / np.median(figures["reading"]) / 1e6,
            "of reading": 1 / ratio(figures, kind, "reading"),
            "share of the compute-bound run": share[kind],
        }
        for kind in kinds
    ]


def share_of_a_run(smoke: bool, folder: Path) -> dict[str, float]:
    """What the statistics take of a run of the U-Net, itself timed without them."""
    shape = compute_bound.SHAPES[smoke]
    source = folder / f"in-{shape[0]}.zarr"
    microscopy(source, shape)
    torch.manual_seed(0)
    model = compute_bound.UNet(features=4 if smoke else 36).eval()
    tiles = {"patch_size": compute_bound.PATCH, "overlaps": compute_bound.OVERLAP, "align": 4}
    shares = {}
    taken = 0.0
    for kind in ("zscore", "minmax", "percentile"):
        planned = daskpatch.plan(
            source, model, folder / "normalised.zarr", **tiles, normalize=kind, threads=THREADS,
            overwrite=True,
        )  # fmt: skip
        statistics = seconds(lambda planned=planned: planned.statistics)
        taken = taken or seconds(lambda planned=planned: planned.run(progress=False))
        shares[kind] = statistics / (statistics + taken)
    return shares
