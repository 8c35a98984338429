"""Contracts of patching strategies, for strategies of your own.

```python
from daskpatch.testing import check_tiling

def test_my_tiling():
    check_tiling(MyTiling(shapes), shapes)
```
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np

from .patching import Patching, PatchSpecs, TileSpecs, grids_of, is_tile_specs

__all__ = ["check_patching", "check_tiling"]

Shapes = Sequence[Sequence[int]]


def check_patching(patching: Patching, data_shapes: Shapes) -> None:
    """Check that a strategy follows the `Patching` protocol for `SC(Z)YX` shapes.

    Every index from 0 to `n_patches` gives a `PatchSpecs` of plain ints, for a sample that
    exists; `get_patch_indices` shares the indices out among the images; the strategy survives
    pickling.

    Raises
    ------
    AssertionError
        At the first violation, with the index and what was wrong.

    Examples
    --------
    >>> from daskpatch import SequentialPatching
    >>> shapes = [(2, 1, 30, 40)]
    >>> check_patching(SequentialPatching(shapes, 16), shapes)
    """
    owners: dict[int, int] = {}
    for data_idx in range(len(data_shapes)):
        for index in patching.get_patch_indices(data_idx):
            _require(index not in owners, f"index {index} belongs to two images")
            owners[int(index)] = data_idx
    _require(
        sorted(owners) == list(range(patching.n_patches)),
        f"get_patch_indices must share out the indices 0 to {patching.n_patches - 1}",
    )
    copy = pickle.loads(pickle.dumps(patching))
    for index, data_idx in owners.items():
        specs = patching.get_patch_spec(index)
        _check_specs(index, specs, data_idx, tuple(data_shapes[data_idx]))
        _require(
            copy.get_patch_spec(index) == specs,
            f"spec {index} changes when the strategy is pickled",
        )


def check_tiling(patching: Patching, data_shapes: Shapes) -> None:
    """Check that a strategy tiles: every voxel is kept by exactly one tile, as `plan` needs it.

    Raises
    ------
    AssertionError
        At the first violation.
    ValueError
        If the tiles are no product of per-axis tilings in C order, as from `plan`.

    Examples
    --------
    >>> from daskpatch import TiledPatching
    >>> shapes = [(2, 1, 30, 40)]
    >>> check_tiling(TiledPatching(shapes, 16, 5), shapes)
    """
    check_patching(patching, data_shapes)
    kept = [np.zeros((shape[0], *shape[2:]), np.uint8) for shape in data_shapes]
    for index in range(patching.n_patches):
        specs = patching.get_patch_spec(index)
        if not is_tile_specs(specs):
            raise AssertionError(f"spec {index} is no TileSpecs: it has {sorted(specs)}")
        _check_crop(index, specs)
        total = len(patching.get_patch_indices(specs["data_idx"]))
        _require(
            specs["total_tiles"] == total,
            f"tile {index} says total_tiles {specs['total_tiles']}, its image has {total}",
        )
        place = zip(specs["stitch_coords"], specs["crop_size"], strict=True)
        box: Any = tuple(slice(a, a + n) for a, n in place)
        kept[specs["data_idx"]][specs["sample_idx"]][box] += 1
    for data_idx, counts in enumerate(kept):
        wrong = np.argwhere(counts != 1)
        _require(
            not len(wrong),
            f"image {data_idx}: {len(wrong)} voxels are not kept exactly once, first "
            f"{tuple(wrong[0]) if len(wrong) else ()} (sample, (Z)YX)",
        )
    grids_of(_Foreign(patching), data_shapes)


class _Foreign:
    """Hides what a strategy is, so that it is checked like one from elsewhere."""

    def __init__(self, patching: Patching) -> None:
        self.n_patches = patching.n_patches
        self.get_patch_spec = patching.get_patch_spec
        self.get_patch_indices = patching.get_patch_indices


def _check_specs(index: int, specs: PatchSpecs, data_idx: int, shape: tuple[int, ...]) -> None:
    missing = sorted(PatchSpecs.__required_keys__ - specs.keys())
    _require(not missing, f"spec {index} lacks {', '.join(missing)}")
    for name, value in specs.items():
        entries: Any = value if isinstance(value, tuple) else (value,)
        _require(
            all(type(entry) is int for entry in entries),
            f"spec {index} has {name} {value!r}; needed are plain ints and tuples of them",
        )
    _require(
        specs["data_idx"] == data_idx,
        f"spec {index} has data_idx {specs['data_idx']}, get_patch_indices says {data_idx}",
    )
    _require(
        0 <= specs["sample_idx"] < shape[0],
        f"spec {index} has sample_idx {specs['sample_idx']} of {shape[0]} samples",
    )
    _require(
        len(specs["coords"]) == len(specs["patch_size"]) == len(shape) - 2,
        f"spec {index} has coords {specs['coords']} and patch_size {specs['patch_size']} for "
        f"{len(shape) - 2} spatial axes",
    )
    _require(min(specs["patch_size"]) >= 1, f"spec {index} has patch_size {specs['patch_size']}")


def _check_crop(index: int, specs: TileSpecs) -> None:
    entries = zip(
        specs["coords"],
        specs["patch_size"],
        specs["crop_coords"],
        specs["crop_size"],
        specs["stitch_coords"],
        strict=True,
    )
    for coord, size, crop, crop_size, stitch in entries:
        _require(
            0 <= crop < crop + crop_size <= size,
            f"tile {index} keeps [{crop}, {crop + crop_size}) of {size} voxels",
        )
        _require(
            coord + crop == stitch,
            f"tile {index} is stitched to {stitch}, its crop lies at {coord + crop}",
        )


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)
