"""Memory that runs out while a run goes on."""

import logging
import threading

import numpy as np
import pytest
import zarr

import daskpatch
from daskpatch.block import BatchLimit

TILES = {"axes": "YX", "patch_size": 16, "overlaps": 4, "chunks": 12, "block_shape": 48}


class OutOfMemoryError(RuntimeError):
    """As torch.cuda names it."""


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 3 GiB"),
        OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("onnxruntime: Failed to allocate memory for requested buffer"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_the_batch_is_lowered_and_the_run_goes_on(tmp_path, rng, caplog, error):
    batches = []

    def hungry(batch):
        batches.append(len(batch))
        if len(batch) > 3:
            raise error
        return batch * 2

    values = rng.normal(size=(96, 96)).astype("f4")
    plan = daskpatch.plan(values, hungry, tmp_path / "o.zarr", **TILES, batch_size=8)
    batches.clear()
    with caplog.at_level(logging.WARNING, "daskpatch"):
        report = plan.run(progress=False, threads=1)
    assert (report.failed, report.retried) == (0, 0)
    assert np.array_equal(zarr.open_array(store=str(tmp_path / "o.zarr"))[...], values * 2)
    assert sum(size > 3 for size in batches) == 2  # 8, then 4, then never again
    assert "going on with 2" in caplog.text


def test_a_tile_that_does_not_fit_fails_with_advice_and_the_others_are_written(tmp_path, rng):
    def hungry(batch):
        if batch.max() > 100:
            raise MemoryError("Unable to allocate")
        return batch

    values = rng.normal(size=(96, 96)).astype("f4")
    plan = daskpatch.plan(values, hungry, tmp_path / "o.zarr", **TILES, batch_size=4)
    values[5, 5] = 1000
    with pytest.raises(
        daskpatch.RunFailed, match="give a smaller patch_size, or fewer threads"
    ) as caught:
        plan.run(progress=False, retries=1)
    assert caught.value.report.done == plan.n_blocks - 1
    assert [failure.index for failure in caught.value.failed] == [0]
    assert caught.value.report.retried == 1


def test_memory_that_others_took_for_a_while_is_waited_for(tmp_path, rng):
    """A block that did not fit beside the others is tried again at the end."""
    calls = threading.Semaphore(2)

    def crowded(batch):
        if len(batch) == 1 and calls.acquire(blocking=False):
            raise MemoryError("Unable to allocate")
        return batch

    values = rng.normal(size=(96, 96)).astype("f4")
    calls = threading.Semaphore(0)
    plan = daskpatch.plan(values, crowded, tmp_path / "o.zarr", **TILES)
    calls = threading.Semaphore(2)
    report = plan.run(progress=False)
    assert report.failed == 0
    assert report.retried >= 1
    assert np.array_equal(zarr.open_array(store=str(tmp_path / "o.zarr"))[...], values)


def test_many_threads_lower_a_batch_once():
    limit = BatchLimit()
    assert [limit.lower(8) for _ in range(3)] == [4, 4, 4]
    assert limit.lower(4) == 2
    assert (limit.of(8), limit.of(1)) == (2, 1)
