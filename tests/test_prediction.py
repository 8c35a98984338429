"""The main job from real input to real output."""

from itertools import permutations

import dask.array as da
import numpy as np
import pytest
import zarr
from example_models import channels, double, gaussian, identity, median
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from volumes import read, save

import daskpatch
from daskpatch import (
    AlignedPatching,
    FixedPatching,
    TiledPatching,
    WholeSamplePatching,
)

OUTPUTS = {
    "v3": {},
    "sharded": {"shards": (16, 32, 32), "chunks": (16, 16, 16)},
    "one number": {"chunks": 16, "block_shape": 32},
    "zarr-python": {"io": "zarr"},
}


@pytest.mark.parametrize("options", OUTPUTS.values(), ids=OUTPUTS)
@pytest.mark.parametrize("threads", [1, 3])
def test_identity_is_bit_exact(tmp_path, stored, volume, options, threads):
    report = daskpatch.predict(
        stored,
        identity,
        tmp_path / "out.zarr",
        patch_size=(20, 24, 28),
        overlaps=(3, 4, 8),
        input_dtype="uint16",
        threads=threads,
        progress=False,
        **options,
    )
    out = zarr.open_array(store=str(tmp_path / "out.zarr"), mode="r")
    assert out.dtype == volume.dtype
    assert np.array_equal(out[...], volume)
    assert out.metadata.dimension_names == ("z", "y", "x")
    assert report.bytes_written == volume.nbytes


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("io", ["zarr", "tensorstore"])
def test_identity_into_an_array_that_is_there(tmp_path, stored, volume, zarr_format, io):
    array = save(
        tmp_path / "out.zarr", np.ones_like(volume), chunks=(10, 16, 53), zarr_format=zarr_format
    )
    daskpatch.predict(
        stored,
        identity,
        array,
        patch_size=24,
        overlaps=6,
        input_dtype="uint16",
        io=io,
        progress=False,
    )
    assert np.array_equal(array[...], volume)
    assert array.chunks == (10, 16, 53)


@pytest.mark.parametrize(
    "axes", ["".join(p) for n in (2, 3, 4) for p in permutations("TCYX", n) if {"Y", "X"} <= set(p)]
)
def test_identity_for_every_order_of_axes_in_2d(axes, rng):
    sizes = {"T": 3, "C": 2, "Y": 19, "X": 23}
    values = rng.normal(size=[sizes[a] for a in axes]).astype("f4")
    store = zarr.storage.MemoryStore()
    daskpatch.predict(
        values, identity, store, axes=axes, patch_size=(8, 10), overlaps=(2, 3), progress=False
    )
    out = zarr.open_array(store=store, mode="r")
    assert np.array_equal(out[...], values)
    assert "".join(out.metadata.dimension_names).upper() == axes


@pytest.mark.parametrize("axes", ["SCZYX", "ZYX", "XYZ", "TZCYX", "ZTYXC", "YXZ", "CXYZ"])
def test_identity_for_orders_of_axes_in_3d(axes, rng):
    sizes = {"S": 2, "T": 2, "C": 2, "Z": 7, "Y": 13, "X": 11}
    values = rng.normal(size=[sizes[a] for a in axes]).astype("f4")
    plan = daskpatch.plan(values, identity, axes=axes, patch_size=8, overlaps=2)
    assert np.array_equal(plan.view[...], values)
    assert np.array_equal(plan.array.compute(), values)


