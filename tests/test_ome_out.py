"""Outputs as OME-Zarr images: at the right place and scale, resumed and verified as others."""

import json
from collections import Counter
from fractions import Fraction
from typing import ClassVar

import numpy as np
import pytest
import xarray
import zarr
from command_line import exit_code
from example_models import double
from ome_images import image, said
from volumes import read, save

import daskpatch
from daskpatch.geometry import Coordinates

TILES = {"patch_size": 16, "overlaps": 4, "progress": False}


@pytest.fixture
def values(rng):
    return rng.random((4, 40, 36)).astype("f4")


@pytest.fixture
def source(tmp_path, values):
    return image(tmp_path / "in.zarr", values)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_an_image_of_an_image(tmp_path, source, values, version):
    out = tmp_path / "out.zarr"
    plan = daskpatch.plan(source, double, out, patch_size=16, overlaps=4, ome=version)
    assert f"out.zarr (OME-Zarr {version})" in repr(plan)
    report = plan.run(progress=False)
    np.testing.assert_array_equal(read(out / "0"), values * 2)
    array = zarr.open_array(str(out / "0"), mode="r")
    assert array.metadata.zarr_format == (2 if version == "0.4" else 3)
    assert len(list(out.glob("0/0/0/0" if version == "0.4" else "0/c/0/0/0"))) == 1
    made = daskpatch.open_image(out)
    assert made.coordinates == daskpatch.open_image(source).coordinates
    assert made.ome_version == version
    told = said(out)
    assert [axis["type"] for axis in told["multiscales"][0]["axes"]] == ["space"] * 3
    assert "omero" not in told
    for place in (out, out / "0"):
        assert daskpatch.verify(place, progress=False).ok
        assert daskpatch.status(place).done == report.done
    with pytest.raises(FileExistsError, match=r"an array of an OME-Zarr image .* name the image"):
        daskpatch.predict(source, double, out / "0", resume=True, **TILES)


@pytest.mark.parametrize("ome", [None, True, False, "0.4", "0.5"])
@pytest.mark.parametrize("is_ome", [True, False])
def test_what_is_written_follows_the_source_and_what_is_asked_for(
    tmp_path, source, values, ome, is_ome
):
    given = source if is_ome else values
    words = {} if is_ome else {"axes": "ZYX"}
    out = tmp_path / "out.zarr"
    daskpatch.predict(given, double, out, ome=ome, **TILES, **words)
    is_image = bool(is_ome if ome is None else ome)
    assert (out / "0").is_dir() is is_image
    np.testing.assert_array_equal(read(out / "0" if is_image else out), values * 2)
    if is_image and not is_ome:
        assert daskpatch.open_image(out).coordinates == Coordinates.of_voxels("ZYX")


def test_in_a_group_of_zarr_v2_it_is_of_0_4(tmp_path, source, values):
    zarr.create_group(str(tmp_path / "g.zarr"), zarr_format=2)
    out = tmp_path / "g.zarr" / "out"
    with pytest.raises(ValueError, match=r"ome is '0\.5', and the output .* Zarr v2 group"):
        daskpatch.predict(source, double, out, ome="0.5", **TILES)
    daskpatch.predict(source, double, out, **TILES)
    assert said(out)["multiscales"][0]["version"] == "0.4"
    np.testing.assert_array_equal(read(out / "0"), values * 2)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_axes_come_in_the_order_of_ome(tmp_path, rng, ndim, version):
    values = rng.random((2, 3, 20, 24, 2)).astype("f4")  # Z T Y X C
    path = image(tmp_path / "in.zarr", values, "ztyxc", names=["a", "b"])
    plan = daskpatch.plan(
        path, double, tmp_path / "out.zarr", patch_size=(16,) * ndim, overlaps=4, ome=version,
        chunks=(1, 2, 1, 10, 24), block_shape=(1, 2, 2, 10, 24),
    )  # fmt: skip
    wanted = np.moveaxis(values, [1, 4, 0], [0, 1, 2]) * 2
    assert plan.to_dict()["axes"] == "TCZYX"
    assert plan.block_shape == (1, 2, 2, 10, 24)
    np.testing.assert_array_equal(plan.view[...], wanted)
    np.testing.assert_array_equal(plan.array[1].compute(), wanted[1])
    plan.run(region=np.s_[2], progress=False)
    found = read(tmp_path / "out.zarr" / "0")
    np.testing.assert_array_equal(found[2], wanted[2])
    assert not found[:2].any()
    plan.run(resume=True, progress=False)
    np.testing.assert_array_equal(read(tmp_path / "out.zarr" / "0"), wanted)
    made = daskpatch.open_image(tmp_path / "out.zarr")
    assert made.coordinates.scale == (30.0, 1.0, 2.0, 0.65, 0.65)
    assert made.channel_names == ("a", "b")
    (channel, _) = said(tmp_path / "out.zarr")["omero"]["channels"]
    assert channel["window"]["start"] < channel["window"]["end"] <= 2.0
    assert len(channel["color"]) == 6


