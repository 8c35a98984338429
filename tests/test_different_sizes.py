"""Models that give arrays of different sizes, as deep supervision does: each in its own scale."""

import math
from fractions import Fraction

import numpy as np
import pytest
import zarr
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from ome_images import image
from volumes import read

import daskpatch
from daskpatch.geometry import Dimensions, RegularGrid, counterparts, whole_voxels
from daskpatch.output import BlockBudget, choose_layout

TILES = {"axes": "YX", "patch_size": 16, "overlaps": 8, "chunks": 8, "progress": False}


def resized(values, factors):
    """Voxels repeated (2), or sums of cells (1/2), along the last axes."""
    for axis, factor in enumerate(factors, start=values.ndim - len(factors)):
        if factor >= 1:
            values = values.repeat(int(factor), axis)
            continue
        cell, shape = factor.denominator, values.shape
        assert shape[axis] % cell == 0, "cells are whole"
        values = values.reshape(*shape[:axis], -1, cell, *shape[axis + 1 :]).sum(axis + 1)
    return values


def windowed(values, radii):
    """Sums over windows, where they lie in the values."""
    for axis, radius in enumerate(radii, start=values.ndim - len(radii)):
        parts = [values.take(range(i, values.shape[axis] - 2 * radius + i), axis)
                 for i in range(2 * radius + 1)]  # fmt: skip
        values = sum(parts)
    return values


class Heads:
    """A model with an array for each head: its factors and the radii of its window."""

    def __init__(self, **heads):
        self.heads = heads

    def __call__(self, batch):
        return {
            name: resized(windowed(batch.astype("f8"), radii), factors) + 1
            for name, (factors, radii) in self.heads.items()
        }

    def of(self, name, values):
        """What a head gives for a whole image, which is mirrored at its ends."""
        factors, radii = self.heads[name]
        ends = [
            (r, r + -n % f.denominator)
            for n, f, r in zip(values.shape, factors, radii, strict=True)
        ]
        padded = np.pad(values.astype("f8"), ends, mode="reflect")
        return resized(windowed(padded, radii), factors) + 1


def deep(ndim=2, radius=0):
    """Three scales, as the decoder of a U-Net gives them."""
    return Heads(
        **{
            name: ((Fraction(1, cell),) * ndim, (radius,) * ndim)
            for name, cell in [("quarter", 4), ("full", 1), ("half", 2)]
        }
    )


@pytest.fixture
def values(rng):
    return rng.integers(0, 9, (50, 61)).astype("f4")


def check_arrays(out, model, values, *, level=""):
    for name in model.heads:
        np.testing.assert_array_equal(read(f"{out}/{name}{level}"), model.of(name, values))


