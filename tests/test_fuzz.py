"""Thousands of random tries: each ends in the right result, or in an answer fit for its user."""

import json
import shutil
from functools import partial

import numpy as np
import pytest
import yaml
import zarr
from fuzzing import (
    WrongAnswerError,
    answered,
    attempts,
    broken_text,
    chosen,
    files_in,
    held,
    mutated,
    names_of,
    seeds,
    some_axes,
    some_shape,
)  # fmt: skip

import daskpatch
from daskpatch.cli import main

BIG = 10**9

OPTIONS = {
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
    "padding": ["reflect", "edge", 0, 3.5, -1, "wrap", float("nan"), None, [], 10**400],
    "channels": [None, [0], [0, 1], (1,), [5], [-1], "x", 0, [], ["DAPI"], [0.5], [True]],
    "normalize": [None, "zscore", "minmax", {"mean": 1.0, "std": 2.0}, {"low": 0, "high": 9}, "x",
                  {"mean": 1}, {"mean": "a", "std": 1}, {"std": 0, "mean": 0}, 3,
                  ("percentile", 1, 99), ("percentile", 99, 1), ("percentile",),
                  ("percentile", 0, 101)],
    "normalize_over": ["image", "series", "x", None],
    "normalize_per_channel": [True, False, "x", 1],
    "normalize_fraction": [None, 0.5, 1, 0, 2, -1, "x", float("nan")],
    "denormalize": [True, False, 3],
    "augment": [None, "flips", "rot90", ("flips", "rot90"), "x", 3, ()],
    "input_dtype": ["float32", "float64", "uint8", "x", None, "complex64"],
    "scale": [None, 1, 2, "1/2", (1, 1), 0, "x", float("nan"), -1],
    "margin": [None, 0, 1, (1, 1), "x", -1, ((0, 0), (0, 0))],
    "memory_limit": [None, "1 GB", "1 kB", "x", -1, 0, 10**9, float("inf"), float("nan")],
    "threads": [None, 1, 2, 0, -1, "x", 1.5],
    "io": ["auto", "zarr", "tensorstore", "x", None],
    "model_id": [None, "me", 3, ""],
    "overwrite": [True, False, "yes"],
    "retries": [0, 1, -1, "x", None],
    "region": [None, (slice(0, 4),), ..., slice(2, 9), "x", (slice(0, 4, 2),), 0, (0,) * 6],
    "part": [None, (1, 1), (1, 2), (0, 2), (3, 2), "x", 1],
    "resume": [True, False, None],
    "timeout": [None, 60.0, 0, -1, "x", float("nan")],
    "patience": [1.0, -1, "x"],
    "paatch_size": [8],
}  # fmt: skip

DTYPES = ["u1", "u2", "i2", "i4", "u8", "f2", "f4", "f8", "?", ">u2", "c8", "S3", "M8[s]", "O"]


def model(batch):
    return batch.astype("f4") * 2 + 1


def converted(values, dtype):
    """Rounded half to even and clipped, for integers; NaN is 0."""
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return np.nan_to_num(np.clip(np.rint(values.astype("f8")), 0, 1)).astype(bool)
    if dtype.kind not in "iu":
        return values.astype(dtype)
    info = np.iinfo(dtype)
    return np.clip(np.rint(np.nan_to_num(values.astype("f8"))), info.min, info.max).astype(dtype)


def normalised(values, how, per_channel, axes):
    """The same as the user would write it down with NumPy; None where that takes more."""
    if how is None:
        return values
    over = tuple(i for i, a in enumerate(axes) if a != "C") if per_channel else None
    x = values.astype("f8")
    if how == "zscore":
        deviation = x.std(axis=over, keepdims=True)
        return (x - x.mean(axis=over, keepdims=True)) / np.where(deviation == 0, 1, deviation)
    if how == "minmax":
        low, high = x.min(axis=over, keepdims=True), x.max(axis=over, keepdims=True)
        return (x - low) / np.where(high == low, 1, high - low)
    if isinstance(how, dict) and "mean" in how:
        return (x - how["mean"]) / how["std"]
    if isinstance(how, dict):
        return (x - how["low"]) / (how["high"] - how["low"])
    return None


def oracle(values, given):
    """What a prediction is, for a model that looks at single voxels; None where that is open."""
    axes, channels = given["axes"], given.get("channels")
    if channels is not None and "C" in axes:
        values = np.take(values, list(channels), axis=axes.index("C"))
    how = given.get("normalize")
    fed = normalised(values, how, given.get("normalize_per_channel", True), axes)
    fraction = given.get("normalize_fraction")
    measured = how is not None and not isinstance(how, dict)
    is_partial = fraction not in (None, 1) and measured
    if fed is None or is_partial or given.get("denormalize") or given.get("region") is not None:
        return None
    if given.get("part") not in (None, (1, 1)):
        return None
    if given.get("scale") not in (None, 1, (1, 1)) or given.get("margin") not in (None, 0):
        return None  # what is said of the model counts
    predicted = model(converted(fed, given.get("input_dtype", "f4")))
    return converted(predicted, given.get("dtype") or "f4")


