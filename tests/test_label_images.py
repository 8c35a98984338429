"""Label images: without channels, listed in their image, of which nothing else is touched."""

import json
import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import zarr
from children import Child
from command_line import exit_code
from example_models import double
from ome_images import image, said
from volumes import read, save

import daskpatch
from daskpatch.store import label_names, list_label, locate

TILES = {"patch_size": 16, "overlaps": 4, "progress": False}

NUCLEI = {"label_image": "nuclei", **TILES}

VERSIONS = pytest.mark.parametrize("version", ["0.4", "0.5"])


def bright(batch):
    """One class where values are above a half, another elsewhere."""
    return (batch[:, :1] > 0.5).astype("uint8") + 1


def labels_of(values):
    return (values > 0.5).astype("uint8") + 1


@pytest.fixture
def values(rng):
    return rng.random((4, 40, 36)).astype("f4")


@pytest.fixture
def source(tmp_path, values):
    return image(tmp_path / "in.zarr", values)


def listed(path):
    return said(path / "labels")["labels"]


def snapshot(folder, *, but=()):
    """What files there are, which they are, and what is in them; not those below some folders."""
    return {
        str(path.relative_to(folder)): (
            path.stat().st_ino,
            path.stat().st_mtime_ns,
            path.read_bytes(),
        )
        for path in folder.rglob("*")
        if path.is_file() and not path.relative_to(folder).as_posix().startswith(tuple(but))
    }


@VERSIONS
def test_a_label_image_lies_in_the_group_that_is_named(tmp_path, values, version):
    source = image(tmp_path / "in.zarr", values, version=version)
    out = tmp_path / "out.zarr"
    plan = daskpatch.plan(
        source, bright, out, label_image="nuclei", ome=version, patch_size=16, overlaps=4
    )
    assert f"out.zarr/labels/nuclei (OME-Zarr {version}, a label image)" in repr(plan)
    assert "in a group that is no image: viewers open the label image itself" in repr(plan)
    plan.run(progress=False)
    label = out / "labels" / "nuclei"
    np.testing.assert_array_equal(read(label / "0"), labels_of(values))
    assert listed(out) == ["nuclei"]
    assert said(out / "labels").get("version") == (None if version == "0.4" else version)
    # There is no image around it, and nothing says that there is.
    assert "multiscales" not in said(out)
    assert said(label)["image-label"] == ({"version": "0.4"} if version == "0.4" else {})
    made = daskpatch.open_image(label)
    assert made.coordinates == daskpatch.open_image(source).coordinates
    assert made.ome_version == version
    assert not (out / ".daskpatch").exists()
    assert not (label / ".daskpatch").exists()
    assert (label / "0" / ".daskpatch").is_dir()


@pytest.mark.parametrize(
    ("version", "by_its_image"), [("0.4", True), ("0.5", True), ("0.5", False)]
)
def test_an_image_that_is_there_gets_it(tmp_path, values, version, by_its_image):
    source = image(tmp_path / "in.zarr", values, version=version)
    out = tmp_path / "out.zarr"
    daskpatch.predict(source, double, out, ome=version, **TILES)
    before = snapshot(out)
    place = out if by_its_image else out / "labels" / "nuclei"
    daskpatch.predict(source, bright, place, **NUCLEI)
    assert snapshot(out, but=["labels"]) == before
    assert listed(out) == ["nuclei"]
    assert said(out / "labels" / "nuclei")["image-label"]["source"] == {"image": "../../"}
    assert daskpatch.open_image(out / "labels" / "nuclei").ome_version == version
    np.testing.assert_array_equal(read(out / "labels" / "nuclei" / "0"), labels_of(values))
    np.testing.assert_array_equal(read(out / "0"), values * 2)


