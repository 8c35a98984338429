"""What tries are made of: values that are right, nearly right and wrong, by the option's name."""

from dataclasses import replace

import numpy as np
from fuzz_functions import NO_POSTS, NO_STRATEGIES, POSTS, STRATEGIES
from fuzz_models import double

import daskpatch

BIG = 10**9

PROBE = daskpatch.probe(double, ndim=2, seconds=0)

PROBES = ["net.json", "rdf.yaml"]
"""Of a model that keeps its size: files that lie in the working folder."""

KINDS = {
    "source": daskpatch.Source,
    "model": daskpatch.Model,
    "output": daskpatch.Output,
    "tiles": daskpatch.Tiles,
    "normalize": daskpatch.Normalize,
    "limits": daskpatch.Limits,
    "run": daskpatch.Run,
}
"""Values that options may be given in, by the option that takes one."""

OPTIONS = {
    "source": [3, None, [], "nothing.zarr", "", {}, 2.5],
    "model": [None, 3, "x", "x:y", "example_models:nothing", {}, str],
    "output": [None, 3, [], 2.5, "\0"],
    "tiles": ["x", 3, {}, *STRATEGIES[:1]],
    "limits": [None, "1 GB", 3],
    "run": [None, "x", 3],
    "patch_size": [4, 8, 5, (4, 4), (8, 5), (2, 4, 4), np.int64(8), [8, 8], np.array([4, 4]), 0, -3,
                   5.5, "8", "4,4", (8,), None, float("nan"), True, BIG, 2**70, (1, 2, 3, 4), {}],
    "overlaps": [0, 2, 3, (2, 2), (1, 2, 0), -1, BIG, "x", None, 2.0, (2,), [], float("inf")],
    "align": [1, 2, 4, (2, 2), 0, "a", None, -1, 3.5],
    "min_size": [1, 4, 16, 0, "a", None, (4, 4)],
    "batch_size": [1, 2, 7, 0, -1, "x", None, 2.5, BIG],
    "chunks": [None, 1, 4, 7, (4, 4), (3, 4, 4), 0, "x", -2, [], BIG],
    "shards": [None, 4, 8, (8, 8), 0, "x"],
    "block_shape": [None, 4, 8, (8, 8), 5, 0, "x", BIG],
    "stitch": ["crop", "gaussian", "linear", "x", None, 3],
    "dtype": [None, "u1", "f4", "float16", "bool", "int32", np.float64, "complex64", "x", 3,
              {"a": "u1"}],
    "ome": [True, True, False, "0.4", "0.5", None, "0.6", 1, "yes", []],
    "level": [0, 1, 0, 2, -1, "1", None, 0.5, True, BIG],
    "image": [0, 1, "first", "second", "0", 2, -1, "x", "", None, 0.5, []],
    "fields": ["A/1/0", "B/*/0", "*", "A/1/1", "B/2/1", "C/*", "x", "", "[", None, 3, []],
    "channel_names": [["a", "b"], ("a",), ["a"] * 3, "ab", [], [1, 2], None, 3, ["a" * 300]],
    "pyramid": ["auto", 1, 2, 3, None, 0, -1, 99, "x", 1.5, True, BIG],
    "downsample": ["mean", "mode", "max", "stride", None, "median", "", 3, []],
    "factors": [[2], [(2, 2)], [(1, 2), 3], [2, 2], [(1, 2, 2)], None, [], 2, "x", [1], [0], [-2],
                [(2,) * 7], [[]], [BIG], [2.5], {}],
    "box": [(slice(2, 9),), (..., slice(1, 7)), 0, (..., -1), None, slice(9, 2), "x",
            (slice(0, 4, 2),), (0,) * 7, [], BIG],
    "skip_empty": [True, True, 0, 0, 0.0, 1, 7, -1, 0.5, float("nan"), None, False, "x", 2**70, [],
                   {}, 10**400],
    "mask": [np.ones((1, 1)), np.eye(2), np.eye(4, 3), np.zeros((1, 1)), np.ones((5, 7)),
             np.ones(3), np.eye(3)[None], np.full((2, 2), "x"), "nothing.zarr", None, 3,
             [], "", {}],
    "fill": [0, 7, -1, 3.5, float("nan"), "x", None, 2**70, True, 10**400],
    "label_image": [None, "a/b", "", "..", 3, [], "x" * 300],
    "padding": ["reflect", "edge", 0, 3.5, -1, "wrap", float("nan"), None, [], 10**400],
    "channels": [None, [0], [0, 1], (1,), [5], [-1], "x", 0, [], ["DAPI"], [0.5], [True]],
    "normalize": [None, "zscore", "minmax", {"mean": 1.0, "std": 2.0}, {"low": 0, "high": 9}, "x",
                  {"mean": 1}, {"mean": "a", "std": 1}, {"std": 0, "mean": 0}, 3,
                  {"mean": [1, 2], "std": [1, 3]}, "percentile", ("percentile", 1, 99),
                  ("percentile", 10, 90.5), ("percentile", 99, 1), ("percentile",),
                  ("percentile", 0, 101)],
    "normalize_over": ["image", "series", "x", None],
    "normalize_per_channel": [True, False, "x", 1],
    "normalize_fraction": [None, 0.5, 0.3, 0.01, 1, 0, 2, -1, "x", float("nan")],
    "denormalize": [True, False, 3],
    "augment": [None, "flips", "rot90", ("flips", "rot90"), "x", 3, ()],
    "input_dtype": ["float32", "float64", "uint8", "x", None, "complex64"],
    "scale": [None, 1, 2, "1/2", (1, 1), 0, "x", float("nan"), -1],
    "margin": [None, 0, 1, (1, 1), "x", -1, ((0, 0), (0, 0))],
    "memory_limit": [None, "1 GB", "1 kB", "x", -1, 0, 10**9, float("inf"), float("nan")],
    "threads": [None, 1, 2, 0, -1, "x", 1.5],
    "io": ["auto", "zarr", "tensorstore", "x", None],
    "cache": [None, "1 MB", 1, 0, -1, "x", 2**40, float("nan")],
    "durable": [True, False, 0, "no", None],
    "cache_probe": [True, False, 1, "yes", None],
    "model_id": [None, "me", 3, ""],
    "overwrite": [True, False, "yes"],
    "retries": [0, 1, -1, "x", None],
    "region": [None, (slice(0, 4),), ..., slice(2, 9), "x", (slice(0, 4, 2),), 0, (0,) * 6,
               (..., slice(1, 7)), (..., -1), slice(9, 2)],
    "part": [None, (1, 1), (1, 2), (2, 3), (0, 2), (3, 2), "x", 1],
    "resume": [True, False, None],
    "timeout": [None, 60.0, 0, -1, "x", float("nan")],
    "patience": [1.0, -1, "x"],
    "post": [*POSTS, *NO_POSTS, None, 3, "x", "x:y", np.float32, {}],
    "post_id": [None, "me", 3, "", []],
    "probe": [*PROBES, PROBE, None, 3, "nothing.json", "", b"x", [], replace(PROBE, channels=7)],
    "patching": [*STRATEGIES, *NO_STRATEGIES, None, 3, "x", "x:y", "example_models:nothing", []],
    "client": [None, "x", 3, "tcp://nowhere:1", {}],
    "resources": [None, {}, {"GPU": 1}, {"GPU": -1}, {3: 1}, "GPU", 3, {"GPU": float("nan")}],
    "progress": [False, None, "x", 3],
    "interruption": [daskpatch.Interruption(), None, "x", 3],
    "pacing": [daskpatch.Pacing(flush=0.0), None, "x", 3],
    "paatch_size": [8],
}  # fmt: skip

