"""`daskpatch.pyramid`: levels beside images that are there, by whomever they were written."""

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from children import Child
from command_line import exit_code
from example_models import double
from folders import contents
from ome_images import image, said
from test_pyramids import GOLDEN, HERE, assert_pyramid, levels_of
from volumes import read, save

import daskpatch
from daskpatch.values import downsampled

FACTORS = [(1, 2, 2), (1, 2, 2), (2, 2, 2)]


@pytest.fixture
def values(rng):
    return rng.integers(0, 60_000, (20, 70, 90)).astype("u2")


@pytest.fixture
def source(tmp_path, values):
    return image(tmp_path / "in.zarr", values)


def build(place, *args, **words):
    return daskpatch.pyramid(place, *args, progress=False, **words)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("how", ["mean", "mode", "max", "stride", None])
def test_levels_are_added_beside_and_listed_last(tmp_path, values, version, how):
    path = image(tmp_path / "in.zarr", values, version=version, names=("a",))
    before = contents(path / "s0")
    report = build(path, pyramid=3, downsample=how)
    assert report.done > 0
    assert_pyramid(path, values, FACTORS, how or "mean")
    assert [each["path"] for each in said(path)["multiscales"][0]["datasets"]] == ["s0", *"123"]
    assert contents(path / "s0") == before
    assert said(path)["omero"] == {"channels": [{"label": "a"}]}
    assert zarr.open_array(str(path / "1"), mode="r").metadata.zarr_format == (
        2 if version == "0.4" else 3
    )
    for place in (path, path / "1"):
        assert daskpatch.verify(place, progress=False).ok
        assert daskpatch.status(place).remaining == 0
    assert build(path, pyramid=3).done == 0


@pytest.mark.parametrize("name", list(GOLDEN))
def test_levels_are_the_golden_ones(tmp_path, name):
    case = GOLDEN[name]
    with np.load(HERE / "pyramids.npz") as golden:
        full = golden[f"{name}.0"]
        axes = "TCZYX"[-full.ndim :]
        for how in case["methods"]:
            group = zarr.create_group(str(tmp_path / f"{how}.zarr"))
            group.create_array("raw", data=full, chunks=tuple(min(7, n) for n in full.shape))
            build(
                tmp_path / f"{how}.zarr" / "raw", axes=axes, factors=case["factors"], downsample=how
            )
            for number in range(1, len(case["factors"]) + 1):
                made = read(tmp_path / f"{how}.zarr" / str(number))
                assert made.dtype == full.dtype
                np.testing.assert_array_equal(made, golden[f"{name}.{how}.{number}"])


def test_a_pyramid_is_completed(source, values):
    build(source, pyramid=1)
    first = contents(source / "1")
    build(source, pyramid=3)
    assert contents(source / "1") == first
    assert_pyramid(source, values, FACTORS)
    assert set(daskpatch.status(source).passes) == {"level-2", "level-3"}
    assert daskpatch.verify(source, progress=False).ok


def test_the_finest_level_of_a_mirrored_image_is_the_finest(tmp_path, values):
    falls = xr.DataArray(values, dims=("z", "y", "x"), coords={"y": -0.5 * np.arange(70)})
    out = tmp_path / "out.zarr"
    daskpatch.predict(falls, double, out, ome=True, pyramid=2, patch_size=16, progress=False)
    assert daskpatch.open_image(out).data_shape == (1, 1, *values.shape)
    build(out, pyramid=3)
    shapes = [zarr.open_array(str(out / level), mode="r").shape for level in "23"]
    assert shapes == [(10, 18, 45), (5, 9, 23)]


