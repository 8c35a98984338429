"""A volume of which 5 % is stored, halos counted: what is empty skipped, against all computed."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from measuring import alternated, ratio, seconds
from torch import nn
from volumes import CODEC

import daskpatch

THREADS = 2
CHUNK, BLOCK = 32, 96
BLOCKS = {False: (4, 5, 5), True: (2, 2, 2)}


def without_bias() -> nn.Module:
    """A small 3-D network that makes nothing of nothing."""
    layers = [nn.Conv3d(1, 8, 3, padding=1, bias=False), nn.ReLU()]
    layers += [nn.Conv3d(8, 8, 3, padding=1, bias=False), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv3d(8, 1, 1, bias=False))


def doubled(batch: np.ndarray) -> np.ndarray:
    return batch * 2


def run(smoke: bool, folder: Path) -> list[dict[str, Any]]:
    counts = BLOCKS[smoke]
    n_blocks = int(np.prod(counts))
    source = folder / f"sparse-{n_blocks}.zarr"
    _sparse(source, counts, max(n_blocks // 20, 1))
    return [
        row
        for name, model in (("3-D network", without_bias()), ("x * 2", doubled))
        for row in _compared(name, model, source, folder, smoke)
    ]


def _compared(
    name: str, model: Any, source: Path, folder: Path, smoke: bool
) -> list[dict[str, Any]]:
    planned = {
        kind: daskpatch.plan(
            source, model, folder / "skipped.zarr", patch_size=64, overlaps=16, chunks=48,
            block_shape=BLOCK, skip_empty=skip, threads=THREADS, overwrite=True,
        )
        for kind, skip in (("all computed", None), ("skip_empty", True))
    }  # fmt: skip
    reports = {kind: plan.run(progress=False) for kind, plan in planned.items()}

    def taken(kind: str) -> float:
        return seconds(lambda: planned[kind].run(progress=False))

    figures = alternated({kind: partial(taken, kind) for kind in planned}, 1 if smoke else 5)
    return [
        {
            "model": name,
            "kind": kind,
            "blocks": reports[kind].blocks,
            "empty": reports[kind].empty,
            "s": float(np.median(figures[kind])),
            "of all computed": ratio(figures, kind, "all computed"),
        }
        for kind in planned
    ]


def _sparse(path: Path, counts: tuple[int, ...], n_filled: int) -> None:
    """A volume of so many blocks; in the middles of a few, far from their edges, is something."""
    array = zarr.create_array(
        store=str(path),
        shape=tuple(n * BLOCK for n in counts),
        chunks=(CHUNK,) * 3,
        dtype="uint16",
        compressors=CODEC,
        dimension_names=["z", "y", "x"],
        overwrite=True,
    )
    rng = np.random.default_rng(0)
    for index in rng.choice(int(np.prod(counts)), n_filled, replace=False):
        at = np.unravel_index(index, counts)
        middle = tuple(slice(i * BLOCK + CHUNK, i * BLOCK + 2 * CHUNK) for i in at)
        array[middle] = rng.integers(100, 4000, (CHUNK,) * 3, "uint16")
