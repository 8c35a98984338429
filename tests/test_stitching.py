"""Blended tiles: the weights, and the blend against one done in memory."""

import functools
import itertools

import numpy as np
import pytest
import zarr
from example_models import gaussian
from hypothesis import given
from hypothesis import strategies as st

import daskpatch
from daskpatch import TiledPatching
from daskpatch.block import reaching
from daskpatch.geometry import AlignedAxis, TiledAxis
from daskpatch.values import weights


def per_tile(batch):
    """Minus its own mean, times what it is like: no two tiles agree where they overlap."""
    axes = tuple(range(2, batch.ndim))
    return (batch - batch.mean(axes, keepdims=True)) * (1 + batch.std(axes, keepdims=True))


def in_memory(values, tiling, model, table_of):
    """The blend done with whole arrays: a sum, and a sum of weights."""
    total = np.zeros(values.shape)
    weight = np.zeros(values.shape)
    for tile in tiling:
        box = tuple(
            slice(a, a + n) for a, n in zip(tile["coords"], tile["patch_size"], strict=True)
        )
        padded = np.pad(
            values,
            [(0, max(s.stop - n, 0)) for s, n in zip(box, values.shape, strict=True)],
            mode="reflect",
        )
        result = model(padded[box][None, None])[0, 0]
        table = table_of(tile["patch_size"])
        inside = tuple(slice(0, n - a.start) for a, n in zip(box, values.shape, strict=True))
        total[box] += (result * table)[inside]
        weight[box] += table[inside]
    return total / weight


def monai_gaussian(size):
    """As MONAI's compute_importance_map has it."""
    table = np.ones(())
    for n in size:
        x = np.arange(-(n - 1) / 2, (n - 1) / 2 + 1)
        table = table[..., None] * np.exp(x**2 / (-2 * (0.125 * n) ** 2))
    return np.clip(table, max(table.min(), 1e-3), None)


@pytest.mark.parametrize("size", [(64, 64), (17, 32), (20, 24, 28)])
def test_gaussian_weights_are_monais(size):
    assert np.allclose(weights("gaussian", size, (0,) * len(size)), monai_gaussian(size), rtol=1e-6)