@VERSIONS
def test_in_the_source_nothing_is_touched_but_the_list(tmp_path, values, version):
    source = image(tmp_path / "in.zarr", values, version=version)
    format_ = 2 if version == "0.4" else 3
    labels = zarr.create_group(str(source / "labels"), zarr_format=format_)
    told = {"labels": ["theirs"], "more": [1]}
    labels.attrs.update(told if version == "0.4" else {"ome": {"version": "0.5", **told}, "own": 2})
    theirs = labels.create_group("theirs")
    theirs.create_array("0", data=np.ones((4, 40, 36), "u1"), chunks=(4, 40, 36))
    ours = ["labels/nuclei/", f"labels/{'.zattrs' if version == '0.4' else 'zarr.json'}"]
    before = snapshot(source, but=ours)
    daskpatch.predict(source, bright, source / "labels" / "nuclei", **NUCLEI)
    assert snapshot(source, but=ours) == before
    assert listed(source) == ["theirs", "nuclei"]
    assert said(source / "labels")["more"] == [1]
    assert version == "0.4" or zarr.open_group(str(source / "labels")).attrs["own"] == 2
    np.testing.assert_array_equal(read(source / "labels" / "nuclei" / "0"), labels_of(values))
    assert daskpatch.verify(source / "labels" / "nuclei", progress=False).ok


def test_the_source_s_own_place_is_not_taken_for_a_label_image(tmp_path, source, values):
    before = snapshot(tmp_path)
    with pytest.raises(ValueError, match=r"is the input, or around it.*in\.zarr/labels/nuclei"):
        daskpatch.predict(source, bright, source, **NUCLEI)
    with pytest.raises(ValueError, match="inside the input array"):
        daskpatch.predict(source, bright, source / "s0", **NUCLEI)
    with pytest.raises(ValueError, match="inside the input array"):
        daskpatch.predict(source, bright, source / "s0" / "labels" / "nuclei", **NUCLEI)
    bare = tmp_path / "bare.zarr"
    save(bare, values, chunks=(4, 40, 36))
    for place in (bare, bare / "labels" / "nuclei"):
        with pytest.raises(ValueError, match="inside the input array"):
            daskpatch.predict(bare, bright, place, axes="ZYX", **NUCLEI)
    shutil.rmtree(bare)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    ("axes", "version"), [("cyx", "0.4"), ("cyx", "0.5"), ("tczyx", "0.5"), ("zcyx", "0.5")]
)
def test_there_are_no_channels(tmp_path, rng, axes, version):
    shape = tuple({"t": 2, "c": 3, "z": 4, "y": 20, "x": 24}[axis] for axis in axes)
    values = rng.random(shape).astype("f4")
    source = image(tmp_path / "in.zarr", values, axes, version=version)
    out = tmp_path / "out.zarr"
    plan = daskpatch.plan(
        source, bright, out, label_image="nuclei", patch_size=(16, 16), overlaps=4, ome=version
    )
    wanted = labels_of(values.take(0, axes.index("c")))
    assert plan.to_dict()["axes"] == axes.replace("c", "").upper()
    np.testing.assert_array_equal(plan.view[...], wanted)
    np.testing.assert_array_equal(plan.array.compute(), wanted)
    plan.run(progress=False)
    label = out / "labels" / "nuclei"
    np.testing.assert_array_equal(read(label / "0"), wanted)
    (told,) = said(label)["multiscales"]
    assert [axis["name"] for axis in told["axes"]] == list(axes.replace("c", ""))
    assert "omero" not in said(label)


@VERSIONS
def test_levels_are_of_labels(tmp_path, values, version):
    source = image(tmp_path / "in.zarr", values, version=version)
    out = tmp_path / "out.zarr"
    # A dtype of their own makes no quantities of them.
    words = {**NUCLEI, "pyramid": 2, "dtype": "uint16", "ome": version}
    daskpatch.predict(source, bright, out, **words)
    label = out / "labels" / "nuclei"
    assert [level["path"] for level in said(label)["multiscales"][0]["datasets"]] == ["0", "1", "2"]
    assert "image-label" in said(label)
    for level in "012":
        assert read(label / level).dtype == "uint16"
        assert set(np.unique(read(label / level))) <= {1, 2}
    assert read(label / "2").shape == (4, 10, 9)
    assert daskpatch.verify(label, progress=False).ok
    assert daskpatch.status(out).passes == {"level-1": (1, 1), "level-2": (1, 1)}
    meant = {**words, "downsample": "mean", "label_image": "mean", "dtype": "uint8"}
    daskpatch.predict(source, lambda batch: bright(batch) * 100, out, **meant)
    assert not set(np.unique(read(out / "labels" / "mean" / "1"))) <= {100, 200}


