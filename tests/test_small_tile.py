"""Plans that know which sizes a model takes call it on a small tile; whole tiles are remembered."""

import json
import warnings

import numpy as np
import platformdirs
import pytest
from scipy import ndimage

import daskpatch

SHAPE = (700, 600)
"""Of an image whose tile has many times the voxels of a small one."""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / "cache" / name)


@pytest.fixture
def given(tmp_path):
    """A model that tells a file what shapes it is given, and adds what another file says."""
    shapes, added = tmp_path / "shapes", tmp_path / "added"
    shapes.write_text("")
    added.write_text("0")

    def model(batch):
        with shapes.open("a") as told:
            print(*batch.shape[2:], file=told)
        return ndimage.uniform_filter(batch, (0, 0, 3, 3)) + float(added.read_text())

    def since():
        lines = shapes.read_text().splitlines()
        shapes.write_text("")
        return [tuple(map(int, line.split())) for line in lines]

    return model, since, added


@pytest.fixture
def image():
    return np.random.default_rng(0).random(SHAPE, "f4")


def test_a_plan_that_is_made_again_calls_the_model_on_a_small_tile_alone(tmp_path, given, image):
    model, since, _ = given

    def planned(output, **options):
        options = {"axes": "YX", "patch_size": "auto", "threads": 1, **options}
        return daskpatch.plan(image, model, tmp_path / output, **options)

    first = planned("a.zarr")
    assert first.tile_shape in since()
    again = planned("b.zarr")
    assert since() == [(181, 181)]
    assert again.patching == first.patching
    assert again.peak_memory == first.peak_memory
    assert again.model_seconds == first.model_seconds
    planned("c.zarr", cache_probe=False)
    assert first.tile_shape in since()


def test_a_record_tells_the_small_tile_and_any_plan_of_its_tiles_goes_on(tmp_path, given, image):
    model, since, added = given
    output = tmp_path / "out.zarr"
    chosen = daskpatch.plan(image, model, output, axes="YX", patch_size="auto", threads=1)
    chosen.run(progress=False)
    record = json.loads((output / ".daskpatch/run.json").read_text())
    assert record["identity"]["cut"] == [181, 181]
    since()

    def resumed():
        given_sizes = {
            name: getattr(chosen.patching, name) for name in ("patch_size", "overlaps", "align")
        }
        plan = daskpatch.plan(image, model, output, axes="YX", threads=1, **given_sizes)
        return plan.run(progress=False, resume=True)

    assert resumed().done == 0
    assert (181, 181) in since()
    added.write_text("1")
    with pytest.raises(ValueError, match="gives other values than"):
        resumed()


@pytest.mark.parametrize("kind", ["fails", "random"])
def test_a_model_that_gives_nothing_to_compare_is_not_gone_on_with(tmp_path, image, kind):
    is_other, output = [], tmp_path / "out.zarr"

    def model(batch):
        if not is_other:
            return batch
        if kind == "fails" and min(batch.shape[2:]) < 256:
            raise ValueError("too small")
        return batch + (np.random.random(batch.shape).astype("f4") if kind == "random" else 1)

    probe = daskpatch.probe(model, ndim=2, seconds=0)
    options = {"axes": "YX", "patch_size": 300, "overlaps": 2, "model_id": "1"}
    begun = daskpatch.plan(image, model, output, probe=probe, **options)
    begun.run(progress=False, part=(1, 2))
    is_other.append(True)
    for known in ({"probe": probe}, {}):
        with pytest.raises(ValueError, match="gives other ones when it is called again, or fails"):
            daskpatch.plan(image, model, output, **known, **options).run(resume=True)


def test_a_record_of_the_whole_tile_is_gone_on_with_by_a_plan_of_a_small_one(
    tmp_path, given, image
):
    model, since, added = given
    output = tmp_path / "out.zarr"
    sizes = {"patch_size": 300, "overlaps": 2}
    daskpatch.plan(image, model, output, axes="YX", **sizes).run(progress=False)
    record = json.loads((output / ".daskpatch/run.json").read_text())
    assert record["identity"]["cut"] is None
    probe = daskpatch.probe(model, ndim=2, seconds=0)
    plan = daskpatch.plan(image, model, output, axes="YX", probe=probe, **sizes)
    since()
    assert plan.run(progress=False, resume=True).done == 0
    assert set(since()) == {(300, 300)}
    added.write_text("1")
    plan = daskpatch.plan(image, model, output, axes="YX", probe=probe, **sizes)
    with pytest.raises(ValueError, match="gives other values than"):
        plan.run(progress=False, resume=True)