class Resized:
    def __init__(self, scale):
        self.scale = Fraction(scale)

    def __call__(self, batch):
        if self.scale > 1:
            return batch.repeat(int(self.scale), -1).repeat(int(self.scale), -2)
        step = int(1 / self.scale)
        y, x = batch.shape[-2:]
        cells = batch.reshape(*batch.shape[:-2], y // step, step, x // step, step)
        return cells.mean((-3, -1))


@pytest.mark.parametrize("scale", ["2", "1/2", "1/4"])
def test_models_that_change_the_scale(tmp_path, rng, scale):
    values = rng.random((40, 36)).astype("f4")
    path = image(tmp_path / "in.zarr", values, "yx")
    out = tmp_path / "out.zarr"
    daskpatch.predict(
        path, Resized(scale), out, patch_size=16, overlaps=8, align=4, scale=scale, progress=False
    )
    found, factor = daskpatch.open_image(out).coordinates, float(Fraction(scale))
    assert found.scale == pytest.approx((0.65 / factor,) * 2, rel=1e-12)
    assert found.translation == pytest.approx((3 + (1 / factor - 1) / 2 * 0.65,) * 2, rel=1e-12)


@pytest.mark.parametrize("value", [0.0, -3.0, 0.25, 1.0, 1e30])
def test_a_trial_tile_of_one_value_gives_a_window_with_a_width(tmp_path, value):
    path = image(tmp_path / "in.zarr", np.full((1, 40, 36), value, "f4"), "cyx", names=["a"])
    daskpatch.predict(path, double, tmp_path / "out.zarr", **TILES)
    window = said(tmp_path / "out.zarr")["omero"]["channels"][0]["window"]
    assert window["start"] == window["min"] <= 2 * value <= window["max"] == window["end"]
    assert window["start"] < window["end"]


def test_chosen_channels_keep_their_names(tmp_path, rng):
    values = rng.integers(0, 9, (3, 40, 36)).astype("u1")
    path = image(tmp_path / "in.zarr", values, "cyx", names=["a", "b", "c"])
    out = tmp_path / "out.zarr"
    daskpatch.predict(path, double, out, channels=["c", "a"], dtype="uint8", **TILES)
    labels = [channel["label"] for channel in said(out)["omero"]["channels"]]
    assert labels == ["c", "a"]
    assert said(out)["omero"]["channels"][0]["window"]["max"] == 255.0
    merged = tmp_path / "merged.zarr"
    daskpatch.predict(path, lambda batch: batch.sum(1, keepdims=True), merged, **TILES)
    assert "omero" not in said(merged)  # the sum of three channels is none of them


def test_channels_may_be_named(tmp_path, source, rng):
    out = tmp_path / "out.zarr"

    def scores(batch):
        return np.concatenate([batch, 1 - batch], 1)

    daskpatch.predict(source, scores, out, channel_names=["cell", "rest"], **TILES)
    assert [each["label"] for each in said(out)["omero"]["channels"]] == ["cell", "rest"]
    for names, words in (
        (["cell"], "1 name; the output has 2 channels"),
        ("cell", "needed is a list of texts"),
        ([1, 2], "needed is a list of texts"),
    ):
        with pytest.raises(ValueError, match=f"channel_names is .*{words}"):
            daskpatch.plan(source, scores, out, channel_names=names, patch_size=16, overlaps=4)
    with pytest.raises(ValueError, match="the output has no channels, as the source: .* are ZYX"):
        daskpatch.plan(source, double, out, channel_names=["cell"], patch_size=16)
    bare = {"channel_names": ["cell", "rest"], "ome": False}
    with pytest.raises(ValueError, match="bare array, which has no place for them"):
        daskpatch.plan(source, scores, tmp_path / "b.zarr", patch_size=16, **bare)


def test_names_are_those_of_the_array_that_they_fit(tmp_path, rng):
    values = rng.random((2, 40, 36)).astype("f4")
    path = image(tmp_path / "in.zarr", values, "cyx", names=["a", "b"])

    def with_sum(batch):
        return {"same": batch, "sum": batch.sum(1, keepdims=True)}

    plan = daskpatch.plan(
        path, with_sum, tmp_path / "out.zarr", channel_names=["all"], patch_size=16, overlaps=4
    )
    plan.run(progress=False)
    for number, (name, expected) in enumerate({"same": ["a", "b"], "sum": ["all"]}.items()):
        channels = said(tmp_path / "out.zarr" / name)["omero"]["channels"]
        assert [each["label"] for each in channels] == expected
        assert list(plan.to_xarray(number).c.values) == expected


def two(batch):
    return {"mean": batch / 2, "twice": batch * 2}


@pytest.mark.parametrize("series", [False, True])
def test_several_arrays_and_series_are_groups_of_images(tmp_path, source, values, series):
    out = tmp_path / "out.zarr"
    given = [source, source] if series else source
    daskpatch.predict(given, two, out, **TILES)
    for number in "01" if series else [""]:
        for name, factor in (("mean", 0.5), ("twice", 2.0)):
            place = out / number / name if number else out / name
            np.testing.assert_allclose(read(place / "0"), values * np.float32(factor))
            assert said(place)["multiscales"][0]["name"] == name
    assert "multiscales" not in said(out)
    assert daskpatch.verify(out, progress=False).ok
    assert daskpatch.status(out).failed == 0
    with pytest.raises(FileExistsError, match="resume=True"):
        daskpatch.predict(given, two, out, **TILES)
    daskpatch.predict(given, two, out, overwrite=True, **TILES)
    assert daskpatch.verify(out, progress=False).ok


def test_parts_resume_and_repair(tmp_path, source, values):
    out = tmp_path / "out.zarr"
    words = {**TILES, "chunks": 12, "block_shape": 12}
    daskpatch.predict(source, double, out, part=(2, 2), **words)
    assert said(out)["multiscales"]  # a viewer may open it
    assert not daskpatch.verify(out, progress=False).ok
    report = daskpatch.predict(source, double, out, resume=True, **words)
    assert report.skipped
    assert (out / "0" / ".daskpatch").is_dir()
    assert not (out / ".daskpatch").exists()
    chunk = next(path for path in (out / "0" / "c").rglob("*") if path.is_file())
    chunk.unlink()
    mended = daskpatch.verify(out, repair=True, model=double, progress=False)
    assert mended.repaired.done == 1
    np.testing.assert_array_equal(read(out / "0"), values * 2)


@pytest.mark.parametrize("records_only", [False, True])
def test_a_run_that_began_as_an_array_is_resumed_as_one(tmp_path, source, values, records_only):
    out = tmp_path / "out.zarr"
    words = {**TILES, "chunks": 12, "block_shape": 12}
    daskpatch.predict(source, double, out, part=(1, 2), ome=False, **words)
    if records_only:  # it ended between its record and its array
        for path in (out / "zarr.json", *(out / "c").rglob("*")):
            if path.is_file():
                path.unlink()
        for path in (out / ".daskpatch" / "receipts").rglob("*"):
            if path.is_file():
                path.unlink()
    daskpatch.predict(source, double, out, resume=True, **words)
    np.testing.assert_array_equal(read(out), values * 2)
    assert daskpatch.verify(out, progress=False).ok
    daskpatch.predict(source, double, out, overwrite=True, **words)
    np.testing.assert_array_equal(read(out / "0"), values * 2)
    assert not (out / "c").exists()


@pytest.mark.parametrize("ome", [False, "0.4"])
def test_a_run_is_not_resumed_as_something_else(tmp_path, source, ome):
    out = tmp_path / "out.zarr"
    daskpatch.predict(source, double, out, part=(1, 2), **TILES)
    for words in ({"resume": True}, {}):
        with pytest.raises(FileExistsError, match="was begun as OME-Zarr 0.5, not as ome="):
            daskpatch.predict(source, double, out, ome=ome, **words, **TILES)
    daskpatch.predict(source, double, out, ome=ome, overwrite=True, **TILES)
    assert daskpatch.verify(out, progress=False).ok


def test_others_in_the_image_s_group_stay(tmp_path, source):
    out = tmp_path / "out.zarr"
    daskpatch.predict(source, double, out, **TILES)
    save(out / "labels" / "mine", np.ones((4, 40, 36), "u1"), chunks=(4, 40, 36))
    with pytest.raises(FileExistsError, match="also holds labels/mine"):
        daskpatch.predict(source, double, out, overwrite=True, **TILES)


def test_an_array_of_the_user_s_stays_bare(tmp_path, source, values):
    array = save(tmp_path / "mine.zarr", np.zeros_like(values), chunks=(4, 20, 36))
    with pytest.raises(ValueError, match="ome is True, and the output .* is an array"):
        daskpatch.predict(source, double, array, ome=True, **TILES)
    daskpatch.predict(source, double, array, **TILES)
    np.testing.assert_array_equal(read(tmp_path / "mine.zarr"), values * 2)


def test_samples_have_no_place(tmp_path, rng, values):
    out = tmp_path / "out.zarr"
    with pytest.raises(ValueError, match="axes are SYX, and OME-Zarr has no samples"):
        daskpatch.predict(values, double, out, axes="SYX", ome=True, **TILES)
    assert not out.exists()
    path = image(tmp_path / "in.zarr", values)
    with pytest.warns(UserWarning, match="says of itself"):
        plan = daskpatch.plan(path, double, out, axes="SYX", patch_size=16, overlaps=4)
    assert "a bare array, without scale or levels: samples (S) have no place" in repr(plan)
    plan.run(progress=False)
    np.testing.assert_array_equal(read(out), values * 2)


@pytest.mark.parametrize(
    ("unit", "written"),
    [("um", "micrometer"), ("µm", "micrometer"), ("nanometer", "nanometer"), ("furlong", None)],
)
def test_units_have_long_names(tmp_path, values, unit, written):
    path = image(tmp_path / "in.zarr", values, units={"z": unit})
    out = tmp_path / "out.zarr"
    if written is None:
        with pytest.warns(UserWarning, match="unit 'furlong' of axis Z .* left out"):
            daskpatch.predict(path, double, out, **TILES)
    else:
        daskpatch.predict(path, double, out, **TILES)
    assert said(out)["multiscales"][0]["axes"][0].get("unit") == written


def test_shards_are_for_0_5(tmp_path, source, values):
    words = {**TILES, "chunks": (1, 8, 8), "shards": (2, 16, 16)}
    with pytest.raises(ValueError, match=r"is OME-Zarr 0.4, where .* or give ome='0\.5'\.$"):
        daskpatch.predict(source, double, tmp_path / "a.zarr", ome="0.4", **words)
    zarr.create_group(str(tmp_path / "g.zarr"), zarr_format=2)
    with pytest.raises(ValueError, match="lies in a Zarr v2 group, .* a place outside the group"):
        daskpatch.predict(source, double, tmp_path / "g.zarr" / "a", **words)
    assert not (tmp_path / "a.zarr").exists()
    daskpatch.predict(source, double, tmp_path / "b.zarr", **words)
    assert zarr.open_array(str(tmp_path / "b.zarr" / "0")).shards == (2, 16, 16)


@pytest.mark.parametrize("ome", [1, "0.6", "yes", []])
def test_what_ome_cannot_be(tmp_path, source, ome):
    with pytest.raises(ValueError, match=r"ome is .*; needed is True, False, '0\.4', '0\.5'"):
        daskpatch.plan(source, double, tmp_path / "o.zarr", ome=ome, patch_size=16)


@pytest.mark.parametrize(
    ("flags", "made"),
    [((), "0.5"), (("--ome",), "0.5"), (("--ome", "0.4"), "0.4"), (("--ome", "no"), None)],
)
def test_on_the_command_line(tmp_path, source, values, flags, made):
    out = tmp_path / "out.zarr"
    arguments = ["predict", str(source), str(out), "--model", "example_models:double"]
    assert exit_code(*arguments, "--patch-size", "16", "--no-progress", *flags) == 0
    np.testing.assert_array_equal(read(out / "0" if made else out), values * 2)
    if made:
        assert daskpatch.open_image(out).ome_version == made


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_xarray_opens_a_level_with_its_axes(tmp_path, source, values, version):
    daskpatch.predict(source, double, tmp_path / "out.zarr", pyramid=1, ome=version, **TILES)
    opened = xarray.open_zarr(tmp_path / "out.zarr", consolidated=False, drop_variables=["1"])
    axes = tuple(daskpatch.open_image(tmp_path / "out.zarr").original_axes.lower())
    assert opened["0"].dims == axes
    np.testing.assert_array_equal(opened["0"], values * 2)


def test_a_store_in_memory(source, values):
    store = zarr.storage.MemoryStore()
    daskpatch.predict(source, double, store, **TILES)
    np.testing.assert_array_equal(zarr.open_group(store)["0"][...], values * 2)
    assert daskpatch.verify(store, progress=False).ok


class Noted(zarr.storage.WrapperStore):
    """Notes how many chunks of a level there are when it is listed; copies note together."""

    chunks = Counter()
    arrays: ClassVar = set()
    listed: ClassVar = {}

    async def set(self, key, value, *args, **kwargs):
        await super().set(key, value, *args, **kwargs)
        level = key.partition("/")[0]
        if key == f"{level}/zarr.json":
            self.arrays.add(level)
        elif key == "zarr.json":
            told = json.loads(value.to_bytes())["attributes"].get("ome", {})
            for image in told.get("multiscales", []):
                paths = [dataset["path"] for dataset in image["datasets"]]
                assert self.arrays.issuperset(paths)
                for path in paths:
                    self.listed.setdefault(path, self.chunks[path])
        elif key.startswith(f"{level}/c/"):
            self.chunks[level] += 1


def test_a_level_is_listed_when_there_is_something_to_see(rng):
    values = rng.random((16, 48, 48)).astype("f4") + 1
    words = {**TILES, "chunks": 16, "block_shape": 16, "pyramid": 2, "io": "zarr"}
    store = Noted(zarr.storage.MemoryStore())
    daskpatch.predict(values, double, store, axes="ZYX", ome=True, **words)
    assert Noted.chunks == {"0": 9, "1": 4, "2": 1}
    # Full resolution at once, and each later level when it is whole.
    assert Noted.listed == {"0": 0, "1": 4, "2": 1}


def test_the_record_names_its_arrays(tmp_path, source):
    daskpatch.predict(source, two, tmp_path / "out.zarr", **TILES)
    record = tmp_path / "out.zarr" / "mean" / "0" / ".daskpatch" / "run.json"
    arrays = json.loads(record.read_text())["arrays"]
    assert {name: told["path"] for name, told in arrays.items()} == {
        "mean": "mean/0",
        "twice": "twice/0",
    }