@pytest.mark.parametrize("names", [("1",), ("1", "2"), ("7", "0"), ("a/1", "1")])
def test_new_levels_are_called_by_numbers_that_no_level_has(tmp_path, values, names):
    path = tmp_path / "in.zarr"
    group = zarr.create_group(str(path))
    datasets = []
    for name, factor in zip(names, (1, 2), strict=False):
        made = downsampled(values, (1, factor, factor), "mean")
        group.create_array(name, data=made, chunks=(20, 32, 32))
        scale = {"type": "scale", "scale": [2.0, 0.5 * factor, 0.5 * factor]}
        first = (factor - 1) / 4
        place = {"type": "translation", "translation": [0.0, first, first]}
        datasets.append({"path": name, "coordinateTransformations": [scale, place]})
    axes = [{"name": axis, "type": "space"} for axis in "zyx"]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    build(path, pyramid=2)
    build(path, pyramid=3)
    assert_pyramid(path, values, FACTORS)
    listed = [each["path"] for each in said(path)["multiscales"][0]["datasets"]]
    first = max(int(name) for name in names if name.isdecimal()) + 1
    assert listed == [*names, *map(str, range(first, first + 4 - len(names)))]
    assert build(path, pyramid=3, resume=True).done == 0
    for chunk in (path / listed[-1] / "c").rglob("*"):
        if chunk.is_file():
            chunk.write_bytes(b"")
    repaired = daskpatch.verify(path, repair=True, progress=False).repaired
    assert repaired.done == 1
    assert repaired.bytes_written == read(path / listed[-1]).nbytes
    assert_pyramid(path, values, FACTORS)
    assert daskpatch.status(path).remaining == 0


SCALE, PLACE = (
    {"type": "scale", "scale": [2, 1, 1]},
    {"type": "translation", "translation": [0] * 3},
)


@pytest.mark.parametrize(
    "odd",
    [
        [{"type": "scale", "scale": ["2", 1, 1]}],
        [{"type": "scale", "scale": [float("nan"), 1, 1]}],
        [{"type": "scale", "scale": [1, 1]}],
        [SCALE, {"type": "translation", "translation": [0, 1]}],
        [SCALE, {"type": "affine", "affine": [[1]]}],
        [PLACE, SCALE],
        [SCALE, SCALE],
        [{"type": "identity"}],
        [],
    ],
)
@pytest.mark.filterwarnings("ignore:The scale of .* cannot be understood")
def test_a_scale_that_no_level_could_follow_is_refused_before_one_is_built(source, odd):
    group = zarr.open_group(str(source), mode="r+")
    told = group.attrs["ome"]
    told["multiscales"][0]["datasets"][0]["coordinateTransformations"] = odd
    group.attrs["ome"] = told
    before = contents(source)
    with pytest.raises(ValueError, match=r"do not say the scale of s0 .* or give an OUTPUT"):
        build(source, pyramid=1)
    assert contents(source) == before


def test_a_copy_is_completed_in_parts_and_resumed(tmp_path, source, values):
    out = tmp_path / "out.zarr"
    build(source, out, pyramid=1)
    build(out, pyramid=2, resume=True)
    for part in ((1, 2), (2, 2)):
        build(out, pyramid=3, part=part)
    assert_pyramid(out, values, FACTORS)
    assert daskpatch.verify(out, progress=False).ok


def test_an_array_called_1_in_a_group_becomes_an_image(tmp_path, values):
    zarr.create_group(str(tmp_path / "g.zarr"))
    save(tmp_path / "g.zarr" / "1", values, chunks=(8, 32, 32), dimension_names=list("zyx"))
    for part in ((1, 2), (2, 2)):
        report = build(tmp_path / "g.zarr" / "1", pyramid=2, part=part, chunks=8)
        assert bool(report.unfinished) is (part == (1, 2))
    assert_pyramid(tmp_path / "g.zarr", values, [(2, 2, 2)] * 2)


def test_the_status_of_a_group_before_its_first_level_is_listed(tmp_path, values):
    group = zarr.create_group(tmp_path / "g.zarr")
    group.create_array("7", data=values, chunks=(4, 32, 32))
    build(tmp_path / "g.zarr" / "7", axes="ZYX", pyramid=2, part=(1, 3))
    assert "multiscales" not in str(said(tmp_path / "g.zarr"))
    assert daskpatch.status(tmp_path / "g.zarr").remaining > 0
    assert not daskpatch.verify(tmp_path / "g.zarr", progress=False).ok
    build(tmp_path / "g.zarr" / "7", axes="ZYX", pyramid=2, resume=True)
    assert daskpatch.verify(tmp_path / "g.zarr", progress=False).ok


