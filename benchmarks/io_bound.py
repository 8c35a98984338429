"""The job that is all input and output: y = 2x, uint16 to float32, halo (8, 16, 16)."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import dask
import dask.array as da
import numpy as np
import zarr
from measuring import PeakMemory, alternated, in_fresh_process, ratio, seconds
from volumes import CHUNKS, create, microscopy

import daskpatch
from daskpatch.geometry import RegularGrid
from daskpatch.store import StoredArray

HALO = (8, 16, 16)
PATCH = (80, 160, 288)  # crops of 64×128×256: whole chunks
THREADS = 2
SHAPES = {False: (512, 1024, 1024), True: (128, 256, 256)}


def double(batch: Any) -> Any:
    return batch * 2


def plan(source: Path, output: Path, io: str, *, durable: bool = True) -> daskpatch.Plan:
    shutil.rmtree(output, ignore_errors=True)  # another tool's, which is not ours to overwrite
    return daskpatch.plan(
        source,
        double,
        output,
        patch_size=PATCH,
        overlaps=tuple(2 * h for h in HALO),
        chunks=CHUNKS,
        threads=THREADS,
        io=io,
        durable=durable,
    )


def ours(source: Path, output: Path, io: str) -> float:
    planned = plan(source, output, io)
    return seconds(lambda: planned.run(progress=False))


def not_durable(source: Path, output: Path, io: str) -> float:
    """Without seeing files onto the disk, as all that follow."""
    planned = plan(source, output, io, durable=False)
    return seconds(lambda: planned.run(progress=False))


def aligned_copy(source: Path, output: Path, io: str) -> float:
    """The same blocks, read without halo, converted, written: what no tool can be faster than."""
    planned = plan(source, output.with_name("unused"), io)
    return copy(source, output, io, planned.block_shape)


def chunk_copy(source: Path, output: Path, io: str) -> float:
    """The same, chunk by chunk."""
    return copy(source, output, io, CHUNKS)


def copy(source: Path, output: Path, io: str, block_shape: tuple[int, ...]) -> float:
    reader = StoredArray(zarr.open_array(str(source), mode="r"), io=io)
    writer = StoredArray(create(output, reader.shape, "float32"), io=io)
    blocks = RegularGrid.clipped(reader.shape, block_shape)

    def one(index: int) -> None:
        box = blocks.cell(index).slices
        writer.write(box, reader.read(box).astype("float32"))

    with ThreadPoolExecutor(THREADS) as pool:
        return seconds(lambda: list(pool.map(one, range(blocks.n_cells))))


def map_overlap(source: Path, output: Path, io: str) -> float:  # noqa: ARG001 (as the others)
    """Dask's own, chunks as stored, into an array that is there."""
    array = create(output, zarr.open_array(str(source), mode="r").shape, "float32")
    lazy = da.from_zarr(str(source)).map_overlap(
        lambda block: block.astype("float32") * 2, depth=HALO, boundary="reflect", dtype="float32"
    )
    with dask.config.set(scheduler="threads", num_workers=THREADS):
        return seconds(lambda: da.store(lazy, array, lock=False))


TOOLS: dict[str, Callable[[Path, Path, str], float]] = {
    "daskpatch": ours,
    "not durable": not_durable,
    "aligned copy": aligned_copy,
    "copy by chunks": chunk_copy,
    "map_overlap": map_overlap,
}


def run(smoke: bool, folder: Path) -> list[dict[str, Any]]:
    source = folder / f"in-{SHAPES[smoke][0]}.zarr"
    microscopy(source, SHAPES[smoke])
    rows = [measured(io, source, folder / "out.zarr", smoke) for io in ("tensorstore", "zarr")]
    shutil.rmtree(folder / "out.zarr", ignore_errors=True)
    return rows


def measured(io: str, source: Path, output: Path, smoke: bool) -> dict[str, Any]:
    """Speeds of all tools with one back end, alternated; peaks each in a process of its own."""
    figures = alternated(
        {name: partial(tool, source, output, io) for name, tool in TOOLS.items()},
        rounds=1 if smoke else 5,
    )
    peaks = {
        name: in_fresh_process("io_bound", name, source, output, io)["peak"]
        for name in ("daskpatch", "map_overlap")
    }
    speeds = {name: np.prod(SHAPES[smoke]) / median(s) / 1e6 for name, s in figures.items()}
    return {
        "io": io,
        **{f"{name} Mvoxel/s": speed for name, speed in speeds.items()},
        "of not durable": 1 / ratio(figures, "daskpatch", "not durable"),
        "of aligned copy": 1 / ratio(figures, "daskpatch", "aligned copy"),
        "of copy by chunks": 1 / ratio(figures, "daskpatch", "copy by chunks"),
        "of map_overlap": 1 / ratio(figures, "daskpatch", "map_overlap"),
        "peak MB": peaks["daskpatch"] / 1e6,
        "map_overlap peak MB": peaks["map_overlap"] / 1e6,
        "peak of map_overlap": peaks["daskpatch"] / peaks["map_overlap"],
    }


def main(name: str, source: str, output: str, io: str) -> None:
    """The peak of one tool in this process, over the idle one."""
    with PeakMemory() as memory:
        TOOLS[name](Path(source), Path(output), io)
    print(json.dumps({"peak": memory.peak}))


if __name__ == "__main__":
    main(*sys.argv[1:])
