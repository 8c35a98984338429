"""A box of the source, predicted as an output of its own: the voxels of the whole prediction."""

from fractions import Fraction

import numpy as np
import pytest
import zarr
from command_line import exit_code
from example_models import double
from hypothesis import given, settings
from hypothesis import strategies as st
from ome_images import image
from volumes import read

import daskpatch

RNG = np.random.default_rng(5)

IMAGES = {
    "YX": RNG.random((45, 52)).astype("f4"),
    "XTY": RNG.random((40, 4, 37)).astype("f4"),
    "ZYX": RNG.random((9, 33, 30)).astype("f4"),
    "TCZYX": RNG.random((2, 2, 5, 30, 26)).astype("f4"),
}


def neighbours(batch):
    """Each voxel's result depends on two neighbours and on its place on a grid of 2."""
    mixed = 2 * batch + np.roll(batch, 1, -1) + np.roll(batch, 2, -2)
    mixed[..., ::2] += 1
    return mixed


def finer(batch):
    return neighbours(batch).repeat(2, -1).repeat(2, -2)


def coarser(batch):
    return np.ascontiguousarray(neighbours(batch)[..., ::4, ::4])


def without_margin(batch):
    return neighbours(batch)[..., 2:-2, 2:-2]


MODELS = {
    neighbours: {},
    finer: {"align": 2},
    coarser: {"align": 4, "overlaps": 8},
    without_margin: {"overlaps": 4, "scale": 1, "margin": (2, 2)},
}