DTYPES = ["u1", "u2", "i2", "i4", "u8", "f2", "f4", "f8", "?", ">u2", "c8", "S3", "M8[s]", "O"]

TOGETHER = [
    {"normalize": ["zscore", "minmax", "percentile", ("percentile", 10, 90.5)],
     "normalize_fraction": [0.5, 0.3, 1], "denormalize": [True, False],
     "normalize_per_channel": [True, False]},
    {"ome": [True, "0.4", "0.5"], "pyramid": ["auto", 1, 2, 3], "chunks": [None, 4],
     "downsample": [None, "mean", "mode", "max", "stride"], "dtype": [None, None, "u1", "bool"]},
    {"ome": [True, "0.5"], "factors": [[2], [2, 2], [3, (1, 2)], [(1, 2, 2)]],
     "downsample": ["mean", "mode", "max", "stride", None]},
    {"region": [(slice(0, 4),), slice(2, 9), (..., slice(1, 7)), (..., -1)], "chunks": [2, 4],
     "ome": [True, False]},
    {"box": [(slice(2, 9),), (..., slice(1, 7)), (..., -3, slice(4, None)), slice(-5, None)],
     "chunks": [None, 4], "ome": [True, False], "pyramid": ["auto", 1]},
    {"skip_empty": [True, 0, 0.0, 7], "padding": ["reflect", 0, 7], "overlaps": [2, 4],
     "stitch": ["crop", "gaussian"], "normalize": [None, "zscore"], "chunks": [None, 4]},
    {"mask": [np.eye(2), np.eye(1, 2), np.eye(2, 1), np.eye(3), np.eye(2)[:, ::-1]],
     "fill": [0, 7, -1, float("nan")], "dtype": [None, None, "i2", "f4"],
     "stitch": ["crop", "linear"],
     "skip_empty": [None, 0], "ome": [True, False], "pyramid": ["auto", 1], "chunks": [None, 4]},
    {"part": [(1, 2), (2, 2), (2, 3)], "chunks": [4, 8], "normalize": [None, "zscore"]},
    {"post": POSTS, "post_id": [None, "me"], "chunks": [None, 4], "dtype": [None, None, "i2", "f4"],
     "stitch": ["crop", "crop", "linear"], "ome": [True, False], "pyramid": ["auto", 1],
     "normalize": [None, "zscore"], "denormalize": [True, False], "mask": [None, np.eye(2)]},
    {"patching": STRATEGIES, "stitch": ["crop", "gaussian"], "chunks": [None, 4],
     "padding": ["reflect", 0], "post": [None, *POSTS]},
    {"probe": [*PROBES, PROBE], "overlaps": [None, 4], "chunks": [None, 4]},
    {"padding": ["reflect", "edge", 0, 7], "overlaps": [2, 4], "stitch": ["crop", "gaussian"]},
]  # fmt: skip
"""Options that mean something together; each set of them is right where the source is."""