def test_an_array_in_a_group_becomes_an_image_and_its_neighbours_stay(tmp_path, values):
    group = zarr.create_group(str(tmp_path / "g.zarr"), attributes={"notes": "mine"})
    save(tmp_path / "g.zarr" / "raw", values, chunks=(8, 32, 32), dimension_names=["z", "y", "x"])
    save(tmp_path / "g.zarr" / "other", values[0], chunks=(32, 32))
    before = contents(tmp_path / "g.zarr" / "raw") | contents(tmp_path / "g.zarr" / "other")
    build(tmp_path / "g.zarr" / "raw", factors=[2])
    assert_pyramid(tmp_path / "g.zarr", values, [(2, 2, 2)])
    after = contents(tmp_path / "g.zarr" / "raw") | contents(tmp_path / "g.zarr" / "other")
    assert after == before
    assert zarr.open_group(group.store, mode="r").attrs["notes"] == "mine"
    build(tmp_path / "g.zarr" / "raw", pyramid=2)
    assert len(levels_of(tmp_path / "g.zarr")[0]) == 3


@pytest.mark.parametrize("dtype", ["u1", "i8", "f4", ">u2", "?"])
def test_an_array_at_a_root_is_copied_bit_for_bit(tmp_path, rng, dtype):
    values = rng.integers(0, 2**31, (40, 50)).astype(dtype)
    if dtype == "f4":
        values[0, :3] = np.nan, -0.0, np.inf
    fill = {"fill_value": 3} if dtype == "u1" else {}
    save(tmp_path / "in.zarr", values, chunks=(16, 16), dimension_names=["y", "x"], **fill)
    out = tmp_path / "out.zarr"
    with pytest.raises(ValueError, match="in no group.* give an OUTPUT"):
        build(tmp_path / "in.zarr")
    build(tmp_path / "in.zarr", out, pyramid=1, downsample="max")
    copied = read(out / "0")
    assert copied.dtype == values.dtype.newbyteorder("=")
    assert copied.tobytes() == values.astype(copied.dtype).tobytes()
    np.testing.assert_array_equal(read(out / "1"), downsampled(copied, (2, 2), "max"))
    assert daskpatch.verify(out, progress=False).ok
    with pytest.raises(FileExistsError, match="exists; give"):
        build(tmp_path / "in.zarr", out)
    assert build(tmp_path / "in.zarr", out, pyramid=1, downsample="max", resume=True).done == 0


def test_a_label_image_is_made_coarser_by_its_mode(tmp_path, source, rng):
    labels = rng.integers(0, 3, (20, 70, 90)).astype("i4")
    path = source / "labels" / "cells"
    zarr.create_group(str(source / "labels"), attributes={"ome": {"labels": ["cells"]}})
    image(path, labels)
    group = zarr.open_group(str(path), mode="r+")
    group.attrs["ome"] = {**group.attrs["ome"], "image-label": {}}
    build(path, pyramid=1)
    assert_pyramid(path, labels, [(1, 2, 2)], "mode")
    assert said(source / "labels")["labels"] == ["cells"]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_copy_keeps_how_channels_and_labels_are_shown(tmp_path, rng, version):
    values = rng.random((2, 32, 36)).astype("f4")
    path = image(tmp_path / "in.zarr", values, "cyx", version, names=("DAPI", "GFP"))
    build(path, tmp_path / "out.zarr", pyramid=1)
    assert said(tmp_path / "out.zarr")["omero"] == said(path)["omero"]
    labels = image(tmp_path / "labels.zarr", values[0].astype("u1"), "yx")
    colors = [{"label-value": 1, "rgba": [255, 0, 0, 255]}]
    group = zarr.open_group(labels)
    told = {"colors": colors, "source": {"image": "../../"}}
    group.attrs["ome"] = {**group.attrs["ome"], "image-label": told}
    build(labels, tmp_path / "copy.zarr", pyramid=1)
    assert said(tmp_path / "copy.zarr")["image-label"] == {"colors": colors}