@pytest.mark.parametrize("n_levels", [1, 4, 5, 9])
def test_it_has_as_many_levels_as_its_image(tmp_path, source, values, n_levels):
    told = json.loads((source / "zarr.json").read_text())
    (first,) = told["attributes"]["ome"]["multiscales"][0]["datasets"]
    told["attributes"]["ome"]["multiscales"][0]["datasets"] = [
        {**first, "path": "s0" if number == 0 else f"s{number}"} for number in range(n_levels)
    ]
    (source / "zarr.json").write_text(json.dumps(told))
    place = source / "labels" / "nuclei"
    daskpatch.predict(source, bright, place, **NUCLEI)
    made = len(said(place)["multiscales"][0]["datasets"])
    assert made == min(n_levels, 7)  # all axes are of one voxel then
    daskpatch.predict(source, bright, place, overwrite=True, pyramid=2, **NUCLEI)
    assert len(said(place)["multiscales"][0]["datasets"]) == 3


def test_overwrite_deletes_that_label_image_only(tmp_path, source, values):
    place = source / "labels" / "nuclei"
    daskpatch.predict(source, bright, source / "labels" / "cells", label_image="cells", **TILES)
    daskpatch.predict(source, bright, place, chunks=20, **NUCLEI)
    before = snapshot(source, but=["labels/nuclei/"])
    with pytest.raises(FileExistsError, match="labels/nuclei exists; give resume=True"):
        daskpatch.predict(source, bright, place, **NUCLEI)
    daskpatch.predict(
        source, lambda batch: bright(batch) + 1, place, overwrite=True, chunks=40, **NUCLEI
    )
    np.testing.assert_array_equal(read(place / "0"), labels_of(values) + 1)
    assert zarr.open_array(str(place / "0")).chunks == (4, 40, 36)
    assert snapshot(source, but=["labels/nuclei/"]) == before
    assert listed(source) == ["cells", "nuclei"]


def test_somebody_else_s_label_image_is_not_overwritten(tmp_path, source):
    place = source / "labels" / "nuclei"
    zarr.create_group(str(place))
    save(place / "0", np.ones((4, 40, 36), "u1"), chunks=(4, 40, 36))
    before = snapshot(tmp_path)
    with pytest.raises(FileExistsError, match="labels/nuclei exists; give another output"):
        daskpatch.predict(source, bright, place, **NUCLEI)
    with pytest.raises(FileExistsError, match="that daskpatch did not make"):
        daskpatch.predict(source, bright, place, overwrite=True, **NUCLEI)
    assert snapshot(tmp_path) == before


def test_an_image_is_not_overwritten_with_its_label_images(tmp_path, source):
    out = tmp_path / "out.zarr"
    daskpatch.predict(source, double, out, **TILES)
    daskpatch.predict(source, bright, out, **NUCLEI)
    before = snapshot(out)
    with pytest.raises(FileExistsError, match="also holds labels/nuclei, made by a run of its own"):
        daskpatch.predict(source, double, out, overwrite=True, **TILES)
    assert snapshot(out) == before


def test_it_may_be_made_of_another_label_image(tmp_path, source, values):
    daskpatch.predict(source, bright, source / "labels" / "nuclei", **NUCLEI)
    daskpatch.predict(
        source / "labels" / "nuclei",
        lambda batch: (batch * 2).astype("uint8"),
        source / "labels" / "twice",
        label_image="twice",
        **TILES,
    )
    np.testing.assert_array_equal(read(source / "labels" / "twice" / "0"), labels_of(values) * 2)
    assert listed(source) == ["nuclei", "twice"]
    with pytest.raises(ValueError, match="parent of the input"):
        daskpatch.predict(source / "labels" / "nuclei", bright, source, overwrite=True, **NUCLEI)


# Resumed, verified, repaired

BLOCKS = {"chunks": 12, "block_shape": 12}