def check_result(found, values, given):
    expected = oracle(values, given)
    if expected is None:
        return
    if found.shape != expected.shape or found.dtype != expected.dtype:
        raise WrongAnswerError(
            f"{found.shape} {found.dtype}, not {expected.shape} {expected.dtype}: {given}"
        )
    is_measured = isinstance(given.get("normalize"), str)
    blends = given.get("stitch", "crop") != "crop" or given.get("augment")
    near = 1 if found.dtype.kind in "iub" and (is_measured or blends) else 0
    tolerance = 2e-2 if found.dtype == "f2" else 1e-4
    one, other = found.astype("f8"), expected.astype("f8")
    with np.errstate(invalid="ignore"):
        alike = np.abs(one - other) <= near + tolerance * np.maximum(1, np.abs(other))
    if not np.all(alike | (np.isnan(one) & np.isnan(other)) | (one == other)):
        raise WrongAnswerError(f"other voxels: {given}")


def image_for(rng, axes, dtype):
    shape = some_shape(axes, rng)
    made = np.random.default_rng(rng.randrange(2**32)).random(shape)
    return (
        (made * 50).astype(dtype) if dtype not in ("S3", "M8[s]", "O") else np.empty(shape, dtype)
    )


def test_options_of_predict(tmp_path):
    done = 0
    before, files = held(), files_in(tmp_path)
    for rng in seeds("predict", attempts(2500)):
        axes = some_axes(rng)
        dtype = rng.choice(DTYPES if rng.random() < 0.2 else DTYPES[:10])
        values = image_for(rng, axes, dtype)
        given = {"axes": axes, "patch_size": rng.choice([4, 5, 8]), **chosen(OPTIONS, rng, 4)}
        store = zarr.storage.MemoryStore()
        report, error = answered(
            partial(daskpatch.predict, values, model, store, progress=False, **given),
            {**given, "source": dtype, "ndarray": values.shape, "memory:": store},
        )
        if report is not None:
            done += 1
            check_result(zarr.open_array(store, mode="r")[...], values, given)
        elif store._store_dict and not isinstance(error, daskpatch.RunFailed):
            raise WrongAnswerError(
                f"refused, and something is left: {[*store._store_dict][:5]}: {given}"
            )
    assert done > attempts(2500) // 5
    assert files_in(tmp_path) == files
    assert_as_before(before)


def assert_as_before(before):
    threads, descriptors = held()
    assert threads <= before[0] + 20  # pools that later runs use again
    assert descriptors <= before[1] + 20


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
    "--region": ["0:8,0:8", "0:4", "x", ":", "0:1:2", "5", "9:3"],
    "--part": ["1/1", "1/2", "3/2", "x", "/", "0/0"],
    "--retries": ["0", "-1", "x"],
    "--timeout": ["60", "0", "-1", "x", "nan"],
    "--model": ["example_models:double", "example_models:fails", "example_models:nothing", "x",
                "nofile.py:a", "nomodule:a", "text.txt", "example_models:smaller", ":", "a:"],
    "--scale": ["1", "2", "1/2", "x", "1/0"],
    "--augment": ["flips", "rot90", "x", "flips,rot90"],
    "--resources": ["GPU=1", "GPU", "GPU=x", "="],
    "--grace": ["1", "x", "-1"],
    "--json": [None],
    "--overwrite": [None],
    "--resume": [None],
    "--nonsense": ["1"],
}  # fmt: skip

RIGHT = {"--model": "example_models:double", "--patch-size": "8"}

SOURCES = [
    "in.zarr",
    "in.zarr",
    "in.zarr",
    "in.zarr",
    "nothing.zarr",
    "text.txt",
    "./",
    "",
    "s3:/x",
]


def test_the_command_line(tmp_path, monkeypatch, capsys, rng):
    monkeypatch.chdir(tmp_path)
    values = rng.random((16, 12)).astype("f4")
    array = zarr.create_array("in.zarr", data=values, chunks=(8, 8), dimension_names=["y", "x"])
    (tmp_path / "text.txt").write_text("hello")
    before, files = held(), files_in(tmp_path)
    done = 0
    for choice in seeds("command line", attempts(500)):
        given = {
            "--model": "example_models:double",
            "--patch-size": "8",
            **chosen(FLAGS, choice, 3),
        }
        source = choice.choice(SOURCES)
        flags = [
            text for flag, value in given.items() for text in (flag, value) if text is not None
        ]
        with pytest.raises(SystemExit) as ended:
            main(["predict", source, "o.zarr", *flags, "--no-progress"])
        printed = capsys.readouterr()
        check_ending(ended.value.code, printed.err, {**given, "source": source})
        done += ended.value.code == 0
        shutil.rmtree("o.zarr", ignore_errors=True)
        assert files_in(tmp_path) == files, given
    assert done > attempts(500) // 10
    np.testing.assert_array_equal(array[...], values)
    assert_as_before(before)


