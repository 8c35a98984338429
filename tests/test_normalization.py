"""Values mapped the same way all over an image, by statistics that are measured once."""

import shutil

import numpy as np
import pytest
import zarr
from example_models import gaussian
from volumes import save

import daskpatch

TILES = {"patch_size": 24, "overlaps": 8, "chunks": 16, "block_shape": 32}


class CountingArray:
    """An array-like that counts the voxels that are read of it."""

    def __init__(self, values):
        self.values, self.read = values, 0
        self.shape, self.dtype = values.shape, values.dtype

    def __getitem__(self, key):
        part = self.values[key]
        self.read += part.size
        return part


def standardised(values):
    values = values.astype("f8")
    return ((values - values.mean()) / values.std()).astype("f4")


@pytest.mark.parametrize("io", ["zarr", "tensorstore"])
def test_zscore_of_the_whole_image(tmp_path, stored, volume, io):
    out = tmp_path / "o.zarr"
    daskpatch.predict(stored, gaussian, out, **TILES, normalize="zscore", io=io, progress=False)
    expected = gaussian(standardised(volume)[None, None])[0, 0]
    assert np.abs(zarr.open_array(store=str(out))[...] - expected).max() < 1e-5


def mapped(values, low, high):
    return ((values.astype("f8") - low) / (high - low)).astype("f4")


@pytest.mark.parametrize(
    ("normalize", "ends"),
    [
        ("minmax", lambda v: (v.min(), v.max())),
        ("percentile", lambda v: np.percentile(v, (1, 99.8))),
        (("percentile", 5, 90), lambda v: np.percentile(v, (5, 90))),
        (["percentile", 0, 100], lambda v: (v.min(), v.max())),
        ({"low": 3, "high": 400}, lambda v: (3, 400)),
        ({"mean": 3, "std": 400}, lambda v: (3, 403)),
        ({"mean": [3], "std": (400,)}, lambda v: (3, 403)),
    ],
)
def test_what_else_there_is(stored, volume, normalize, ends):
    plan = daskpatch.plan(stored, np.positive, **TILES, normalize=normalize)
    assert np.allclose(plan.view[...], mapped(volume, *map(float, ends(volume))), atol=1e-6)


@pytest.mark.parametrize("normalize", ["zscore", "minmax", "percentile"])
def test_results_are_mapped_back(stored, volume, normalize):
    plan = daskpatch.plan(
        stored, np.positive, **TILES, normalize=normalize, denormalize=True, dtype="uint16"
    )
    assert np.array_equal(plan.view[...], volume)


def test_channels_on_their_own_or_together(rng):
    values = np.stack([rng.normal(k, k, (30, 40)) for k in (1, 10, 100)])
    each = daskpatch.plan(values, np.positive, axes="CYX", patch_size=16, normalize="zscore")
    assert np.allclose(each.view[...].mean((1, 2)), 0, atol=1e-6)
    assert np.allclose(each.view[...].std((1, 2)), 1, atol=1e-6)
    together = daskpatch.plan(
        values, np.positive, axes="CYX", patch_size=16, normalize="zscore",
        normalize_per_channel=False,
    )  # fmt: skip
    assert np.allclose(together.view[...], standardised(values), atol=1e-5)
    back = daskpatch.plan(
        values, np.positive, axes="CYX", patch_size=16, normalize="zscore", denormalize=True
    )
    assert np.allclose(back.view[...], values, rtol=1e-5, atol=1e-4)


def test_each_image_or_the_series(tmp_path, rng):
    images = []
    for k in (1, 3):
        images.append(str(tmp_path / f"{k}.zarr"))
        save(
            images[-1], (rng.random((40, 40)) * 1000 * k).astype("f4"), chunks=(16, 16),
            dimension_names=["y", "x"],
        )  # fmt: skip
    values = [zarr.open_array(store=path)[...] for path in images]
    for over, low, high in (
        ("image", [v.min() for v in values], [v.max() for v in values]),
        ("series", [min(v.min() for v in values)] * 2, [max(v.max() for v in values)] * 2),
    ):
        out = tmp_path / f"{over}.zarr"
        daskpatch.predict(
            images, np.positive, out, patch_size=16, normalize="minmax", normalize_over=over,
            progress=False,
        )  # fmt: skip
        for i, v in enumerate(values):
            result = zarr.open_array(store=str(out / str(i)))[...]
            assert np.allclose(result, mapped(v, low[i], high[i]), atol=1e-6)


def test_statistics_are_measured_once(volume):
    source = CountingArray(volume)
    plan = daskpatch.plan(source, np.positive, axes="ZYX", **TILES, normalize="zscore")
    assert source.read < volume.size / 2  # the trial tile
    source.read = 0
    first = plan.view[0]
    measured = source.read
    assert measured >= volume.size
    source.read = 0
    second = plan.view[0]
    assert (
        source.read == measured - 2 * volume.size
    )  # the statistics, and the digest of their image
    assert np.array_equal(first, second)
    _ = plan.array[0].compute()
    assert source.read <= 2 * (measured - 2 * volume.size)


def test_a_plan_that_was_looked_at_does_not_measure_again(tmp_path, volume):
    source = CountingArray(volume)
    plan = daskpatch.plan(
        source, np.positive, tmp_path / "o.zarr", axes="ZYX", **TILES, normalize="zscore"
    )
    statistics = plan.statistics
    source.read = 0
    plan.run(progress=False)
    assert source.read < 4.5 * volume.size  # halos, and the digest before and after
    assert plan.statistics == statistics


