"""What tiles of any size are expected to take, from those that a probe measured."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..probing import CallCost, Probe

_FAR = 20.0
"""On the logarithmic scale: further than any tile."""

_NEAR = 0.5
"""Measurements that tell the memory of larger ones are more than this part of the largest: small
tiles take more for each voxel. (A U-Net of 16 features, one thread: 5,500 bytes a voxel at 24³,
where torch computes convolutions another way, 650 at 64³, 400 at 96³.)"""


@dataclass(frozen=True)
class CostModel:
    """Seconds and bytes of the model, for tiles and batches that may not have been measured."""

    probe: Probe

    def seconds_per_voxel(
        self, voxels: NDArray[np.float64] | float, batch: int
    ) -> NDArray[np.float64]:
        """Of tiles of so many voxels, in batches like this one.

        Between the tiles that were measured on a logarithmic scale. Beyond the largest, speed
        falls as it did up to there: large tiles leave the CPU's caches behind.
        """
        points = {
            math.log(math.prod(cost.tile)): 1 / cost.voxels_per_second
            for cost in sorted(self.probe.costs, key=lambda cost: -abs(cost.batch - batch))
        }
        logs = sorted(points or [0.0])
        seconds = [points.get(x, 0.0) for x in logs]
        if len(logs) > 1:
            slope = max((seconds[-1] - seconds[-2]) / (logs[-1] - logs[-2]), 0.0)
            logs, seconds = [*logs, logs[-1] + _FAR], [*seconds, seconds[-1] + slope * _FAR]
        return np.asarray(np.interp(np.log(voxels), logs, seconds))

    def nbytes(self, patch: tuple[int, ...], batch: int) -> float:
        """What one thread takes: the model's working memory, tiles in and out, the block."""
        probe, voxels = self.probe, math.prod(patch)
        measured = {cost: cost.batch * math.prod(cost.tile) for cost in probe.costs}
        telling = _NEAR * max(measured.values(), default=0)
        working = max((c.nbytes / n for c, n in measured.items() if n > telling), default=0.0)
        given = probe.channels * (np.dtype(probe.input_dtype).itemsize + 8)
        scale = float(math.prod(probe.scale))
        made = 3 * scale * probe.out_channels * np.dtype(probe.dtype).itemsize
        return voxels * (batch * (working + given) + made)

    def measured_like(self, patch: tuple[int, ...]) -> list[CallCost]:
        """The measurements of the tile that is the most like this one, by ascending batch."""
        voxels = math.prod(patch)
        tiles = {cost.tile for cost in self.probe.costs}
        if not tiles:
            return []
        like = min(tiles, key=lambda tile: abs(math.log(math.prod(tile) / voxels)))
        costs = (cost for cost in self.probe.costs if cost.tile == like)
        return sorted(costs, key=lambda cost: cost.batch)
