"""From the model's dtype to the stored one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskpatch.values import has_nan, store_values


def stored(values, dtype):
    values = np.asarray(values)
    target = np.empty(values.shape, dtype)
    found = store_values(target, values)
    return target, found


def test_floats_are_rounded_to_nearest_and_clipped():
    values, found = stored(np.array([300.7, -1, 0.5, 1.5, 254.5, np.inf, -np.inf], "f4"), "u1")
    assert values.tolist() == [255, 0, 0, 2, 254, 255, 0]
    assert not found


def test_nan_becomes_0_and_is_reported():
    values, found = stored(np.array([np.nan, 3], "f4"), "i2")
    assert values.tolist() == [0, 3]
    assert found


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8"])
@pytest.mark.parametrize("given_dtype", ["f2", "f4", "f8"])
def test_no_integer_wraps_around(dtype, given_dtype):
    info = np.iinfo(dtype)
    largest = float(np.finfo(given_dtype).max)
    values, _ = stored(np.array([largest, -largest, 0], given_dtype), dtype)
    assert abs(int(values[0]) - min(info.max, largest)) <= info.max / 500
    assert int(values[0]) > 0
    assert abs(int(values[1]) - max(info.min, -largest)) <= info.max / 500
    assert values[2] == 0


@given(
    st.sampled_from(["u1", "i1", "u2", "i4", "u8", "i8"]),
    st.sampled_from(["u1", "i1", "u2", "i4", "u8", "i8", "?"]),
    st.data(),
)
def test_integers_are_clipped(given_dtype, dtype, data):
    info = np.iinfo(given_dtype)
    numbers = data.draw(st.lists(st.integers(info.min, info.max), min_size=1, max_size=5))
    values, found = stored(np.array(numbers, given_dtype), dtype)
    low, high = (0, 1) if dtype == "?" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    assert values.tolist() == [min(max(n, low), high) for n in numbers]
    assert not found


def test_between_floats_values_are_converted():
    values, found = stored(np.array([1e30, 0.1, np.nan]), "f4")
    assert np.array_equal(values, np.array([1e30, 0.1, np.nan], "f4"), equal_nan=True)
    assert found
    assert stored(np.array([1e30]), "f2")[0].tolist() == [np.inf]


def test_booleans_become_numbers_and_back():
    assert stored(np.array([True, False]), "f4")[0].tolist() == [1, 0]
    assert stored(np.array([0.4, 0.6, 7, -3]), "?")[0].tolist() == [False, True, True, False]


def test_large_arrays_are_walked_plane_by_plane_with_the_same_result(rng):
    values = rng.normal(100, 80, (3, 40, 60, 70)).astype("f4")[:, ::2]
    large, found = stored(values, "u1")
    assert np.array_equal(large, np.clip(np.rint(values), 0, 255).astype("u1"))
    assert not found
    values[2, 19, 59, 69] = np.nan
    assert stored(values, "f4")[1]


def test_has_nan_looks_at_floats_only():
    assert has_nan(np.array([1, np.nan]))
    assert not has_nan(np.array([1, 2]))
    assert not has_nan(np.array([np.inf, 1]))