@pytest.mark.parametrize(("version", "inside"), [("0.4", True), ("0.5", False), ("0.5", True)])
def test_parts_resume_verify_and_repair(tmp_path, values, version, inside):
    source = image(tmp_path / "in.zarr", values, version=version)
    around = source if inside else tmp_path / "out.zarr"
    label = around / "labels" / "nuclei"
    place = label if inside else around
    words = {**NUCLEI, **BLOCKS, "ome": version}
    daskpatch.predict(source, bright, place, part=(2, 2), **words)
    assert listed(around) == ["nuclei"]  # a viewer may open it
    assert said(label)["multiscales"]
    for each in (around, label, label / "0"):
        assert 0 < daskpatch.status(each).remaining < 12
        assert not daskpatch.verify(each, progress=False).ok
    # By whichever place it is named.
    assert daskpatch.predict(source, bright, label, resume=True, **words).skipped
    np.testing.assert_array_equal(read(label / "0"), labels_of(values))
    for each in (around, label, label / "0"):
        chunks = label / "0" if version == "0.4" else label / "0" / "c"
        next(path for path in chunks.glob("[0-9]*/**/*") if path.is_file()).unlink()
        mended = daskpatch.verify(each, repair=True, model=bright, progress=False)
        assert mended.repaired.done == 1
        np.testing.assert_array_equal(read(label / "0"), labels_of(values))
        assert daskpatch.verify(each, progress=False).ok


def test_of_several_label_images_one_is_to_be_named(tmp_path, source):
    out = tmp_path / "out.zarr"
    for name in ("nuclei", "cells"):
        daskpatch.predict(source, bright, out, label_image=name, **TILES)
    for verb in (daskpatch.status, daskpatch.verify):
        with pytest.raises(ValueError, match=r"label images cells, nuclei.*out\.zarr/labels/cells"):
            verb(out)
        verb(out / "labels" / "cells")


def test_an_image_s_own_run_comes_before_that_of_its_labels(tmp_path, source):
    out = tmp_path / "out.zarr"
    done = daskpatch.predict(source, double, out, **BLOCKS, **TILES).done
    daskpatch.predict(source, bright, out, **NUCLEI)
    assert daskpatch.status(out).done == done == 12
    assert daskpatch.status(out / "labels" / "nuclei").done == 1


def test_a_run_that_ended_before_its_arrays_were_made_goes_on(tmp_path, source, values):
    out = tmp_path / "out.zarr"
    daskpatch.predict(source, bright, out, part=(1, 2), **BLOCKS, **NUCLEI)
    for path in [path for path in out.rglob("*") if path.is_file()]:
        if ".daskpatch" not in path.parts or "receipts" in path.parts:
            path.unlink()
    daskpatch.predict(source, bright, out, resume=True, **BLOCKS, **NUCLEI)
    np.testing.assert_array_equal(read(out / "labels" / "nuclei" / "0"), labels_of(values))
    assert listed(out) == ["nuclei"]


def test_a_record_says_which_label_image_it_is_of(tmp_path, source):
    out = tmp_path / "out.zarr"
    daskpatch.predict(source, bright, out, **NUCLEI)
    record = json.loads((out / "labels" / "nuclei" / "0" / ".daskpatch" / "run.json").read_text())
    assert record["fingerprint"]["treatment"]["label_image"] == "nuclei"
    with pytest.raises(ValueError, match="label_image was 'nuclei'"):
        daskpatch.predict(source, bright, out / "labels" / "nuclei", resume=True, **TILES)


@pytest.mark.parametrize("name", ["n%20c", "n c"])
def test_the_place_of_a_label_image_may_be_a_url_in_its_own_spelling(tmp_path, source, name):
    shutil.copytree(source, tmp_path / "image.zarr")
    place = f"file://{tmp_path}/image.zarr/labels/{name}"
    daskpatch.predict(source, bright, place, label_image="n c", **TILES)
    assert listed(tmp_path / "image.zarr") == ["n c"]


# The list


RUN = """
import pathlib, sys, time, daskpatch

def bright(batch):
    return (batch > 0.5).astype("uint8") + 1

source, name, other = sys.argv[1:]
plan = daskpatch.plan(
    source, bright, f"{source}/labels/{name}", label_image=name, patch_size=16, overlaps=4
)
ready = pathlib.Path(source).parent
(ready / name).touch()
while not (ready / other).exists():
    time.sleep(0.001)
plan.run(progress=False)
"""