@pytest.mark.parametrize("least", [0, 300])
def test_ids_are_looked_for_in_whole_tiles_each_time(image, least):
    def labels(batch):
        if batch.shape[-1] < least:  # as where the middle of a tile is empty
            return batch * 0
        return np.stack([[ndimage.label(one[0] > 0.99)[0]] for one in batch]).astype("f4")

    image = ndimage.uniform_filter(image, 5) * 1.7
    sizes = {"patch_size": 300, "overlaps": 50}
    probe = daskpatch.probe(lambda batch: batch, ndim=2, seconds=0)
    for _ in range(2):
        with pytest.warns(UserWarning, match="ids"):
            daskpatch.plan(image, labels, axes="YX", probe=probe, **sizes)


@pytest.fixture
def with_a_hole():
    """An image, of which the middle of a tile of 300 tells nothing."""
    values = np.random.default_rng(0).random((1400, 1400), "f4")
    values[560:850, 560:850] = 0
    return values


def test_ids_are_looked_for_in_each_image_whatever_another_one_showed(with_a_hole):
    """A small tile of the second image, and the whole one of the first, are empty."""

    def labels(batch):
        return np.stack([[ndimage.label(one[0] > 0.9)[0]] for one in batch]).astype("f4")

    probe = daskpatch.probe(lambda batch: batch, ndim=2, seconds=0)
    options = {"axes": "YX", "patch_size": 300, "overlaps": 50, "probe": probe}
    smooth = ndimage.uniform_filter(with_a_hole, 5) * 1.5
    daskpatch.plan(np.zeros_like(smooth), labels, **options)
    with pytest.warns(UserWarning, match="ids"):
        daskpatch.plan(smooth, labels, **options)


@pytest.mark.parametrize("image", ["the same", "an empty one"])
def test_a_model_that_mixes_tiles_is_seen_where_they_are_empty(with_a_hole, image):
    def mixing(batch):
        return ndimage.uniform_filter(batch, 3)

    first = with_a_hole if image == "the same" else np.zeros_like(with_a_hole)
    probe = daskpatch.probe(mixing, ndim=2, seconds=0)
    options = {"axes": "YX", "patch_size": 300, "overlaps": 2, "probe": probe}
    daskpatch.plan(first, mixing, batch_size=1, **options)
    for given in (first, with_a_hole):
        with pytest.raises(RuntimeError, match="when another tile is in its batch"):
            daskpatch.plan(given, mixing, batch_size=4, **options)


@pytest.mark.parametrize("value", [0, 1, 255])
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float16"])
def test_batches_of_background_of_any_dtype_are_looked_at(dtype, value):
    def mixing(batch):
        return batch | batch[::-1] if dtype == "bool" else np.maximum(batch, batch[::-1])

    image = np.full((64, 64), value, "u1")
    options = {"axes": "YX", "patch_size": 32, "batch_size": 4, "input_dtype": dtype}
    options["dtype"] = "float32"
    assert daskpatch.plan(image, lambda batch: batch, **options).n_tiles
    if value == 0:
        with pytest.raises(RuntimeError, match="when another tile is in its batch"):
            daskpatch.plan(image, mixing, **options)


def smooth_along_the_batch(batch):
    return ndimage.uniform_filter1d(batch, 2, axis=0)


def normalised_together(batch):
    return (batch - batch.min()) / (np.ptp(batch) + 1e-6)


def centred_together(batch):
    return batch - batch.mean()


def carried_on(batch):
    return np.cumsum(batch, 0)


def by_the_third(batch):
    return batch - batch[2].mean() if len(batch) > 2 else batch


def by_the_brightest(batch):
    return batch / batch.max()


