"""Importing the package against importing dask.array and zarr."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from statistics import median
from typing import Any

from measuring import alternated, ratio, seconds


def run(smoke: bool) -> list[dict[str, Any]]:
    def start(code: str) -> float:
        return seconds(lambda: subprocess.run([sys.executable, "-c", code], check=True))

    codes = {"daskpatch": "import daskpatch", "dask.array, zarr": "import dask.array, zarr"}
    figures = alternated(
        {name: partial(start, code) for name, code in codes.items()}, rounds=3 if smoke else 15
    )
    return [
        {
            **{f"{name} s": median(taken) for name, taken in figures.items()},
            "ratio": ratio(figures, "daskpatch", "dask.array, zarr"),
        }
    ]