def test_two_runs_add_at_once(tmp_path, source):
    for run in [Child(RUN, source, *names) for names in (("a", "b"), ("b", "a"))]:
        run.said()
    assert sorted(listed(source)) == ["a", "b"]
    for name in "ab":
        assert daskpatch.verify(source / "labels" / name, progress=False).ok


@VERSIONS
def test_no_name_is_lost_among_many(tmp_path, version):
    place = locate(tmp_path / "image.zarr")
    start = threading.Barrier(12)

    def add(number):
        start.wait()
        list_label([place], f"label-{number}", version)

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(add, range(12)))
    assert label_names(place) == sorted(f"label-{number}" for number in range(12))


def test_what_others_list_meanwhile_stays_and_what_they_lose_is_added_again(source):
    document = source / "labels" / "zarr.json"
    seen = []

    def meddled(batch):
        if document.exists():
            told = json.loads(document.read_text())
            seen.append(told["attributes"]["ome"]["labels"])
            told["attributes"]["ome"]["labels"] = ["theirs"]
            document.write_text(json.dumps(told))
        return bright(batch)

    daskpatch.predict(source, meddled, source / "labels" / "nuclei", model_id="one", **NUCLEI)
    assert seen[0] == ["nuclei"]
    assert listed(source) == ["theirs", "nuclei"]
    told = json.loads(document.read_text())
    told["attributes"]["ome"]["labels"] = ["theirs"]
    document.write_text(json.dumps(told))
    words = {**NUCLEI, "model_id": "one", "resume": True}
    assert daskpatch.predict(source, bright, source / "labels" / "nuclei", **words).done == 0
    assert listed(source) == ["theirs", "nuclei"]


@pytest.mark.parametrize("content", ['{"attributes": {"ome": {"labels": 7}}}', '{"attrib'])
def test_a_list_that_somebody_breaks_meanwhile_is_told_of(source, content):
    document = source / "labels" / "zarr.json"

    def meddled(batch):
        if document.exists():
            document.write_text(content)
        return bright(batch)

    place = source / "labels" / "nuclei"
    with pytest.raises(ValueError, match="list of label images in .* is no longer one"):
        daskpatch.predict(source, meddled, place, model_id="one", **NUCLEI)
    document.unlink()
    daskpatch.predict(source, bright, place, model_id="one", resume=True, **NUCLEI)
    assert listed(source) == ["nuclei"]


def test_the_source_may_get_labels_and_attributes_while_it_is_read(tmp_path, source, values):
    lock = threading.Lock()

    def meddled(batch):
        with lock:
            for group in (source, source / "s0"):
                told = json.loads((group / "zarr.json").read_text())
                told["attributes"]["seen"] = True
                (tmp_path / "anew").write_text(json.dumps(told))
                os.replace(tmp_path / "anew", group / "zarr.json")
            (source / "labels" / "theirs").mkdir(parents=True, exist_ok=True)
        return bright(batch)

    place = source / "labels" / "nuclei"
    words = {**BLOCKS, **NUCLEI, "model_id": "one"}
    daskpatch.predict(source, meddled, place, part=(1, 2), **words)
    daskpatch.predict(source, meddled, place, resume=True, **words)
    np.testing.assert_array_equal(read(place / "0"), labels_of(values))


@VERSIONS
def test_a_consolidated_image_is_named_in_a_warning(tmp_path, values, version):
    source = image(tmp_path / "in.zarr", values, version=version)
    store, format_ = str(source), 2 if version == "0.4" else 3
    if version == "0.4":
        zarr.consolidate_metadata(store, zarr_format=format_)
    else:
        with pytest.warns(UserWarning, match="Consolidated metadata is currently not part"):
            zarr.consolidate_metadata(store, zarr_format=format_)
    with pytest.warns(UserWarning, match=r"The metadata of .*in\.zarr are consolidated"):
        daskpatch.predict(source, bright, source / "labels" / "nuclei", **NUCLEI)
    assert label_names(locate(source)) == ["nuclei"]


# Series


