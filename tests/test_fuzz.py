"""Thousands of random tries: each ends in the right result, or in an answer fit for its user.

Each try leaves the temporary folder, threads and descriptors as they were. `DASKPATCH_TRIES=50000`
makes ten times as many as CI does; counts are printed at the end of each kind (`pytest -s`).
What is tried is in `fuzz_pools.py`, `fuzz_sources.py`, `fuzz_models.py` and `fuzz_functions.py`,
what is right in `fuzz_oracle.py`, `fuzz_statistics.py` and `fuzz_levels.py`, what is an answer in
`fuzz_answers.py`.
"""

import json
import shutil
import tempfile
from collections import Counter
from functools import partial
from inspect import signature
from itertools import product

import numpy as np
import pytest
import yaml
import zarr
from fuzz_answers import (
    LONGEST,
    WrongAnswerError,
    answered,
    changed,
    names_a_value,
    noted,
    nothing_left,
)
from fuzz_models import MODELS, double
from fuzz_oracle import chosen_fields, expected_of
from fuzz_pools import FLAGS, KINDS, OME, OPTIONS, PLACES, PROBE, RDF, RDF_5, TOGETHER
from fuzz_results import check_outputs
from fuzz_sources import in_memory, on_disk
from fuzzing import attempts, broken_text, chosen, files_in, mutated, packed, seeds

