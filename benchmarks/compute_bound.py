"""The job that is all model: a 3-D U-Net on two cores."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import alternated, ratio, seconds
from torch import nn
from volumes import microscopy

import daskpatch
from daskpatch.model import load
from daskpatch.planning import prediction_of

THREADS = 2
PATCH, OVERLAP, ALIGN = 64, 16, 4
SHAPES = {False: (96, 192, 192), True: (48, 96, 96)}


class UNet(nn.Module):
    """Two poolings; sized to less than half a megavoxel per second on two cores."""

    def __init__(self, features: int = 36) -> None:
        super().__init__()
        self.enter = self._double(1, features)
        self.down = self._double(features, 2 * features)
        self.bottom = self._double(2 * features, 4 * features)
        self.rise = self._double(6 * features, 2 * features)
        self.leave = self._double(3 * features, features)
        self.out = nn.Conv3d(features, 1, 1)
        self.pool = nn.MaxPool3d(2)
        self.up = nn.Upsample(scale_factor=2)

    @staticmethod
    def _double(given: int, features: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv3d(given, features, 3, padding=1),
            nn.ReLU(),
            nn.Conv3d(features, features, 3, padding=1),
            nn.ReLU(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = self.enter(x)
        second = self.down(self.pool(first))
        third = self.bottom(self.pool(second))
        second = self.rise(torch.cat([self.up(third), second], 1))
        return self.out(self.leave(torch.cat([self.up(second), first], 1)))


def run(smoke: bool, folder: Path) -> list[dict[str, Any]]:
    shape = SHAPES[smoke]
    source = folder / f"in-{shape[0]}.zarr"
    microscopy(source, shape)
    torch.manual_seed(0)
    model = UNet().eval()
    planned = daskpatch.plan(
        source,
        model,
        folder / "net.zarr",
        patch_size=PATCH,
        overlaps=OVERLAP,
        align=ALIGN,
        threads=THREADS,
        overwrite=True,
    )
    image = planned.images[0]
    tiles = [
        image.extract_patch(0, None, t["coords"], t["patch_size"])[None].astype("float32")
        for t in islice(planned.patching, planned.n_tiles)
    ]
    counted = planned.compute_ratio * np.prod(shape)
    loaded = load(prediction_of(planned).model)

    def bare() -> float:
        """Seconds for as many voxels as the run computes, side by side as in the run."""

        def share(first: int) -> None:
            torch.set_num_threads(1)
            for tile in _share(tiles, first):
                loaded(tile)

        with ThreadPoolExecutor(THREADS) as pool:
            taken = seconds(lambda: list(pool.map(share, range(THREADS))))
        return taken * counted / sum(tile.size for tile in tiles)

    figures = alternated(
        {"daskpatch": lambda: seconds(lambda: planned.run(progress=False)), "bare model": bare},
        rounds=1 if smoke else 5,
    )
    return [
        {
            "kept Mvoxel/s": np.prod(shape) / np.median(figures["daskpatch"]) / 1e6,
            "computed Mvoxel/s": counted / np.median(figures["daskpatch"]) / 1e6,
            "bare model Mvoxel/s": counted / np.median(figures["bare model"]) / 1e6,
            "of bare model": 1 / ratio(figures, "daskpatch", "bare model"),
            "voxels computed per voxel kept": planned.compute_ratio,
            "blocks": planned.n_blocks,
        }
    ]


def _share(tiles: list[Any], first: int) -> Iterator[Any]:
    return islice(tiles, first, None, THREADS)