@pytest.mark.parametrize(
    "mixing",
    [
        smooth_along_the_batch,
        normalised_together,
        centred_together,
        carried_on,
        by_the_third,
        by_the_brightest,
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_whatever_else_is_in_a_batch_changes_no_tile(rng, mixing, dtype):
    image = rng.gamma(2, 30, (64, 64)).clip(0, 255).astype(dtype)
    options = {"axes": "YX", "patch_size": 16, "overlaps": 0, "batch_size": 4}
    with pytest.raises(RuntimeError, match="when another tile is in its batch"):
        daskpatch.plan(image, mixing, **options)


@pytest.mark.parametrize("mixing", [centred_together, normalised_together, carried_on])
@pytest.mark.parametrize("factor", [1, 100])
def test_a_channel_that_mixes_tiles_is_seen_beside_large_values(rng, mixing, factor):
    image = rng.gamma(2, 30, (64, 64)).astype("f4")

    def both(batch):
        return np.concatenate([batch * np.float32(factor), mixing(batch)], 1)

    options = {"axes": "YX", "patch_size": 16, "overlaps": 0, "batch_size": 4}
    with pytest.raises(RuntimeError, match="when another tile is in its batch"):
        daskpatch.plan(image, both, **options)


def test_a_channel_of_next_to_nothing_may_be_rounded_otherwise(rng):
    def with_a_dead_channel(batch):
        # As convolutions do: what is rounded depends on how many tiles there are.
        nothing = batch * np.float32(1 + 1e-7 * len(batch)) - batch
        return np.concatenate([batch, nothing], 1)

    image = rng.gamma(2, 30, (64, 64)).astype("f4")
    options = {"axes": "YX", "patch_size": 16, "overlaps": 0, "batch_size": 4}
    assert daskpatch.plan(image, with_a_dead_channel, **options).n_tiles


@pytest.mark.parametrize("value", [-1000.0, 0.0, 0.1, 30_000.0])
def test_a_network_that_normalises_each_tile_may_see_background(value):
    def normalised(batch):
        # As convolutions do: what is rounded depends on how many tiles there are.
        smooth = batch * np.float32(1 + 1e-7 * len(batch))
        mean = smooth.mean((2, 3), keepdims=True)
        return (smooth - mean) / np.sqrt(smooth.var((2, 3), keepdims=True) + 1e-5)

    image = np.full((64, 64), value, "f4")
    image[:8] += np.linspace(0, 50, 64, dtype="f4")
    options = {"axes": "YX", "patch_size": 16, "overlaps": 0, "batch_size": 4}
    assert daskpatch.plan(image, normalised, **options).n_tiles


@pytest.mark.parametrize("dtype", ["int8", "int16", "int64"])
def test_tiles_may_have_the_whole_range_of_integers(dtype):
    info = np.iinfo(dtype)
    image = np.full((64, 64), info.min, dtype)
    image[::2, ::3] = info.max
    options = {"axes": "YX", "patch_size": 16, "batch_size": 4, "input_dtype": dtype}
    with warnings.catch_warnings(action="error"):
        assert daskpatch.plan(image, lambda batch: batch, **options).n_tiles


def test_a_model_that_mixes_tiles_since_is_looked_at_again(with_a_hole):
    class Mode:
        training = False

    def model(batch):
        axes = (0, 2, 3) if Mode.training else (2, 3)
        return batch - batch.mean(axes, keepdims=True)

    options = {"axes": "YX", "patch_size": 100, "batch_size": 2, "model_id": "by mode"}
    daskpatch.plan(with_a_hole, model, **options)
    Mode.training = True
    with pytest.raises(RuntimeError, match="when another tile is in its batch"):
        daskpatch.plan(with_a_hole, model, **options)


def test_a_probe_of_another_model_is_not_believed_about_sizes(image):
    shapes = []

    def large(batch):
        shapes.append(batch.shape[2:])
        if min(batch.shape[2:]) < 256:
            raise ValueError("too small")
        return batch

    probe = daskpatch.probe(lambda batch: batch, ndim=2, seconds=0)
    plan = daskpatch.plan(image, large, axes="YX", patch_size=300, overlaps=2, probe=probe)
    np.testing.assert_array_equal(plan.view[...], image)
    assert (181, 181) in shapes


def test_what_post_makes_is_seen_on_a_whole_tile(image):
    shapes = []

    def model(batch):
        shapes.append(batch.shape[2:])
        return batch

    probe = daskpatch.probe(lambda batch: batch, ndim=2, seconds=0)
    daskpatch.plan(image, model, axes="YX", patch_size=300, probe=probe, post=lambda block: block)
    assert set(shapes) == {(300, 300)}


def test_a_small_tile_has_the_size_that_a_network_takes(tmp_path):
    shapes = []

    def strided(batch):
        shapes.append(batch.shape[2:])
        if any(n % 64 for n in batch.shape[2:]):
            raise ValueError("multiples of 64")
        return batch

    volume = np.zeros((256, 256, 256), "f4")
    probe = daskpatch.probe(strided, ndim=3, seconds=0)
    shapes.clear()
    daskpatch.plan(volume, strided, tmp_path / "out.zarr", axes="ZYX", patch_size=256, probe=probe)
    assert set(shapes) == {(256, 256, 256), (64, 64, 64)}
