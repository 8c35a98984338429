"""Options that go together, or do not; what earlier mistakes taught."""

import shutil
import time

import numpy as np
import pytest
import zarr
from example_models import gaussian
from tracing import traced_peak
from volumes import save

import daskpatch
from daskpatch import Interruption
from daskpatch.receipts import Claim, Part, Record
from daskpatch.store import locate

TILES = {"axes": "YX", "patch_size": 32, "overlaps": 8}


def in_place(batch):
    """Uses its input as its result, as activations often do."""
    batch *= 2
    return batch


@pytest.fixture
def values(rng):
    return rng.normal(size=(96, 80)).astype("f4")


@pytest.mark.parametrize("augment", ["flips", "rot90"])
def test_models_that_work_in_place_are_given_copies(values, augment):
    plan = daskpatch.plan(values, in_place, **TILES, augment=augment)
    assert np.allclose(plan.view[...], values * 2, atol=1e-5)
    assert daskpatch.probe(in_place, ndim=2, seconds=0).halo == (0, 0)


def test_models_that_work_in_place_may_run_out_of_memory(tmp_path, values):
    def hungry(batch):
        batch *= 2
        if len(batch) > 2:
            raise MemoryError("Unable to allocate")
        return batch

    plan = daskpatch.plan(values, hungry, tmp_path / "o.zarr", **TILES, batch_size=4)
    plan.run(progress=False)
    assert np.array_equal(zarr.open_array(store=str(tmp_path / "o.zarr"))[...], values * 2)


@pytest.mark.parametrize(
    ("model", "options"),
    [
        (lambda b: b[..., 3:-1, 3:-1], {"margin": [(3, 1), (3, 1)], "augment": "flips"}),
        (lambda b: b[..., 2:-2, 2:-3], {"margin": [(2, 2), (2, 3)], "augment": "rot90"}),
        (lambda b: b.repeat(2, -1), {"augment": "rot90"}),
    ],
    ids=["one-sided", "unequal margins", "unequal scales"],
)
def test_positions_that_would_not_fit_are_refused(values, model, options):
    with pytest.raises((ValueError, daskpatch.ModelError), match="augment turns|turned by"):
        daskpatch.plan(values, model, **TILES, **options)


@pytest.mark.parametrize("by", [3, 5, 6, 7, 12])
def test_every_n_th_voxel(values, by):
    plan = daskpatch.plan(
        values, lambda b: b[..., ::by, ::by].copy(), axes="YX", patch_size=4 * by, align=by
    )
    assert np.array_equal(plan.view[...], values[::by, ::by])
    found = daskpatch.probe(lambda b: b[..., ::by, ::by].copy(), ndim=2, seconds=0)
    assert [along.scale.denominator for along in found.sizes] == [by, by]


