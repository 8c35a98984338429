"""Filters of all kinds: probed, tiled automatically, equal to the whole image's result.

Networks are in tests/models/test_zoo_networks.py.
"""

import numpy as np
import pytest
from scipy import ndimage
from skimage.restoration import denoise_nl_means

import daskpatch


def each(function):
    """A model that applies a function to each channel."""

    def model(batch):
        return np.stack([[function(channel) for channel in channels] for channels in batch])

    return model


def non_local_means(image):
    return denoise_nl_means(
        image, patch_size=5, patch_distance=4, h=0.8, sigma=1.0, fast_mode=False
    ).astype("f4")


FILTERS = {
    "gaussian": (lambda c: ndimage.gaussian_filter(c, 2.0, mode="mirror"), 8),
    "median": (lambda c: ndimage.median_filter(c, 5, mode="mirror"), 2),
    "uniform": (lambda c: ndimage.uniform_filter(c, 5, mode="mirror"), 2),
    "erosion": (lambda c: ndimage.grey_erosion(c, 7, mode="mirror"), 3),
    "opening": (lambda c: ndimage.grey_opening(c, 5, mode="mirror"), 4),
    "gradient": (lambda c: ndimage.morphological_gradient(c, 3, mode="mirror"), 1),
}

SHAPES = {2: [(101, 97), (65, 64), (30, 200), (7, 5)], 3: [(41, 43, 37), (9, 70, 31)]}


def tiled_equals_whole(model, values, found, **options):
    plan = daskpatch.plan(
        values, model, axes="ZYX"[-values.ndim :], probe=found, overlaps="auto", **options
    )
    whole = model(values[None, None])[0, 0]
    assert np.abs(plan.view[...] - whole).max() <= 1e-5 * max(whole.std(), 1e-6)
    return plan


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("name", FILTERS)
def test_filters(name, ndim, rng):
    function, reach = FILTERS[name]
    model = each(function)
    found = daskpatch.probe(model, ndim=ndim, seconds=0.2)
    assert found.halo == (reach,) * ndim
    assert found.align == (1,) * ndim
    for shape in SHAPES[ndim]:
        values = rng.normal(size=shape).astype("f4")
        tiled_equals_whole(model, values, found, patch_size=32)
        tiled_equals_whole(model, values, found, patch_size="auto", batch_size="auto", threads=8)


def test_non_local_means(rng):
    model = each(non_local_means)
    found = daskpatch.probe(model, ndim=2, seconds=0)
    assert found.halo == (6, 6)
    values = ndimage.gaussian_filter(rng.normal(size=(71, 83)), 3).astype("f4") * 20
    values += rng.normal(size=values.shape).astype("f4")
    plan = daskpatch.plan(values, model, axes="YX", probe=found, patch_size=40, overlaps="auto")
    whole = np.pad(values, 8, mode="reflect")
    difference = np.abs(plan.view[...] - model(whole[None, None])[0, 0][8:-8, 8:-8])
    assert difference[8:-8, 8:-8].max() <= 1e-5 * values.std()