def test_constants_cost_no_read(volume):
    source = CountingArray(volume)
    plan = daskpatch.plan(source, np.positive, axes="ZYX", **TILES, normalize={"mean": 1, "std": 2})
    source.read = 0
    assert plan.statistics is None
    _ = plan.view
    assert source.read == 0


def test_they_are_stored_and_used_again(tmp_path, stored):
    out = tmp_path / "o.zarr"
    options = {**TILES, "normalize": ("percentile", 2, 98)}
    daskpatch.plan(stored, gaussian, out, **options).run(region=np.s_[:16], progress=False)
    facts = zarr.open_array(store=str(out)).attrs["daskpatch"]
    plan = daskpatch.plan(stored, gaussian, out, **options)
    assert facts["statistics"] == plan.statistics[0].to_dict() | {
        name: list(getattr(plan.statistics[0], name))
        for name in ("offset", "scale", "error", "voxels")
    }
    assert facts["normalize"] == "percentile 2 to 98 of the whole image, each channel"

    measured = out / ".daskpatch" / "passes"
    shutil.rmtree(measured)
    report = daskpatch.plan(stored, gaussian, out, **options).run(resume=True, progress=False)
    assert report.skipped > 0
    assert not measured.exists()
    assert daskpatch.verify(out, progress=False).ok
    for other in ({"normalize": "zscore"}, {"normalize": None}, {"denormalize": True}):
        with pytest.raises(ValueError, match="treatment"):
            daskpatch.plan(stored, gaussian, out, **{**options, **other}).run(
                resume=True, progress=False
            )


def test_a_repair_normalises_as_the_run_did(tmp_path, stored):
    out = tmp_path / "o.zarr"
    options = {"normalize": "zscore", "augment": "flips", "stitch": "linear"}
    daskpatch.predict(stored, gaussian, out, **TILES, **options, progress=False)
    before = zarr.open_array(store=str(out))[...]
    next((out / "c").rglob("1/1/1")).unlink()
    found = daskpatch.verify(out, repair=True, model=gaussian, progress=False)
    assert found.repaired.done == 1
    assert np.array_equal(zarr.open_array(store=str(out))[...], before)


def test_parts_share_what_the_first_one_measured(tmp_path, stored):
    out = tmp_path / "o.zarr"
    whole = daskpatch.plan(stored, gaussian, **TILES, normalize="zscore").view[...]
    for part in (1, 2):
        daskpatch.predict(
            stored, gaussian, out, **TILES, normalize="zscore", part=(part, 2), progress=False
        )
    assert np.array_equal(zarr.open_array(store=str(out))[...], whole)


def test_worker_processes_are_told(tmp_path, stored, processes):
    out = tmp_path / "o.zarr"
    whole = daskpatch.plan(stored, gaussian, **TILES, normalize="zscore").view[...]
    daskpatch.predict(
        stored, gaussian, out, **TILES, normalize="zscore", client=processes, progress=False
    )
    assert np.array_equal(zarr.open_array(store=str(out))[...], whole)


def test_the_plan_says_so(stored):
    plan = daskpatch.plan(
        stored, gaussian, **TILES, normalize="zscore", normalize_fraction=0.5, denormalize=True
    )
    assert "zscore of the whole image, each channel, 0.5 of it read, mapped back" in repr(plan)
    assert plan.statistics[0].fraction == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"normalize": "z-score"}, "'z-score'"),
        ({"normalize": ("percentile", 5)}, "needed is 'zscore'"),
        ({"normalize": ("percentile", 99, 1)}, "low < high"),
        ({"normalize": ("percentile", 0, 101)}, "<= 100"),
        ({"normalize": {"mean": 1}}, "needed are 'mean' and 'std'"),
        ({"normalize": {"mean": 1, "std": 0}}, "above 0"),
        ({"normalize": {"low": 1, "high": 1}}, "above 0"),
        ({"normalize": {"mean": (1, 2), "std": 1}}, "2 and 1 numbers"),
        ({"normalize": {"mean": (1, 2), "std": (1, 2)}}, "2 numbers for 1 channel"),
        ({"normalize": {"mean": "a", "std": 1}}, "mean 'a'"),
        ({"normalize": {"mean": float("nan"), "std": 1}}, "mean nan"),
        ({"normalize": {"mean": 10**400, "std": 1}}, "needed is a number"),
        ({"normalize": "zscore", "normalize_over": "tile"}, "normalize_over"),
        ({"normalize": "zscore", "normalize_fraction": 0}, "normalize_fraction"),
        ({"normalize": "zscore", "normalize_fraction": 1.5}, "normalize_fraction"),
        ({"normalize": "zscore", "input_dtype": "uint8"}, "dtype of floats"),
        ({"denormalize": True}, "give normalize= too"),
    ],
    ids=str,
)
def test_what_does_not_normalise_is_refused(stored, options, words):
    with pytest.raises(ValueError) as caught:
        daskpatch.plan(stored, np.positive, **TILES, **options)
    assert words in str(caught.value)


def test_channels_that_have_no_counterpart_are_not_mapped_back(rng):
    values = rng.normal(size=(3, 30, 40))
    with pytest.raises(ValueError, match="normalize_per_channel=False"):
        daskpatch.plan(
            values, lambda b: b[:, :2], axes="CYX", patch_size=16, normalize="zscore",
            denormalize=True,
        )  # fmt: skip


def test_an_image_of_one_value_is_no_division_by_zero():
    plan = daskpatch.plan(
        np.full((20, 20), 7, "u1"), np.positive, axes="YX", patch_size=16, normalize="zscore"
    )
    assert not plan.view[...].any()
