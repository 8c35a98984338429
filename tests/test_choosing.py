"""Tiles, overlaps and batches left to "auto"."""

import warnings

import numpy as np
import pytest
import zarr
from command_line import exit_code
from example_models import gaussian, standardised
from scipy import ndimage
from volumes import read

import daskpatch
from daskpatch import Probe
from daskpatch.probing import AxisSizes, CallCost, Profile
from daskpatch.tuning.cost_model import CostModel


def probe_of(ndim=3, *, halo=8, align=1, step=1, smallest=1, costs=(), **others):
    """What a probe would say."""
    return Probe(
        **{
            "name": "made up",
            "channels": 1,
            "input_dtype": "float32",
            "out_channels": 1,
            "dtype": "float32",
            "halo_sides": ((halo, halo),) * ndim,
            "align": (align,) * ndim,
            "sizes": (AxisSizes(smallest, step, 1, 0),) * ndim,
            "is_global": False,
            "effect": 0.0,
            "tolerance": 1e-6,
            "profiles": (Profile((), ()),) * ndim,
            "costs": costs,
            **others,
        }
    )


def steady(ndim=3, per_second=1e6, bytes_per_voxel=100, batches=(1,)):
    """As fast for tiles of any size."""
    return tuple(
        CallCost(
            (n,) * ndim, batch, batch * n**ndim / per_second, batch * n**ndim * bytes_per_voxel
        )
        for n in (32, 64, 128)
        for batch in batches
    )


def chosen(shape, probe, **options):
    options = {"patch_size": "auto", "threads": 2, "axes": "ZYX"[-len(shape) :], **options}
    values = np.broadcast_to(np.float32(0), shape)
    return daskpatch.plan(values, np.positive, probe=probe, **options)


def test_an_image_that_fits_is_one_tile_for_each_thread():
    plan = chosen((64, 128, 128), probe_of(costs=steady()))
    assert plan.n_tiles == 2
    assert plan.compute_ratio < 1.4


@pytest.mark.parametrize("halo", [0, 3, 8, 24])
@pytest.mark.parametrize("align", [1, 3, 4, 16])
def test_the_halo_fits_on_the_grid(halo, align):
    found = probe_of(halo=halo, align=align, step=align, smallest=align, costs=steady())
    plan = chosen((400, 400, 400), found, threads=16)
    patching = plan.patching
    for patch, overlap, count in zip(
        patching.patch_size, patching.overlaps, patching.grids[0].counts, strict=True
    ):
        assert patch % align == overlap % (2 * align if align > 1 else 1) == 0
        assert overlap >= 2 * halo or count == 1
        assert overlap < 2 * (halo + align)
    assert plan.patching.align == (align,) * 3


def test_crops_lie_on_the_edges_of_write_units(tmp_path):
    for chunks in (48, 64, 100):
        plan = chosen((600, 600, 600), probe_of(costs=steady()), chunks=chunks, threads=8)
        for step, count in zip(plan.step, plan.patching.grids[0].counts, strict=True):
            assert step % chunks == 0 or chunks % step == 0 or count == 1
        assert plan.compute_ratio == pytest.approx(plan.tile_ratio, rel=0.01)
    array = zarr.create_array(
        store=str(tmp_path / "a.zarr"), shape=(300, 300, 300), chunks=(60,) * 3, dtype="f4"
    )
    plan = daskpatch.plan(
        np.broadcast_to(np.float32(0), (300, 300, 300)), np.positive, array, axes="ZYX",
        patch_size="auto", probe=probe_of(costs=steady()), threads=8,
    )  # fmt: skip
    assert all(step % 60 == 0 or 60 % step == 0 for step in plan.step)


def test_memory_bounds_the_tile():
    found = probe_of(costs=steady(bytes_per_voxel=2000))
    roomy, tight = (
        chosen((600, 600, 600), found, memory_limit=limit) for limit in ("64 GB", "2 GB")
    )
    assert np.prod(tight.tile_shape) < np.prod(roomy.tile_shape)
    assert 2 * np.prod(tight.tile_shape) * 2000 < 1e9
    assert tight.choice.chosen.model_memory < 1e9
    with pytest.raises(MemoryError, match="the least that was found"):
        chosen((600, 600, 600), found, memory_limit="1 MB")


