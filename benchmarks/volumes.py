"""The volumes that are predicted: noise over structure, which compresses as microscopy does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import zarr
from scipy.ndimage import gaussian_filter
from zarr.codecs import BloscCodec

CHUNKS = (64, 128, 128)
CODEC = BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle")


def create(path: Path, shape: tuple[int, int, int], dtype: str) -> zarr.Array:
    return zarr.create_array(
        store=str(path),
        shape=shape,
        chunks=CHUNKS,
        dtype=dtype,
        compressors=CODEC,
        dimension_names=["z", "y", "x"],
        overwrite=True,
    )


def microscopy(path: Path, shape: tuple[int, int, int]) -> None:
    """A uint16 volume of smooth structure with photon noise, unless it is there already."""
    if (path / "complete").exists():
        return
    rng = np.random.default_rng(0)
    structure = gaussian_filter(rng.normal(size=(64, 256, 256)), 3, mode="wrap")
    structure = 2000 * (structure - structure.min()) / np.ptp(structure)
    block = np.tile(structure, (1, -(-shape[1] // 256), -(-shape[2] // 256)))
    block = block[:, : shape[1], : shape[2]]
    noisy = (block + rng.poisson(100, block.shape)).astype("uint16")
    array = create(path, shape, "uint16")
    for z in range(0, shape[0], 64):
        array[z : z + 64] = noisy[: min(64, shape[0] - z)]
    (path / "complete").touch()
