"""Models that number objects: ids are not averaged, and not stitched without a word."""

import warnings

import numpy as np
import pytest
from scipy import ndimage

import daskpatch

TILES = {"axes": "YX", "patch_size": 64, "overlaps": 32}

LABELS = "numbers the objects of each tile"


@pytest.fixture
def nuclei(rng):
    """A picture of some eighty spots."""
    return (ndimage.gaussian_filter(rng.normal(size=(200, 200)), 3) > 0.08).astype("f4")


@pytest.fixture
def noise(rng):
    return (rng.random((200, 200)) * 60_000).astype("uint16")


def labels(batch):
    return np.stack([ndimage.label(image[0])[0][None] for image in batch])


def classes(batch):
    return ndimage.uniform_filter(batch, (0, 0, 5, 5)).round().astype("uint8") * 3


@pytest.mark.parametrize("made", ["by the model", "by post", "none"])
def test_ids_that_post_makes_or_keeps_are_told_of(nuclei, made):
    def post(block):
        if made == "by post":
            return ndimage.label(block.reshape(block.shape[-2:]))[0].reshape(block.shape)
        return (block > 0).astype("u1") if made == "none" else block.astype("u2")

    def plan():
        model = np.copy if made == "by post" else labels
        return daskpatch.plan(nuclei, model, **TILES, post=post)

    if made == "none":
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            plan()
    else:
        with pytest.warns(UserWarning, match="post numbers the objects of each block, or keeps"):
            plan()


# Averages


@pytest.mark.parametrize("model", [labels, classes, lambda batch: batch > 0.5])
@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"stitch": "gaussian"}, "stitch='gaussian'"),
        ({"stitch": "linear"}, "stitch='linear'"),
        ({"augment": "flips"}, "augment='flips'"),
        ({"augment": ("flips", "rot90")}, r"augment=\('flips', 'rot90'\)"),
    ],
)
def test_integers_are_not_averaged_unasked(nuclei, model, options, told):
    with pytest.raises(ValueError, match=f"{told} averages what it gives.*dtype="):
        daskpatch.plan(nuclei, model, **TILES, **options)


@pytest.mark.parametrize("dtype", ["float32", "int32"])
@pytest.mark.parametrize("options", [{"stitch": "gaussian"}, {"augment": "flips"}])
def test_quantities_are_averaged_where_their_dtype_is_said(nuclei, dtype, options):
    plan = daskpatch.plan(nuclei, labels, **TILES, dtype=dtype, **options)
    assert plan.dtype == dtype


def test_quantities_are_averaged_into_an_array_that_is_there(nuclei, tmp_path):
    import zarr

    output = zarr.create_array(tmp_path / "o.zarr", shape=nuclei.shape, chunks=(64, 64), dtype="f4")
    blended = {**TILES, "stitch": "gaussian"}
    with pytest.raises(ValueError, match="averages what it gives.*dtype='float32'"):
        daskpatch.plan(nuclei, classes, output, **blended)
    daskpatch.plan(nuclei, classes, output, dtype="f4", **blended).run(progress=False)


def test_floats_that_post_makes_of_an_average_are_fine(nuclei):
    halved = {"post": lambda values: values / 2}
    assert daskpatch.plan(nuclei, classes, **TILES, stitch="gaussian", **halved).dtype.kind == "f"


def test_labels_that_post_makes_of_blended_scores_are_fine(nuclei):
    def thresholded(values):
        return (values > 0.5).astype("uint8")

    plan = daskpatch.plan(nuclei, np.positive, **TILES, stitch="gaussian", post=thresholded)
    assert plan.dtype == "uint8"


# Crops


def test_a_model_that_labels_its_tiles_is_told_of(nuclei):
    with pytest.warns(UserWarning, match=LABELS):
        plan = daskpatch.plan(nuclei, labels, **TILES)
    report = daskpatch.check_seams(plan, progress=False)
    assert report.cause == "labels"
    assert "number the objects of the stitched result" in report.verdict