import daskpatch
from daskpatch.cli import main


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """A temporary folder of the test's own; and what a process has from its first run on."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    image = np.ones((8, 8), "f4")
    options = {"axes": "YX", "patch_size": 4, "ome": True, "progress": False}
    for io in ("zarr", "tensorstore"):
        daskpatch.predict(image, double, tmp_path / f"first-{io}.zarr", io=io, **options)
        daskpatch.verify(tmp_path / f"first-{io}.zarr", progress=False)
        shutil.rmtree(tmp_path / f"first-{io}.zarr")


def told(counts):
    print(f"\n{sum(counts.values())} tries: {dict(counts.most_common())}")


# Options


def test_every_option_of_predict_is_tried():
    known = {*signature(daskpatch.predict).parameters}
    told_by_sources = {"axes"}
    assert OPTIONS.keys() | told_by_sources == known | {"paatch_size"}
    assert all(together.keys() <= known for together in TOGETHER)


def test_options_of_predict(tmp_path, monkeypatch, rng):
    stored = on_disk(tmp_path, rng)
    monkeypatch.chdir(tmp_path)
    PROBE.save("net.json")
    (tmp_path / "rdf.yaml").write_text(yaml.safe_dump(RDF))
    counts = Counter()
    for tried in seeds("predict", attempts(1500)):
        source, name, given, kinds = some_try(tried, stored)
        with noted(source=source.kind, model=name, given=given, kinds=[*kinds]):
            counts[try_options(source, MODELS[name], given, kinds)] += 1
    told(counts)
    assert counts["as the oracle's"] > attempts(1500) // 4
    assert counts["open"] < attempts(1500) // 50


def some_try(rng, stored):
    """A source, the name of a model, options, and the kinds of values that these are given in."""
    source = rng.choice(stored) if rng.random() < 0.25 else in_memory(rng)
    name = rng.choice([*["double"] * len(MODELS), *MODELS])
    given = {**source.told, "patch_size": rng.choice([4, 5, 8])}
    if rng.random() < 0.4:
        given |= {word: rng.choice(pool) for word, pool in rng.choice(TOGETHER).items()}
        given |= chosen(OPTIONS, rng, 1) if rng.random() < 0.5 else {}
    else:
        given |= chosen(OPTIONS, rng, 4, odd=OPTIONS.keys() - {"source", "output"})
    if given.keys() & {"patching", "tiles"} and rng.random() < 0.9:
        del given["patch_size"]
    kinds = rng.sample([*KINDS], 2) if rng.random() < 0.2 else []
    return source, name, given, {kind: KINDS[kind] for kind in kinds}


def try_options(source, model, given, kinds):
    """What came of a prediction, in words."""
    store = zarr.storage.MemoryStore()
    words = {**named_by(source, given), "model": model.call, **given, "place": str(store)}
    folders = [source.place] if source.is_ome else []
    usual = {"source": source.place, "model": model.call, "output": store, "progress": False}

    def run(**given):
        return daskpatch.predict(**packed(usual | given, kinds))

    with nothing_left(words, *folders):
        report, error = answered(partial(run, **given), words)
    if report is None:
        if store._store_dict and not isinstance(error, daskpatch.RunFailed):
            raise WrongAnswerError(f"refused, and left is {[*store._store_dict][:5]}: {words}")
        return "answered"
    expected = expected_of(source, model, given)
    if expected is None:
        return "open"
    check = partial(check_outputs, store, expected, fields=chosen_fields(source, given))
    part = given.get("part")
    check(given=given, is_partial=part is not None or given.get("region") is not None)
    if part is not None:
        with nothing_left(words, *folders):
            finish(run, given, part[1])
        check(given=given, is_partial=False)
    return "as the oracle's"


def finish(run, given, of):
    """All parts, and what remains of them."""
    words = {name: value for name, value in given.items() if name not in ("part", "overwrite")}
    left = [{"part": (number, of)} for number in range(1, of + 1)]
    for how in [*left, {"resume": True}]:
        _, error = answered(partial(run, **{**words, **how}), given)
        if error is not None:
            raise WrongAnswerError(f"begun, and not gone on with {how}: {given}") from error


def named_by(source, given):
    """What else of a try an answer may name: its source, words that are no options, and tiles.

    A tile is as large as `patch_size`, `min_size` or a strategy say, or as the image.
    """
    known = signature(daskpatch.predict).parameters
    picture = next(iter(source.pictures.values()))
    place = "" if source.kind == "array" else source.place.name
    shape = picture.values.shape
    asked = [given.get("patch_size"), given.get("min_size", 1), 5]
    sizes = [n for each in (*asked, shape) for n in np.ravel(each) if isinstance(n, np.integer)]
    tiles = [f"size {tile}" for n in (2, 3) for tile in product({*map(int, sizes)}, repeat=n)]
    tiles += [f"[0, {n})" for n in {*sizes, 8}]
    return {
        "source's place": place,
        "shape": shape,
        "shape of the mask": getattr(given.get("mask"), "shape", ()),
        "patching": given.get("patching") or given.get("tiles"),
        "patch_size": given.get("patch_size"),
        "it": [RDF["name"], PROBE.name] if "probe" in given else [],
        "axes of it": picture.axes,
        "dtype of it": picture.values.dtype,
        "size of tiles": tiles,
        "keyword": [*(given.keys() - known.keys())],
    }


# The command line


def test_the_command_line(tmp_path, monkeypatch, capsys, rng):
    monkeypatch.chdir(tmp_path)
    values = rng.random((16, 12)).astype("f4")
    array = zarr.create_array("in.zarr", data=values, chunks=(8, 8), dimension_names=["y", "x"])
    group = zarr.create_group("ome.zarr", attributes=OME)
    group.create_array("0", data=np.stack([values, values]), chunks=(1, 8, 8))
    (tmp_path / "text.txt").write_text("hello")
    counts = Counter()
    for tried in seeds("command line", attempts(500)):
        given = {"--model": "example_models:double", "--patch-size": "8"}
        given |= chosen(FLAGS, tried, 3)
        counts[try_flags(tried.choice(PLACES), given, capsys, tmp_path)] += 1
    told(counts)
    assert counts["exit code 0"] > attempts(500) // 10
    np.testing.assert_array_equal(array[...], values)


def try_flags(source, given, capsys, folder):
    """What came of a command, in words."""
    flags = [text for flag, value in given.items() for text in (flag, value) if text is not None]
    words = {**given, "source": source, "flags": [*given], "output": "o.zarr"}
    words["tile"] = "size (8, 8)"
    with nothing_left(words, folder):
        with pytest.raises(SystemExit) as ended:
            main(["predict", source, "o.zarr", *flags, "--no-progress"])
        shutil.rmtree("o.zarr", ignore_errors=True)
    code = ended.value.code
    check_ending(code, capsys.readouterr().err, words)
    return f"exit code {code}"


def check_ending(code, err, given):
    lines = [line for line in err.splitlines() if "Error" in line]
    if code not in (0, 1, 2) or "Traceback" in err or (code and len(lines) != 1):
        raise WrongAnswerError(f"exit code {code}: {err}\n{given}")
    if code and len(lines[0]) > LONGEST:
        raise WrongAnswerError(f"{len(lines[0])} characters: {lines[0]}\n{given}")
    if code and not names_a_value(lines[0], given):
        raise WrongAnswerError(f"it names no value that was given: {lines[0]}\n{given}")


# Documents


def test_metadata_of_images(tmp_path, rng):
    values = rng.random((2, 16, 12)).astype("f4")
    path = tmp_path / "image.zarr"
    group = zarr.create_group(str(path))
    group.create_array("0", data=values, chunks=(1, 8, 8))
    document = json.loads((path / "zarr.json").read_text())
    array = json.loads((path / "0" / "zarr.json").read_text())
    counts = Counter()
    for tried in seeds("metadata", attempts(1300)):
        documents = [{**document, "attributes": mutated(OME, tried)}, array]
        if tried.random() < 0.3:
            documents = [{**document, "attributes": OME}, mutated(array, tried)]
        texts = [json.dumps(each) for each in documents]
        if tried.random() < 0.05:
            texts[0] = broken_text(texts[0], tried)
        (path / "zarr.json").write_text(texts[0])
        (path / "0" / "zarr.json").write_text(texts[1])
        given = {"place": "image.zarr", "patch_size": 8, "overlaps": 2}
        given["entries"] = changed(documents, [{**document, "attributes": OME}, array])
        with nothing_left(given, tmp_path):
            counts[try_image(path, given)] += 1
    told(counts)
    assert counts["as zarr reads it"] > attempts(1300) // 10


def try_image(path, given):
    """Whether an image could be opened and read; then it is what zarr reads."""
    found, _ = answered(partial(daskpatch.plan, path, double, patch_size=8, overlaps=2), given)
    if found is None:
        return "answered"
    values, _ = answered(lambda: found.view[...], given)
    if values is None:
        return "answered by its view"
    expected = double(zarr.open_array(str(path / "0"), mode="r")[...])
    np.testing.assert_array_equal(values.ravel(), expected.ravel())
    return "as zarr reads it"


def test_records(tmp_path, rng):
    values = rng.random((16, 12)).astype("f4")
    path = tmp_path / "out.zarr"
    words = {"axes": "YX", "patch_size": 8, "overlaps": 2, "chunks": 4, "progress": False}
    daskpatch.predict(values, double, path, **words)
    kept = files_in(path)
    recorded = [p for p in kept if ".daskpatch" in p.parts]
    documents = [p for p in recorded if p.suffix == ".json"]
    assert documents
    calls = {
        "status": lambda: daskpatch.status(path),
        "verify": lambda: daskpatch.verify(path, progress=False),
        "resume": lambda: daskpatch.predict(values, double, path, resume=True, **words),
    }
    counts = Counter()
    for tried in seeds("records", attempts(500)):
        file = tried.choice(recorded)
        file.write_bytes(damaged(kept[file], tried, is_document=file in documents))
        given = {"place": "out.zarr", **words}
        with nothing_left(given):
            answers = {name: answered(call, given)[0] for name, call in calls.items()}
        np.testing.assert_array_equal(zarr.open_array(path, mode="r")[...], double(values))
        counts["answered" if None in answers.values() else "resumed"] += 1
        restore(path, kept)
    told(counts)


def damaged(content, rng, *, is_document):
    """A record with another entry, a flipped bit or an early end."""
    if is_document and rng.random() < 0.7:
        return json.dumps(mutated(json.loads(content), rng)).encode()
    flipped = bytearray(content)
    if flipped:
        flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
    return bytes(flipped[: rng.choice([None, None, 7])])


def restore(folder, kept):
    """Files of a folder as they were."""
    there = files_in(folder)
    for name in there.keys() - kept.keys():
        name.unlink()
    for name, content in kept.items():
        if there.get(name) != content:
            name.parent.mkdir(parents=True, exist_ok=True)
            name.write_bytes(content)


def test_probes_and_descriptions(tmp_path, rng):
    values = rng.random((16, 12)).astype("f4")
    probe = daskpatch.probe(double, ndim=2, seconds=0)
    documents = [json.loads(json.dumps(probe.to_dict())), RDF, RDF_5]
    words = {"axes": "YX", "patch_size": 8, "overlaps": 4}
    counts = Counter()
    for tried in seeds("probes", attempts(1200)):
        document = tried.choice(documents)
        is_probe = document is documents[0]
        path = tmp_path / ("net.json" if is_probe else "rdf.yaml")
        found = mutated(document, tried)
        text = (json.dumps if is_probe else yaml.safe_dump)(found)
        path.write_text(broken_text(text, tried) if tried.random() < 0.1 else text)
        given = {**words, "probe": path.name, "shape": values.shape}
        given["entries"] = changed(found, document)
        with nothing_left(given, tmp_path):
            plan, _ = answered(partial(daskpatch.plan, values, double, probe=path, **words), given)
        if plan is not None:
            np.testing.assert_array_equal(plan.view[...], double(values))
        counts["answered" if plan is None else "as without"] += 1
    told(counts)
    assert counts["as without"] > attempts(1200) // 10
