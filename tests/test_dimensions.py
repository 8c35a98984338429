"""Named axes against the canonical order, for every order of axes."""

from itertools import permutations

import numpy as np
import pytest

from daskpatch.geometry import Dimensions, Region, check_axes

SIZES = {"S": 2, "T": 3, "C": 4, "Z": 5, "Y": 6, "X": 7}


def array_of(axes):
    shape = tuple(SIZES[a] for a in axes)
    return np.arange(np.prod(shape)).reshape(shape)


@pytest.mark.parametrize("axes", ["".join(p) for p in permutations("TCZYX")])
def test_one_sample_of_any_order_of_axes_is_canonical(axes):
    array = array_of(axes)
    dims = Dimensions(axes, array.shape, ndim=3)
    canonical = array.transpose([axes.index(a) for a in "TCZYX"])
    assert dims.data_shape == canonical.shape
    box = dims.box(2, slice(1, 3), Region((0, 1, 2), (5, 6, 7)))
    assert np.array_equal(dims.canonical(array[box])[0], canonical[2, 1:3, :, 1:, 2:])


def test_samples_count_s_slowest_then_t_then_a_folded_z():
    array = array_of("ZTSYX")
    dims = Dimensions("ZTSYX", array.shape, ndim=2)
    assert dims.data_shape == (30, 1, 6, 7)
    whole = Region((0, 0), (6, 7))
    for sample_idx in range(30):
        s, t, z = np.unravel_index(sample_idx, (2, 3, 5))
        view = dims.canonical(array[dims.box(sample_idx, slice(0, 1), whole)])
        assert np.array_equal(view[0, 0, 0, 0], array[z, t, s])


def test_a_view_without_channels_is_writable():
    array = np.zeros((4, 5))
    Dimensions("XY", (4, 5), 2).canonical(array)[0, 1, 2] = 7
    assert array[2, 1] == 7


def test_samples_of_a_region_are_numbered_as_in_the_image():
    dims = Dimensions("TSYX", (3, 2, 6, 7), 2)
    region = Region((1, 0, 0, 0), (3, 2, 6, 7))
    assert dict(dims.samples_of(region)) == {1: (0, 0), 2: (0, 1), 4: (1, 0), 5: (1, 1)}


@pytest.mark.parametrize(
    ("axes", "channels", "expected"),
    [
        ("YX", 1, "YX"),
        ("YX", 3, "CYX"),
        ("TZYX", 3, "TCZYX"),
        ("XTY", 2, "CXTY"),
        ("TYXC", 1, "TYXC"),
        ("TYXC", 5, "TYXC"),
        ("CTZYX", 2, "CTZYX"),
    ],
)
def test_a_prediction_keeps_the_place_of_every_axis(axes, channels, expected):
    shape = tuple(SIZES[a] for a in axes)
    ndim = 3 if "Z" in axes else 2
    dims = Dimensions(axes, shape, ndim)
    predicted = dims.predicted(channels, dims.spatial_shape)
    assert predicted.axes == expected
    sizes = SIZES | {"C": channels}
    assert predicted.shape == tuple(sizes[a] for a in expected)


def test_channels_come_before_a_folded_z():
    predicted = Dimensions("ZYX", (5, 6, 7), 2).predicted(3, (6, 7))
    assert (predicted.axes, predicted.shape) == ("CZYX", (3, 5, 6, 7))


@pytest.mark.parametrize(
    ("axes", "shape", "words"),
    [
        ("ZYX", (4, 5), ["names 3 axes, the array has 2", "(4, 5)", "'YX'"]),
        ("QYX", (3, 4, 5), ["'QYX'", "STCZYX", "'ZYX'"]),
        ("YYX", (3, 4, 5), ["different letters"]),
        ("ZX", (3, 4), ["must hold Y and X"]),
        ("", (3, 4), ["different letters"]),
        (5, (3, 4), ["5", "'YX'"]),
    ],
)
def test_axes_that_do_not_fit_are_refused(axes, shape, words):
    with pytest.raises(ValueError) as caught:
        check_axes(axes, shape)
    for word in words:
        assert word in str(caught.value)


def test_axes_may_be_lower_case():
    assert check_axes("zyx", (1, 2, 3)) == "ZYX"
