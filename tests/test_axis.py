"""1-D tilings, against their definition and by brute force."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskpatch.geometry import AlignedAxis, AxisTile, TableAxis, TiledAxis, WholeAxis


@st.composite
def tiled(draw):
    patch = draw(st.integers(1, 40))
    return TiledAxis(draw(st.integers(1, 200)), patch, draw(st.integers(0, patch - 1)))


@st.composite
def aligned(draw):
    align = draw(st.sampled_from([1, 2, 3, 4, 8]))
    patch = align * draw(st.integers(1, 12))
    if align == 1:
        overlap = draw(st.integers(0, patch - 1))
    else:
        overlap = 2 * align * draw(st.integers(0, (patch - 1) // (2 * align)))
    return AlignedAxis(
        draw(st.integers(1, 200)), patch, overlap, align, draw(st.integers(1, patch))
    )


@st.composite
def table(draw):
    axis = draw(st.one_of(tiled(), aligned()))
    return TableAxis(tiles_of(axis))


whole = st.builds(WholeAxis, st.integers(1, 50))
any_axis = st.one_of(tiled(), aligned(), table(), whole)


def tiles_of(axis):
    return [axis.tile(i) for i in range(axis.n_tiles)]


@given(any_axis)
def test_kept_intervals_partition_the_axis(axis):
    reached = 0
    for tile in tiles_of(axis):
        assert tile.keep_start == reached < tile.keep_stop
        reached = tile.keep_stop
    assert reached == axis.size


@given(any_axis)
def test_kept_intervals_lie_inside_their_tiles(axis):
    for tile in tiles_of(axis):
        assert tile.start <= tile.keep_start
        assert tile.keep_stop <= tile.start + tile.size


@given(any_axis, st.data())
def test_touching_names_the_tiles_that_keep_a_voxel_of_an_interval(axis, data):
    start = data.draw(st.integers(0, axis.size - 1))
    stop = data.draw(st.integers(start + 1, axis.size))
    expected = [
        i for i, t in enumerate(tiles_of(axis)) if t.keep_start < stop and t.keep_stop > start
    ]
    assert list(axis.touching(start, stop)) == expected


@given(tiled())
def test_tiled_follows_its_closed_form(axis):
    n, p, o = axis.size, axis.patch, axis.overlap
    s = p - o
    if n <= p:
        expected = [AxisTile(0, p, 0, n)]
    else:
        k = math.ceil((n - o) / s)
        expected = [
            AxisTile(
                min(i * s, n - p),
                p,
                i * s + o // 2 if i else 0,
                (i + 1) * s + o // 2 if i < k - 1 else n,
            )
            for i in range(k)
        ]
    assert tiles_of(axis) == expected


@given(aligned())
def test_aligned_follows_its_closed_form(axis):
    n, p, o, align = axis.size, axis.patch, axis.overlap, axis.align
    s, f = p - o, o // 2
    padded = math.ceil(max(n, axis.min_size) / align) * align
    if padded <= p:
        expected = [AxisTile(0, padded, 0, n)]
    else:
        indices = range(f // s, math.ceil((padded - p + f) / s) + 1)
        expected = [
            AxisTile(
                min(max(i * s - f, 0), padded - p),
                p,
                i * s if i > indices[0] else 0,
                (i + 1) * s if i < indices[-1] else n,
            )
            for i in indices
        ]
    assert tiles_of(axis) == expected


@given(aligned())
def test_aligned_tiles_start_on_the_grid_inside_the_padded_axis_and_differ(axis):
    tiles = tiles_of(axis)
    padded = math.ceil(max(axis.size, axis.min_size) / axis.align) * axis.align
    assert all(t.start % axis.align == 0 for t in tiles)
    assert all(t.start >= 0 and t.start + t.size <= padded for t in tiles)
    assert len({t.start for t in tiles}) == len(tiles)
    assert all(t.size >= axis.min_size for t in tiles)


@given(aligned())
def test_aligned_tiles_have_their_halo_except_at_the_ends_of_the_image(axis):
    front, back = axis.overlap // 2, axis.overlap - axis.overlap // 2
    padded = math.ceil(max(axis.size, axis.min_size) / axis.align) * axis.align
    for tile in tiles_of(axis):
        assert tile.keep_start - tile.start >= front or tile.start == 0
        end = tile.start + tile.size
        assert end - tile.keep_stop >= back or end == padded


@given(aligned())
def test_aligned_crops_start_on_multiples_of_the_step(axis):
    assert all(t.keep_start % axis.step == 0 for t in tiles_of(axis))


@pytest.mark.parametrize("axis", [TiledAxis(10**13, 80, 16), AlignedAxis(10**13, 80, 16, 8)])
def test_huge_axes_are_arithmetic(axis):
    last = axis.n_tiles - 1
    assert axis.tile(last).keep_stop == 10**13
    assert axis.touching(10**13 - 1, 10**13) == range(last, last + 1)
    middle = axis.tile(last // 2)
    assert axis.touching(middle.keep_start, middle.keep_stop) == range(last // 2, last // 2 + 1)
