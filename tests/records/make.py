"""Runs that stopped half way, as daskpatch 0.1.0 left them: their records must stay readable.

They were made at commit 63adbd0 (daskpatch 0.1.0, zarr 3.1.6, numpy 2.4.6, Python 3.11.7), in
`tests`:

    python -m records.make FOLDER

and are not made again: a later version would write what it reads itself. Where FOLDER was named
in a text file, that file says `/RECORDS` now.
"""

import contextlib
import functools
import sys
from pathlib import Path

import numpy as np
import zarr
from records.models import dimmed, leaning, parts, rectified, smooth
from volumes import save

import daskpatch

PLACEHOLDER = "/RECORDS"

SMALL = {"chunks": 12, "block_shape": 12}
TILES = {"patch_size": 16, "overlaps": 4, "align": 2, **SMALL, "model_id": "1", "io": "zarr"}

CASES = {
    "array": (smooth, {}),
    "series": (smooth, {}),
    "outputs": (parts, {}),
    "normalised": (
        rectified,
        {"normalize": "zscore", "denormalize": True, "chunks": 6, "shards": 12},
    ),
    "treated": (
        leaning,
        {"stitch": "gaussian", "augment": "flips", "post": dimmed, "dtype": "uint8"},
    ),
    "existing": (smooth, {"chunks": None}),
    "finished": (smooth, {}),
}
"""Model and options of each run, beside `TILES`."""

SHAPES = {"series": [(26, 31), (40, 29)]}
SHAPE = (21, 26, 40)
"""Of the sources; blocks at the ends are larger or smaller than others."""


def plan(case, folder, model=None, output="output.zarr", **changes):
    """The plan of a case whose sources are in a folder."""
    recorded, options = CASES[case]
    sources = [folder / name for name in source_names(case)]
    source = changes.pop("source", sources if case == "series" else sources[0])
    place = folder / output
    return daskpatch.plan(
        source,
        recorded if model is None else model,
        users_array(place) if case == "existing" else place,
        **{**TILES, **options, **changes},
    )


def source_names(case):
    count = len(SHAPES.get(case, [SHAPE]))
    return [f"source{i}.zarr" for i in range(count)] if count > 1 else ["source.zarr"]


def users_array(path):
    """An array that was there before the run, with chunks and a fill value of its own."""
    if not path.exists():
        zarr.create_array(
            store=str(path), shape=SHAPE, dtype="float32", chunks=(6, 12, 12), fill_value=-7
        )
    return zarr.open_array(store=str(path), mode="r+")


def make(case, folder):
    folder.mkdir(parents=True)
    rng = np.random.default_rng(20)
    shapes = SHAPES.get(case, [SHAPE])
    for name, shape in zip(source_names(case), shapes, strict=True):
        values = sum(np.indices(shape)) + rng.integers(0, 16, shape)
        names = list("zyx"[-len(shape) :])
        save(
            folder / name, values.astype("uint16"), chunks=(16,) * len(shape), dimension_names=names
        )
    if case == "finished":
        plan(case, folder).run(progress=False)
    elif case == "series":
        stopped(case, folder, calls=7)
    else:
        plan(case, folder).run(region=np.s_[:, :10], progress=False)


def stopped(case, folder, calls):
    """A run that is asked to stop in one of the model's calls."""
    model, made = CASES[case][0], []
    interruption = daskpatch.Interruption()

    @functools.wraps(model)  # whose name is recorded
    def counted(batch):
        made.append(batch.shape)
        if len(made) == calls:
            interruption.request()
        return model(batch)

    planned = plan(case, folder, counted, threads=1)
    made.clear()  # a plan calls the model, too
    with contextlib.suppress(KeyboardInterrupt):
        planned.run(interruption=interruption, progress=False)


def anonymous(folder):
    """Say `/RECORDS` where text names the folder, and drop empty folders, as git does."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif path.suffix == ".json":
            path.write_text(path.read_text().replace(str(folder), PLACEHOLDER))
        elif str(folder).encode() in path.read_bytes():
            raise ValueError(f"{path} names the folder.")


def main(folder):
    for case in CASES:
        make(case, folder / case)
        found = daskpatch.status(folder / case / "output.zarr")
        print(f"{case}: {found.done} of {found.total} blocks")
    anonymous(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
