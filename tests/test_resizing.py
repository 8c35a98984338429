"""Models whose result has another size than their tile: finer, coarser, without a margin."""

from fractions import Fraction

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

import daskpatch
from daskpatch import AlignedPatching, TiledPatching
from daskpatch.geometry import AlignedAxis


def finer(batch):
    """Twice the size along Y and X."""
    return np.tanh(batch).repeat(2, -1).repeat(2, -2)


def coarser(batch):
    """Cells of 4 along Y and X: their mean."""
    n, c, *rest, y, x = batch.shape
    assert y % 4 == x % 4 == 0, "sizes of multiples of 4"
    return batch.reshape(n, c, *rest, y // 4, 4, x // 4, 4).mean((-1, -3))


def valid(batch):
    """A sum over 5 x 7 without padding: 4 and 6 voxels fewer."""
    total = sum(batch[..., i : batch.shape[-2] - 4 + i, :] for i in range(5))
    return sum(total[..., j : batch.shape[-1] - 6 + j] for j in range(7))


def padded(values, before, behind):
    return np.pad(values, list(zip(before, behind, strict=True)), mode="reflect")


SHAPES = [(64, 64), (53, 47), (41, 97), (9, 13), (101, 33)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("stitch", ["crop", "gaussian"])
def test_a_finer_result(tmp_path, rng, shape, stitch):
    values = rng.normal(size=shape).astype("f4")
    plan = daskpatch.plan(
        values, finer, tmp_path / "o.zarr", axes="YX", patch_size=32, overlaps=8, chunks=16,
        stitch=stitch,
    )  # fmt: skip
    assert plan.signature.scale == (2, 2)
    assert plan.view.shape == tuple(2 * n for n in shape)
    expected = finer(values[None, None])[0, 0]
    assert np.allclose(plan.view[...], expected, atol=1e-6)
    plan.run(progress=False)
    assert np.allclose(zarr.open_array(store=str(tmp_path / "o.zarr"))[...], expected, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_coarser_result(tmp_path, rng, shape):
    values = rng.normal(size=shape).astype("f4")
    plan = daskpatch.plan(
        values, coarser, tmp_path / "o.zarr", axes="YX", patch_size=32, overlaps=8, align=4
    )
    assert plan.signature.scale == (Fraction(1, 4),) * 2
    assert plan.view.shape == tuple(-(-n // 4) for n in shape)
    whole = padded(values, (0, 0), tuple(-n % 4 for n in shape))
    assert np.allclose(plan.view[...], coarser(whole[None, None])[0, 0], atol=1e-6)
    report = plan.run(progress=False)
    assert report.failed == 0
    stored = zarr.open_array(store=str(tmp_path / "o.zarr"))[...]
    assert np.array_equal(stored, plan.view[...])


def test_the_grid_of_a_coarser_result_is_found(rng):
    values = rng.normal(size=(64, 80)).astype("f4")
    plan = daskpatch.plan(values, coarser, axes="YX", patch_size=32, overlaps=8)
    assert plan.patching.align == (4, 4)
    assert np.allclose(plan.view[...], coarser(values[None, None])[0, 0], atol=1e-6)
    with pytest.raises(ValueError, match="multiples of"):
        daskpatch.plan(values, coarser, axes="YX", patch_size=32, overlaps=6)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("overlaps", [None, 6, 7, 12])
@pytest.mark.parametrize("stitch", ["crop", "linear"])
def test_a_result_without_a_margin(tmp_path, rng, shape, overlaps, stitch):
    values = rng.normal(size=shape).astype("f4")
    plan = daskpatch.plan(
        values, valid, tmp_path / "o.zarr", axes="YX", patch_size=32, overlaps=overlaps,
        stitch=stitch, chunks=16,
    )  # fmt: skip
    assert plan.signature.margin == ((2, 2), (3, 3))
    assert plan.view.shape == shape
    expected = valid(padded(values, (2, 3), (2, 3))[None, None])[0, 0]
    assert np.allclose(plan.view[...], expected, atol=1e-4)
    plan.run(progress=False)
    assert np.array_equal(zarr.open_array(store=str(tmp_path / "o.zarr"))[...], plan.view[...])
    assert daskpatch.verify(tmp_path / "o.zarr", progress=False).ok


def test_a_finer_result_without_a_margin(rng):
    values = rng.normal(size=(61, 50)).astype("f4")
    plan = daskpatch.plan(
        values, lambda batch: finer(valid(batch)), axes="YX", patch_size=32, overlaps=14
    )
    assert plan.signature.scale == (2, 2)
    assert plan.signature.margin == ((2, 2), (3, 3))
    expected = finer(valid(padded(values, (2, 3), (2, 3))[None, None]))[0, 0]
    assert np.allclose(plan.view[...], expected, atol=1e-4)


def test_anisotropic_three_dimensions(rng):
    values = rng.normal(size=(7, 40, 36)).astype("f4")
    plan = daskpatch.plan(values, coarser, axes="ZYX", patch_size=(4, 16, 16), align=(1, 4, 4))
    assert plan.signature.scale == (1, Fraction(1, 4), Fraction(1, 4))
    assert np.allclose(plan.view[...], coarser(values[None, None])[0, 0], atol=1e-6)
    assert plan.view[3, 2:5].shape == (3, 9)
    assert np.array_equal(plan.array[::2, 1:7:3, 4].compute(), plan.view[...][::2, 1:7:3, 4])


@pytest.mark.parametrize(("scale", "margin"), [(None, None), (2, None), ("2", 0)])
def test_what_is_said_need_not_be_found_out(rng, scale, margin):
    sizes = set()

    def counted(batch):
        sizes.add(batch.shape[2:])
        return finer(batch)

    plan = daskpatch.plan(
        np.zeros((64, 64)), counted, axes="YX", patch_size=32, scale=scale, margin=margin
    )
    assert plan.signature.scale == (2, 2)
    assert (len(sizes) == 1) == (scale is not None)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"scale": 3}, "needed is (1, 1, 96, 96)"),
        ({"scale": 0}, "scale is 0"),
        ({"scale": "x"}, "scale is 'x'"),
        ({"scale": (1, 2, 3)}, "2 axes"),
        ({"margin": -1}, "margin is -1"),
        ({"margin": (1, 2, 3)}, "margin is (1, 2, 3)"),
        ({"margin": 20, "overlaps": 40}, "smaller than patch_size"),
        ({"margin": 3, "overlaps": 4}, "voxels would be missing"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(options, words):
    with pytest.raises((ValueError, RuntimeError)) as caught:
        daskpatch.plan(np.zeros((64, 64)), finer, axes="YX", **{"patch_size": 32, **options})
    assert words in str(caught.value)


def test_strategies_that_do_not_fit_the_result_are_refused(rng):
    values = rng.normal(size=(61, 50)).astype("f4")
    tiled = TiledPatching([(1, 1, 61, 50)], 32, 16)
    with pytest.raises(ValueError, match="AlignedPatching with this margin"):
        daskpatch.plan(values, valid, axes="YX", patching=tiled)
    with pytest.raises(ValueError, match="multiples of 4"):
        daskpatch.plan(values, coarser, axes="YX", patching=tiled)
    mine = AlignedPatching([(1, 1, 61, 50)], 32, 8, margin=((2, 2), (3, 3)))
    expected = valid(padded(values, (2, 3), (2, 3))[None, None])[0, 0]
    assert np.allclose(
        daskpatch.plan(values, valid, axes="YX", patching=mine).view[...], expected, atol=1e-4
    )


def test_an_existing_array_of_the_results_size(tmp_path, rng):
    values = rng.normal(size=(48, 48)).astype("f4")
    array = zarr.create_array(
        store=str(tmp_path / "o.zarr"), shape=(96, 96), chunks=(24, 24), dtype="f4"
    )
    daskpatch.predict(values, finer, array, axes="YX", patch_size=24, overlaps=4, progress=False)
    assert np.allclose(array[...], finer(values[None, None])[0, 0], atol=1e-6)
    small = zarr.create_array(
        store=str(tmp_path / "s.zarr"), shape=(48, 48), chunks=(24, 24), dtype="f4"
    )
    with pytest.raises(ValueError, match=r"prediction's is \(96, 96\)"):
        daskpatch.plan(values, finer, small, axes="YX", patch_size=24)


@pytest.mark.parametrize("model", [valid, coarser, finer])
def test_a_repair(tmp_path, rng, model):
    values = rng.normal(size=(61, 52)).astype("f4")
    out = tmp_path / "o.zarr"
    options = {"axes": "YX", "patch_size": 32, "overlaps": 8, "chunks": 8, "block_shape": 32}
    daskpatch.predict(values, model, out, **options, progress=False)
    before = zarr.open_array(store=str(out))[...]
    next((out / "c").rglob("0/0")).unlink()
    found = daskpatch.verify(out, repair=True, model=model, source=values, progress=False)
    assert found.repaired.done == 1
    assert np.array_equal(zarr.open_array(store=str(out))[...], before)


@st.composite
def margins(draw):
    """Tilings of models that cut a margin off."""
    align = draw(st.integers(1, 8))
    before, behind = draw(st.integers(0, 9)), draw(st.integers(0, 9))
    step = align * draw(st.integers(1, 8))
    overlap = before + behind + draw(st.integers(0, 30))
    patch = step + overlap
    size = draw(st.integers(1, 200))
    least = draw(st.integers(1, patch))
    return AlignedAxis(size, patch, overlap, align, least, (before, behind))


@given(margins())
def test_tiles_of_models_with_a_margin(line):
    """By brute force: crops partition the axis, inside of what tiles give, which is on the grid."""
    before, behind = line.margin
    tiles = [line.tile(i) for i in range(line.n_tiles)]
    reached = 0
    for tile in tiles:
        first, end = tile.start + before, tile.start + tile.size - behind
        assert first % line.align == 0
        assert first <= tile.keep_start == reached < tile.keep_stop <= end
        assert first >= 0
        assert tile.size >= line.min_size
        assert (tile.size - line.patch) % line.align == 0
        reached = tile.keep_stop
    assert reached == line.size
    assert len({tile.start for tile in tiles}) == len(tiles)
