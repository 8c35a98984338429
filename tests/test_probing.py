"""The probe on models whose reach and grid are known."""

import json
import math
import time
import warnings

import numpy as np
import pytest
from example_models import gaussian, standardised
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from volumes import save

import daskpatch
from daskpatch.probing.influence import farthest
from daskpatch.probing.sizes import AxisSizes


def each(function):
    """A model that applies a function of one (Z)YX channel to each."""

    def model(batch):
        return np.stack([np.stack([function(channel) for channel in image]) for image in batch])

    return model


def shifted_sum(before, behind):
    """Along X: the sum of a voxel, of some before it and of some behind it."""

    def model(batch):
        width = ((0, 0),) * (batch.ndim - 1)
        padded = np.pad(batch, (*width, (before, behind)))
        n = batch.shape[-1]
        return sum(padded[..., i : i + n] for i in range(before + behind + 1))

    return model


def blocky(batch):
    """The mean of each cell of 3 voxels along Y, and of 4 along X."""
    n, c, y, x = batch.shape
    if y % 3 or x % 4:
        raise ValueError("sizes of multiples of 3 and 4")
    cells = batch.reshape(n, c, y // 3, 3, x // 4, 4).mean((3, 5), keepdims=True)
    return np.broadcast_to(cells, (n, c, y // 3, 3, x // 4, 4)).reshape(batch.shape).copy()


FILTERS = {
    "identity": (lambda c: c, 0),
    "gaussian": (lambda c: ndimage.gaussian_filter(c, 1.5), 6),
    "median": (lambda c: ndimage.median_filter(c, 5), 2),
    "opening": (lambda c: ndimage.grey_opening(c, 3), 2),
    "mean": (lambda c: ndimage.correlate(c, np.ones((3,) * c.ndim)), 1),
    "threshold": (lambda c: (ndimage.maximum_filter(c, 7) > 2).astype("uint8"), 3),
}


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("name", FILTERS)
def test_filters(name, ndim):
    function, reach = FILTERS[name]
    found = daskpatch.probe(each(function), ndim=ndim, seconds=0)
    assert found.halo == (reach,) * ndim
    assert found.align == (1,) * ndim
    assert found.min_size == (1,) * ndim
    assert not found.is_global


@pytest.mark.parametrize(("before", "behind"), [(0, 0), (3, 0), (0, 5), (1, 2)])
def test_the_sides_of_the_halo(before, behind):
    found = daskpatch.probe(shifted_sum(before, behind), ndim=2, seconds=0)
    assert found.halo_sides == ((0, 0), (before, behind))
    assert found.halo == (0, max(before, behind))


def test_sizes_of_a_model_that_wants_about_as_much_along_each_axis():
    def model(batch):
        if max(batch.shape[2:]) > 4 * min(batch.shape[2:]):
            raise ValueError("too long for its breadth")
        return batch

    found = daskpatch.probe(model, ndim=2, seconds=0)
    assert [size.step for size in found.sizes] == [1, 1]


def cropped(function, most):
    """A model of whose result the outermost voxels are cut off."""

    def model(batch):
        if min(batch.shape[2:]) <= 2 * most:
            raise ValueError("too small")
        result = each(function)(batch)
        return result[(..., *[slice(most, -most)] * (batch.ndim - 2))]

    return model


def test_so_much_may_be_cut_off_that_small_images_have_no_result():
    model = cropped(lambda c: ndimage.uniform_filter(c, 7), 40)
    found = daskpatch.probe(model, ndim=2, seconds=0, tolerance=1e-4)
    assert found.halo_sides == ((3, 3), (3, 3))


def blanked(function, most):
    """A model that gives 0 near the ends of an image."""

    def model(batch):
        result = np.zeros_like(batch)
        inside = (..., *[slice(most, -most)] * (batch.ndim - 2))
        result[inside] = each(function)(batch)[inside]
        return result

    return model


@pytest.mark.parametrize("edge", [cropped, blanked])
@pytest.mark.parametrize(("reach", "most"), [(3, 10), (3, 24), (12, 24)])
def test_a_model_that_gives_nothing_near_the_ends(edge, reach, most):
    model = edge(lambda c: ndimage.uniform_filter(c, 2 * reach + 1), most)
    found = daskpatch.probe(model, ndim=2, seconds=0, tolerance=1e-4)
    # What is blank at the ends of a tile is not what the whole image has there.
    halo = reach if edge is cropped else most
    assert found.halo_sides == ((halo, halo), (halo, halo))


def padded_with_its_edge(batch):
    few = each(lambda c: ndimage.uniform_filter(c, 5))(batch)[..., 9:-9, 9:-9]
    return np.pad(few, [(0, 0), (0, 0), (9, 9), (9, 9)], mode="edge")


def faded_at_its_ends(batch):
    window = np.minimum(np.arange(batch.shape[-1]), np.arange(batch.shape[-1])[::-1])
    return each(lambda c: ndimage.uniform_filter(c, 5))(batch) * np.clip(window / 9, 0, 1)


@pytest.mark.parametrize(
    ("model", "halo"), [(padded_with_its_edge, (9, 9)), (faded_at_its_ends, (2, 9))]
)
def test_what_a_model_makes_up_at_the_ends_of_a_tile_is_no_result(model, halo):
    assert daskpatch.probe(model, ndim=2, seconds=0, tolerance=1e-4).halo == halo


def test_a_model_that_gives_nothing_for_short_images_is_given_longer_ones():
    def model(batch):
        result = each(lambda c: ndimage.uniform_filter(c, 21))(batch)
        result[..., :40, :] = result[..., -40:, :] = 0
        return result

    assert daskpatch.probe(model, ndim=2, seconds=0, tolerance=1e-4).halo == (40, 10)


def test_what_masks_show_seldom_is_looked_for_in_more_of_them(rng):
    noise = ndimage.gaussian_filter(rng.normal(size=(320, 320)), 5)
    mask = (noise > 0.05).astype("f4")
    model = each(lambda c: ndimage.binary_erosion(c > 0.5, iterations=4).astype("f4"))
    found = daskpatch.probe(model, ndim=2, sample=mask, seconds=0)
    assert found.halo == (4, 4)
    assert found.shows_little
    assert "as far as was seen" in found.advice


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32"])
@pytest.mark.parametrize("function", [ndimage.maximum_filter, ndimage.minimum_filter])
def test_filters_of_integers(dtype, function):
    model = each(lambda c: function(c, (5, 9)))
    assert daskpatch.probe(model, ndim=2, input_dtype=dtype, seconds=0).halo == (2, 4)


@pytest.mark.parametrize("reach", [40, 90, 200])
def test_images_grow_until_the_influence_ends_inside(reach):
    assert daskpatch.probe(shifted_sum(reach, 1), ndim=2, seconds=0).halo == (0, reach)


def counting(model):
    def counted(batch):
        counted.calls += 1
        return model(batch)

    counted.calls = 0
    return counted


def test_a_slow_machine_finds_the_same(monkeypatch):
    """What takes long is looked at all the same: a busy machine must not call a model global."""
    model = counting(shifted_sum(90, 1))
    quick = daskpatch.probe(model, ndim=2, seconds=0)
    n_calls = model.calls
    clock = time.perf_counter
    monkeypatch.setattr(time, "perf_counter", lambda: 1e6 * clock())
    slow = daskpatch.probe(model, ndim=2, seconds=0)
    assert slow == quick
    assert slow.halo == (0, 90)
    assert model.calls == 2 * n_calls


@pytest.mark.parametrize("offset", [3, -40])
def test_a_look_that_leaps_over_what_is_near(offset):
    """Of a result that depends on one plane far away, and on nothing between."""

    def model(batch):
        near, far = max(-offset, 0), max(offset, 0)
        width = ((0, 0),) * (batch.ndim - 1)
        return np.pad(batch, (*width, (far, near)))[..., near : near + batch.shape[-1]]

    found = daskpatch.probe(model, ndim=2, seconds=0)
    assert found.halo_sides[1] == (max(offset, 0), max(-offset, 0))


@given(
    ends=st.lists(st.integers(0, 9), min_size=1, max_size=16),
    enough=st.sampled_from([6, math.inf]),
)
def test_the_place_that_sees_farthest_is_found_without_asking_all(ends, enough):
    """Whatever the ends of influences in one period, if only they never go back."""
    period = len(ends)
    last = np.maximum.accumulate([*ends, ends[0] + period])
    last = np.minimum(last, ends[0] + period)
    reaches = [max(int(end) - i, 0) for i, end in enumerate(last[:-1])]
    asked = []

    def look(i):
        asked.append(i)
        return (0.5,) * (reaches[i] + 1)

    found = len(farthest(look, period, 0.1, enough)) - 1
    assert found == max(reaches) or found >= enough
    assert len(asked) == len(set(asked))


@pytest.mark.parametrize(("model", "reach"), [(shifted_sum(90, 1), 90), (standardised, 150)])
def test_what_memory_ends_is_at_least_so_far_and_never_global(model, reach):
    def hungry(batch):
        if max(batch.shape[2:]) > 150:
            raise MemoryError("Unable to allocate 1 TiB")
        return model(batch)

    found = daskpatch.probe(hungry, ndim=2, seconds=0)
    assert found.is_cut_short
    assert not found.is_global
    assert 30 <= found.halo[1] <= reach
    assert "at least" in found.advice
    assert daskpatch.Probe.of(found.to_dict()) == found
    image = np.random.default_rng(0).random((140, 100), "f4")
    options = {"axes": "YX", "patch_size": "auto", "overlaps": "auto", "probe": found}
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        plan = daskpatch.plan(image, hungry, **options)
    assert ["at least" in str(each.message) for each in told] == [True] * (plan.n_tiles > 1)
    assert "at least" in str(plan)


def test_the_grid_and_the_sizes_of_a_model():
    found = daskpatch.probe(blocky, ndim=2, seconds=0)
    assert found.align == (3, 4)
    assert [(along.smallest, along.step) for along in found.sizes] == [(3, 3), (4, 4)]
    assert found.halo == (3, 4)


def test_a_global_model_is_told():
    found = daskpatch.probe(standardised, ndim=2, seconds=0)
    assert found.is_global
    assert found.align == (1, 1)
    assert 0.01 < found.effect < 10
    assert all(2 <= n <= 4 for n in found.halo)
    assert "no halo is exact" in repr(found)


def test_a_model_that_depends_on_the_position_is_told():
    def ramp(batch):
        return batch * np.linspace(1, 2, batch.shape[-1], dtype=batch.dtype)

    found = daskpatch.probe(ramp, ndim=2, seconds=0)
    assert found.align[1] is None
    assert "no tiling" in found.advice


def test_a_model_of_one_size():
    def fixed(batch):
        assert batch.shape[2:] == (32, 48)
        return batch

    with pytest.raises(ValueError, match="took no image"):
        daskpatch.probe(fixed, ndim=2, seconds=0)
    found = daskpatch.probe(fixed, ndim=2, patch_size=(32, 48), seconds=0)
    assert [(along.smallest, along.step) for along in found.sizes] == [(32, 0), (48, 0)]
    assert found.halo == (0, 0)
    assert {cost.tile for cost in daskpatch.probe(
        fixed, ndim=2, patch_size=(32, 48), seconds=1
    ).costs} == {(32, 48)}  # fmt: skip


def test_a_model_of_several_channels():
    found = daskpatch.probe(
        lambda batch: batch.sum(1, keepdims=True, dtype="f8"), ndim=3, channels=3, seconds=0
    )
    assert (found.channels, found.out_channels, found.dtype) == (3, 1, "float64")


@pytest.mark.parametrize("factor", [1.0, 1e3, 1e5])
@pytest.mark.parametrize("joined", [dict, np.concatenate])
def test_each_channel_has_its_own_scale(factor, joined):
    """A probability beside intensities: what it sees farthest is not lost in these."""

    def model(batch):
        smooth = ndimage.uniform_filter(batch, (0, 0, 13, 13), mode="nearest")
        parts = [batch * np.float32(factor), 1 / (1 + np.exp(-smooth))]
        return dict(zip("ab", parts, strict=True)) if joined is dict else joined(parts, 1)

    found = daskpatch.probe(model, ndim=2, seconds=0)
    assert found.halo == (6, 6)


def test_one_channel_that_shows_little_is_told_beside_others():
    def model(batch):
        return np.concatenate([batch, batch > 3], 1, dtype="f4")

    assert daskpatch.probe(model, ndim=2, seconds=0).shows_little


def test_several_arrays_are_looked_at_together():
    def both(batch):
        return {"near": batch, "far": gaussian(batch)}

    found = daskpatch.probe(both, ndim=2, seconds=0)
    assert (found.halo, found.out_channels) == ((4, 4), 2)


def test_no_larger_tiles_are_timed_than_are_of_interest():
    found = daskpatch.probe(gaussian, ndim=2, seconds=20, largest=20_000)
    tiles = [cost.tile[0] * cost.tile[1] for cost in found.costs]
    assert max(tiles) >= 20_000
    assert sorted(set(tiles))[-2] < 20_000


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float64"])
def test_the_dtype_that_the_model_is_given(dtype):
    def model(batch):
        assert batch.dtype == dtype
        return each(lambda channel: ndimage.minimum_filter(channel, 3))(batch)

    found = daskpatch.probe(model, ndim=2, input_dtype=dtype, seconds=0)
    assert found.halo == (1, 1)
    assert found.input_dtype == dtype


def test_what_only_the_data_shows_is_seen_in_a_sample(rng, tmp_path):
    """A model that looks around in bright places only."""

    def wary(batch):
        bright = batch > 500
        return np.where(bright, ndimage.maximum_filter(batch, (1, 1, 9, 9)), batch)

    sample = rng.integers(0, 1000, (96, 96)).astype("uint16")
    assert daskpatch.probe(wary, ndim=2, seconds=0).halo == (0, 0)
    assert daskpatch.probe(wary, ndim=2, sample=sample, seconds=0).halo == (4, 4)
    save(tmp_path / "s.zarr", sample, chunks=(32, 32), dimension_names=["y", "x"])
    assert daskpatch.probe(wary, ndim=2, sample=tmp_path / "s.zarr", seconds=0).halo == (4, 4)


def test_the_tolerance():
    """Influence that falls by half with every voxel never ends; it is small in the end."""

    def recursive(batch):
        result = batch.astype("f8")
        for i in range(1, batch.shape[-1]):
            result[..., i] += result[..., i - 1] / 2
        return result

    strict, usual, lax = (
        daskpatch.probe(recursive, ndim=2, tolerance=tolerance, seconds=0).halo[1]
        for tolerance in (1e-12, None, 1e-2)
    )
    assert 40 < strict < 60
    assert 20 < usual < 32
    assert 6 < lax < 20


def test_what_runs_out_of_memory_is_survived():
    def hungry(batch):
        if batch.size > 40_000:
            raise MemoryError("Unable to allocate 1 TiB")
        return batch

    found = daskpatch.probe(hungry, ndim=2, seconds=5)
    assert found.costs
    assert all(cost.batch * np.prod(cost.tile) <= 40_000 for cost in found.costs)


def test_costs_are_of_sizes_that_the_model_takes():
    found = daskpatch.probe(blocky, ndim=2, seconds=1)
    assert found.costs
    for cost in found.costs:
        assert cost.tile[0] % 3 == cost.tile[1] % 4 == 0
        assert cost.seconds > 0
        assert cost.voxels_per_second > 0


def test_a_probe_is_saved_and_loaded(tmp_path):
    found = daskpatch.probe(blocky, ndim=2, seconds=0.5)
    found.save(tmp_path / "probe.json")
    assert daskpatch.Probe.load(tmp_path / "probe.json") == found
    assert json.loads((tmp_path / "probe.json").read_text())["halo"] == [3, 4]
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ValueError, match="no saved probe"):
        daskpatch.Probe.load(tmp_path / "other.json")


def test_a_probe_shows_itself():
    found = daskpatch.probe(gaussian, ndim=2, seconds=0)
    assert "halo      4, 4" in repr(found)
    assert "<table>" in found._repr_html_()
    (axes,) = found.plot().axes
    assert len(axes.get_lines()) == 5


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ndim": 4}, "ndim is 4"),
        ({"tolerance": -1}, "tolerance is -1"),
        ({"tolerance": float("nan")}, "tolerance is nan"),
        ({"sample": np.zeros((2, 32, 32))}, r"shape \(2, 32, 32\)"),
        ({"sample": np.zeros((0, 32))}, "shape"),
        ({"patch_size": (32, 32, 32)}, "3 numbers for 2 spatial axes"),
        ({"patch_size": 0}, "at least 1"),
        ({"patch_size": 1.5}, "needed is an integer"),
        ({"ndim": True}, "ndim is True"),
        ({"channels": -1}, "at least 1"),
        ({"channels": "1"}, "channels"),
        ({"tolerance": "a"}, "tolerance is 'a'"),
        ({"seconds": float("nan")}, "seconds is nan"),
        ({"seconds": -1}, "seconds is -1"),
        ({"largest": 0}, "largest"),
        ({"input_dtype": object}, "input_dtype"),
        ({"input_dtype": "zz"}, "input_dtype"),
        ({"sample": np.array([["a"]])}, "needed are numbers"),
    ],
)
def test_what_a_probe_cannot_use(options, words):
    with pytest.raises(ValueError, match=words):
        daskpatch.probe(gaussian, **{"ndim": 2, **options})


def test_a_model_that_fails_says_why():
    def fails(batch):
        raise RuntimeError("expected 3 channels")

    with pytest.raises(ValueError, match="expected 3 channels"):
        daskpatch.probe(fails, ndim=2)


def test_sizes_of_a_model_with_margin_and_steps():
    valid = AxisSizes(smallest=12, step=16, scale=1, margin=4)
    assert [valid.at_least(n) for n in (1, 12, 13, 28, 29)] == [12, 12, 28, 28, 44]
    assert AxisSizes(smallest=64, step=0, scale=1, margin=0).at_least(100) == 64
