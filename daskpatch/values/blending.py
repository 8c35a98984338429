"""How results of overlapping tiles become one: each voxel from one tile, or weighted from all."""

from __future__ import annotations

from functools import lru_cache, reduce

import numpy as np
from numpy.typing import NDArray

from ..support import shown

STITCHES = ("crop", "gaussian", "linear")

_SIGMA = 0.125
"""Of the Gaussian, in sizes of the tile."""

_FLOOR = 1e-3
"""The least weight: corners would vanish otherwise."""


def check_stitch(stitch: object) -> str:
    """Refuse what is no way to stitch."""
    if not isinstance(stitch, str) or stitch not in STITCHES:
        raise ValueError(f"stitch is {shown(stitch)}; needed is 'crop', 'gaussian' or 'linear'.")
    return str(stitch)


@lru_cache(maxsize=32)
def weights(stitch: str, shape: tuple[int, ...], overlap: tuple[int, ...]) -> NDArray[np.float32]:
    """The weight of each voxel of a tile's result, `(Z)YX`; read-only.

    - `"gaussian"`: a product of Gaussians around the middle, sigma = 0.125 of the tile, no weight
      below the corners' or 1e-3, whichever is more: as MONAI's `compute_importance_map`
      (https://docs.monai.io/en/stable/data.html) and, but for the floor, nnU-Net (Isensee et al.
      2021, https://doi.org/10.1038/s41592-020-01008-z) have it.
    - `"linear"`: a product of ramps over the `overlap` (voxels per axis that neighbours share), 1
      between them: two neighbours fade into each other.

    >>> weights("linear", (6,), (2,)).round(2).tolist()
    [0.33000001311302185, 0.6700000166893005, 1.0, 1.0, 0.6700000166893005, 0.33000001311302185]
    """
    if stitch == "gaussian":
        table = reduce(np.multiply.outer, [_gaussian(n) for n in shape])
        table = np.maximum(table, max(float(table.min()), _FLOOR))
    else:
        ramps = [_ramp(n, o) for n, o in zip(shape, overlap, strict=True)]
        table = reduce(np.multiply.outer, ramps)
    single: NDArray[np.float32] = table.astype(np.float32)
    # It is cached, and the same array for all tiles.
    single.flags.writeable = False
    return single


def _gaussian(n: int) -> NDArray[np.float64]:
    distance = np.arange(n) - (n - 1) / 2
    bell: NDArray[np.float64] = np.exp(-(distance**2) / (2 * (_SIGMA * n) ** 2))
    return bell


def _ramp(n: int, overlap: int) -> NDArray[np.float64]:
    inside = np.minimum(np.arange(n), np.arange(n)[::-1]) + 1
    ramp: NDArray[np.float64] = np.minimum(inside / (overlap + 1), 1.0)
    return ramp
