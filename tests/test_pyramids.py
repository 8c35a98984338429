"""Pyramids: levels equal to the golden ones, built block by block, resumed, verified, repaired."""

import json
import math
import os
import shutil
import threading
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import zarr
from children import Child
from command_line import exit_code
from example_models import double
from folders import contents
from hypothesis import given
from hypothesis import strategies as st
from ome_images import image, said
from volumes import read

import daskpatch
from daskpatch.geometry import Coordinates, halvings
from daskpatch.receipts import Claim, Part, Record
from daskpatch.store import locate
from daskpatch.values import DOWNSAMPLES, downsampled

HERE = Path(__file__).parent
GOLDEN = json.loads((HERE / "pyramids.json").read_text())
TILES = {"patch_size": 16, "overlaps": 4}

SEPARATE = {"chunks": 16, "block_shape": 16}
FUSED = {"patch_size": 20, "block_shape": 64}
"""Chunks and blocks of which levels are made in passes of their own, or with full resolution."""

CHUNKS = "c/*/*/*"

CUTS = pytest.mark.parametrize("cut", [SEPARATE, FUSED], ids=["separate", "fused"])


@pytest.fixture(params=[SEPARATE, FUSED], ids=["separate", "fused"])
def cut(request):
    return request.param


# The voxels of a level


@pytest.mark.parametrize(
    ("name", "how"), [(name, how) for name, case in GOLDEN.items() for how in case["methods"]]
)
def test_levels_are_the_golden_ones(name, how):
    with np.load(HERE / "pyramids.npz") as golden:
        values = golden[f"{name}.0"]
        for number, factors in enumerate(GOLDEN[name]["factors"], 1):
            values = downsampled(values, tuple(factors), how)
            expected = golden[f"{name}.{how}.{number}"]
            assert values.dtype == expected.dtype
            np.testing.assert_array_equal(values, expected)


def by_hand(cell, how):
    """One voxel of its cell, in exact arithmetic."""
    flat = cell.ravel().tolist()
    if how == "stride":
        return flat[0]
    if how == "max":
        return max(flat)
    if how == "mode":
        return min(set(flat), key=lambda value: (-flat.count(value), value))
    if cell.dtype.kind == "f":
        return sum(flat) / len(flat)
    quotient, rest = divmod(sum(flat), len(flat))
    return quotient + (2 * rest > len(flat) or (2 * rest == len(flat) and quotient % 2 == 1))