def test_each_image_of_a_series_gets_its_own(tmp_path, source, values):
    other = image(tmp_path / "other.zarr", values[:, :30])
    out = tmp_path / "out.zarr"
    words = {**NUCLEI, **BLOCKS}
    daskpatch.predict([source, other], bright, out, part=(1, 2), **words)
    assert daskpatch.status(out).remaining > 0
    daskpatch.predict([source, other], bright, out, resume=True, **words)
    for number, wanted in (("0", values), ("1", values[:, :30])):
        assert listed(out / number) == ["nuclei"]
        label = out / number / "labels" / "nuclei"
        np.testing.assert_array_equal(read(label / "0"), labels_of(wanted))
        assert daskpatch.status(label).remaining == 0
    next(path for path in out.glob("1/labels/nuclei/0/c/**/*") if path.is_file()).unlink()
    mended = daskpatch.verify(out, repair=True, model=bright, progress=False)
    assert mended.repaired.done == 1
    assert daskpatch.verify(out, progress=False).ok
    with pytest.raises(FileExistsError, match="0/labels/nuclei exists; give resume=True"):
        daskpatch.predict([source, other], bright, out, **words)
    daskpatch.predict([source, other], bright, out, overwrite=True, **words)
    assert daskpatch.verify(out, progress=False).ok


def test_the_images_of_a_series_that_is_there_get_theirs(tmp_path, source, values):
    out = tmp_path / "out.zarr"
    daskpatch.predict([source, source], double, out, **TILES)
    before = snapshot(out)
    daskpatch.predict([source, source], bright, out, **NUCLEI)
    after = {name: found for name, found in snapshot(out).items() if "/labels/" not in name}
    assert after == before
    for number in "01":
        label = out / number / "labels" / "nuclei"
        assert said(label)["image-label"] == {"source": {"image": "../../"}}
        np.testing.assert_array_equal(read(label / "0"), labels_of(values))
        assert daskpatch.verify(label, progress=False).ok
    assert daskpatch.verify(out, progress=False).ok  # of the images
    with pytest.raises(
        ValueError, match="the place of one label image, and the source is a series"
    ):
        daskpatch.predict([source, source], bright, out / "0" / "labels" / "nuclei", **NUCLEI)


# Other stores


@pytest.mark.parametrize("given", ["store", "group", "path"])
def test_stores_and_groups_in_memory(values, source, given):
    store = zarr.storage.MemoryStore()
    path = "" if given == "store" else "inside"
    place = {
        "store": store,
        "group": zarr.create_group(store, path="inside"),
        "path": zarr.storage.StorePath(store, "inside/labels/nuclei"),
    }[given]
    daskpatch.predict(source, bright, place, **NUCLEI)
    group = zarr.open_group(store, path=path)
    np.testing.assert_array_equal(group["labels/nuclei/0"][...], labels_of(values))
    assert group["labels"].attrs["ome"]["labels"] == ["nuclei"]
    assert daskpatch.verify(zarr.storage.StorePath(store, path), progress=False).ok


def test_on_the_command_line(tmp_path, source, values, capsys):
    out = tmp_path / "out.zarr"
    arguments = ["predict", str(source), str(out), "--model", f"{__name__}:bright"]
    assert (
        exit_code(*arguments, "--patch-size", "16", "--no-progress", "--label-image", "nuclei") == 0
    )
    np.testing.assert_array_equal(read(out / "labels" / "nuclei" / "0"), labels_of(values))
    assert exit_code("verify", str(out), "--no-progress") == 0


# What cannot be


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".hidden", "__own", "a/b", "a\\b", "a\0", "zarr.json", "x" * 256, 3, True],
)
def test_what_no_label_image_is_called(tmp_path, source, name):
    with pytest.raises(ValueError, match="label_image is .*; needed is a name such as 'nuclei'"):
        daskpatch.plan(source, bright, tmp_path / "out.zarr", label_image=name, patch_size=16)


