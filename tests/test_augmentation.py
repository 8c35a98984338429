"""Tiles predicted in several positions: the mean of the results, turned back."""

import itertools

import numpy as np
import pytest

import daskpatch
from daskpatch.model import as_augment, positions


def lopsided(batch):
    """Looks up and left, and further along X: no position gives what another gives."""
    result = batch.astype("f4").copy()
    result[..., 1:, :] += 2 * batch[..., :-1, :]
    result[..., :, 2:] -= 3 * batch[..., :, :-2]
    return result


KINDS = ["flips", "rot90", ("flips", "rot90")]


def by_hand(values, kinds):
    """The mean over all distinct symmetries, of a whole image, its axes turned by hand."""
    ndim = values.ndim
    axes = list(range(ndim))
    flips = [
        chosen
        for r in range(ndim + 1)
        for chosen in itertools.combinations(axes, r)
        if "flips" in kinds or not chosen
    ]
    seen, results = set(), []
    marks = np.arange(values.size).reshape(values.shape)
    for turns in range(4) if "rot90" in kinds else [0]:
        for chosen in flips:
            mark = np.flip(np.rot90(marks, turns, axes=(-2, -1)), chosen)
            if mark.tobytes() in seen:
                continue
            seen.add(mark.tobytes())
            turned = np.flip(np.rot90(values, turns, axes=(-2, -1)), chosen)
            result = lopsided(turned[None, None])[0, 0]
            results.append(np.rot90(np.flip(result, chosen), -turns, axes=(-2, -1)))
    return np.mean(results, axis=0), len(results)


@pytest.mark.parametrize("kinds", KINDS, ids=str)
@pytest.mark.parametrize("shape", [(24, 24), (6, 24, 24)], ids=str)
def test_the_mean_over_all_positions(rng, kinds, shape):
    values = rng.normal(size=shape).astype("f4")
    plan = daskpatch.plan(
        values, lopsided, axes="ZYX"[-len(shape) :], patch_size=shape, augment=kinds
    )
    expected, count = by_hand(values, as_augment(kinds))
    assert count == len(positions(as_augment(kinds), len(shape)))
    assert np.allclose(plan.view[...], expected, atol=1e-5)
    assert str(count) in repr(plan)


@pytest.mark.parametrize("kinds", KINDS, ids=str)
def test_tiles_give_what_the_whole_image_gives(rng, kinds):
    values = rng.normal(size=(50, 50)).astype("f4")

    def view(patch_size, overlaps):
        return daskpatch.plan(
            values, lopsided, axes="YX", patch_size=patch_size, overlaps=overlaps, augment=kinds
        ).view[...]

    assert np.allclose(view(16, 4), view(50, 0), atol=1e-5)


def test_integers_are_averaged_as_floats():
    values = np.arange(64, dtype="uint8").reshape(8, 8)
    plan = daskpatch.plan(
        values,
        lambda batch: (batch == batch[..., :1, :1]).astype("uint8"),
        axes="YX",
        patch_size=8,
        augment="flips",
        dtype="float32",
    )
    assert plan.view[0, 0] == 0.25


def test_it_is_part_of_the_fingerprint(tmp_path):
    values = np.zeros((16, 16), "u1")
    options = {"axes": "YX", "patch_size": 8, "chunks": 8}
    daskpatch.predict(values, lopsided, tmp_path / "o.zarr", **options, progress=False)
    with pytest.raises(ValueError, match="augment"):
        daskpatch.predict(
            values, lopsided, tmp_path / "o.zarr", **options, augment="flips", resume=True,
            progress=False,
        )  # fmt: skip


@pytest.mark.parametrize("value", ["flip", ("flips", "turn"), 4, {"flips": 1}])
def test_what_is_no_augmentation(value):
    with pytest.raises(ValueError, match="augment"):
        daskpatch.plan(np.zeros((9, 9)), lopsided, axes="YX", patch_size=8, augment=value)


def test_turned_tiles_that_the_model_does_not_take_are_told():
    def wide(batch):
        assert batch.shape[-1] >= batch.shape[-2], "wide tiles only"
        return batch

    with pytest.raises(daskpatch.ModelError, match="wide tiles only"):
        daskpatch.plan(np.zeros((9, 18)), wide, axes="YX", patch_size=(8, 16), augment="rot90")