def test_sizes_that_the_model_rounds_down_are_refused(values):
    def pooled(batch):
        n, c, y, x = batch.shape
        cut = batch[..., : y // 4 * 4, : x // 4 * 4]
        return cut.reshape(n, c, y // 4, 4, x // 4, 4).mean((3, 5))

    with pytest.raises(daskpatch.ModelError, match="rounds this size down"):
        daskpatch.plan(values, pooled, axes="YX", patch_size=30)
    plan = daskpatch.plan(values, pooled, axes="YX", patch_size=32)
    assert plan.signature.margin == ((0, 0), (0, 0))
    assert np.allclose(plan.view[...], pooled(values[None, None])[0, 0], atol=1e-6)


@pytest.mark.parametrize("margin", [1, 3])
def test_a_margin_that_is_not_the_models_is_refused(values, margin):
    with pytest.raises(daskpatch.ModelError, match="scaled and cut"):
        daskpatch.plan(
            values, lambda b: b[..., 2:-2, 2:-2], axes="YX", patch_size=32, margin=margin
        )


def test_a_network_that_pads_itself_has_a_grid_all_the_same(rng):
    def network(batch):
        n, c, y, x = batch.shape
        padded = np.pad(batch, ((0, 0), (0, 0), (0, -y % 8), (0, -x % 8)), mode="edge")
        cells = padded.reshape(n, c, padded.shape[2] // 8, 8, -1, 8).max((3, 5))
        return (cells.repeat(8, 2).repeat(8, 3) + padded)[:, :, :y, :x]

    for shape in ((101, 83), (300, 210), (64, 64)):
        values = rng.normal(size=shape).astype("f4")
        for options in ({}, {"stitch": "gaussian"}, {"threads": 8}):
            plan = daskpatch.plan(values, network, axes="YX", patch_size="auto", **options)
            assert plan.patching.align == (8, 8)
    assert np.abs(plan.view[...] - network(values[None, None])[0, 0]).max() < 1e-5


def test_global_models_have_no_grid_by_chance():
    for seed in range(3):
        shift = np.random.default_rng(seed).normal()
        found = daskpatch.probe(
            lambda b, s=shift: b - s * b.mean((2, 3), keepdims=True), ndim=2, seconds=0
        )
        assert found.is_global
        assert found.align == (1, 1)


def test_an_empty_middle_does_not_hide_the_halo(rng):
    values = rng.normal(size=(300, 300)).astype("f4")
    values[50:250, 50:250] = 0
    values[0, 0] = np.nan
    plan = daskpatch.plan(values, gaussian, axes="YX", patch_size=64, overlaps="auto")
    assert plan.patching.overlaps == (8, 8)
    for sample in (np.zeros((64, 64)), np.full((64, 64), np.nan), np.full((64, 64), 7.0)):
        assert daskpatch.probe(gaussian, ndim=2, sample=sample, seconds=0).halo == (4, 4)


def test_a_model_without_a_finite_value_tells_nothing():
    with pytest.raises(ValueError, match="no finite value"):
        daskpatch.probe(lambda b: b * np.nan, ndim=2, seconds=0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_seams_of_nan_are_seams(rng, value):
    def broken(batch):
        result = gaussian(batch)
        result[..., :3, :] = value
        return result

    values = rng.normal(size=(200, 200)).astype("f4")
    plan = daskpatch.plan(values, broken, axes="YX", patch_size=64)
    report = daskpatch.check_seams(plan, progress=False)
    assert not report.ok
    assert np.isfinite(report.difference)
    assert report.plot().axes


def test_images_that_hold_nan_have_no_seams_for_it(rng):
    values = rng.normal(size=(200, 200)).astype("f4")
    values[::7, ::11] = np.nan
    plan = daskpatch.plan(values, np.negative, axes="YX", patch_size=64)
    assert daskpatch.check_seams(plan, progress=False).ok


def test_a_driver_of_another_layout_is_not_overwritten(tmp_path, values):
    out = tmp_path / "o.zarr"
    options = {**TILES, "overwrite": True, "progress": False}
    several = {
        "one": lambda b: b,
        "two": lambda b: {"a": b, "b": b * 2},
    }
    for first, second in (("one", "two"), ("two", "one")):
        daskpatch.predict(values, several[first], out, **options)
        place = locate(out) if first == "one" else locate(out / "a")
        with Claim(Record(place), Part()), pytest.raises(daskpatch.ClaimedError):
            daskpatch.predict(values, several[second], out, **options)
        assert (out / ("zarr.json" if first == "one" else "a/zarr.json")).exists()


def test_an_output_stays_until_the_statistics_are_known(tmp_path, stored, volume):
    out = tmp_path / "o.zarr"
    options = {"patch_size": 24, "overlaps": 8, "overwrite": True, "progress": False}
    daskpatch.predict(stored, gaussian, out, **options)
    before = zarr.open_array(store=str(out))[...]
    plan = daskpatch.plan(
        stored, gaussian, out, patch_size=24, overlaps=8, overwrite=True, normalize="zscore"
    )
    chunk = next((stored / "c").rglob("0/0/0"))
    chunk.write_bytes(b"torn")
    with pytest.raises(OSError, match="could not be read"):
        plan.run(progress=False)
    assert np.array_equal(zarr.open_array(store=str(out))[...], before)


def test_statistics_are_of_the_source_as_it_is(tmp_path, rng):
    values = rng.random((64, 64)).astype("f4")
    save(tmp_path / "in.zarr", values, chunks=(32, 32), dimension_names=["y", "x"])
    plan = daskpatch.plan(
        tmp_path / "in.zarr", np.positive, tmp_path / "o.zarr", patch_size=32, overlaps=8,
        normalize="minmax", overwrite=True, io="zarr",
    )  # fmt: skip
    plan.run(progress=False)
    assert plan.statistics[0].scale[0] == pytest.approx(np.ptp(values))
    values[:16] *= 10  # but for the middle, where the model was tried
    source = zarr.open_array(store=str(tmp_path / "in.zarr"), mode="r+")
    source[:] = values
    plan.run(progress=False)
    assert plan.statistics[0].scale[0] == pytest.approx(np.ptp(values))
    assert zarr.open_array(store=str(tmp_path / "o.zarr"))[...].max() == pytest.approx(1)
    source[:] = values * 10
    with pytest.raises(OSError, match="its voxels are others. Make the plan anew"):
        plan.run(progress=False)


def test_a_resumed_plan_knows_what_the_record_knows(tmp_path, stored):
    options = {"patch_size": 24, "overlaps": 8, "normalize": "zscore"}
    daskpatch.plan(stored, gaussian, tmp_path / "o.zarr", **options).run(progress=False)
    plan = daskpatch.plan(stored, gaussian, tmp_path / "o.zarr", **options)
    plan.run(resume=True, progress=False)
    shutil.rmtree(stored)
    assert plan.statistics is not None


def test_a_series_of_one_image_is_repaired(tmp_path, stored):
    options = {"patch_size": 24, "overlaps": 8, "chunks": 16, "progress": False}
    daskpatch.predict([stored], gaussian, tmp_path / "o.zarr", **options)
    next((tmp_path / "o.zarr" / "0" / "c").rglob("1/1/1")).unlink()
    found = daskpatch.verify(tmp_path / "o.zarr", repair=True, model=gaussian, progress=False)
    assert found.repaired.done == 1


def test_arrays_of_the_other_byte_order_verify(tmp_path, stored, volume):
    array = zarr.create_array(
        store=str(tmp_path / "o.zarr"), shape=volume.shape, chunks=(16, 16, 16), dtype=">f4",
        zarr_format=2,
    )  # fmt: skip
    daskpatch.predict(stored, np.positive, array, patch_size=24, overlaps=8, progress=False)
    assert np.array_equal(array[...], volume)
    assert daskpatch.verify(tmp_path / "o.zarr", progress=False).ok


def test_a_groups_own_attributes_stay(tmp_path, values):
    out = tmp_path / "o.zarr"
    options = {**TILES, "progress": False}

    def two(batch):
        return batch, batch * 2

    daskpatch.predict(values, two, out, **options)
    zarr.open_group(store=str(out), mode="r+").attrs["mine"] = 1
    daskpatch.predict(values, two, out, **options, resume=True)
    assert zarr.open_group(store=str(out), mode="r").attrs["mine"] == 1


def test_a_series_has_as_many_channels_everywhere(rng):
    images = [rng.normal(size=(n, 40, 40)) for n in (2, 3)]
    with pytest.raises(ValueError, match="these have 2, 3"):
        daskpatch.plan(images, np.positive, axes="CYX", patch_size=16)


def test_statistics_take_no_more_memory_than_there_is(tmp_path, rng):
    values = rng.random((64, 256, 256)).astype("f4")
    save(tmp_path / "in.zarr", values, chunks=(16, 64, 64), dimension_names=["z", "y", "x"])

    def planned():
        plan = daskpatch.plan(
            tmp_path / "in.zarr", np.positive, patch_size=32, normalize="zscore", threads=2,
            memory_limit="20 MB", io="zarr",
        )  # fmt: skip
        return lambda: plan.statistics

    assert traced_peak(planned) < 20e6


@pytest.mark.parametrize("kind", ["zscore", "minmax", "percentile"])
def test_the_plan_knows_the_memory_of_statistics(tmp_path, rng, kind):
    values = rng.random((256, 256, 256)).astype("f4")
    save(tmp_path / "in.zarr", values, chunks=(16, 64, 64), dimension_names=["z", "y", "x"])
    options = {"patch_size": 32, "threads": 2, "io": "zarr"}
    plain = daskpatch.plan(tmp_path / "in.zarr", np.positive, **options)
    plan = daskpatch.plan(tmp_path / "in.zarr", np.positive, **options, normalize=kind)

    def planned():
        plan = daskpatch.plan(tmp_path / "in.zarr", np.positive, **options, normalize=kind)
        return lambda: plan.statistics

    peak = traced_peak(planned)
    assert plain.peak_memory < plan.peak_memory
    assert peak < plan.peak_memory < 8 * peak  # of one box, if threads take turns


def test_the_measuring_of_statistics_can_be_interrupted(tmp_path):
    class Slow:
        shape, dtype = (400, 400), np.dtype("f4")

        def __getitem__(self, key):
            time.sleep(0.02)
            interruption.request()
            return np.zeros(tuple(s.stop - s.start for s in key), "f4")

    interruption = Interruption()
    plan = daskpatch.plan(
        Slow(), np.positive, tmp_path / "o.zarr", **TILES, normalize="zscore",
        normalize_fraction=0.9, model_id="m",
    )  # fmt: skip
    interruption = Interruption()
    with pytest.raises(KeyboardInterrupt):
        plan.run(progress=False, interruption=interruption)


@pytest.mark.parametrize("later", ["uint16", "float32", "uint8"])
def test_post_that_gives_another_dtype_later_is_refused(tmp_path, later):
    """The smallest dtype that holds the ids is another one where there are more of them."""
    values = np.zeros((64, 64), "f4")
    values[:8, :8] = 1

    def labelled(block):
        return (block * 200).astype(later if block.max() else "uint8")

    words = {"axes": "YX", "patch_size": 16, "chunks": 16, "post": labelled, "progress": False}
    if later == "uint8":
        daskpatch.predict(values, np.positive, tmp_path / "out.zarr", **words)
        return
    with pytest.raises(daskpatch.RunFailed, match=f"1 channel of {later} .* 1 channel of uint8"):
        daskpatch.predict(values, np.positive, tmp_path / "out.zarr", **words, retries=0)