FLAGS = {
    "--patch-size": ["8", "8,8", "0", "x", "8.5", "", "1,2,3,4,5", "-4", "auto "],
    "--overlaps": ["2", "0", "9", "-1", "x", "2,2"],
    "--axes": ["YX", "XY", "ZYX", "", "Q"],
    "--dtype": ["u1", "f4", "x", "a=u1", "a=", "="],
    "--chunks": ["4", "4,4", "0", "x"],
    "--stitch": ["crop", "gaussian", "x"],
    "--normalize": ["zscore", "minmax", "x", "percentile:1,99", "percentile:", "mean=1,std=2",
                    "mean=1", "mean=a,std=1", "percentile:a,b", "=", "mean=1:2,std=1:1"],
    "--channels": ["0", "1", "DAPI", "", "0,", "-1"],
    "--padding": ["reflect", "edge", "0", "x", "nan"],
    "--memory-limit": ["1 GB", "1 kB", "x", "-1", ""],
    "--threads": ["1", "0", "x", "2.5"],
    "--io": ["zarr", "auto", "x"],
    "--cache": ["1MB", "1", "0", "x"],
    "--no-durable": [None],
    "--no-cache-probe": [None],
    "--region": ["0:8,0:8", "0:4", "x", ":", "0:1:2", "5", "9:3"],
    "--part": ["1/1", "1/2", "3/2", "x", "/", "0/0"],
    "--retries": ["0", "-1", "x"],
    "--timeout": ["60", "0", "-1", "x", "nan"],
    "--model": ["example_models:double", "example_models:fails", "example_models:nothing", "x",
                "nofile.py:a", "nomodule:a", "text.txt", "example_models:smaller", ":", "a:"],
    "--scale": ["1", "2", "1/2", "x", "1/0"],
    "--augment": ["flips", "rot90", "x", "flips,rot90"],
    "--ome": ["yes", "no", "0.4", "0.5", "maybe"],
    "--level": ["0", "1", "-1", "x"],
    "--image": ["0", "x", ""],
    "--fields": ["A/*", "", "["],
    "--channel-names": ["a", "a,b", ""],
    "--pyramid": ["auto", "none", "1", "0", "-1", "x", "99"],
    "--downsample": ["mean", "mode", "x"],
    "--factors": ["2", "2,2", "1,2/2,2", "0", "x", "", "/"],
    "--box": ["0:8,0:8", ":,2:9", "x", "0:1:2", "9:3", "99"],
    "--skip-empty": ["0", "nan", "x", "nofile.py:a", "-1", ""],
    "--mask": ["in.zarr", "ome.zarr", "nothing.zarr", ""],
    "--fill": ["0", "7", "x", "nan"],
    "--label-image": ["a/b", "", ".."],
    "--resources": ["GPU=1", "GPU", "GPU=x", "="],
    "--grace": ["1", "x", "-1"],
    "--json": [None],
    "--overwrite": [None],
    "--resume": [None],
    "--nonsense": ["1"],
}  # fmt: skip

