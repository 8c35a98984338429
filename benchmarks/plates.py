"""A plate of 10 wells with 4 fields each, predicted by one call and by one call for each field."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from measuring import alternated, ratio, seconds

import daskpatch

ROWS, COLUMNS, FIELDS = "AB", "12345", 4
SIZES = {False: 1024, True: 64}
TILES = {"patch_size": 256, "overlaps": 32, "pyramid": None, "progress": False}


def run(smoke: bool, folder: Path) -> list[dict[str, Any]]:
    plate, out = folder / "plate.zarr", folder / "predicted.zarr"
    fields = _plate(plate, SIZES[smoke])

    def whole() -> None:
        shutil.rmtree(out, ignore_errors=True)
        daskpatch.predict(plate, np.negative, out, **TILES)

    def by_field() -> None:
        shutil.rmtree(out, ignore_errors=True)
        for field in fields:
            daskpatch.predict(plate / field, np.negative, out / field, **TILES)

    calls = {"one call": partial(seconds, whole), "a call for each": partial(seconds, by_field)}
    figures = alternated(calls, 1 if smoke else 5)
    return [
        {
            "plate": kind,
            "fields": len(fields),
            "s": float(np.median(figures[kind])),
            "of a call for each": ratio(figures, kind, "a call for each"),
        }
        for kind in calls
    ]


def _plate(path: Path, size: int) -> list[str]:
    """A plate of two channels, and the paths of its fields."""
    shutil.rmtree(path, ignore_errors=True)
    wells = [
        (i, j, f"{row}/{column}") for i, row in enumerate(ROWS) for j, column in enumerate(COLUMNS)
    ]
    told = {
        "rows": [{"name": row} for row in ROWS],
        "columns": [{"name": column} for column in COLUMNS],
        "wells": [{"path": well, "rowIndex": i, "columnIndex": j} for i, j, well in wells],
    }
    _group(path, {"plate": told})
    values = np.random.default_rng(0).integers(0, 4000, (2, size, size), "uint16")
    axes = [{"name": "c", "type": "channel"}, *({"name": n, "type": "space"} for n in "yx")]
    scale = {"type": "scale", "scale": [1, 0.5, 0.5]}
    dataset = {"path": "0", "coordinateTransformations": [scale]}
    image = {"multiscales": [{"axes": axes, "datasets": [dataset]}]}
    for _, _, well in wells:
        _group(path / well, {"well": {"images": [{"path": str(i)} for i in range(FIELDS)]}})
        for field in range(FIELDS):
            group = _group(path / well / str(field), image)
            group.create_array("0", data=values, chunks=(1, min(256, size), min(256, size)))
    return [f"{well}/{field}" for _, _, well in wells for field in range(FIELDS)]


def _group(path: Path, told: dict[str, Any]) -> zarr.Group:
    return zarr.create_group(str(path), attributes={"ome": {"version": "0.5", **told}})