def test_what_small_tiles_take_tells_little_of_large_ones():
    """As of a U-Net, of which torch computes tiles of 24³ one by one in another way."""
    small = [
        CallCost((24,) * 3, 1, 0.14, 5500 * 24**3),
        CallCost((24,) * 3, 2, 0.05, 260 * 2 * 24**3),
    ]
    shape = (96, 192, 192)
    plan = chosen(shape, probe_of(halo=24, align=4, step=4, smallest=4, costs=tuple(small)))
    assert plan.compute_ratio < 2
    large = CallCost((64,) * 3, 1, 0.8, 650 * 64**3)
    assert CostModel(probe_of(costs=(*small, large))).nbytes((96,) * 3, 1) < 800 * 96**3


def test_a_plan_says_of_its_tiles_what_they_take_once():
    plan = chosen((400, 400, 400), probe_of(costs=steady()))
    (line,) = [line for line in str(plan).splitlines() if "chosen: " in line]
    assert line.endswith("voxels computed per voxel kept")
    assert "rejected: tiles of" in str(plan)


def test_tiles_that_are_fast_are_preferred():
    """Where large tiles are ten times slower a voxel, small ones win, halo and all."""
    slow = tuple(
        CallCost((n,) * 3, 1, n**3 / speed, n**3) for n, speed in ((64, 1e6), (96, 1e6), (128, 1e5))
    )
    assert max(chosen((512, 512, 512), probe_of(costs=slow)).tile_shape) <= 128
    assert max(chosen((512, 512, 512), probe_of(costs=steady())).tile_shape) > 128


def test_the_batch_is_as_large_as_helps():
    costs = tuple(
        CallCost((n,) * 3, b, b * n**3 / (1e6 * min(b, 4)), b * n**3)
        for n in (32, 64, 128)
        for b in (1, 2, 4, 8)
    )
    plan = chosen((256, 256, 256), probe_of(costs=costs), batch_size="auto")
    assert plan.to_dict()["batch_size"] == 4
    steady_ = chosen((256, 256, 256), probe_of(costs=steady(batches=(1, 2, 4))), batch_size="auto")
    assert steady_.to_dict()["batch_size"] == 1
    fixed = chosen(
        (256, 256, 256), probe_of(costs=costs), batch_size="auto", patch_size=64, overlaps=16
    )
    assert (fixed.tile_shape, fixed.to_dict()["batch_size"]) == ((64,) * 3, 4)


def test_what_is_given_stays():
    plan = chosen((300, 300, 300), probe_of(costs=steady()), patch_size=80)
    assert plan.patching.patch_size == (80,) * 3
    assert plan.patching.overlaps == (0,) * 3
    plan = chosen((300, 300, 300), probe_of(costs=steady()), patch_size=80, overlaps="auto")
    assert plan.patching.overlaps == (16,) * 3
    plan = chosen((300, 300, 300), probe_of(costs=steady()), overlaps=(0, 32, 32))
    assert plan.patching.overlaps == (0, 32, 32)


def test_a_model_of_one_size_has_its_own():
    plan = chosen((300, 300, 300), probe_of(step=0, smallest=64, costs=steady()))
    assert plan.patching.patch_size == (64,) * 3
    assert plan.patching.overlaps == (16,) * 3
    assert plan.patching.min_size == (64,) * 3


def test_flips_and_turns_need_the_larger_side():
    sides = ((0, 2), (1, 9), (3, 5))
    found = probe_of(costs=steady(), halo_sides=sides)
    options = {"patch_size": 64, "overlaps": "auto"}
    plain = chosen((300, 300, 300), found, **options)
    assert plain.patching.overlaps == (4, 18, 10)
    turned = chosen((300, 300, 300), found, **options, augment="rot90")
    assert turned.patching.overlaps == (4, 18, 18)


def test_blended_tiles_overlap_by_a_quarter():
    plan = chosen((300, 300, 300), probe_of(halo=1, costs=steady()), stitch="gaussian", threads=8)
    for patch, overlap, count in zip(
        plan.patching.patch_size, plan.patching.overlaps, plan.patching.grids[0].counts, strict=True
    ):
        assert overlap >= patch // 4 - 4 or count == 1