@pytest.mark.parametrize(
    ("model", "words", "message"),
    [
        (double, {}, "the output is of float32; labels are integers. Give dtype='uint32'"),
        (lambda batch: batch > 0.5, {}, "the output is of bool; .*Give dtype='uint8'"),
        (bright, {"dtype": "float32"}, "the output is of float32"),
        (lambda batch: bright(batch).repeat(2, 1), {}, "gives 2 channels; .*argmax"),
        (
            lambda batch: {"a": bright(batch), "b": bright(batch)},
            {},
            r"gives several arrays \(a, b\); a label image is one",
        ),
        (
            bright,
            {"ome": False},
            "ome=False asks for a bare array; label images are those of OME-Zarr",
        ),
        (bright, {"channel_names": ["a"]}, "the label image nuclei has no channels"),
        (bright, {"axes": "SYX"}, "no samples .*leave label_image out"),
    ],
)
@pytest.mark.filterwarnings("ignore:axes is 'SYX'")
def test_what_is_no_label_image_is_refused_with_the_fix(tmp_path, source, model, words, message):
    with pytest.raises(ValueError, match=message):
        daskpatch.predict(source, model, tmp_path / "out.zarr", **words, **NUCLEI)
    assert not (tmp_path / "out.zarr").exists()


def test_a_bool_becomes_a_label_by_a_dtype(tmp_path, source, values):
    out = tmp_path / "out.zarr"
    daskpatch.predict(source, lambda batch: batch > 0.5, out, dtype="uint8", **NUCLEI)
    np.testing.assert_array_equal(read(out / "labels" / "nuclei" / "0"), values > 0.5)


def test_places_that_have_no_room_for_it(tmp_path, source, values):
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "notes.txt").write_text("mine")
    (tmp_path / "file.zarr").write_text("mine")
    array = save(tmp_path / "array.zarr", np.zeros((4, 40, 36), "u1"), chunks=(4, 40, 36))
    plate = tmp_path / "plate.zarr"
    zarr.create_group(str(plate), attributes={"ome": {"version": "0.5", "plate": {"wells": []}}})
    newer = image(tmp_path / "newer.zarr", values)
    told = json.loads((newer / "zarr.json").read_text())
    told["attributes"]["ome"]["version"] = "0.6"
    (newer / "zarr.json").write_text(json.dumps(told))
    older = image(tmp_path / "older.zarr", values, version="0.4")
    broken = image(tmp_path / "broken.zarr", values)
    zarr.create_group(str(broken / "labels"), attributes={"ome": {"labels": "nuclei"}})
    before = snapshot(tmp_path)
    for place, words, message in (
        (plain, {}, "a folder of something else than a Zarr group"),
        (tmp_path / "file.zarr", {}, "is a file"),
        (tmp_path / "array.zarr", {}, "inside the array"),
        (array, {}, "an array that is written into; give the place of an image"),
        (plate, {}, r"a group of images \(plate\)"),
        (newer, {}, "of version 0.6, and its label image would be of 0.5"),
        (older, {"ome": "0.5"}, "Zarr v2 group"),
        (source, {"ome": "0.4"}, "is the input"),
        (broken, {}, "list of label images in .*broken.zarr/labels cannot be understood"),
        (tmp_path / "new.zarr" / "labels", {}, "a group of label images; give .*labels/nuclei"),
        (older / "labels" / "cells", {}, "the place of another label image than 'nuclei'"),
        (tmp_path / "out.tif", {}, "named like a TIFF file"),
    ):
        with pytest.raises((ValueError, FileExistsError), match=message):
            daskpatch.predict(source, bright, place, **words, **NUCLEI)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("place", ["cells/nuclei", "cells/labels/nuclei", "gone/nuclei", "a/b/c"])
def test_a_label_image_has_none_of_its_own(source, place):
    daskpatch.predict(source, bright, source / "labels/cells", label_image="cells", **TILES)
    before = snapshot(source)
    message = r"(is|is inside) the place of another label image .*in\.zarr/labels/nuclei\.$"
    with pytest.raises(ValueError, match=message):
        daskpatch.predict(source, bright, source / "labels" / place, **NUCLEI)
    assert snapshot(source) == before


def test_a_label_image_s_place_without_its_name_is_warned_of(source):
    with pytest.warns(UserWarning, match="among the label images of .*label_image='nuclei'"):
        daskpatch.plan(source, bright, source / "labels" / "nuclei", patch_size=16)


def test_a_group_of_labels_alone_is_told_of(tmp_path, source):
    out = tmp_path / "out.zarr"
    daskpatch.predict(source, bright, out, **NUCLEI)
    with pytest.raises(ValueError, match=r"label images? nuclei.*out\.zarr/labels/nuclei"):
        daskpatch.open_image(out)