@given(st.integers(1, 40), st.data())
def test_linear_weights_of_neighbours_sum_to_one(size, data):
    overlap = data.draw(st.integers(0, size // 2))
    ramp = weights("linear", (size,), (overlap,))
    step = size - overlap
    total = ramp[:step].copy()
    total[:overlap] += ramp[step:]
    assert total == pytest.approx(np.ones(step))


def ramps(overlap):
    def table(size):
        lines = [
            np.minimum(1, (np.minimum(np.arange(n), np.arange(n)[::-1]) + 1) / (overlap + 1))
            for n in size
        ]
        return functools.reduce(np.multiply.outer, lines)

    return table


@pytest.mark.parametrize("shape", [(101, 67), (37, 61, 53)], ids=str)
@pytest.mark.parametrize("stitch", ["gaussian", "linear"])
@pytest.mark.parametrize("block", [16, 32])
def test_a_blend_is_that_of_memory(tmp_path, rng, shape, stitch, block):
    values = rng.normal(3, 1, shape).astype("f4")
    plan = daskpatch.plan(
        values,
        per_tile,
        tmp_path / "out.zarr",
        axes="ZYX"[-len(shape) :],
        patch_size=24,
        overlaps=8,
        stitch=stitch,
        chunks=16,
        block_shape=block,
        batch_size=3,
    )
    table_of = monai_gaussian if stitch == "gaussian" else ramps(8)
    expected = in_memory(values, plan.patching, per_tile, table_of)
    plan.run(progress=False, threads=2)
    out = zarr.open_array(store=str(tmp_path / "out.zarr"))[...]
    assert out.dtype == "float32"
    assert np.abs(out - expected).max() <= 1e-6 * np.abs(expected).max()
    assert np.array_equal(out, plan.view[...])


def test_blocks_and_batches_do_not_show(rng):
    values = rng.normal(size=(90, 80)).astype("f4")

    def view(**options):
        return daskpatch.plan(
            values, per_tile, axes="YX", patch_size=32, overlaps=16, stitch="gaussian", **options
        ).view[...]

    whole = view(block_shape=(90, 80), chunks=(90, 80))
    for block, batch in itertools.product((8, 24), (1, 4)):
        assert np.array_equal(view(chunks=8, block_shape=block, batch_size=batch), whole)


def test_a_model_that_looks_no_further_than_the_overlap_is_not_changed(rng):
    """Voxels near a tile's edge are wrong, and weigh little; inside the halo they are right."""
    values = rng.normal(size=(80, 70)).astype("f4")
    crop, blend = (
        daskpatch.plan(values, np.negative, axes="YX", patch_size=24, overlaps=8, stitch=s).view[
            ...
        ]
        for s in ("crop", "linear")
    )
    assert np.allclose(crop, blend, rtol=1e-6)


def test_strategies_of_all_kinds_blend(rng):
    values = rng.normal(size=(53, 47)).astype("f4")
    patching = TiledPatching([(1, 1, 53, 47)], 16, 5)
    plan = daskpatch.plan(values, per_tile, axes="YX", patching=patching, stitch="gaussian")
    expected = in_memory(values, patching, per_tile, monai_gaussian)
    assert np.allclose(plan.view[...], expected, rtol=1e-5, atol=1e-5)


def test_integers_and_channels(rng):
    values = rng.integers(0, 200, (3, 60, 50)).astype("uint8")
    values = np.sort(values, axis=1)  # smooth
    plan = daskpatch.plan(
        values, gaussian, axes="CYX", patch_size=24, overlaps=16, stitch="gaussian", dtype="uint8"
    )
    exact = daskpatch.plan(values, gaussian, axes="CYX", patch_size=(60, 50)).view[...]
    difference = np.abs(plan.view[...].astype(int) - np.rint(exact))
    assert difference.mean() < 0.5  # at edges of tiles, which weigh little
    assert plan.dtype == "uint8"
    assert plan.view.shape == (3, 60, 50)


def test_an_interrupted_blend_is_resumed(tmp_path, rng):
    values = rng.normal(size=(96, 96)).astype("f4")
    options = {
        "axes": "YX", "patch_size": 32, "overlaps": 16, "chunks": 16, "block_shape": 32,
        "stitch": "gaussian",
    }  # fmt: skip
    whole = daskpatch.plan(values, per_tile, **options).view[...]
    out = tmp_path / "out.zarr"
    daskpatch.plan(values, per_tile, out, **options).run(region=np.s_[:32, :], progress=False)
    with pytest.raises(ValueError, match="stitch"):
        daskpatch.plan(values, per_tile, out, **{**options, "stitch": "linear"}).run(
            resume=True, progress=False
        )
    parts = [
        daskpatch.plan(values, per_tile, out, **options).run(part=(i, 3), progress=False)
        for i in (1, 2, 3)
    ]
    assert sum(report.skipped for report in parts) == 3
    assert np.array_equal(zarr.open_array(store=str(out))[...], whole)
    assert daskpatch.verify(out, progress=False).ok


def test_the_plan_states_what_blocks_compute_twice_and_picks_large_ones(rng):
    values = np.zeros((256, 512, 512), "u1")
    plans = {
        stitch: daskpatch.plan(
            values, np.positive, axes="ZYX", patch_size=64, overlaps=16, stitch=stitch, threads=2
        )
        for stitch in ("crop", "gaussian")
    }
    assert "at the blocks' edges" in repr(plans["gaussian"])
    assert "at the blocks' edges" not in repr(plans["crop"])
    crop, blend = plans["crop"], plans["gaussian"]
    assert crop.compute_ratio < blend.compute_ratio < 1.5 * crop.compute_ratio
    small = daskpatch.plan(
        values, np.positive, axes="ZYX", patch_size=64, overlaps=16, stitch="gaussian",
        block_shape=crop.block_shape,
    )  # fmt: skip
    assert small.compute_ratio >= blend.compute_ratio
    assert blend.peak_memory > crop.peak_memory


@given(st.integers(1, 200), st.integers(2, 30), st.data())
def test_the_tiles_that_reach_an_interval(size, patch, data):
    overlap = data.draw(st.integers(0, patch - 1))
    kind = data.draw(st.sampled_from([AlignedAxis, TiledAxis]))
    tiling = kind(size, patch, overlap)
    start = data.draw(st.integers(0, size - 1))
    stop = data.draw(st.integers(start + 1, size))
    tiles = [tiling.tile(i) for i in range(tiling.n_tiles)]
    expected = [i for i, t in enumerate(tiles) if t.start < stop and t.start + t.size > start]
    assert list(reaching(tiling, start, stop, (0, 0))) == expected


def test_a_stitch_that_is_none_is_refused():
    with pytest.raises(ValueError, match="'gaussian' or 'linear'"):
        daskpatch.plan(np.zeros((9, 9)), np.negative, axes="YX", patch_size=4, stitch="mean")
