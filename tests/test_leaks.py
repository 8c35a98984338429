"""A process that runs daskpatch again and again stays as it is."""

import gc
import os
import tempfile
import threading

import psutil
import pytest
from volumes import save

import daskpatch

WARM, MORE = 10, 40

POOLS = ("asyncio_", "zarr_pool")
"""Threads of event loops, which grow up to a limit."""


@pytest.fixture
def source(tmp_path, rng):
    save(
        tmp_path / "in.zarr",
        rng.random((16, 64, 64)).astype("f4"),
        chunks=(16, 32, 32),
        dimension_names=["z", "y", "x"],
    )
    return tmp_path / "in.zarr"


def run(number, source, output, client, io):
    """One run; each fourth fails."""
    fails = number % 4 == 0
    is_planned = []

    def model(batch):
        if fails and is_planned:
            raise ValueError("bad")
        return batch * 2

    threads = {} if client is not None else {"threads": 2}
    tiles = {"patch_size": (16, 24, 24), "overlaps": (4, 8, 8), "chunks": (16, 32, 32)}
    plan = daskpatch.plan(
        source, model, output, model_id="m", overwrite=True, io=io, **tiles, **threads
    )
    is_planned.append(True)
    how = {"progress": False, "retries": 0, "client": client}
    try:
        plan.run(**how, timeout=600.0 if number % 2 else None)
    except daskpatch.RunFailed:
        assert fails
    else:
        assert not fails
        plan.view[3:9, :8, :8]


def state(client):
    gc.collect()
    process = psutil.Process()
    plugins = {} if client is None else client.run_on_scheduler(_plugins)
    return {
        "threads": len([t for t in threading.enumerate() if not t.name.startswith(POOLS)]),
        "descriptors": process.num_fds(),
        "temporary files": len(os.listdir(tempfile.gettempdir())),
        "plugins": plugins,
    }


def _plugins(dask_scheduler):
    return sorted(dask_scheduler.worker_plugins)


@pytest.mark.parametrize("how", ["zarr", "tensorstore", "workers in this process"])
def test_after_many_runs_a_process_is_as_it_was(how, source, tmp_path, request):
    client = request.getfixturevalue("in_process") if how.startswith("workers") else None
    io = "zarr" if client is not None else how
    out = tmp_path / "out.zarr"
    for number in range(WARM):
        run(number, source, out, client, io)
    _settle()
    before, objects = state(client), len(gc.get_objects())
    resident = psutil.Process().memory_info().rss
    for number in range(MORE):
        run(number, source, out, client, io)
    _settle()
    assert state(client) == before
    assert psutil.Process().memory_info().rss - resident < 20e6
    if client is None:  # distributed keeps a log of what it did
        assert len(gc.get_objects()) - objects < MORE


def _settle():
    """Wait for threads that were told to end."""
    for thread in threading.enumerate():
        if thread.name.startswith("daskpatch-") and thread.name != "daskpatch-objects":
            thread.join()
