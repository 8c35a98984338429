"""What mypy says of calls: unknown words and wrong types are errors, right calls are none."""

import re
import subprocess
import sys

import pytest

from daskpatch import Limits, Model, Normalize, Output, Run, Source, Tiles
from daskpatch.support import words_of

KINDS = (Source, Model, Output, Tiles, Normalize, Limits, Run)

CALLS = """\
import functools
import distributed
import numpy as np
import daskpatch
from daskpatch import Limits, Model, Normalize, Output, Run, Source, TiledPatching, Tiles

client: distributed.Client
made = daskpatch.plan("in.zarr", np.negative, "out.zarr", patch_size=16, overlaps="auto")
daskpatch.plan("in.zarr", np.negative, patch_sise=16)  # call-arg
daskpatch.plan("in.zarr", np.negative, patch_size="large")  # arg-type
daskpatch.plan("in.zarr", np.negative, patch_size=None, tiles=TiledPatching([(1, 1, 9, 9)], 8, 2))
daskpatch.plan(["a.zarr", "b.zarr"], "model.py:model", patch_size=(16, 16), channels=[0])
daskpatch.plan(["a.zarr", "b.zarr"], "model.py:model", patch_size=(16, 1.5))  # arg-type
daskpatch.plan(Source("in.zarr", axes="YX"), Model(np.negative), Output("out.zarr"))
daskpatch.plan("in.zarr", np.negative, tiles=functools.partial(TiledPatching, patch_size=8))
daskpatch.plan("in.zarr", np.negative, tiles=Tiles(16), limits=Limits("8 GB", threads=2))
daskpatch.plan("in.zarr", np.negative, patch_size="auto", cache_probe=False)
daskpatch.plan("in.zarr", np.negative, patch_size="auto", cache_probe="no")  # arg-type
daskpatch.plan("in.zarr", np.negative, tiles=Tiles(16), limits=Tiles(16))  # arg-type
daskpatch.plan("in.zarr", np.negative, normalize="zscore", normalize_over="series")
daskpatch.plan("in.zarr", np.negative, normalize="z-score")  # arg-type
daskpatch.plan("in.zarr", np.negative, normalize="zscore", normalize_over="all")  # arg-type
daskpatch.plan("in.zarr", np.negative, normalize={"mean": 3, "std": [2.0, 1.0]}, denormalize=True)
daskpatch.plan("in.zarr", np.negative, augment=["flips", "rot90"], stitch="linear", scale="1/4")
daskpatch.plan("in.zarr", np.negative, augment="flip")  # arg-type
daskpatch.plan("in.zarr", np.negative, stitch="blend")  # arg-type
daskpatch.plan("in.zarr", np.negative, "out.zarr", label_image="nuclei", downsample="mode")
daskpatch.plan("in.zarr", np.negative, "out.zarr", label_image=True)  # arg-type
daskpatch.plan("in.zarr", np.negative, "out.zarr", mask=["a.zarr", "b.zarr"], fill=np.nan)
daskpatch.plan("in.zarr", np.negative, "out.zarr", mask=3)  # arg-type
daskpatch.plan("in.zarr", np.negative, "out.zarr", mask="mask.zarr", fill="0")  # arg-type
daskpatch.plan("in.zarr", np.negative, skip_empty=lambda block: bool(block.max() < 3))
daskpatch.plan("in.zarr", np.negative, skip_empty=[0])  # arg-type
daskpatch.plan("in.zarr", np.negative, "out.zarr", ome="0.4", channel_names=["a"], pyramid=2)
daskpatch.plan("in.zarr", np.negative, "out.zarr", ome="0.6")  # arg-type
daskpatch.plan("in.zarr", np.negative, "out.zarr", channel_names=3)  # arg-type
daskpatch.plan("in.zarr", np.negative, "out.zarr", pyramid="full")  # arg-type
daskpatch.plan("in.zarr", np.negative, "out.zarr", downsample="median")  # arg-type
daskpatch.plan("in.zarr", np.negative, "out.zarr", factors=[2, (1, 2, 2)], box=np.s_[:64, ...])
daskpatch.plan("in.zarr", np.negative, "out.zarr", factors=2)  # arg-type
daskpatch.plan("in.zarr", np.negative, "out.zarr", box="0:64")  # arg-type
daskpatch.plan("in.zarr", np.negative, post="post.py:post", post_id="one", level=1, image="second")
daskpatch.plan("in.zarr", np.negative, post=np.negative, post_id=1)  # arg-type
daskpatch.plan("in.zarr", np.negative, level="1")  # arg-type
daskpatch.plan("in.zarr", np.negative, image=1.5)  # arg-type
daskpatch.plan("plate.zarr", np.negative, fields="B/*/0")
daskpatch.plan("plate.zarr", np.negative, fields=["B/03/0"])  # arg-type
daskpatch.plan("in.zarr", np.negative, patching="tiles.py:tiles", model_id="v3", padding=7)
daskpatch.plan("in.zarr", np.negative, patching=3)  # arg-type
daskpatch.plan("in.zarr", np.negative, model_id=3)  # arg-type
daskpatch.plan("in.zarr", np.negative, padding=None)  # arg-type
daskpatch.plan("in.zarr", np.negative, patch_size=16, align=(1, 8, 8), min_size="16")  # arg-type
daskpatch.plan("in.zarr", np.negative, normalize="minmax", normalize_per_channel=1.0)  # arg-type
daskpatch.plan("in.zarr", np.negative, normalize="minmax", normalize_fraction="half")  # arg-type
daskpatch.plan("in.zarr", np.negative, "out.zarr", shards=128, block_shape="128")  # arg-type
daskpatch.plan("in.zarr", np.negative, threads="2")  # arg-type
daskpatch.plan("in.zarr", np.negative, resume=True)  # call-arg
daskpatch.plan("in.zarr")  # call-arg

Source("in.zarr", axes=3)  # arg-type
Model(np.negative, margin=(2, (1, 3)), input_dtype=np.float16, id="one")
Model(np.negative, id=1)  # arg-type
Output("out.zarr", dtype={"mask": "uint8"}, chunks=(1, 64, 64))
Output("out.zarr", chunks="64")  # arg-type
Output("out.zarr", overwrite=None)  # arg-type
Tiles(16, "auto", batch_size="auto", probe="probe.json")
Tiles(16, batch_size=1.5)  # arg-type
Normalize(("percentile", 1, 99), fraction=0.1)
Normalize("zscore", fraction="0.1")  # arg-type
Limits(io=None)  # arg-type
Run(part=(3, 16), region=np.s_[:12])
Run(part=3)  # arg-type

report = daskpatch.predict("in.zarr", np.negative, "out.zarr", patch_size=16, part=(1, 2))
daskpatch.predict("in.zarr", np.negative, "out.zarr", patch_size=16, run=Run(resume=True))
daskpatch.predict("in.zarr", np.negative, "out.zarr", patch_size=16, part="1/2")  # arg-type
daskpatch.predict("in.zarr", np.negative, "out.zarr", patch_size=16, retry=0)  # call-arg
daskpatch.predict("in.zarr", np.negative, "out.zarr", run=Limits())  # arg-type
daskpatch.predict("in.zarr", np.negative)  # call-arg

made.run(resume=True, region=np.s_[:12], resources={"GPU": 1}, threads=2)
made.run(Run(progress=False))
made.run(client=client, patience=60.0)
made.run(client)
made.run(timeout=3.5)
made.run(timeout="1h")  # arg-type
made.run(interruption=daskpatch.Interruption(), retries=0)
made.run(interruption=True)  # arg-type
made.run(resume="yes")  # arg-type
made.run(chunks=8)  # call-arg
made.run(Limits())  # arg-type
made.to("other.zarr", chunks=(1, 8, 8), memory_limit="8 GB").run(pacing=daskpatch.Pacing())
made.to("other.zarr", cache="1 GB", durable=False, threads=1)
made.to("other.zarr", cache=[1])  # arg-type
made.to("other.zarr", durable="no")  # arg-type
made.to("other.zarr", chunks="8")  # arg-type
made.to("other.zarr", patch_size=8)  # call-arg
daskpatch.status("out.zarr", report)  # call-arg
report.done + made.plan  # attr-defined
"""


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """The errors of each line, by its number."""
    folder = tmp_path_factory.mktemp("types")
    (folder / "calls.py").write_text(CALLS)
    (folder / "mypy.ini").write_text("[mypy]\nstrict = True\nfollow_imports = silent\n")
    command = [sys.executable, "-m", "mypy", "--cache-dir", "cache", "calls.py"]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert result.returncode == 1, result.stdout + result.stderr
    found = {}
    for number, code in re.findall(r"^calls\.py:(\d+): error: .*\[(\S+)\]$", result.stdout, re.M):
        found.setdefault(int(number), []).append(code)
    return found


LINES = [(number, line) for number, line in enumerate(CALLS.splitlines(), 1) if line]


@pytest.mark.parametrize(("number", "line"), LINES, ids=[line for _, line in LINES])
def test_wrong_calls_are_reported_and_no_others(reported, number, line):
    _, _, code = line.partition("  # ")
    assert reported.get(number, []) == ([code] if code else [])


def test_every_word_stands_in_a_call():
    words = {word for kind in KINDS for word in words_of(kind)}
    assert [word for word in words if not re.search(rf"\b{word}=", CALLS)] == []