@given(st.data())
def test_identity_on_any_geometry(data):
    ndim = data.draw(st.sampled_from([2, 3]))
    shape = tuple(data.draw(st.integers(1, 20)) for _ in range(ndim))
    align = data.draw(st.sampled_from([1, 2]))
    patch = tuple(align * data.draw(st.integers(1, 6)) for _ in range(ndim))
    unit = 1 if align == 1 else 2 * align
    overlaps = tuple(unit * data.draw(st.integers(0, (p - 1) // unit)) for p in patch)
    chunks = tuple(data.draw(st.integers(1, 9)) for _ in range(ndim))
    block = tuple(c * data.draw(st.integers(1, 3)) for c in chunks)
    values = np.arange(np.prod(shape), dtype="f4").reshape(shape)
    store = zarr.storage.MemoryStore()
    plan = daskpatch.plan(
        values,
        identity,
        store,
        axes="ZYX"[-ndim:],
        patch_size=patch,
        overlaps=overlaps,
        align=align,
        min_size=data.draw(st.integers(1, min(patch))),
        chunks=chunks,
        block_shape=block,
        batch_size=data.draw(st.integers(1, 5)),
        threads=1,
    )
    report = plan.run(progress=False)
    assert np.array_equal(zarr.open_array(store=store)[...], values)
    assert report.blocks == plan.n_blocks == plan.n_tasks
    voxels = report.voxels_per_second * report.seconds
    assert round(voxels) == values.size
    assert report.bytes_read == round(plan.read_ratio * plan.bytes_in)


STENCILS = {
    "gaussian": (gaussian, 8, lambda v: ndimage.gaussian_filter(v, 1.0, mode="mirror")),
    "median": (median, 2, lambda v: ndimage.median_filter(v, size=3, mode="mirror")),
}


@pytest.mark.parametrize("name", STENCILS)
@pytest.mark.parametrize("tiling", [TiledPatching, AlignedPatching])
def test_stencils_equal_the_untiled_result_when_the_halo_suffices(name, tiling, volume):
    model, overlap, whole = STENCILS[name]
    values = volume.astype("f4")
    patching = tiling([(1, 1, *volume.shape)], (20, 24, 28), overlap)
    plan = daskpatch.plan(values, model, axes="ZYX", patching=patching)
    expected = whole(values)
    difference = np.abs(plan.view[...] - expected).max()
    assert difference <= (0 if name == "median" else 1e-6 * expected.std())


def test_a_halo_that_is_too_small_shows():
    values = np.random.default_rng(0).normal(size=(60, 60)).astype("f4")
    plan = daskpatch.plan(values, gaussian, axes="YX", patch_size=20, overlaps=2)
    assert np.abs(plan.view[...] - ndimage.gaussian_filter(values, 1.0, mode="mirror")).max() > 0.01


@pytest.mark.parametrize(
    "make",
    [
        lambda shapes: TiledPatching(shapes, 20, 7),
        lambda shapes: FixedPatching(TiledPatching(shapes, 20, 7)),
        WholeSamplePatching,
    ],
)
def test_any_strategy_of_tiles_predicts(make, volume):
    shapes = [(1, 1, *volume.shape)]
    plan = daskpatch.plan(volume, double, axes="ZYX", patching=make(shapes))
    assert np.array_equal(plan.view[...], volume * np.float32(2))


def test_a_2d_strategy_folds_z(volume):
    patching = TiledPatching([(37, 1, 61, 53)], 20, 7)
    plan = daskpatch.plan(volume, double, axes="ZYX", patching=patching)
    assert np.array_equal(plan.view[...], volume * np.float32(2))


@pytest.mark.parametrize("sizes", [(16, 16), (8, 16, 16)])
def test_a_series_is_a_group_with_an_array_per_image(tmp_path, rng, sizes):
    images = [rng.normal(size=shape).astype("f4") for shape in ((3, 20, 30), (5, 9, 70))]
    sources = []
    for i, values in enumerate(images):
        (tmp_path / str(i)).mkdir()
        save(tmp_path / str(i) / "same.zarr", values, chunks=(2, 8, 8))
        sources.append(tmp_path / str(i) / "same.zarr")
    plan = daskpatch.plan(
        sources, double, tmp_path / "out.zarr", axes="ZYX", patch_size=sizes, overlaps=4
    )
    report = plan.run(progress=False)
    group = zarr.open_group(str(tmp_path / "out.zarr"), mode="r")
    assert sorted(group.array_keys()) == ["0", "1"]
    for i, values in enumerate(images):
        assert np.array_equal(group[str(i)][...], values * 2)
        assert group[str(i)].attrs["daskpatch"]["source"] == str(sources[i])
        assert np.array_equal(plan.views[i][...], values * 2)
        assert np.array_equal(plan.arrays[i].compute(), values * 2)
    assert report.blocks == plan.n_blocks
    for name in ("view", "array"):
        with pytest.raises(ValueError, match=f"plan.{name}s"):
            getattr(plan, name)


def test_a_list_of_one_is_a_series(tmp_path, stored):
    plan = daskpatch.plan([stored], double, tmp_path / "out.zarr", patch_size=16)
    plan.run(progress=False)
    assert sorted(zarr.open_group(str(tmp_path / "out.zarr")).array_keys()) == ["0"]


def test_a_model_may_give_more_channels(tmp_path, stored, volume):
    daskpatch.predict(
        stored, channels, tmp_path / "out.zarr", patch_size=20, overlaps=4, progress=False
    )
    out = zarr.open_array(store=str(tmp_path / "out.zarr"), mode="r")
    values = volume.astype("f4")
    assert np.array_equal(out[...], [values, values + 1, -values])
    assert out.metadata.dimension_names == ("c", "z", "y", "x")
    assert out.chunks[0] == 3


def test_channels_can_be_written_apart(tmp_path, stored, volume):
    plan = daskpatch.plan(
        stored, channels, tmp_path / "out.zarr", patch_size=20, overlaps=4, chunks=(1, 16, 16, 16)
    )
    assert plan.block_shape[0] == 3  # the model gives all at once
    plan.run(progress=False)
    assert np.array_equal(read(tmp_path / "out.zarr")[2], -volume.astype("f4"))


def test_blocks_that_share_out_channels_say_what_they_cost(stored, volume):
    options = {"patch_size": 20, "overlaps": 4, "chunks": (1, 16, 16, 16)}
    together = daskpatch.plan(stored, channels, block_shape=(3, 32, 32, 32), **options)
    apart = daskpatch.plan(stored, channels, block_shape=(1, 32, 32, 32), **options)
    assert apart.compute_ratio == pytest.approx(3 * together.compute_ratio)
    assert np.array_equal(apart.array[1].compute(), volume.astype("f4") + 1)


def test_channels_are_chosen(rng):
    values = rng.normal(size=(4, 20, 21)).astype("f4")
    plan = daskpatch.plan(values, identity, axes="CYX", channels=[3, 1], patch_size=8)
    assert np.array_equal(plan.view[...], values[[3, 1]])


def test_the_model_gets_what_was_asked_for():
    seen = []

    def model(batch):
        seen.append((batch.shape, batch.dtype))
        return batch[:, :1]

    plan = daskpatch.plan(
        np.zeros((2, 32, 40), "u1"),
        model,
        axes="CYX",
        patch_size=(16, 20),
        batch_size=3,
        input_dtype="float16",
        threads=1,
    )
    # A tile, that between two of noise, and the noise alone: a batch must not mix them.
    assert seen == [((n, 2, 16, 20), np.float16) for n in (1, 3, 1)]
    plan.view[...]
    assert seen[3:] == [((3, 2, 16, 20), np.float16), ((1, 2, 16, 20), np.float16)]


def test_padding_reaches_the_model():
    plan = daskpatch.plan(
        np.full((5, 6), 2, "u1"),
        lambda b: b + (b.sum() - b.size * 2),
        axes="YX",
        patch_size=8,
        align=8,
        padding=9,
    )
    # 64 voxels are seen, 30 of them in the image; those outside are 7 more than the others.
    assert (plan.view[...] == 2 + 34 * 7).all()


def test_the_trial_is_one_call_on_the_middle_tile():
    calls = []

    def model(batch):
        calls.append(batch.copy())
        return batch

    values = np.arange(50 * 50, dtype="f4").reshape(50, 50)
    daskpatch.plan(values, model, axes="YX", patch_size=10)
    (batch,) = calls
    assert np.array_equal(batch[0, 0], values[20:30, 20:30])


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float16", "float64"])
def test_the_output_dtype_is_as_asked(tmp_path, stored, volume, dtype):
    daskpatch.predict(
        stored, lambda b: b / 7, tmp_path / "out.zarr", patch_size=32, dtype=dtype, progress=False
    )
    out = read(tmp_path / "out.zarr")
    assert out.dtype == dtype
    expected = volume.astype("f4") / 7
    if np.dtype(dtype).kind in "iu":
        info = np.iinfo(dtype)
        expected = np.clip(np.rint(expected), info.min, info.max)
    assert np.array_equal(out, expected.astype(dtype))


def test_nan_is_warned_of_once_and_counted(tmp_path, stored):
    def model(batch):
        batch[..., 0, 0, 0] = np.nan
        return batch

    plan = daskpatch.plan(stored, model, tmp_path / "out.zarr", patch_size=20, overlaps=0)
    with pytest.warns(RuntimeWarning, match="NaN") as caught:
        report = plan.run(progress=False)
    assert len([w for w in caught if "NaN" in str(w.message)]) == 1
    assert 1 <= report.nan_tiles <= report.tiles
    assert "tiles gave NaN" in str(report)


def test_nan_in_the_input_is_not_the_models(tmp_path):
    values = np.ones((40, 40), "f4")
    values[3, 3] = np.nan
    store = zarr.storage.MemoryStore()
    report = daskpatch.predict(values, identity, store, axes="YX", patch_size=20, progress=False)
    assert report.nan_tiles == 0
    assert np.isnan(zarr.open_array(store=store)[3, 3])


def test_nan_becomes_0_in_integers():
    values = np.ones((40, 40), "f4")
    values[3, 3] = np.nan
    store = zarr.storage.MemoryStore()
    with pytest.warns(RuntimeWarning, match="NaN"):
        report = daskpatch.predict(
            values, identity, store, axes="YX", patch_size=20, dtype="u1", progress=False
        )
    assert report.nan_tiles == 1
    assert zarr.open_array(store=store)[3, 3] == 0


def test_nan_of_post_becomes_0_in_integers():
    values = np.ones((40, 40), "f4")

    def post(block):
        n = block.shape[-1]
        return np.where(np.arange(n) < n // 2, np.nan, block)

    store = zarr.storage.MemoryStore()
    with pytest.warns(RuntimeWarning, match="NaN, of the model, of post or of its"):
        report = daskpatch.predict(
            values, identity, store, axes="YX", patch_size=20, post=post, dtype="u1",
            progress=False, chunks=40, block_shape=40,
        )  # fmt: skip
    assert report.nan_tiles == 1
    assert not zarr.open_array(store=store)[:, :20].any()


@pytest.mark.parametrize("given", [None, "x", 2.5])
def test_what_post_gave_instead_of_an_array_is_named(given):
    with pytest.raises(ValueError, match=rf"gave .*{given}.*, no array; needed is"):
        daskpatch.plan(np.ones((40, 40)), identity, axes="YX", patch_size=20, post=lambda _: given)


def test_a_region_is_rounded_out_to_blocks(tmp_path, stored, volume):
    plan = daskpatch.plan(
        stored, double, tmp_path / "out.zarr", patch_size=16, chunks=8, block_shape=16
    )
    report = plan.run(region=np.s_[17:20, :, -1], progress=False)
    out = read(tmp_path / "out.zarr")
    expected = np.zeros(volume.shape, "f4")
    expected[16:32, :, 48:] = volume[16:32, :, 48:] * 2.0
    assert np.array_equal(out, expected)
    assert report.blocks == 4


@pytest.mark.parametrize(
    ("region", "words"),
    [
        (np.s_[0:4, 0:4, 0:4, 0:4], "4 parts"),
        (np.s_[5:5], "nothing"),
        (np.s_[::2], "without steps"),
        (99, "out of range"),
        ("all", "slices"),
    ],
)
def test_regions_that_cannot_be_are_refused(tmp_path, stored, region, words):
    plan = daskpatch.plan(stored, double, tmp_path / "out.zarr", patch_size=16)
    with pytest.raises(ValueError, match=words):
        plan.run(region=region, progress=False)
    assert not (tmp_path / "out.zarr").exists()


def test_a_source_may_be_an_image_stack(stored, volume):
    image = daskpatch.open_image(stored, padding="edge")
    assert np.array_equal(
        daskpatch.plan(image, double, patch_size=16).view[5], volume[5] * np.float32(2)
    )

    class Mine:
        """Somebody else's image stack."""

        source, original_axes = "mine", "ZYX"
        data_shape, data_dtype = (1, 1, *volume.shape), volume.dtype
        original_data_shape = volume.shape

        def extract_patch(self, sample_idx, channels, coords, patch_size):
            return image.extract_patch(sample_idx, channels, coords, patch_size)

    plan = daskpatch.plan(Mine(), double, patch_size=16)
    assert np.array_equal(plan.view[5], volume[5] * np.float32(2))


def test_a_dask_array_is_a_source(volume):
    lazy = da.from_array(volume, chunks=20)
    plan = daskpatch.plan(lazy, double, axes="ZYX", patch_size=16)
    assert np.array_equal(plan.array.compute(), volume * np.float32(2))
