"""The automatic choice of tiles against common defaults and a brute-force sweep: a 3-D U-Net.

`difference` is the largest one from the whole image's result, in its standard deviations: some
common defaults have seams. The sweep is over tilings that are exact.
"""

from __future__ import annotations

import time
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zarr
from compute_bound import THREADS, UNet
from measuring import alternated, seconds
from volumes import microscopy

import daskpatch

SHAPES = {False: (96, 192, 192), True: (24, 64, 64)}
DEFAULTS = {
    "64, a quarter": (64, 16),
    "64, a half": (64, 32),
    "128, a quarter": (128, 32),
    "128, a half": (128, 64),
}
HALO = 24
"""What the probe finds, and the network's layers tell: 22 voxels, on a grid of 4."""

STEPS = {False: (192, 96, 64), True: (64, 32)}
"""Distances of crops along Y and X in the sweep; along Z the tile is whole."""


def run(smoke: bool, folder: Path) -> list[dict[str, Any]]:
    shape = SHAPES[smoke]
    source = folder / f"in-{shape[0]}-{shape[1]}.zarr"
    microscopy(source, shape)
    torch.manual_seed(0)
    model = UNet(features=4 if smoke else 36).eval()
    began = time.perf_counter()
    probe = daskpatch.probe(model, ndim=3, seconds=2 if smoke else 20)
    probed = time.perf_counter() - began
    options = {"probe": probe, "threads": THREADS, "overwrite": True}
    output = folder / "chosen.zarr"
    plans = {
        "auto": daskpatch.plan(source, model, output, patch_size="auto", **options),
        **{
            name: daskpatch.plan(
                source, model, output, patch_size=patch, overlaps=overlap, align=4, **options
            )
            for name, (patch, overlap) in DEFAULTS.items()
        },
    }
    for steps in combinations_with_replacement(STEPS[smoke], 2):
        plan = daskpatch.plan(source, model, output, **swept(shape, steps), **options)
        if plan.patching != plans["auto"].patching:
            plans[f"sweep {steps}"] = plan
    whole = daskpatch.plan(source, model, patch_size=shape).view[...]
    differences = {}

    def runs(name: str) -> float:
        taken = seconds(lambda: plans[name].run(progress=False))
        result = zarr.open_array(store=str(output))[...]
        differences[name] = float(np.abs(result - whole).max() / whole.std())
        return taken

    figures = alternated({name: lambda name=name: runs(name) for name in plans}, rounds=1)
    taken = {name: float(np.median(values)) for name, values in figures.items()}
    best = min(seconds for name, seconds in taken.items() if name.startswith(("auto", "sweep")))
    return [
        {
            "tiling": name,
            "tile": str(plan.tile_shape),
            "overlaps": str(plan.patching.overlaps),
            "voxels computed per voxel kept": plan.compute_ratio,
            "seconds": taken[name],
            "of the best exact one": taken[name] / best,
            "difference": differences[name],
            "probe s": probed,
        }
        for name, plan in plans.items()
    ]


def swept(shape: tuple[int, ...], steps: tuple[int, int]) -> dict[str, Any]:
    """Exact tiles: whole along Z, a given distance of crops along Y and X."""
    overlaps = [
        0,
        *(0 if step >= n else 2 * HALO for step, n in zip(steps, shape[1:], strict=True)),
    ]
    tiles = [shape[0], *(step + o for step, o in zip(steps, overlaps[1:], strict=True))]
    return {"patch_size": tiles, "overlaps": overlaps}