def test_parts_workers_and_other_back_ends_build_the_same(tmp_path, values, processes):
    for number, words in enumerate([{"client": processes}, {"threads": 3, "io": "zarr"}]):
        path = image(tmp_path / f"{number}.zarr", values)
        build(path, pyramid=2, chunks=8, **words)
        assert_pyramid(path, values, FACTORS[:2])
    path = image(tmp_path / "parts.zarr", values)
    words = {"pyramid": 2, "chunks": 8}
    assert "the same command again" in build(path, part=(1, 2), **words).unfinished
    assert build(path, part=(2, 2), **words).unfinished == ""
    assert_pyramid(path, values, FACTORS[:2])


KILLED = """
import sys, daskpatch
image, *output = sys.argv[1:]
daskpatch.pyramid(
    image, *output, pyramid=2, chunks=8, threads=1, progress=False,
    pacing=daskpatch.Pacing(flush=0.0),
)
"""


@pytest.mark.parametrize(("copies", "level"), [(False, 1), (False, 2), (True, 0), (True, 2)])
def test_a_pyramid_goes_on_after_a_kill(tmp_path, source, values, copies, level):
    place, given = (tmp_path / "out.zarr", [tmp_path / "out.zarr"]) if copies else (source, [])
    first = place / ("0" if copies else "1")
    receipts = first / ".daskpatch" / "passes" / f"level-{level}" / "receipts"
    Child(KILLED, source, *given).kill_when(lambda: any(receipts.rglob("*0[0-9]")))
    with pytest.raises(FileExistsError):
        build(source, *given, pyramid=2, chunks=8)
    report = build(source, *given, pyramid=2, chunks=8, resume=True)
    assert report.skipped > 0
    assert_pyramid(place, values, FACTORS[:2])
    assert daskpatch.verify(place, progress=False).ok


@pytest.mark.parametrize("copies", [False, True])
@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_damaged_level_is_built_again_without_a_model(tmp_path, source, copies, level):
    if level == 0 and not copies:
        level = 2
    place = tmp_path / "out.zarr" if copies else source
    build(source, *([place] if copies else []), pyramid=2)
    before = contents(place / "1" / "c") | contents(place / "2" / "c")
    chunk = min(p for p in (place / str(level) / "c").rglob("*") if p.is_file())
    chunk.write_bytes(b"")
    assert not daskpatch.verify(place, progress=False).ok
    assert daskpatch.verify(place, repair=True, progress=False).repaired.done >= 1
    assert daskpatch.verify(place, progress=False).ok
    assert contents(place / "1" / "c") | contents(place / "2" / "c") == before


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("settings", {}),
        ("settings", {"factors": 7}),
        ("settings", {"factors": [2]}),
        ("settings", {"factors": [2, 2], "levels": 7}),
        ("fingerprint", {}),
    ],
)
def test_a_broken_record_of_a_level_is_told_of_in_words(tmp_path, values, field, value):
    source = image(tmp_path / "in.zarr", values[0], "yx")
    build(source, pyramid=1)
    (record,) = source.rglob("passes/level-1/run.json")
    document = json.loads(record.read_text())
    record.write_text(json.dumps({**document, field: value}))
    first = zarr.open_array(source / "1", mode="r+")
    first[...] += 1
    with pytest.raises(ValueError, match=r"level-1 .*run\.json.*is broken"):
        daskpatch.verify(source, repair=True, progress=False)


def test_the_output_of_a_run_is_completed_once_it_is_done(tmp_path, source, values):
    out = tmp_path / "out.zarr"
    plan = daskpatch.plan(
        source, double, out, pyramid=1, patch_size=16, overlaps=4, chunks=16, block_shape=16
    )
    plan.run(region=np.s_[:, :16], progress=False)
    with pytest.raises(ValueError, match="a run that is not done"):
        build(out, pyramid=3)
    plan.run(resume=True, progress=False)
    build(out, pyramid=3)
    assert_pyramid(out, values.astype("f4") * 2, FACTORS)
    assert set(daskpatch.status(out).passes) == {"level-1", "level-2", "level-3"}
    chunk = min(p for p in (out / "3" / "c").rglob("*") if p.is_file())
    chunk.write_bytes(b"")
    assert daskpatch.verify(out, repair=True, progress=False).repaired.done == 1
    chunk = min(p for p in (out / "0" / "c").rglob("*") if p.is_file())
    chunk.write_bytes(b"")
    with pytest.raises(ValueError, match="A repair needs the model"):
        daskpatch.verify(out, repair=True, progress=False)
    report = daskpatch.verify(out, repair=True, model=double, progress=False).repaired
    assert report.done == 3 + 3  # of the prediction and its level, and of those that were added
    assert daskpatch.verify(out, progress=False).ok


