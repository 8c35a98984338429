"""Boxes that reach outside an image, against numpy.pad."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskpatch.geometry import Region
from daskpatch.values import check_padding, read_padded
from daskpatch.values.padding import source_indices


@st.composite
def boxes(draw):
    shape = tuple(draw(st.integers(1, 6)) for _ in range(2))
    start = tuple(draw(st.integers(-15, 12)) for _ in shape)
    size = tuple(draw(st.integers(1, 12)) for _ in shape)
    return shape, Region(start, tuple(a + n for a, n in zip(start, size, strict=True)))


@pytest.mark.parametrize("padding", ["reflect", "edge", 9.0])
@given(boxes())
def test_padded_reads_are_those_of_numpy_pad(padding, box):
    shape, region = box
    image = np.arange(np.prod(shape) * 2).reshape(2, *shape)
    reads = []

    def read(inside):
        assert all(a >= 0 for a in inside.start)
        assert all(b <= n for b, n in zip(inside.stop, shape, strict=True))
        reads.append(inside)
        return image[(slice(None), *inside.slices)]

    around = 30
    options = {"mode": padding} if isinstance(padding, str) else {"constant_values": padding}
    padded = np.pad(image, [(0, 0), (around, around), (around, around)], **options)
    expected = padded[
        (
            slice(None),
            *(
                slice(a + around, b + around)
                for a, b in zip(region.start, region.stop, strict=True)
            ),
        )
    ]
    nothing = image[:, :0, :0]
    assert np.array_equal(read_padded(read, region, shape, padding, nothing), expected)
    assert len(reads) == (1 if isinstance(padding, str) or region.clipped_to(shape).n_voxels else 0)


def test_a_box_inside_is_read_as_it_is():
    image = np.arange(20).reshape(1, 4, 5)
    nothing, region = image[:, :0, :0], Region((1, 1), (3, 4))
    values = read_padded(
        lambda r: image[(slice(None), *r.slices)], region, (4, 5), "reflect", nothing
    )
    assert np.shares_memory(values, image)


@given(st.integers(-50, 50), st.integers(1, 40), st.integers(1, 8))
def test_reflected_indices_are_numpys(start, count, size):
    expected = np.pad(np.arange(size), 120, mode="reflect")[start + 120 : start + 120 + count]
    assert np.array_equal(source_indices(start, start + count, size, "reflect"), expected)


@pytest.mark.parametrize(
    ("padding", "dtype"),
    [
        ("mirror", "f4"),
        (None, "f4"),
        (True, "f4"),
        (-1, "u1"),
        (300, "u1"),
        (0.5, "u2"),
        (float("nan"), "i4"),
        (2, "?"),
    ],
)
def test_paddings_that_cannot_be_are_refused(padding, dtype):
    with pytest.raises(ValueError, match="padding"):
        check_padding(padding, np.dtype(dtype))


@pytest.mark.parametrize(("padding", "dtype"), [("3", "u1"), (3, "u1"), (float("nan"), "f4")])
def test_numbers_that_the_dtype_holds_are_taken(padding, dtype):
    assert np.array_equal(check_padding(padding, np.dtype(dtype)), float(padding), equal_nan=True)