@pytest.mark.parametrize("seed", range(4))
def test_small_tiles_of_few_objects_are_told_of_by_the_seam_check(seed):
    """There is no room for a larger reference; either side of a seam has its own numbering."""
    rng = np.random.default_rng(seed)
    smooth_noise = ndimage.gaussian_filter(rng.random((160, 160)), 3)
    image = (smooth_noise > np.quantile(smooth_noise, 0.85)).astype("f4")
    tiles = {"axes": "YX", "patch_size": 64, "overlaps": 32, "chunks": 32, "block_shape": 32}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plan = daskpatch.plan(image, labels, **tiles)
    assert daskpatch.check_seams(plan, progress=False).cause == "labels"


def as_floats(batch):
    """As networks that label give them, in the dtype of their input."""
    return labels(batch).astype(batch.dtype)


@pytest.mark.parametrize("options", [{}, {"stitch": "gaussian"}, {"augment": "flips"}])
def test_ids_given_as_floats_are_told_of_stitched_or_averaged(nuclei, options):
    with pytest.warns(UserWarning, match=LABELS):
        plan = daskpatch.plan(nuclei, as_floats, **TILES, **options)
    if not options:
        assert daskpatch.check_seams(plan, progress=False).cause == "labels"


def shifted(batch):
    """A quantity that depends on all of the tile."""
    return (batch - batch.mean() + 30_000).astype("uint16")


def smooth(batch):
    return ndimage.gaussian_filter(shifted(batch), (0, 0, 3, 3))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("as_float", [False, True])
@pytest.mark.parametrize("model", [classes, shifted, smooth, np.positive])
def test_classes_and_quantities_are_no_labels(nuclei, noise, model, as_float):
    source = noise if model in (shifted, smooth) else nuclei
    given = (lambda batch: model(batch).astype("f4")) if as_float else model
    plan = daskpatch.plan(source, given, **TILES)
    assert daskpatch.check_seams(plan, progress=False).cause != "labels"


@pytest.mark.filterwarnings("error")
def test_one_tile_has_no_neighbour_to_disagree_with(nuclei):
    daskpatch.plan(nuclei[:64, :64], labels, axes="YX", patch_size=64)


@pytest.mark.filterwarnings("error")
def test_a_neighbour_on_which_the_model_fails_is_no_failure_of_the_plan(nuclei):
    calls = []

    def model(batch):
        calls.append(None)
        if len(calls) > 1:
            raise RuntimeError("no")
        return labels(batch)

    daskpatch.plan(nuclei, model, **TILES)
    assert len(calls) == 3  # two neighbours


def sized(batch):
    """Classes of objects by their size, which a tile may cut."""
    found = labels(batch)
    large = np.bincount(found.ravel()) > 150
    return np.where(found > 0, 1 + large[found], 0).astype("uint8")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("dtype", ["u1", "f4"])
def test_classes_that_depend_on_context_are_no_labels(seed, dtype):
    noise = np.random.default_rng(seed).normal(size=(200, 200))
    spots = (ndimage.gaussian_filter(noise, 3) > 0.08).astype("f4")
    daskpatch.plan(
        spots, lambda batch: sized(batch).astype(dtype), axes="YX", patch_size=64, overlaps=8
    )


@pytest.mark.filterwarnings("error")
def test_labels_of_which_post_makes_a_mask_are_fine(nuclei):
    daskpatch.plan(nuclei, labels, **TILES, post=lambda values: values > 0)


def test_one_of_several_arrays_is_averaged_where_its_dtype_is_said(nuclei):
    def model(batch):
        return {"ids": labels(batch), "score": batch}

    with pytest.raises(ValueError, match="int32 as ids.*dtype={'ids': 'int32'}"):
        daskpatch.plan(nuclei, model, **TILES, stitch="gaussian", dtype={"score": "float16"})
    daskpatch.plan(nuclei, model, **TILES, stitch="gaussian", dtype={"ids": "float32"})
