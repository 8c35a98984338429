"""What images are like: exact, whatever the order, the chunks and the offset."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from volumes import save

from daskpatch import open_image
from daskpatch.statistics import measure, statistics_of
from daskpatch.statistics.moments import Moments
from daskpatch.statistics.percentiles import Percentiles, float_edges, float_keys
from daskpatch.values import Normalize, Statistics

DTYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int64", "float32", "float64"]


def found(values, kind, **settings):
    """Of one array with one channel."""
    statistics = statistics_of(values[None], Normalize(kind, **settings))
    return statistics.offset[0], statistics.scale[0], statistics.error[0]


def arrays(dtype):
    kind = np.dtype(dtype).kind
    elements = (
        {"min_value": -1_000_000, "max_value": 1_000_000, "allow_nan": False}
        if kind == "f"
        else None
    )
    return hnp.arrays(dtype, hnp.array_shapes(max_dims=3, max_side=9), elements=elements)


def without_vanishing_squares(values):
    """Smaller values have no deviation in double precision, NumPy's neither."""
    return np.where(np.abs(values.astype("f8")) < 1e-100, values.dtype.type(0), values)


@given(st.sampled_from(DTYPES).flatmap(arrays).map(without_vanishing_squares))
def test_mean_and_deviation_are_numpys(values):
    mean, deviation, error = found(values, "zscore")
    exact = values.astype("longdouble")
    # Large values that cancel out leave a mean as far off as their own last digits are.
    rounding = float(np.finfo("f8").eps * np.abs(exact).max())
    assert mean == pytest.approx(float(exact.mean()), rel=1e-12, abs=max(rounding, 1e-12))
    expected = float(exact.std())
    assert deviation == pytest.approx(
        expected or 1.0, rel=1e-9, abs=1e-9 * float(np.abs(exact).max())
    )
    assert error == 0


@given(st.sampled_from(DTYPES).flatmap(arrays))
def test_the_extremes(values):
    low, distance, _ = found(values, "minmax")
    assert low == float(values.min())
    assert distance == pytest.approx(float(values.max()) - float(values.min()) or 1.0)


@given(
    st.sampled_from(["uint8", "int8", "uint16", "int16", "bool"]).flatmap(arrays),
    st.tuples(st.floats(0, 100), st.floats(0, 100)).filter(lambda p: p[0] < p[1]),
)
def test_percentiles_of_short_integers_are_exact(values, percentiles):
    low, distance, error = found(values, ("percentile", *percentiles))
    a, b = np.percentile(values.astype("f8"), percentiles)
    assert low == pytest.approx(a, abs=1e-9 * 65536)
    assert distance == pytest.approx(b - a or 1.0, abs=1e-8 * 65536) or b - a < 1e-9
    assert error == 0


@given(
    st.sampled_from(["uint32", "int64", "float32", "float64"]).flatmap(arrays),
    st.tuples(st.floats(0, 100), st.floats(0, 100)).filter(lambda p: p[0] < p[1]),
)
def test_other_percentiles_are_as_near_as_they_say(values, percentiles):
    low, distance, error = found(values, ("percentile", *percentiles))
    a, b = np.percentile(values.astype("f8"), percentiles)
    largest = float(np.abs(values.astype("f8")).max())
    assert abs(low - a) <= error + 1e-9 * largest
    if distance != 1.0:
        assert abs(low + distance - b) <= error + 1e-9 * largest
    assert error <= largest * 2**-11 + 1e-37


@given(hnp.arrays("f4", 50, elements=st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_keys_are_in_the_order_of_floats(values):
    keys = float_keys(values)
    order = np.argsort(values, kind="stable")
    assert np.all(np.diff(keys[order]) >= 0)
    for value, key in zip(values, keys, strict=True):
        low, high = float_edges([key, key + 1])
        assert low <= value <= high


@pytest.mark.parametrize("offset", [0.0, 1e6, -1e9, 1e12])
def test_a_large_offset_loses_nothing(rng, offset):
    """Sums of squares in float64 would be off by more than the deviation itself."""
    values = offset + rng.normal(size=200_000)
    mean, deviation, _ = found(values, "zscore")
    assert mean - offset == pytest.approx(
        (values - offset).mean(), abs=1e-3 * abs(offset) * 1e-12 + 1e-9
    )
    assert deviation == pytest.approx((values - offset).std(), rel=1e-9)


@pytest.mark.parametrize("value", [447214.56165322, 0.1, 1e-30, 3e38, 1e300, -7.3])
@pytest.mark.parametrize("count", [5, 7, 4096])
def test_an_image_of_one_value_has_no_deviation(value, count):
    """One of 1e-24, left by rounding, would make noise of its voxels."""
    values = np.full(count, value)
    assert found(values, "zscore") == (pytest.approx(value, rel=1e-15), 1.0, 0.0)
    assert found(np.full(count, value % 1e38, "f4"), "zscore")[1] == 1.0


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "u8"])
@pytest.mark.parametrize("value", [447214, 1, 0, 3**18])
def test_percentiles_of_an_image_of_one_value_are_that_value(value, dtype):
    values = np.full(4096, value, dtype)
    assert found(values, "percentile") == (float(values[0]), 1.0, 0.0)


@given(hnp.arrays("f8", 30, elements=st.floats(-1e6, 1e6)))
def test_no_percentile_lies_beyond_the_values(values):
    low, distance, _ = found(values, ("percentile", 0, 100))
    assert low >= values.min()
    assert low + distance <= values.max() + 1e-9 or distance == 1.0