@given(
    st.sampled_from(["u1", "i2", "i8", "u8", "f4", "f8", "?"]),
    st.lists(st.tuples(st.integers(1, 7), st.integers(1, 4)), min_size=1, max_size=3),
    st.sampled_from(DOWNSAMPLES),
    st.booleans(),
    st.integers(0, 2**32),
)
def test_each_voxel_is_made_of_its_cell(dtype, axes, how, is_extreme, seed):
    rng, dtype = np.random.default_rng(seed), np.dtype(dtype)
    shape, factors = (tuple(numbers) for numbers in zip(*axes, strict=True))
    if dtype.kind in "iu" and is_extreme:
        limits = np.iinfo(dtype)
        values = rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    else:
        values = rng.integers(0, 3, shape).astype(dtype)
    made = downsampled(values, factors, how)
    assert made.dtype == dtype
    assert made.shape == tuple(-(-n // f) for n, f in zip(shape, factors, strict=True))
    for at in product(*map(range, made.shape)):
        cell = values[tuple(slice(i * f, (i + 1) * f) for i, f in zip(at, factors, strict=True))]
        assert made[at] == dtype.type(by_hand(cell, how))


def test_what_is_no_number_stays_that():
    values = np.array([[np.nan, 1.0, np.inf, -np.inf]], "f4")
    for how in ("mean", "max"):
        made = downsampled(values, (1, 2), how)
        assert np.isnan(made[0, 0])
    assert np.isnan(downsampled(values, (1, 2), "mean")[0, 1])


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_nan_is_a_value_that_comes_most_often(dtype):
    nan = np.nan
    cells = {(nan, nan, nan, 1): nan, (1, nan, nan, 2): nan, (nan, 1, nan, 1): 1, (nan, 3, 2, 3): 3}
    for cell, expected in {**cells, (nan,) * 4: nan}.items():
        made = downsampled(np.array([cell], dtype), (1, 4), "mode")
        np.testing.assert_array_equal(made, np.array([[expected]], dtype))


# Which axes are halved


def along(axes, *scale, unit="micrometer"):
    return Coordinates(axes, scale, (0.0,) * len(axes), (unit,) * len(axes))


@pytest.mark.parametrize(
    ("axes", "scale", "shape", "words", "expected"),
    [
        ("YX", (1, 1), (256, 256), {}, []),
        ("YX", (1, 1), (257, 20), {}, [(2, 2)]),
        ("YX", (1, 1), (1000, 1000), {}, [(2, 2)] * 2),
        ("ZYX", (2, 0.5, 0.5), (100, 2000, 2000), {}, [(1, 2, 2), (1, 2, 2), (2, 2, 2)]),
        ("ZYX", (0.7, 0.5, 0.5), (300, 300, 300), {}, [(2, 2, 2)]),
        ("ZYX", (0.75, 0.5, 0.5), (300, 300, 300), {}, [(1, 2, 2), (2, 2, 2)]),
        ("ZYX", (9, 1, 1), (1, 600, 600), {}, [(1, 2, 2), (1, 2, 2)]),
        ("TCZYX", (1,) * 5, (900, 3, 300, 300, 300), {}, [(1, 1, 2, 2, 2)]),
        ("ZYX", (1, 1, 1), (50, 600, 600), {"keeps_planes": True},
         [(1, 2, 2), (2, 1, 1), (2, 2, 2)]),
        ("ZYX", (0.5, 1, 1), (50, 2000, 2000), {"keeps_planes": True, "n_levels": 1}, [(1, 2, 2)]),
        ("YX", (1, 1), (9, 9), {"n_levels": 2}, [(2, 2)] * 2),
        ("YX", (1, 1), (9, 2), {"n_levels": 3}, [(2, 2), (2, 1), (2, 1)]),
        ("YX", (1, 1), (900, 900), {"n_levels": 1}, [(2, 2)]),
    ],
)  # fmt: skip
def test_axes_are_halved_until_voxels_are_alike_and_few(axes, scale, shape, words, expected):
    assert halvings(along(axes, *scale), shape, **words) == tuple(expected)


def test_voxels_of_different_units_count_as_alike():
    mixed = Coordinates("ZYX", (1.0, 300.0, 300.0), (0.0,) * 3, ("micrometer", "nanometer", None))
    assert halvings(mixed, (300, 300, 300)) == ((2, 2, 2),)
    alike = Coordinates("ZYX", (4.0, 1.0, 1.0), (0.0,) * 3, ("um", "micrometer", "µm"))
    assert halvings(alike, (300, 300, 300)) == ((1, 2, 2),)
    assert halvings(along("ZYX", 0.0, 1.0, 1.0), (300, 300, 300)) == ((2, 2, 2),)


# Levels of an output


def levels_of(path):
    """The levels that an image lists, their arrays, and what it says of their places."""
    datasets = said(path)["multiscales"][0]["datasets"]
    places = [
        tuple(tuple(each[each["type"]]) for each in level["coordinateTransformations"])
        for level in datasets
    ]
    return [read(path / level["path"]) for level in datasets], places


def assert_pyramid(path, values, factors, how="mean"):
    found, places = levels_of(path)
    assert len(found) == 1 + len(factors)
    np.testing.assert_array_equal(found[0], values)
    (scale, translation), *coarser = places
    for array, by, (its_scale, its_translation) in zip(found[1:], factors, coarser, strict=True):
        values = downsampled(values, by, how)
        assert array.dtype == values.dtype
        np.testing.assert_array_equal(array, values)
        if how != "stride":
            translation = [
                t + (f - 1) / 2 * s for t, s, f in zip(translation, scale, by, strict=True)
            ]
        scale = [s * f for s, f in zip(scale, by, strict=True)]
        np.testing.assert_allclose(its_scale, scale, rtol=1e-12)
        np.testing.assert_allclose(its_translation, translation, rtol=1e-12)


@pytest.fixture
def values(rng):
    return rng.random((20, 70, 90)).astype("f4")


@pytest.fixture
def source(tmp_path, values):
    return image(tmp_path / "in.zarr", values)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("how", [*DOWNSAMPLES, None])
def test_levels_lie_beside_full_resolution(tmp_path, source, values, version, how):
    out = tmp_path / "out.zarr"
    plan = daskpatch.plan(
        source, double, out, ome=version, pyramid=3, downsample=how, chunks=16, **TILES
    )
    assert f"3 more: (20, 35, 45), (20, 18, 23), (10, 9, 12); {how or 'mean'}" in repr(plan)
    assert plan.to_dict()["levels"] == [[[20, 35, 45], [20, 18, 23], [10, 9, 12]]]
    plan.run(progress=False)
    assert_pyramid(out, values * 2, [(1, 2, 2), (1, 2, 2), (2, 2, 2)], how or "mean")
    level = daskpatch.open_image(out, level=2)
    assert level.coordinates.scale == pytest.approx((2.0, 2.6, 2.6))
    for place in (out, out / "0"):
        assert daskpatch.verify(place, progress=False).ok
        assert set(daskpatch.status(place).passes) == {"level-1", "level-2", "level-3"}


@pytest.mark.parametrize(
    "layout",
    [
        {"chunks": (3, 17, 11)},
        {"chunks": 8, "shards": 24, "block_shape": 24},
        {"chunks": 64, "threads": 4},
        {"chunks": (20, 70, 90)},
    ],
)
def test_levels_are_the_same_for_any_layout(tmp_path, source, values, layout):
    out = tmp_path / "out.zarr"
    factors = [(2, 2, 2), (1, 3, 1), (2, 2, 3)]
    daskpatch.predict(source, double, out, factors=factors, progress=False, **TILES, **layout)
    assert_pyramid(out, values * 2, factors)


@CUTS
def test_workers_build_levels(tmp_path, source, values, processes, cut):
    out = tmp_path / "out.zarr"
    plan = daskpatch.plan(source, double, out, pyramid=2, **{**TILES, **cut})
    plan.run(processes, progress=False)
    assert_pyramid(out, values * 2, [(1, 2, 2)] * 2)
    assert daskpatch.verify(out, progress=False).ok


def labelled(batch):
    return (batch * 5).astype("int32")


def test_integers_of_the_models_own_are_labels(tmp_path, source, values):
    for name, words, how in (("a", {}, "mode"), ("b", {"dtype": "int32"}, "mean")):
        out = tmp_path / f"{name}.zarr"
        daskpatch.predict(source, labelled, out, pyramid=1, progress=False, **TILES, **words)
        assert_pyramid(out, labelled(values), [(1, 2, 2)], how)


def test_images_get_levels_by_themselves_where_they_are_large(tmp_path, rng):
    values = rng.random((300, 40)).astype("f4")
    source = image(tmp_path / "in.zarr", values, "yx")
    for words, factors in (({}, [(2, 2)]), ({"pyramid": None}, [])):
        daskpatch.predict(
            source, double, tmp_path / "out.zarr", overwrite=True, progress=False, **TILES, **words
        )
        assert_pyramid(tmp_path / "out.zarr", values * 2, factors)
    daskpatch.predict(source, double, tmp_path / "bare.zarr", ome=False, progress=False, **TILES)
    assert read(tmp_path / "bare.zarr").shape == (300, 40)


def test_of_a_2d_model_the_first_level_leaves_planes_alone(tmp_path, rng):
    values = rng.random((8, 40, 40)).astype("f4")
    out = tmp_path / "out.zarr"
    tiles = {"patch_size": (16, 16), "overlaps": 4}
    daskpatch.predict(values, double, out, axes="ZYX", ome=True, pyramid=2, progress=False, **tiles)
    assert_pyramid(out, values * 2, [(1, 2, 2), (2, 1, 1)])


def both(batch):
    return {"mean": batch, "parts": np.concatenate([batch, -batch], 1)}


def test_every_output_has_its_levels(tmp_path, source, values):
    out = tmp_path / "out.zarr"
    daskpatch.predict(source, both, out, pyramid=2, chunks=16, progress=False, **TILES)
    assert_pyramid(out / "mean", values, [(1, 2, 2)] * 2)
    assert_pyramid(out / "parts", np.stack([values, -values]), [(1, 1, 2, 2)] * 2)
    assert daskpatch.verify(out, progress=False).ok


def test_members_of_a_series_have_their_own_levels(tmp_path, rng):
    images = [rng.random((n, 40)).astype("f4") for n in (300, 40, 600)]
    out = tmp_path / "out.zarr"
    plan = daskpatch.plan(images, double, out, axes="YX", ome=True, chunks=32, **TILES)
    assert "for the image that has most" in repr(plan)
    plan.run(progress=False)
    for number, factors in enumerate([[(2, 2)], [], [(2, 2), (2, 2)]]):
        assert_pyramid(out / str(number), images[number] * 2, factors)
    assert daskpatch.verify(out, progress=False).ok
    (out / "2" / "1" / "c" / "3" / "0").unlink()
    found = daskpatch.verify(out, progress=False)
    assert list(found.passes["level-1"].reasons.values()) == ["missing"]


@pytest.mark.parametrize("cut", [{"chunks": (1, 16, 16), "block_shape": (1, 32, 32)}, {}])
def test_blocks_of_some_channels(tmp_path, rng, cut):
    values = rng.random((3, 64, 64)).astype("f4")
    source = image(tmp_path / "in.zarr", values, "cyx")
    out = tmp_path / "out.zarr"
    daskpatch.predict(source, double, out, pyramid=1, progress=False, **TILES, **cut)
    assert_pyramid(out, values * 2, [(1, 2, 2)])
    assert daskpatch.verify(out, progress=False).ok


def labels_and_scores(batch):
    return {"labels": (batch * 5).astype("int32"), "scores": batch}


def test_a_dtype_of_one_array_says_nothing_of_another(tmp_path, source, values):
    out = tmp_path / "out.zarr"
    words = {"dtype": {"scores": "float16"}, "progress": False, "pyramid": 1, **TILES}
    daskpatch.predict(source, labels_and_scores, out, **words)
    assert_pyramid(out / "labels", (values * 5).astype("int32"), [(1, 2, 2)], "mode")
    assert_pyramid(out / "scores", values.astype("f2"), [(1, 2, 2)])


# Ended, resumed, verified, repaired


@pytest.mark.parametrize("damaged", ["0", "1"])
def test_labels_are_repaired_as_labels(tmp_path, source, values, cut, damaged):
    out = tmp_path / "out.zarr"
    words = {"pyramid": 1, "progress": False, **TILES, **cut}
    daskpatch.predict(source, labelled, out, **words)
    min(p for p in (out / damaged / "c").rglob("*") if p.is_file()).unlink()
    daskpatch.verify(out, repair=True, model=labelled, progress=False)
    assert daskpatch.verify(out, progress=False).ok
    assert_pyramid(out, labelled(values), [(1, 2, 2)], "mode")


def rescaled(path, scale):
    group = zarr.open_group(str(path), mode="r+")
    told = group.attrs["ome"]
    told["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]["scale"] = scale
    group.attrs["ome"] = told


@pytest.mark.parametrize(
    ("cut", "then"), [({"chunks": (32, 16, 16)}, [8.0, 1.0, 1.0]), ({}, [0.1, 1.0, 1.0])]
)
def test_an_edited_scale_of_the_source_changes_no_run(tmp_path, rng, cut, then):
    values = rng.random((600, 32, 40)).astype("f4")
    source = image(tmp_path / "in.zarr", values)
    rescaled(source, [1.0, 1.0, 1.0])
    out, words = tmp_path / "out.zarr", {"patch_size": (32, 16, 16), "overlaps": 0, **cut}
    daskpatch.plan(source, double, out, **words).run(region=np.s_[:64], progress=False)
    rescaled(source, then)
    report = daskpatch.predict(source, double, out, resume=True, progress=False, **words)
    assert report.unfinished == ""
    found, _ = levels_of(out)
    assert [level.shape for level in found] == [(600, 32, 40), (300, 16, 20), (150, 8, 10)]
    assert all(level.all() for level in found)
    assert daskpatch.verify(out, progress=False).ok


def test_cells_larger_than_the_image_take_no_more_memory_than_it():
    """A factor beyond the image is a cell of all of it."""
    image = np.ones((20, 13), "f4")
    plan = daskpatch.plan(
        image, double, zarr.storage.MemoryStore(), axes="YX", ome=True, factors=[10**9], **TILES
    )
    assert plan.memory.levels < 2**20
    plan.run(progress=False)


@pytest.mark.parametrize("limits", [{"threads": 1, "memory_limit": "4GiB"}])
def test_other_threads_and_memory_go_on_with_levels(tmp_path, rng, limits):
    values = rng.random((24, 120, 120)).astype("f4")
    source = image(tmp_path / "in.zarr", values)
    out, words = tmp_path / "out.zarr", {"pyramid": 2, "patch_size": 20, "overlaps": 4}
    daskpatch.plan(source, double, out, **words).run(region=np.s_[:20, :20, :20], progress=False)
    daskpatch.predict(source, double, out, resume=True, progress=False, **words, **limits)
    assert_pyramid(out, values * 2, [(1, 2, 2)] * 2)
    assert daskpatch.verify(out, progress=False).ok


def failing(batch):
    if batch.max() == 1:
        raise RuntimeError("no")
    return batch * 2


def test_levels_that_were_not_begun_are_missed(tmp_path, values):
    values[10, 40, 40] = 1
    source, out = image(tmp_path / "in.zarr", values), tmp_path / "out.zarr"
    plan = daskpatch.plan(source, failing, out, pyramid=2, model_id="m", **TILES, **SEPARATE)
    with pytest.raises(daskpatch.RunFailed):
        plan.run(progress=False, retries=0)
    assert daskpatch.status(out).passes == {"level-1": (0, 1), "level-2": (0, 1)}
    found = daskpatch.verify(out, progress=False)
    assert set(found.passes) == {"level-1", "level-2"}
    assert not any(one.ok for one in found.passes.values())
    daskpatch.predict(
        source,
        double,
        out,
        pyramid=2,
        model_id="m",
        resume=True,
        progress=False,
        **TILES,
        **SEPARATE,
    )
    assert_pyramid(out, values * 2, [(1, 2, 2)] * 2)


def test_an_array_of_somebody_elses_is_no_level(tmp_path, source):
    out = tmp_path / "out.zarr"
    plan = daskpatch.plan(source, double, out, pyramid=2, **TILES, **SEPARATE)
    plan.run(region=np.s_[:, :16, :16], progress=False)
    shutil.rmtree(out / "2")
    shutil.rmtree(out / "0" / ".daskpatch" / "passes" / "level-2")
    theirs = zarr.create_array(str(out / "2"), shape=(20, 18, 23), chunks=(16, 16, 16), dtype="f4")
    theirs[...] = 7
    with pytest.raises(ValueError, match="is an array that daskpatch did not make"):
        plan.run(resume=True, progress=False)
    assert (read(out / "2") == 7).all()


def test_what_was_computed_again_is_made_coarser_again(built, source, values, cut):
    path = next((built / "0" / ".daskpatch" / "receipts").rglob("*0000"))
    content = bytearray(path.read_bytes())
    content[5] ^= 1
    path.write_bytes(content)
    words = {"pyramid": 3, **TILES, **cut}
    report = daskpatch.predict(source, double, built, resume=True, progress=False, **words)
    assert report.done >= (4 if cut is SEPARATE else 1)
    assert daskpatch.verify(built, progress=False).ok


def test_parts_of_a_series_count_what_was_done_before(tmp_path):
    images = [np.ones((n, 40), "f4") for n in (40, 300, 600)]
    plan = daskpatch.plan(images, double, tmp_path / "out.zarr", axes="YX", ome=True, **TILES)
    reports = [plan.run(part=(part, 2), progress=False) for part in (1, 2)]
    assert all(report.skipped >= 0 for report in reports)


def test_levels_above_what_is_missing_are_not_begun(tmp_path, source, values):
    out = tmp_path / "out.zarr"
    plan = daskpatch.plan(source, double, out, pyramid=2, chunks=16, block_shape=16, **TILES)
    report = plan.run(region=np.s_[:, :64, :64], progress=False)
    assert "level-1 waits for" in report.unfinished
    assert "which are not done" in report.unfinished
    found, _ = levels_of(out)
    assert len(found) == 1  # what is not whole is not listed
    status = daskpatch.status(out)
    done, total = status.passes["level-1"]
    assert 0 < done < total
    assert "level-1: " in str(status)
    assert plan.run(resume=True, progress=False).unfinished == ""
    assert_pyramid(out, values * 2, [(1, 2, 2)] * 2)


@pytest.mark.parametrize("words", [{}, {"block_shape": 64}, {"downsample": "mode"}])
def test_levels_are_made_with_full_resolution(tmp_path, source, values, words):
    out = tmp_path / "out.zarr"
    plan = daskpatch.plan(source, double, out, pyramid=2, **{**TILES, "patch_size": 20}, **words)
    assert "all made with full resolution, block by block" in repr(plan)
    assert "read again" not in repr(plan)
    report = plan.run(progress=False)
    assert (report.done, report.skipped) == (plan.n_blocks, 0)
    assert_pyramid(out, values * 2, [(1, 2, 2)] * 2, words.get("downsample", "mean"))
    assert daskpatch.verify(out, progress=False).ok
    counts = {"level-1": (plan.n_blocks,) * 2, "level-2": (plan.n_blocks,) * 2}
    assert daskpatch.status(out).passes == counts
    assert plan.run(resume=True, progress=False).done == 0


@pytest.mark.parametrize(
    ("words", "made"),
    [
        ({"memory_limit": 2**33}, "all"),
        ({"memory_limit": 2**31}, "the first 2"),
        ({"memory_limit": 2**33, "block_shape": (188, 376, 376)}, "the first 2"),
    ],
)
def test_blocks_grow_until_they_make_what_would_read_much_again(words, made):
    source = zarr.create_array({}, shape=(300, 2048, 2048), chunks=(64, 64, 64), dtype="uint16")
    options = {"axes": "ZYX", "patch_size": 64, "overlaps": 17, "threads": 2, "ome": True}
    store = zarr.storage.MemoryStore()
    plan = daskpatch.plan(source, double, store, **options, **words)
    assert f"{made} made with full resolution" in repr(plan)
    assert plan.peak_memory < words["memory_limit"]


def test_levels_of_blocks_that_grew_are_right(tmp_path, rng):
    values = rng.random((1100, 1400)).astype("f4")
    options = {"axes": "YX", "patch_size": 300, "overlaps": 47, "threads": 1}
    plan = daskpatch.plan(values, double, tmp_path / "out.zarr", ome=True, pyramid=2, **options)
    bare = daskpatch.plan(values, double, tmp_path / "bare.zarr", **options)
    assert math.prod(plan.block_shape) > math.prod(bare.block_shape)
    assert "all made with full resolution" in repr(plan)
    plan.run(progress=False)
    assert_pyramid(tmp_path / "out.zarr", values * 2, [(2, 2)] * 2)


def test_what_is_made_with_full_resolution_is_listed_with_it(tmp_path, source):
    out = tmp_path / "out.zarr"
    plan = daskpatch.plan(source, double, out, pyramid=2, **{**TILES, **FUSED})
    plan.run(region=np.s_[:, :20, :20], progress=False)
    found, _ = levels_of(out)
    assert len(found) == 3
    assert found[2][:, :16, :16].all()
    assert not found[2][:, 16:].any()


def test_a_source_that_was_made_anew_takes_its_levels_along(tmp_path, source, values):
    out, away = tmp_path / "out.zarr", tmp_path / "away"
    calls = []

    def model(batch):
        calls.append(None)
        if len(calls) == 20:
            os.rename(source / "s0" / "c", away)  # its chunks alone: they read as zeros
        return batch * 2

    words = {"pyramid": 2, "model_id": "m", "threads": 1, "progress": False, **TILES, **FUSED}
    with pytest.raises(daskpatch.RunFailed, match="made anew during the run"):
        daskpatch.predict(source, model, out, **words)
    os.rename(away, source / "s0" / "c")
    daskpatch.predict(source, double, out, resume=True, **words)
    assert_pyramid(out, values * 2, [(1, 2, 2)] * 2)
    assert daskpatch.verify(out, progress=False).ok


def test_what_a_resume_does_along_and_afterwards_is_recorded_together(tmp_path, source, values):
    out = tmp_path / "out.zarr"
    plan = daskpatch.plan(source, double, out, pyramid=2, **{**TILES, **FUSED})
    plan.run(region=np.s_[:, :20, :20], progress=False)
    for level in ("level-1", "level-2"):  # a driver that died before it stored these
        shutil.rmtree(out / "0" / ".daskpatch" / "passes" / level / "receipts")
    assert plan.run(resume=True, progress=False).done == plan.n_blocks + 1
    assert daskpatch.verify(out, progress=False).ok
    assert_pyramid(out, values * 2, [(1, 2, 2)] * 2)


KILLED = """
import sys
import daskpatch
from children import Child
from example_models import double

source, out, *sizes = sys.argv[1:]
sizes = {"patch_size": 20, "block_shape": 64} if sizes else {"chunks": 8, "block_shape": 8}
daskpatch.predict(
    source, double, out, pyramid=2, overlaps=4, threads=1, progress=False,
    pacing=daskpatch.Pacing(flush=0.0), **{"patch_size": 16, **sizes},
)
"""


@CUTS
@pytest.mark.parametrize("level", [1, 2])
def test_levels_go_on_after_a_kill(tmp_path, source, values, level, cut):
    out = tmp_path / "out.zarr"
    given = [source, out, *(["fused"] if cut is FUSED else [])]
    receipts = out / "0" / ".daskpatch" / "passes" / f"level-{level}" / "receipts"
    Child(KILLED, *given).kill_when(lambda: any(receipts.rglob("*0[0-9]")))
    words = FUSED if cut is FUSED else {"chunks": 8}
    plan = daskpatch.plan(source, double, out, pyramid=2, **{**TILES, **words})
    report = plan.run(resume=True, progress=False)
    assert report.skipped > 0
    assert_pyramid(out, values * 2, [(1, 2, 2)] * 2)
    assert daskpatch.verify(out, progress=False).ok


@CUTS
def test_parts_build_their_share_and_the_last_one_the_rest(tmp_path, source, values, cut):
    out = tmp_path / "out.zarr"
    plan = daskpatch.plan(source, double, out, pyramid=2, **{**TILES, **cut})
    first = plan.run(part=(1, 2), progress=False)
    assert "the same command again" in first.unfinished
    second = plan.run(part=(2, 2), progress=False)
    assert (second.unfinished, second.skipped) == ("", 0)
    assert_pyramid(out, values * 2, [(1, 2, 2)] * 2)
    assert plan.run(resume=True, progress=False).blocks == 0


PART = """
import sys, daskpatch
from children import Child
from example_models import double
from test_pyramids import TILES
source, out, number = sys.argv[1:]
words = {**TILES, "chunks": 8}
daskpatch.predict(source, double, out, pyramid=2, part=(int(number), 3), progress=False, **words)
"""


@CUTS
def test_a_part_that_finds_the_rest_being_built_ends_with_its_report(tmp_path, source, cut):
    out = tmp_path / "out.zarr"
    plan = daskpatch.plan(source, double, out, pyramid=2, **{**TILES, **cut})
    record = Record(locate(out).child("0"))
    plan.run(part=(1, 2), progress=False)
    with Claim(record, Part()), pytest.raises(daskpatch.ClaimedError, match="being written"):
        plan.run(part=(2, 2), progress=False)
    plan.run(part=(2, 2), progress=False)
    with Claim(record, Part()):
        report = plan.run(part=(2, 2), progress=False)
    assert (report.done, report.skipped) == (0, plan.n_blocks - plan.n_blocks // 2)
    assert "level-1 is left to another run" in report.unfinished


def test_parts_that_work_at_the_same_time_leave_nothing(tmp_path, source, values):
    out = tmp_path / "out.zarr"
    for part in [Child(PART, source, out, number) for number in (1, 2, 3)]:
        part.said()
    assert_pyramid(out, values * 2, [(1, 2, 2)] * 2)
    assert daskpatch.status(out).remaining == 0
    assert daskpatch.verify(out, progress=False).ok


def test_a_level_is_listed_once_others_are_done_with_what_they_wrote_over(tmp_path, source, values):
    out = tmp_path / "out.zarr"
    document = out / "zarr.json"
    alone, told = threading.Lock(), []

    def write(text):
        beside = tmp_path / "zarr.json"
        beside.write_text(text)
        beside.replace(document)

    def model(batch):
        # As a part does that read it before it said that it is an image.
        with alone:
            if document.exists() and not told:
                told.append(document.read_text())
                without = json.loads(told[0])
                del without["attributes"]["ome"]["multiscales"]
                write(json.dumps(without))
                threading.Timer(0.3, write, told).start()
        return batch * 2

    factors = [(1, 2, 2), (2, 2, 2)]
    options = {"chunks": 8, "block_shape": 8, "factors": factors, "model_id": "m", **TILES}
    daskpatch.predict(source, model, out, progress=False, **options)
    assert told
    assert_pyramid(out, values * 2, factors)


def test_a_part_leaves_alone_what_others_wrote(tmp_path, source):
    out = tmp_path / "out.zarr"
    options = {"pyramid": 1, "progress": False, **TILES}
    daskpatch.predict(source, double, out, part=(1, 2), **options)
    document = out / "zarr.json"
    written, listed = document.stat().st_mtime_ns, document.read_bytes()
    assert b'"1"' in listed
    daskpatch.predict(source, double, out, part=(2, 2), **options)
    assert (document.stat().st_mtime_ns, document.read_bytes()) == (written, listed)


@pytest.fixture
def built(tmp_path, source, cut):
    out = tmp_path / "out.zarr"
    daskpatch.predict(source, double, out, pyramid=3, progress=False, **{**TILES, **cut})
    return out


@pytest.mark.parametrize("level", ["0", "1", "2", "3"])
def test_what_is_computed_of_a_damaged_block_is_built_again(built, source, level):
    before = contents(built, CHUNKS)
    chunk = min(p for p in (built / level / "c").rglob("*") if p.is_file())
    chunk.write_bytes(b"")
    found = daskpatch.verify(built, repair=True, model=double, progress=False)
    assert not found.ok
    if level == "0":
        assert found.bad
    else:
        assert not found.bad
        assert found.passes[f"level-{level}"].bad
    assert "repaired: " in str(found)
    assert found.repaired.done >= 1
    assert contents(built, CHUNKS) == before
    assert daskpatch.verify(built, progress=False).ok


def test_a_level_that_is_gone_is_told_of_and_built_again(built, source, cut):
    before = contents(built, CHUNKS)
    shutil.rmtree(built / "2")
    plan = daskpatch.plan(source, double, built, pyramid=3, **{**TILES, **cut})
    with pytest.raises(ValueError, match="Level 2 of the output, .* is gone"):
        plan.run(resume=True, progress=False)
    assert not daskpatch.verify(built, progress=False).ok
    daskpatch.verify(built, repair=True, model=double, progress=False)
    assert contents(built, CHUNKS) == before


def test_what_others_say_of_the_image_stays(tmp_path, source, values):
    out = tmp_path / "out.zarr"
    plan = daskpatch.plan(source, double, out, pyramid=2, chunks=16, block_shape=16, **TILES)
    plan.run(region=np.s_[:, :16], progress=False)
    group = zarr.open_group(str(out), mode="r+")
    told = group.attrs["ome"]
    told["multiscales"][0]["name"] = "mine"
    group.attrs.update({"ome": told, "notes": "of mine"})
    plan.run(resume=True, progress=False)
    assert_pyramid(out, values * 2, [(1, 2, 2)] * 2)
    assert said(out)["multiscales"][0]["name"] == "mine"
    assert zarr.open_group(str(out), mode="r").attrs["notes"] == "of mine"


def test_metadata_that_became_something_else_end_the_run_with_a_sentence(tmp_path, source):
    out = tmp_path / "out.zarr"
    plan = daskpatch.plan(source, double, out, pyramid=1, chunks=16, block_shape=16, **TILES)
    plan.run(region=np.s_[:, :16], progress=False)
    zarr.open_group(str(out), mode="r+").attrs["ome"] = {"multiscales": [5]}
    with pytest.raises(ValueError, match="level 1 cannot be listed there"):
        plan.run(resume=True, progress=False)


def test_an_overwrite_deletes_levels(built, source, values):
    daskpatch.predict(source, double, built, pyramid=1, overwrite=True, progress=False, **TILES)
    assert sorted(path.name for path in built.iterdir()) == ["0", "1", "zarr.json"]
    assert_pyramid(built, values * 2, [(1, 2, 2)])


# Words


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"pyramid": 0}, "'auto', a number of levels .*, or None"),
        ({"pyramid": "all"}, "'auto', a number of levels .*, or None"),
        ({"pyramid": True}, "'auto', a number of levels .*, or None"),
        ({"pyramid": 40}, "of one voxel after"),
        ({"downsample": "median"}, "'mean', 'mode', 'max', 'stride'"),
        ({"factors": [(2, 2)]}, "one per axis of space"),
        ({"factors": [1]}, r"such as \[\(1, 2, 2\), \(2, 2, 2\)\]"),
        ({"factors": []}, "for each level"),
        ({"factors": 2}, "for each level"),
        ({"factors": [(2, 0, 2)]}, "for each level"),
        ({"factors": ["22"]}, "for each level"),
        ({"factors": [2], "pyramid": 2}, "factors are those of 1 level"),
        ({"factors": [2], "pyramid": None}, "leave one out"),
        ({"pyramid": 1, "ome": False}, "a bare array, which has no place for further levels"),
        ({"factors": [2], "ome": False}, "a bare array"),
    ],
)  # fmt: skip
def test_what_cannot_be_built_is_told_before_anything_is_written(tmp_path, source, words, told):
    with pytest.raises(ValueError, match=told):
        daskpatch.plan(source, double, tmp_path / "out.zarr", **TILES, **words)
    assert not (tmp_path / "out.zarr").exists()


def test_other_levels_are_no_resume(built, source, cut):
    for words in ({"pyramid": 2}, {"pyramid": 3, "downsample": "max"}):
        plan = daskpatch.plan(source, double, built, **{**TILES, **cut}, **words)
        with pytest.raises(ValueError, match=r"treatment\.(pyramid|downsample)"):
            plan.run(resume=True, progress=False)


def test_levels_on_the_command_line(tmp_path, source, values, capsys):
    out = tmp_path / "out.zarr"
    arguments = ["--model", "example_models:double", "--patch-size", "16", "--overlaps", "4"]
    factors = ("--factors", "1,2,2/2", "--downsample", "max", "--no-progress")
    assert exit_code("predict", source, out, *arguments, *factors) == 0
    assert_pyramid(out, values * 2, [(1, 2, 2), (2, 2, 2)], "max")
    none = ("--pyramid", "none", "--overwrite", "--no-progress")
    assert exit_code("predict", source, out, *arguments, *none) == 0
    assert_pyramid(out, values * 2, [])