FACTORS = [Fraction(1), Fraction(1), Fraction(1, 2), Fraction(1, 4), Fraction(1, 3), Fraction(2)]


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_each_array_is_what_its_head_makes_of_the_whole_image(data):
    draw = data.draw
    ndim = draw(st.sampled_from([2, 2, 3]))
    shape = draw(st.tuples(*[st.integers(40, 55)] * ndim))
    radius = draw(st.sampled_from([0, 0, 1, 2]))
    factors = st.tuples(*[st.sampled_from(FACTORS)] * ndim)
    model = Heads(
        **{f"h{i}": (each, (radius,) * ndim) for i, each in
           enumerate(draw(st.lists(factors, min_size=2, max_size=3)))}
    )  # fmt: skip
    values = np.random.default_rng(sum(shape)).integers(0, 9, shape).astype("f4")
    words = {
        "patch_size": 24 + 2 * radius,
        "stitch": draw(st.sampled_from(["crop", "crop", "gaussian"])),
        "chunks": draw(st.sampled_from([None, 8, 12, 24])),
        "pyramid": draw(st.sampled_from([None, 1, 2])),
    }
    if draw(st.booleans()):
        starts = draw(st.tuples(*(st.integers(0, n // 2) for n in shape)))
        words["box"] = tuple(
            slice(start, draw(st.integers(start + 16, n)))  # four voxels at a quarter: two levels
            for start, n in zip(starts, shape, strict=True)
        )
    store = zarr.storage.MemoryStore()
    plan = daskpatch.plan(values, model, store, axes="ZYX"[-ndim:], ome=True, **words)
    plan.run(progress=False)
    assert daskpatch.verify(store, progress=False).ok
    group = zarr.open_group(store, mode="r")
    for view in plan.views:
        expected = model.of(view.name, values)
        for axis, (part, factor) in enumerate(
            zip(words.get("box", ()), model.heads[view.name][0], strict=False)
        ):
            ends = [-(-n * factor.numerator // factor.denominator) for n in (part.start, part.stop)]
            expected = expected.take(range(*ends), axis)
        np.testing.assert_allclose(group[f"{view.name}/0"][...], expected, rtol=1e-12)
        np.testing.assert_allclose(view[1::2], expected[1::2], rtol=1e-12)


@given(st.data())
def test_no_unit_of_any_array_is_written_by_two_blocks(data):
    draw = data.draw
    ratios = [Fraction(1, 2), Fraction(1, 4), Fraction(1, 3), Fraction(2, 3), Fraction(1)]
    size, start = draw(st.integers(1, 200)), draw(st.integers(0, 12))
    scales = [Fraction(draw(st.sampled_from([1, 2])))]
    scales += [scales[0] * ratio for ratio in draw(st.lists(st.sampled_from(ratios), min_size=1))]
    outputs = []
    for scale in scales:
        first, end = (-(-n * scale.numerator // scale.denominator) for n in (start, start + size))
        assume(end > first)
        outputs.append(Dimensions("YX", (end - first, 5), 2, scale=(scale, Fraction(1))))
    step = draw(st.integers(1, 40)) * math.lcm(*(scale.denominator for scale in scales))
    words = {
        "chunks": draw(st.sampled_from([None, (1, 5), (7, 5), (16, 5), (64, 5)])),
        "shards": None,
        "block_shape": None,
        "budget": BlockBudget(1e-6, 4.0, 2.0**20, 2, has_cache=True),
        "whole": whole_voxels(outputs),
    }
    if words["chunks"] and draw(st.booleans()):
        words["shards"] = (words["chunks"][0] * 2, 5)
    layout = choose_layout(outputs[0], (step, 5), **words)
    blocks = RegularGrid(outputs[0].shape, layout.block_shape, (draw(st.booleans()), False))
    for number, each in enumerate(layout.of_each(outputs)):
        unit, end = each.write_unit[0], 0
        assert unit % each.chunks[0] == 0
        for index in range(blocks.n_cells):
            box = counterparts(outputs, blocks.cell(index))[number]
            assert box.start[0] == end
            end = box.stop[0]
            assert box.start[0] % unit == 0 or box.n_voxels == 0
        assert end == outputs[number].shape[0]


def test_a_plan_says_how_large_each_array_is(tmp_path, values):
    plan = daskpatch.plan(values, deep(), tmp_path / "o.zarr", axes="YX", patch_size=16)
    assert plan.output_names == ("full", "half", "quarter")  # the one of most voxels first
    assert [view.shape for view in plan.views] == [(50, 61), (25, 31), (13, 16)]
    assert "half: 1/2, 1/2 voxels out per voxel in" in repr(plan)
    assert [each["shape"] for each in plan.to_dict()["outputs"]] == [[50, 61], [25, 31], [13, 16]]
    plan.run(progress=False)
    told = zarr.open_group(tmp_path / "o.zarr", mode="r").attrs["daskpatch"]["signature"]
    assert [each["scale"] for each in told["outputs"]] == [["1", "1"], ["1/2"] * 2, ["1/4"] * 2]


@pytest.mark.parametrize("ome", [True, False])
def test_no_tile_is_computed_for_the_coarse_arrays_alone(values, ome):
    words = {"patch_size": 16, "overlaps": 8, "align": 4, "chunks": 8, "block_shape": 16}
    store, model = zarr.storage.MemoryStore(), deep()

    def full(batch):
        return model(batch)["full"]

    reports = [
        daskpatch.plan(values, each, store, axes="YX", ome=ome, overwrite=True, **words).run(
            progress=False
        )
        for each in (full, model)
    ]
    assert reports[0].tiles == reports[1].tiles


def test_a_lazy_array_has_no_chunk_without_voxels(values):
    words = {"axes": "YX", "patch_size": 16, "overlaps": 8, "align": 4, "block_shape": 16}
    words["box"] = (slice(1, 18), slice(5, 22))
    plan = daskpatch.plan(values, deep(), chunks=8, **words)
    full, half, quarter = plan.arrays
    assert (full.chunks, half.chunks, quarter.chunks) == (((16, 1),) * 2, ((8,),) * 2, ((4,),) * 2)
    expected = deep().of("half", values)[1:9, 3:11]
    np.testing.assert_array_equal(half.compute(), expected)


def test_each_array_is_an_image_at_its_place_and_scale(tmp_path, rng):
    values = rng.integers(0, 9, (24, 40, 36)).astype("f4")
    out, model = tmp_path / "out.zarr", deep(3)
    source = image(tmp_path / "in.zarr", values)
    words = {"patch_size": 16, "factors": [2, 2], "box": (..., slice(4, 30))}
    plan = daskpatch.plan(source, model, out, **words)
    plan.run(progress=False)
    fine = daskpatch.open_image(source).coordinates
    for name, (factors, _) in model.heads.items():
        cell = factors[0].denominator
        made = daskpatch.open_image(out / name)
        assert made.coordinates == fine.from_voxel({"X": 4}).of_cells(dict.fromkeys("ZYX", cell))
        expected = model.of(name, values)[..., 4 // cell : -(-30 // cell)]
        np.testing.assert_array_equal(read(out / name / "0"), expected)
        for level in (1, 2):
            coarser = daskpatch.open_image(out / name, level=level)
            assert coarser.coordinates == fine.from_voxel({"X": 4}).of_cells(
                dict.fromkeys("ZYX", cell * 2**level)
            )
        shape = expected.shape
        assert read(out / name / "1").shape == tuple(-(-n // 2) for n in shape)
        whole = tuple(slice(n // 2 * 2) for n in shape)
        cells = resized(expected[whole], (Fraction(1, 2),) * 3) / 8
        inside = tuple(slice(n // 2) for n in shape)
        np.testing.assert_allclose(read(out / name / "1")[inside], cells)
    assert repr(plan).count("chunks (") == 3  # those of each
    labelled = plan.to_xarray(1)
    assert labelled.name == "half"
    assert labelled["x"].values[0] == pytest.approx(3 + 0.65 * 4 + 0.65 / 2)


def test_parts_worker_processes_and_resumes(tmp_path, values, processes):
    out, model = tmp_path / "out.zarr", deep()
    daskpatch.predict(values, model, out, **TILES, part=(2, 2))
    status = daskpatch.status(out)
    assert 0 < status.done < status.total
    daskpatch.predict(values, model, out, **TILES, resume=True, region=(slice(0, 16), slice(0, 16)))
    daskpatch.predict(values, model, out, **TILES, resume=True)
    check_arrays(out, model, values)
    daskpatch.predict(values, model, out, **TILES, client=processes, overwrite=True)
    check_arrays(out, model, values)


def test_a_series_of_images(tmp_path, rng):
    images = [rng.integers(0, 9, shape).astype("f4") for shape in [(50, 61), (9, 70), (33, 17)]]
    model = deep()
    words = {**TILES, "min_size": 16}
    daskpatch.predict(images, model, tmp_path / "out.zarr", **words)
    for number, each in enumerate(images):
        check_arrays(tmp_path / f"out.zarr/{number}", model, each)


def test_what_is_damaged_in_a_coarse_array_is_found_and_mended(tmp_path, rng):
    values = rng.integers(0, 9, (64, 64)).astype("f4")
    out, model = tmp_path / "out.zarr", deep()
    words = {**TILES, "ome": True, "pyramid": 1, "block_shape": 32}
    daskpatch.predict(values, model, out, **words)
    damaged = zarr.open_array(out / "quarter/0", mode="r+")
    damaged[3, 4] += 1
    found = daskpatch.verify(out, progress=False)
    assert (found.ok, list(found.reasons.values())) == (False, ["changed"])
    daskpatch.verify(out, repair=True, model=model, source=values, progress=False)
    assert daskpatch.verify(out, progress=False).ok
    check_arrays(out, model, values, level="/0")


@pytest.mark.parametrize("stitch", ["crop", "gaussian"])
def test_masks_and_what_is_empty(tmp_path, stitch):
    values = np.zeros((64, 64), "f4")
    values[40:60, 36:50] = np.arange(280).reshape(20, 14)
    mask = np.zeros((16, 16), "u1")
    mask[9:16, 8:13] = 1
    model, out = deep(), tmp_path / "out.zarr"
    words = {**TILES, "block_shape": 16, "stitch": stitch, "mask": mask, "skip_empty": 0}
    report = daskpatch.predict(values, model, out, **words, fill=-1)
    assert report.empty
    for name, (factors, _) in model.heads.items():
        cell = factors[0].denominator
        inside = mask.repeat(4 // cell, 0).repeat(4 // cell, 1) > 0
        expected = np.where(inside, model.of(name, values), -1)
        np.testing.assert_allclose(read(out / name), expected)


def test_seams_are_looked_for_in_all_arrays(values):
    model = deep()
    words = {"axes": "YX", "patch_size": 16, "overlaps": 8}
    assert daskpatch.check_seams(daskpatch.plan(values, model, **words), progress=False).ok

    def uneven(batch):
        found = model(batch)
        found["quarter"][..., -1] += 1e3  # at the end of each tile
        return found

    plan = daskpatch.plan(values, uneven, axes="YX", patch_size=16, overlaps=0)
    assert not daskpatch.check_seams(plan, progress=False).ok


def test_tiles_are_chosen_for_all_arrays(rng):
    values = rng.integers(0, 9, (200, 180)).astype("f4")

    def model(batch):
        mixed = windowed(np.pad(batch, [(0, 0), (0, 0), (3, 3), (3, 3)]), (3, 3))
        return {"full": batch * 2.0, "quarter": resized(mixed, (Fraction(1, 4),) * 2)}

    plan = daskpatch.plan(values, model, axes="YX", patch_size="auto")
    assert all(n % 4 == 0 for n in plan.step)
    assert daskpatch.check_seams(plan, progress=False).ok


def test_the_model_runs_once_for_each_size_that_is_tried(values):
    shapes = []

    def counted(batch):
        shapes.append(batch.shape)
        return deep()(batch)

    daskpatch.plan(values, counted, axes="YX", patch_size=16, batch_size=1)
    tried = [shape for shape in shapes if shape[2:] != (16, 16)]
    refused = [shape for shape in tried if shape[-1] % 4 or shape[-2] % 4]
    assert len(set(tried) - set(refused)) == len(tried) - len(refused)


def test_a_margin_that_begins_on_every_grid(tmp_path, rng):
    values = rng.integers(0, 9, (70, 64)).astype("f4")
    half = (Fraction(1, 2),) * 2
    model = Heads(full=((Fraction(1),) * 2, (1, 1)), half=(half, (2, 2)))
    plan = daskpatch.plan(values, model, tmp_path / "o.zarr", axes="YX", patch_size=20, overlaps=4)
    plan.run(progress=False)
    check_arrays(tmp_path / "o.zarr", model, values)


def head_and(name):
    """A head of full size, and one of another."""
    return lambda batch: {"full": batch, name: batch[..., ::2, ::2]}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"post": lambda arrays: arrays["full"]}, r"post is given arrays of one size"),
        ({"scale": 1}, r"full of \(16, 16\), half of \(8, 8\)\. Leave them out"),
        ({"margin": 0}, "scale and margin say one size"),
        ({"block_shape": 17}, r"whole write units \(8, 8\) \(shards, else chunks, of all arrays"),
        ({"chunks": 9, "block_shape": 9}, r"The next that fits is \(18, 18\)"),
        ({"label_image": "cells", "dtype": "u1"}, "label"),
    ],
    ids=["post", "scale", "margin", "block", "chunks", "labels"],
)
def test_what_does_not_go_with_different_sizes_is_refused(tmp_path, values, words, told):
    with pytest.raises(ValueError, match=told):
        daskpatch.predict(values, head_and("half"), tmp_path / "o.zarr", **{**TILES, **words})
    assert not (tmp_path / "o.zarr").exists()


def test_a_result_that_does_not_follow_from_the_tile_is_named(values):
    def model(batch):
        return {"full": batch, "pooled": batch.mean((-1, -2), keepdims=True)}

    with pytest.raises(daskpatch.ModelError, match="follows from the tile"):
        daskpatch.plan(values, model, axes="YX", patch_size=16)


def test_a_run_is_not_resumed_with_arrays_of_other_sizes(tmp_path, values):
    out = tmp_path / "out.zarr"
    words = {**TILES, "model_id": "the same"}
    daskpatch.predict(values, head_and("other"), out, **words, part=(1, 2))
    with pytest.raises(ValueError, match="output"):
        daskpatch.predict(
            values,
            lambda batch: {"full": batch, "other": batch[..., ::4, ::4]},
            out,
            **words,
            resume=True,
        )