PLACES = ["in.zarr"] * 4 + ["ome.zarr", "nothing.zarr", "text.txt", "./", "", "s3:/x"]
"""Sources of the command line."""

OME = {
    "ome": {
        "version": "0.5",
        "multiscales": [
            {
                "axes": [{"name": "c", "type": "channel"}, {"name": "y", "type": "space"},
                         {"name": "x", "type": "space"}],
                "datasets": [{"path": "0", "coordinateTransformations": [
                    {"type": "scale", "scale": [1.0, 0.5, 0.5]}]}],
                "name": "image",
            }
        ],
        "omero": {"channels": [{"label": "DAPI"}, {"label": "GFP"}]},
    }
}  # fmt: skip

RDF = {
    "format_version": "0.4.9",
    "name": "net",
    "inputs": [{"name": "x", "axes": "bcyx", "data_type": "float32",
                "shape": {"min": [1, 1, 4, 4], "step": [0, 0, 2, 2]}}],
    "outputs": [{"name": "y", "axes": "bcyx", "data_type": "float32", "halo": [0, 0, 2, 2],
                 "shape": {"reference_tensor": "x", "scale": [1] * 4, "offset": [0] * 4}}],
}  # fmt: skip

RDF_5 = {
    "format_version": "0.5.3",
    "name": "net",
    "inputs": [{"id": "x", "axes": [
        {"type": "batch"}, {"type": "channel", "channel_names": ["a"]},
        {"type": "space", "id": "y", "size": {"min": 4, "step": 2}},
        {"type": "space", "id": "x", "size": {"min": 4, "step": 2}}],
        "data": {"type": "float32"}}],
    "outputs": [{"id": "y", "axes": [
        {"type": "batch"}, {"type": "channel", "channel_names": ["a"]},
        {"type": "space", "id": "y", "halo": 2, "size": {"tensor_id": "x", "axis_id": "y"}},
        {"type": "space", "id": "x", "halo": 2, "size": {"tensor_id": "x", "axis_id": "x"}}],
        "data": {"type": "float32"}}],
}  # fmt: skip