def check_ending(code, err, given):
    lines = [line for line in err.splitlines() if "Error" in line]
    if code not in (0, 1, 2) or "Traceback" in err or (code and len(lines) != 1):
        raise WrongAnswerError(f"exit code {code}: {err}\n{given}")
    if code and len(lines[0]) > 500:
        raise WrongAnswerError(f"{len(lines[0])} characters: {lines[0]}\n{given}")
    if code and not any(name in lines[0] for name in names_of(given)):
        raise WrongAnswerError(f"it names nothing that was given: {lines[0]}\n{given}")


# Documents


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


def test_metadata_of_images(tmp_path, rng):
    values = rng.random((2, 16, 12)).astype("f4")
    path = tmp_path / "image.zarr"
    group = zarr.create_group(str(path))
    group.create_array("0", data=values, chunks=(1, 8, 8))
    document = json.loads((path / "zarr.json").read_text())
    array = json.loads((path / "0" / "zarr.json").read_text())
    before, opened = held(), 0
    for choice in seeds("metadata", attempts(1000)):
        texts = [json.dumps({**document, "attributes": mutated(OME, choice)}), json.dumps(array)]
        if choice.random() < 0.3:
            texts = [
                json.dumps({**document, "attributes": OME}),
                json.dumps(mutated(array, choice)),
            ]
        if choice.random() < 0.05:
            texts[0] = broken_text(texts[0], choice)
        (path / "zarr.json").write_text(texts[0])
        (path / "0" / "zarr.json").write_text(texts[1])
        given = {"image.zarr": texts, "patch_size": 8, "daskpatch.View": ""}
        found, _ = answered(
            lambda: daskpatch.plan(path, model, patch_size=8, overlaps=2, channels=None), given
        )
        if found is not None and check_view(found.view, path / "0", given):
            opened += 1
    assert opened > attempts(1000) // 10
    assert_as_before(before)


def check_view(view, path, given):
    """Whether a view could be read; then it is of what zarr reads."""
    found, _ = answered(lambda: view[...], given)
    if found is None:
        return False
    expected = model(zarr.open_array(str(path), mode="r")[...])
    np.testing.assert_array_equal(found.ravel(), expected.ravel())
    return True


def test_records(tmp_path, rng):
    values = rng.random((16, 12)).astype("f4")
    path = tmp_path / "out.zarr"
    words = {"axes": "YX", "patch_size": 8, "overlaps": 2, "chunks": 4, "progress": False}
    daskpatch.predict(values, model, path, **words)
    kept = files_in(path)
    documents = [p for p in kept if p.suffix == ".json" and ".daskpatch" in str(p)]
    assert documents
    before = held()
    for choice in seeds("records", attempts(500)):
        file = choice.choice([p for p in kept if "daskpatch" in str(p)])
        if file in documents and choice.random() < 0.7:
            file.write_text(json.dumps(mutated(json.loads(kept[file]), choice)))
        else:
            content = bytearray(kept[file])
            if content:
                content[choice.randrange(len(content))] ^= 1 << choice.randrange(8)
            file.write_bytes(bytes(content[: choice.choice([None, None, 7])]))
        given = {"out.zarr": "", "record": ""}
        for call in (
            lambda: daskpatch.status(path),
            lambda: daskpatch.verify(path, progress=False),
            lambda: daskpatch.predict(values, model, path, resume=True, **words),
        ):
            answered(call, given)
        found = zarr.open_array(path / "", mode="r")[...]
        np.testing.assert_array_equal(found, model(values))
        for name in files_in(path).keys() - kept.keys():
            name.unlink()
        for name, content in kept.items():
            name.parent.mkdir(parents=True, exist_ok=True)
            name.write_bytes(content)
    assert_as_before(before)


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


def test_probes_and_descriptions(tmp_path, rng):
    values = rng.random((16, 12)).astype("f4")
    probe = daskpatch.probe(model, ndim=2, seconds=0)
    documents = [json.loads(json.dumps(probe.to_dict())), RDF, RDF_5]
    before, planned = held(), 0
    for choice in seeds("probes", attempts(500)):
        document = choice.choice(documents)
        path = tmp_path / ("net.json" if document is documents[0] else "rdf.yaml")
        write = json.dumps if document is documents[0] else yaml.safe_dump
        text = write(mutated(document, choice))
        path.write_text(broken_text(text, choice) if choice.random() < 0.1 else text)
        given = {
            str(path): text,
            "probe": "",
            "align": "",
            "overlaps": "",
            "patch_size": "",
            "model": "",
        }
        found, _ = answered(
            partial(daskpatch.plan, values, model, axes="YX", patch_size=8, overlaps=4, probe=path),
            given,
        )
        planned += found is not None
        if found is not None:
            np.testing.assert_array_equal(found.view[...], model(values))
    assert planned > attempts(500) // 10
    assert_as_before(before)