def test_the_plan_says_what_and_why_and_what_else():
    plan = chosen((600, 600, 600), probe_of(costs=steady()), threads=8)
    choice = plan.choice
    assert choice.chosen.patch_size == plan.patching.patch_size
    assert choice.rejected
    assert all(option.reason for option in choice.rejected)
    assert all(
        option.seconds >= choice.chosen.seconds
        for option in choice.rejected
        if "memory" not in option.reason
    )
    for words in ("chosen: tiles of", "halo (8, 8, 8)", "rejected: tiles of"):
        assert words in repr(plan)
    assert plan.to_dict()["choice"]["chosen"]["batch_size"] == 1
    assert chosen((60, 60, 60), probe_of(), patch_size=32, overlaps=8).choice is None


def test_choosing_costs_the_same_at_any_size():
    found = probe_of(costs=steady())
    huge = chosen((10**6, 10**6, 10**6), found)
    assert huge.compute_ratio < 2
    assert huge.n_tiles > 10**9


def test_without_a_probe_the_model_is_probed(tmp_path, rng):
    values = rng.normal(size=(150, 140)).astype("f4")
    report = daskpatch.predict(
        values, gaussian, tmp_path / "o.zarr", axes="YX", patch_size="auto", batch_size="auto",
        normalize="zscore", threads=8, progress=False,
    )  # fmt: skip
    assert report.failed == 0
    standard = ((values - values.mean()) / values.std())[None, None]
    out = zarr.open_array(store=str(tmp_path / "o.zarr"))[...]
    assert np.abs(out - gaussian(standard)[0, 0]).max() < 1e-5


def test_on_the_command_line(tmp_path, rng, capsys):
    zarr.create_array(
        tmp_path / "in.zarr",
        data=rng.normal(size=(90, 80)).astype("f4"),
        dimension_names=["y", "x"],
    )
    probe = tmp_path / "probe.json"
    daskpatch.probe(gaussian, ndim=2, seconds=0.5).save(probe)
    flags = (
        "--model example_models:gaussian --patch-size auto --batch-size auto --stitch linear "
        "--augment flips,rot90 --normalize percentile:1,99 --denormalize "
        "--post example_models:double"
    )
    assert exit_code("plan", tmp_path / "in.zarr", "--probe", probe, *flags.split()) == 0
    out = capsys.readouterr().out
    for words in ("chosen: tiles of", "linear", "8 positions", "percentile 1 to 99", "double"):
        assert words in out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"patch_size": "large"}, "'auto'"),
        ({"overlaps": "some", "patch_size": 16}, "'auto'"),
        ({"batch_size": "all", "patch_size": 16}, "batch_size"),
        ({"probe": probe_of(3), "axes": "TYX"}, "no Z"),
        ({"probe": probe_of(channels=3)}, "3 channel"),
    ],
)
def test_what_cannot_be_chosen(options, words):
    with pytest.raises(ValueError, match=words):
        daskpatch.plan(
            np.zeros((40, 40, 40)), gaussian, **{"axes": "ZYX", "patch_size": "auto", **options}
        )


def test_a_tile_that_spans_a_thin_image_needs_no_overlap_there(tmp_path, rng):
    def smooth(batch):
        return ndimage.uniform_filter(batch, (1, 1, 5, 5, 5))

    image = rng.normal(size=(4, 48, 48)).astype("f4")
    options = {"axes": "ZYX", "batch_size": 1, "chunks": (4, 8, 8), "cache_probe": False}
    plan = daskpatch.plan(
        image, smooth, tmp_path / "out.zarr", patch_size=(4, 16, 16), overlaps="auto", **options
    )
    assert plan.choice.chosen.overlaps == (0, 4, 4)
    plan.run(progress=False)
    whole = smooth(image[None, None])[0, 0]
    np.testing.assert_allclose(read(tmp_path / "out.zarr"), whole, atol=1e-5)


def test_a_model_of_which_no_tiling_is_exact_is_warned_of(rng):
    """Whoever calls predict sees no plan, which says it, too."""
    image = rng.normal(size=(200, 180)).astype("f4")
    options = {"axes": "YX", "overlaps": "auto", "patch_size": 64}
    with pytest.warns(UserWarning, match="standardised: Global: no halo is exact"):
        daskpatch.plan(image, standardised, **options)
    with warnings.catch_warnings(action="error"):
        assert daskpatch.plan(image[:60, :60], standardised, **options).n_tiles == 1
        assert daskpatch.plan(image, gaussian, **options).n_tiles > 1