def planned(axes, model, **options):
    tiles = {"patch_size": (16, 16), "overlaps": 4, "align": 2, **MODELS[model], **options}
    return daskpatch.plan(IMAGES[axes], model, axes=axes, **tiles)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(IMAGES)),
    st.sampled_from(list(MODELS)),
    st.sampled_from(["crop", "gaussian"]),
    st.data(),
)
def test_a_box_is_that_of_the_whole(axes, model, stitch, data):
    whole = planned(axes, model, stitch=stitch)
    factor = dict(zip("YX", whole.signature.scale[-2:], strict=True))
    box, place = [], []
    for axis, size in zip(axes, IMAGES[axes].shape, strict=True):
        start = data.draw(st.integers(0, size - 1), f"start along {axis}")
        stop = data.draw(st.integers(start + 1, size), f"stop along {axis}")
        if axis == "C":
            start, stop = 0, size
        k = factor.get(axis, Fraction(1))
        ends = [-(-n * k.numerator // k.denominator) for n in (start, stop)]
        box.append(slice(start, stop))
        place.append(slice(*ends))
    expected = whole.view[tuple(place)]
    if not expected.size:
        with pytest.raises(ValueError, match="box is .* which holds no voxel of the result"):
            planned(axes, model, stitch=stitch, box=tuple(box))
        return
    part = planned(axes, model, stitch=stitch, box=tuple(box))
    store = zarr.storage.MemoryStore()
    part.to(store).run(progress=False)
    np.testing.assert_array_equal(zarr.open_array(store)[...], expected)
    np.testing.assert_array_equal(part.view[::2], expected[::2])
    assert part.n_tiles <= whole.n_tiles


@pytest.mark.parametrize(
    ("box", "place"),
    [
        ((slice(-4, None),), np.s_[-4:]),
        ((..., slice(None, -5)), np.s_[..., :-5]),
        (3, np.s_[3:4]),
        ((-1, slice(None), slice(2, 900)), np.s_[-1:, :, 2:]),
    ],
)
def test_a_box_is_given_as_arrays_are_sliced(box, place):
    whole = planned("ZYX", neighbours).view[...]
    plan = planned("ZYX", neighbours, box=box)
    np.testing.assert_array_equal(plan.view[...], whole[place])
    np.testing.assert_array_equal(plan.array.compute(), whole[place])


@pytest.mark.parametrize(
    ("axes", "box", "words"),
    [
        ("ZYX", np.s_[4:4], "box .* selects nothing of the source's shape"),
        ("ZYX", np.s_[::2], "box holds slice.None, None, 2.; needed are slices without steps"),
        ("ZYX", np.s_[0, 0, 0, 0], "box has 4 parts, the source has 3 axes"),
        ("ZYX", 9, "box holds 9, out of range"),
        ("ZYX", "0:4", "needed are slices"),
        ("TCZYX", np.s_[:, 1:], "which takes channels 1:2 of 2.*channels="),
    ],
)
def test_a_box_that_does_not_fit_is_told_of(axes, box, words):
    with pytest.raises(ValueError, match=words):
        planned(axes, neighbours, box=box)


def test_a_series_has_no_box():
    with pytest.raises(ValueError, match="the source is a series of 2"):
        daskpatch.plan([IMAGES["YX"]] * 2, double, axes="YX", patch_size=16, box=(slice(0, 9),))


def test_a_box_of_an_image_lies_where_it_lies_in_the_image(tmp_path):
    values = RNG.random((40, 600, 30)).astype("f4")
    source = image(tmp_path / "in.zarr", values, axes="zyx")
    tiles = {"patch_size": (8, 16, 16), "overlaps": 4}
    box = np.s_[10:38, 20:590, 5:]
    daskpatch.predict(
        source, neighbours, tmp_path / "out.zarr", box=box, pyramid=2, progress=False, **tiles
    )
    whole = daskpatch.plan(source, neighbours, **tiles).view[...]
    np.testing.assert_array_equal(read(tmp_path / "out.zarr" / "0"), whole[box])
    told = daskpatch.open_image(tmp_path / "out.zarr").coordinates
    around = daskpatch.open_image(source).coordinates
    assert told == around.from_voxel({"Z": 10, "Y": 20, "X": 5})
    # Levels count from the corner of the box.
    level = read(tmp_path / "out.zarr" / "1")
    (fz, fy, fx) = (-(-n // m) for n, m in zip(whole[box].shape, level.shape, strict=True))
    cell = whole[box][:fz, :fy, :fx].astype("f8")
    assert level[0, 0, 0] == np.float32(cell.mean())
    assert daskpatch.verify(tmp_path / "out.zarr", progress=False).ok


def test_a_run_over_a_box_is_resumed_verified_and_repaired(tmp_path):
    out = tmp_path / "out.zarr"
    tiles = {"axes": "ZYX", "patch_size": (4, 16, 16), "overlaps": (2, 4, 4), "chunks": (2, 12, 12)}
    box = np.s_[3:9, 5:31, 2:]
    source = IMAGES["ZYX"]

    def plan(**options):
        return daskpatch.plan(
            source, neighbours, out, block_shape=(2, 12, 12), **{**tiles, "box": box, **options}
        )

    plan().run(progress=False, region=np.s_[:2])
    assert 0 < daskpatch.status(out).remaining < plan().n_blocks
    with pytest.raises(ValueError, match="box"):
        plan(box=np.s_[3:9, 4:30, 2:]).run(progress=False, resume=True)
    plan(box=np.s_[-6:, 5:31, 2:30]).run(progress=False, resume=True)  # the same one
    whole = daskpatch.plan(source, neighbours, **tiles).view[...]
    np.testing.assert_array_equal(read(out), whole[box])
    zarr.open_array(out, mode="r+")[2, 13, 13] += 1
    assert not daskpatch.verify(out, progress=False).ok
    daskpatch.verify(out, repair=True, source=source, model=neighbours, progress=False)
    np.testing.assert_array_equal(read(out), whole[box])


def test_lazy_arrays_of_other_boxes_have_other_names():
    names = {planned("ZYX", neighbours, box=box).array.name for box in (0, 1, np.s_[0:1], None)}
    assert len(names) == 3


def test_the_plan_says_and_draws_the_box(tmp_path):
    plan = planned("ZYX", neighbours, box=np.s_[3:, 5:31])
    assert "of which 3:9, 5:31, 0:30" in repr(plan)
    assert plan.bytes_in == 6 * 26 * 30 * 4
    (axes,) = plan.plot().axes
    assert axes.get_ylim() == (31, 5)
    zarr.save_array(tmp_path / "in.zarr", IMAGES["ZYX"])
    words = ["--axes", "ZYX", "--patch-size", "16", "--model", f"{__file__}:neighbours"]
    arguments = ["predict", tmp_path / "in.zarr", tmp_path / "o.zarr", "--box", "3:,5:31,:", *words]
    assert exit_code(*arguments) == 0
    expected = daskpatch.plan(IMAGES["ZYX"], neighbours, axes="ZYX", patch_size=16).view[3:, 5:31]
    np.testing.assert_array_equal(read(tmp_path / "o.zarr"), expected)
