"""Boxes and regular grids."""

from itertools import product

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from daskpatch.geometry import Region, RegularGrid, unravel

shapes = st.lists(
    st.tuples(st.integers(1, 12), st.integers(1, 14), st.booleans()), min_size=1, max_size=3
)


def grid_of(axes):
    return RegularGrid(*(tuple(column) for column in zip(*axes, strict=True)))


@given(shapes)
def test_cells_partition_the_array(axes):
    grid = grid_of(axes)
    counts = np.zeros(grid.shape, int)
    for index in range(grid.n_cells):
        counts[grid.cell(index).slices] += 1
    assert (counts == 1).all()


@given(shapes)
def test_cells_start_on_multiples_of_the_cell(axes):
    grid = grid_of(axes)
    for index in range(grid.n_cells):
        cell = grid.cell(index)
        assert all(a % c == 0 for a, c in zip(cell.start, grid.cell_shape, strict=True))


@given(shapes)
def test_sizes_are_those_of_the_cells_and_largest_is_their_maximum(axes):
    grid = grid_of(axes)
    for axis, size in enumerate(grid.shape):
        assert sum(grid.sizes(axis)) == size
        assert max(grid.sizes(axis)) == grid.largest[axis]


@given(shapes, st.data())
def test_ranges_name_the_cells_that_touch_a_region(axes, data):
    grid = grid_of(axes)
    start = tuple(data.draw(st.integers(0, n - 1)) for n in grid.shape)
    stop = tuple(data.draw(st.integers(a + 1, n)) for a, n in zip(start, grid.shape, strict=True))
    order = tuple(data.draw(st.permutations(range(len(grid.shape)))))
    found = sorted(grid.indices(grid.ranges(Region(start, stop)), order))
    mask = np.zeros(grid.shape, bool)
    mask[Region(start, stop).slices] = True
    expected = [i for i in range(grid.n_cells) if mask[grid.cell(i).slices].any()]
    assert found == expected


def test_indices_run_fastest_along_the_last_axis_of_the_order():
    grid = RegularGrid.clipped((2, 3), (1, 1))
    ranges = (range(2), range(3))
    assert list(grid.indices(ranges, (0, 1))) == [0, 1, 2, 3, 4, 5]
    assert list(grid.indices(ranges, (1, 0))) == [0, 3, 1, 4, 2, 5]


def test_a_merged_remainder_belongs_to_the_cell_before():
    grid = RegularGrid((130, 100), (64, 64), merge=(True, False))
    assert grid.counts == (2, 2)
    assert grid.cell(2) == Region((64, 0), (130, 64))


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4))
def test_unravel_is_c_order(counts):
    positions = list(product(*map(range, counts)))
    assert [unravel(i, tuple(counts)) for i in range(len(positions))] == positions


def test_unravel_is_exact_beyond_64_bits():
    n = 10**15
    assert unravel(7 * n * n + 3 * n + 1, (10, n, n)) == (7, 3, 1)


def test_rounded_out_keeps_within_the_array():
    assert Region((3, 9), (5, 10)).rounded_out((4, 4), (10, 11)) == Region((0, 8), (8, 11))
