"""The prediction as an array: NumPy's indexing, and only the tiles it needs."""

import os
import subprocess
import sys

import dask
import numpy as np
import pytest
from example_models import double
from hypothesis import given
from hypothesis import strategies as st

import daskpatch
from daskpatch.block import block_grid
from daskpatch.planning import prediction_of

VALUES = np.arange(3 * 2 * 23 * 31, dtype="f4").reshape(3, 2, 23, 31)


class Counting:
    """Doubles, and counts the tiles."""

    def __init__(self):
        self.tiles = 0

    def __call__(self, batch):
        self.tiles += len(batch)
        return batch * 2


def plan_of(model=double, **options):
    options = {"patch_size": (8, 10), "overlaps": (2, 4), "chunks": (1, 2, 6, 6)} | options
    return daskpatch.plan(VALUES, model, axes="TCYX", **options)


def entries(size):
    slices = st.slices(size)
    return st.one_of(slices, st.integers(-size, size - 1))


@given(st.data())
def test_indexing_is_numpys(data):
    view = plan_of(block_shape=(1, 2, 12, 18)).view
    key = tuple(data.draw(entries(n)) for n in VALUES.shape[: data.draw(st.integers(1, 4))])
    if data.draw(st.booleans()) and len(key) < 4:
        key = (*key[:1], ..., *key[1:])
    assert np.array_equal(view[key], (VALUES * 2)[key])
    assert view[key].shape == VALUES[key].shape


def test_it_is_an_array_like():
    view = plan_of().view
    assert (view.shape, view.dtype, view.ndim, len(view)) == (VALUES.shape, np.float32, 4, 3)
    assert view.size == VALUES.size
    assert np.array_equal(np.asarray(view), VALUES * 2)
    assert np.asarray(view, dtype="i4").dtype == np.int32
    assert repr(view) == "<daskpatch.View TCYX (3, 2, 23, 31) float32>"
    with pytest.raises(ValueError, match="uncopied"):
        np.asarray(view, copy=False)


@pytest.mark.parametrize("key", [3, (0, 0, 0, 0, 0), (..., ...), None, [0, 1], True, "a"])
def test_other_indices_are_refused(key):
    with pytest.raises(IndexError):
        plan_of().view[key]


def test_a_slice_costs_only_its_tiles():
    model = Counting()
    plan = daskpatch.plan(np.zeros((1000, 1000)), model, axes="YX", patch_size=20, overlaps=0)
    for key, tiles in [((5, 5), 1), ((5, slice(0, 41)), 3), (np.s_[::500, ::500], 4), (0, 50)]:
        model.tiles = 0
        plan.view[key]
        assert model.tiles == tiles


def test_a_slice_of_a_petabyte_is_as_quick():
    class Zeros:
        shape, dtype = (10**5, 10**5, 10**5), np.dtype("u1")

        def __getitem__(self, key):
            return np.zeros([s.stop - s.start for s in key], "u1")

    model = Counting()
    plan = daskpatch.plan(Zeros(), model, axes="ZYX", patch_size=32, overlaps=8)
    assert plan.n_tiles > 10**10
    model.tiles = 0
    assert plan.view[50_000, 50_000:50_010, -10:].shape == (10, 10)
    assert plan.view[:: 10**5 - 1, 7, 7].shape == (2,)
    assert model.tiles <= 8
    assert plan.array.shape == Zeros.shape


SCHEDULERS = ["synchronous", "threads", "processes"]


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_the_dask_array_works_with_every_scheduler(scheduler):
    array = plan_of().array
    with dask.config.set(scheduler=scheduler, num_workers=2):
        assert np.array_equal(array.compute(), VALUES * 2)
        assert np.array_equal(array[1, :, 3:17:2, -1].compute(), (VALUES * 2)[1, :, 3:17:2, -1])


def test_the_dask_array_works_with_a_cluster(processes, tmp_path):
    array = plan_of().array
    assert np.array_equal(processes.compute(array).result(), VALUES * 2)


def test_the_dask_array_composes():
    array = plan_of().array
    expected = VALUES * 2
    assert np.allclose((array.max(axis=(2, 3)) + 1).compute(), expected.max(axis=(2, 3)) + 1)
    assert np.array_equal(array.rechunk(7).T.compute(), expected.T)


def test_the_dask_array_has_one_task_per_block():
    plan = plan_of(block_shape=(1, 2, 12, 18))
    graph = plan.array.__dask_graph__()
    assert plan.array.npartitions == plan.n_blocks
    assert len(dict(graph)) == plan.n_blocks + 1  # and the view, once
    sizes = [block_grid(prediction_of(plan), 0, plan.block_shape).sizes(axis) for axis in range(4)]
    assert plan.array.chunks == tuple(sizes)


def test_slices_of_the_dask_array_reach_the_view():
    model = Counting()
    plan = daskpatch.plan(np.zeros((1000, 1000)), model, axes="YX", patch_size=20, overlaps=0)
    model.tiles = 0
    plan.array[5, 0:41].compute(scheduler="synchronous")
    assert model.tiles == 3


def test_the_dask_array_is_built_once():
    plan = plan_of()
    assert plan.array is plan.array


QUERY_PLANNING = """
import dask, numpy as np, daskpatch
assert dask.config.get("array.query-planning")
values = np.arange(40 * 50, dtype="f4").reshape(40, 50)
array = daskpatch.plan(values, np.negative, axes="YX", patch_size=16, overlaps=4, chunks=12).array
assert np.array_equal(array.compute(), -values)
assert np.array_equal(array[3:17:2, -1].compute(), -values[3:17:2, -1])
assert np.array_equal((array + 1).T.compute(), (1 - values).T)
print("right")
"""


def test_values_are_right_with_array_expressions():
    environment = {**os.environ, "DASK_ARRAY__QUERY_PLANNING": "True"}
    result = subprocess.run(
        [sys.executable, "-c", QUERY_PLANNING], env=environment, capture_output=True, text=True
    )
    assert result.stdout.strip() == "right", result.stderr
