"""Blended tiles against cropped ones: time and memory, all input and output, and all model."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from compute_bound import UNet
from measuring import PeakMemory, alternated, in_fresh_process, ratio, seconds
from volumes import microscopy

import daskpatch

THREADS = 2
PATCH, OVERLAP = 64, 16
SHAPES = {
    "y = 2x": {False: (256, 512, 512), True: (64, 128, 128)},
    "U-Net": {False: (96, 192, 192), True: (48, 96, 96)},
}
STITCHES = ("crop", "gaussian", "linear")


def double(batch: Any) -> Any:
    return batch * 2


def plan(job: str, source: Path, output: Path, stitch: str, features: int) -> daskpatch.Plan:
    torch.manual_seed(0)
    model = double if job == "y = 2x" else UNet(features).eval()
    return daskpatch.plan(
        source,
        model,
        output,
        patch_size=PATCH,
        overlaps=OVERLAP,
        align=1 if job == "y = 2x" else 4,
        stitch=stitch,
        threads=THREADS,
        overwrite=True,
    )


def run(smoke: bool, folder: Path) -> list[dict[str, Any]]:
    features = 4 if smoke else 36
    return [row for job in SHAPES for row in compared(job, smoke, folder, features)]


def compared(job: str, smoke: bool, folder: Path, features: int) -> list[dict[str, Any]]:
    shape = SHAPES[job][smoke]
    source, output = folder / f"blend-{shape[0]}.zarr", folder / "blended.zarr"
    microscopy(source, shape)

    def run_it(stitch: str) -> float:
        planned = plan(job, source, output, stitch, features)
        return seconds(lambda: planned.run(progress=False))

    figures = alternated(
        {stitch: partial(run_it, stitch) for stitch in STITCHES}, rounds=1 if smoke else 3
    )
    rows = []
    for stitch in STITCHES:
        planned = plan(job, source, output, stitch, features)
        facts = in_fresh_process("blending", job, source, output, stitch, features)
        rows.append(
            {
                "job": job,
                "stitch": stitch,
                "voxels computed per voxel kept": planned.compute_ratio,
                "of them at blocks' edges": planned.compute_ratio / planned.tile_ratio - 1,
                "seconds": float(np.median(figures[stitch])),
                "of crop": ratio(figures, stitch, "crop"),
                "peak MB": facts["peak"] / 1e6,
                "plan MB": facts["plan"] / 1e6,
            }
        )
    return rows


def main(job: str, source: str, output: str, stitch: str, features: str) -> None:
    """The peak of one run in this process, over the idle one."""
    planned = plan(job, Path(source), Path(output), stitch, int(features))
    with PeakMemory() as memory:
        planned.run(progress=False)
    print(json.dumps({"peak": memory.peak, "plan": planned.peak_memory}))


if __name__ == "__main__":
    main(*sys.argv[1:])