def test_percentiles_go_on_from_counts_that_know_no_extremes(rng):
    values = rng.normal(size=5000)
    whole, begun, rest = (Percentiles(values.dtype, (1, 99)) for _ in range(3))
    whole.add(values)
    begun.add(values[:2000])
    rest.add(values[2000:])
    rest.merge(begun.state()[:2])
    assert rest.found() == whole.found()


def test_as_stable_for_many_voxels_as_for_few():
    """10^12 voxels, as a million parts of a million: added up by doubling."""
    part = Moments()
    rng = np.random.default_rng(0)
    values = 30_000 + rng.normal(0, 0.5, 10**6)
    part.add(values)
    mean, deviation, _ = part.found()
    for _ in range(20):
        part.merge(part.state())
    assert part.count == 10**6 * 2**20
    assert part.found() == (mean, deviation, 0.0)


@pytest.mark.parametrize("top", [1e149, 1e155, 1e306, np.finfo("f8").max])
def test_values_whose_squares_are_beyond_all_floats(rng, top):
    values = (rng.random((1, 40, 50)) * 2 - 1) * top
    found = statistics_of(values, Normalize("zscore"))
    expected = values / top
    np.testing.assert_allclose(found.offset[0] / top, expected.mean(), rtol=1e-9)
    np.testing.assert_allclose(found.scale[0] / top, expected.std(), rtol=1e-12)


def test_a_range_beyond_all_floats_is_refused():
    values = np.array([[[-1.7e308, 0.0, 1.7e308]]])
    with pytest.raises(ValueError, match=r"from -1\.7e\+308 to 1\.7e\+308.*constants"):
        statistics_of(values, Normalize("minmax"))


@pytest.mark.parametrize("value", [np.float32("inf"), np.float16("nan"), np.float64("-inf")])
@pytest.mark.parametrize("name", ["mean", "std"])
def test_constants_of_numpy_are_finite_too(name, value):
    with pytest.raises(ValueError, match=name):
        Normalize({"mean": 0, "std": 1} | {name: value})


def test_the_order_of_parts_does_not_matter(rng):
    parts = [rng.normal(1e6, 1e-2, 1000).astype("f4") * 10**k for k in range(-3, 4)]
    results = set()
    for _ in range(5):
        rng.shuffle(parts)
        total = Moments()
        for values in parts:
            one = Moments()
            one.add(values)
            total.merge(one.state())
        results.add(total.found())
    assert len(results) == 1


def test_values_that_are_not_finite_do_not_count(rng):
    values = rng.normal(size=(40, 40)).astype("f4")
    holes = values.copy()
    holes[::3] = np.nan
    holes[1, :5] = np.inf
    rest = holes[np.isfinite(holes)]
    for kind in ("zscore", "minmax", "percentile"):
        assert found(holes, kind) == found(rest, kind)
    assert found(np.full((3, 3), np.nan, "f4"), "zscore") == (0.0, 1.0, 0.0)


@pytest.mark.parametrize("kind", ["zscore", "minmax", "percentile"])
@pytest.mark.parametrize("threads", [1, 4])
def test_out_of_core_it_is_the_same(tmp_path, rng, kind, threads):
    values = rng.integers(0, 5000, (2, 3, 41, 52, 63)).astype("uint16")
    save(tmp_path / "a.zarr", values, chunks=(1, 1, 16, 16, 16), dimension_names=list("tczyx"))
    image = open_image(tmp_path / "a.zarr")
    (statistics,) = measure([image], Normalize(kind), threads=threads)
    for channel in range(3):
        offset, scale, error = found(values[:, channel], kind)
        assert (statistics.offset[channel], statistics.scale[channel]) == (offset, scale)
        assert statistics.error[channel] == error
    assert statistics.voxels == (2 * 41 * 52 * 63,) * 3
    assert statistics.fraction == 1.0


def test_channels_and_images_together(rng):
    images = [
        open_image(rng.integers(k, 900 * k, (2, 30, 40)).astype("uint16"), axes="CYX")
        for k in (1, 5)
    ]
    arrays = [image.array.array for image in images]
    each = measure(images, Normalize("minmax"), threads=2)
    assert [s.offset for s in each] == [tuple(a.min((1, 2)).tolist()) for a in arrays]
    series = measure(images, Normalize("minmax", over="series"), threads=2)
    assert series[0] == series[1]
    assert series[0].offset == tuple(np.minimum(*(a.min((1, 2)) for a in arrays)).tolist())
    one = measure(images, Normalize("zscore", over="series", per_channel=False), threads=2)
    everything = np.concatenate([a.ravel() for a in arrays])
    assert one[0].offset == pytest.approx((everything.mean(),))
    assert one[0].scale == pytest.approx((everything.std(),))


def test_a_fraction_is_read_and_stated(tmp_path, rng):
    values = rng.normal(size=(128, 128)).astype("f4")
    save(tmp_path / "a.zarr", values, chunks=(16, 16), dimension_names=["y", "x"])
    image = open_image(tmp_path / "a.zarr")
    read = []
    (statistics,) = measure(
        [image], Normalize("zscore", fraction=0.25), threads=2, advance=read.append
    )
    assert sum(read) == sum(statistics.voxels) == 128 * 128 // 4
    assert statistics.fraction == 0.25
    assert abs(statistics.offset[0] - values.mean()) < 0.05


def test_a_cluster_measures_too(stored, volume, processes):
    image = open_image(stored)
    (here,) = measure([image], Normalize("percentile"), threads=2)
    (there,) = measure([image], Normalize("percentile"), threads=1, client=processes)
    assert here == there
    assert here.offset == (np.percentile(volume, 1),)


def test_they_travel_as_json(rng):
    statistics = statistics_of(rng.normal(size=(2, 9, 9)), Normalize("percentile"))
    assert msgspec.convert(statistics.to_dict(), Statistics) == statistics
    assert "low" in str(statistics)