def test_a_source_that_became_another_is_no_resume(source, values):
    build(source, pyramid=1)
    zarr.open_array(str(source / "s0"), mode="r+")[:] = values[::-1]
    with pytest.raises(ValueError, match=r"source\.content"):
        build(source, pyramid=1, resume=True)
    with pytest.raises(ValueError, match=r"downsample.* Give what it began with\.$"):
        build(source, pyramid=1, downsample="max", resume=True)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"pyramid": None}, "nothing to build"),
        ({"pyramid": 40}, "of one voxel after"),
        ({"factors": [(2, 2)]}, "one per axis of space"),
        ({"factors": [2] * 8}, r"factors of level 8 are \(2, 2, 2\), .* shape \(1, 1, 1\)"),
        ({"factors": [2], "pyramid": 2}, "factors alone"),
        ({"downsample": "median"}, "one of"),
        ({"shards": 24, "chunks": 16, "pyramid": 1}, "must be whole chunks"),
        ({"region": np.s_[:4], "pyramid": 1}, "leave region out"),
        ({"axes": "ZYX"}, "leave it out"),
    ],
)
def test_what_cannot_be_built_is_told_before_anything_is_written(source, words, told):
    before = contents(source)
    with pytest.raises(ValueError, match=told):
        build(source, **words)
    assert contents(source) == before


def test_what_is_there_is_never_written_over(tmp_path, source, values):
    save(source / "1", values, chunks=(20, 70, 90))
    before = contents(source)
    with pytest.raises(FileExistsError, match="does not list; move it away"):
        build(source, pyramid=1)
    assert contents(source) == before
    plate = zarr.create_group(str(tmp_path / "p.zarr"))
    plate.attrs["ome"] = {"version": "0.5", "plate": {"wells": [], "rows": [], "columns": []}}
    save(tmp_path / "p.zarr" / "raw", values, chunks=(20, 70, 90), dimension_names=list("zyx"))
    with pytest.raises(ValueError, match="it says plate"):
        build(tmp_path / "p.zarr" / "raw", pyramid=1)
    zarr.create_group(str(tmp_path / "g.zarr"))
    save(tmp_path / "g.zarr" / "raw", values, chunks=(20, 70, 90))
    with pytest.raises(ValueError, match="space in this order.* Give axes="):
        build(tmp_path / "g.zarr" / "raw", axes="YXZ", pyramid=1)
    with pytest.raises(ValueError, match=r"Z, Y, X\)\. Write it anew in that order"):
        build(image(tmp_path / "yxz.zarr", values, "yxz"), pyramid=1)


def test_the_command_line_builds_one(source, values, capsys):
    assert exit_code("pyramid", str(source), "--pyramid", "2", "--no-progress", "--json") == 0
    assert json.loads(capsys.readouterr().out)["done"] > 0
    assert_pyramid(source, values, FACTORS[:2])
    assert Path(source / "2" / "zarr.json").exists()
    assert exit_code("pyramid", str(source), "--region", "0:4") == 2
    assert "No such option" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--pyramid", "none"), "--pyramid is not given, and there is nothing to build"),
        (("--pyramid", "0"), "--pyramid is 0; needed is"),
        (
            ("--pyramid", "2", "--factors", "2,2"),
            "--pyramid is 2, and factors are those of 1 level;",
        ),
    ],
)
def test_the_command_line_names_the_flag_that_is_called_as_the_command(
    tmp_path, capsys, flags, message
):
    save(tmp_path / "in.zarr", np.ones((32, 32)), chunks=(8, 8), dimension_names=["y", "x"])
    places = (tmp_path / "in.zarr", tmp_path / "out.zarr")
    assert exit_code("pyramid", *places, "--no-progress", *flags) != 0
    assert message in capsys.readouterr().err
