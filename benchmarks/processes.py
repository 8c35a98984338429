"""Two worker processes (as `--workers 2` starts them) against two threads: all model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from compute_bound import ALIGN, OVERLAP, PATCH, SHAPES, UNet
from measuring import alternated, ratio, seconds
from volumes import microscopy

import daskpatch
from daskpatch.engine.cluster import local_workers


def run(smoke: bool, folder: Path) -> list[dict[str, Any]]:
    shape = SHAPES[smoke]
    source = folder / f"in-{shape[0]}.zarr"
    microscopy(source, shape)
    torch.manual_seed(0)
    planned = daskpatch.plan(
        source,
        UNet().eval(),
        folder / "net.zarr",
        patch_size=PATCH,
        overlaps=OVERLAP,
        align=ALIGN,
        chunks=PATCH - OVERLAP,
        block_shape=PATCH - OVERLAP,  # enough blocks to share out evenly
        threads=2,
        overwrite=True,
    )
    with local_workers(2, threads=1) as client:
        planned.run(client=client, progress=False)  # models are loaded
        figures = alternated(
            {
                "processes": lambda: seconds(lambda: planned.run(client=client, progress=False)),
                "threads": lambda: seconds(lambda: planned.run(threads=2, progress=False)),
            },
            rounds=1 if smoke else 5,
        )
    return [
        {
            "threads s": sorted(figures["threads"])[len(figures["threads"]) // 2],
            "processes s": sorted(figures["processes"])[len(figures["processes"]) // 2],
            "processes of threads": 1 / ratio(figures, "processes", "threads"),
            "blocks": planned.n_blocks,
        }
    ]
