"""A process that runs daskpatch again and again stays as it is."""

import gc
import json
import os
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import psutil
import pytest
import zarr

import daskpatch

WARM, MORE = 10, 40

LASTING = ("daskpatch-objects", "daskpatch-chunks", "daskpatch-codec")
"""Threads that stay, one or a few for each process."""

POOLS = ("asyncio_", "zarr_pool", "daskpatch-codec")
"""Threads that begin when they are needed first, up to a limit."""


@pytest.mark.parametrize("how", ["zarr", "tensorstore", "workers"])
def test_after_many_runs_a_process_is_as_it_was(how, tmp_path):
    """In a process of its own: others open and close what they like."""
    (tmp_path / "temporary").mkdir()
    done = subprocess.run(
        [sys.executable, __file__, how, str(tmp_path)],
        env={**os.environ, "TMPDIR": str(tmp_path / "temporary")},
        capture_output=True,
        text=True,
        check=True,
    )
    before, after = json.loads(done.stdout.splitlines()[-1])
    assert after.pop("resident") - before.pop("resident") < 20e6
    # Connections of a cluster come and go; a leak would be one a run.
    assert after.pop("descriptors") - before.pop("descriptors") < 3
    if how == "workers":  # distributed keeps a log of what it did
        after.pop("objects")
        before.pop("objects")
    else:
        # What a run left behind were ten objects each.
        assert after.pop("objects") - before.pop("objects") < 4 * MORE
    assert after == before


def many_runs(how, folder):
    """The state of this process after some runs, and after many more."""
    rng = np.random.default_rng(0)
    source = folder / "in.zarr"
    values = rng.random((16, 64, 64)).astype("f4")
    zarr.create_array(source, data=values, chunks=(16, 32, 32), dimension_names=["z", "y", "x"])
    with ExitStack() as stack:
        client = None
        if how == "workers":
            from distributed import Client, LocalCluster

            cluster = LocalCluster(
                n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0"
            )
            client = stack.enter_context(Client(stack.enter_context(cluster)))
        states = []
        for count in (WARM, MORE):
            for number in range(count):
                run(number, source, folder / "out.zarr", client, "zarr" if client else how)
            states.append(state(client))
    return states


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
    try:
        plan.run(progress=False, retries=0, client=client, timeout=600.0 if number % 2 else None)
    except daskpatch.RunFailed:
        assert fails
    else:
        assert not fails
        plan.view[3:9, :8, :8]


def state(client):
    # Threads that were told to end need a moment.
    for thread in threading.enumerate():
        if thread.name.startswith("daskpatch-") and not thread.name.startswith(LASTING):
            thread.join()
    gc.collect()
    process = psutil.Process()
    threads = [t for t in threading.enumerate() if not t.name.startswith(POOLS)]
    return {
        "threads": len(threads),
        "descriptors": process.num_fds(),
        "temporary files": len(os.listdir(tempfile.gettempdir())),
        "plugins": [] if client is None else client.run_on_scheduler(plugins),
        "resident": process.memory_info().rss,
        "objects": len(gc.get_objects()),
    }


def plugins(dask_scheduler):
    return sorted(dask_scheduler.worker_plugins)


if __name__ == "__main__":
    print(json.dumps(many_runs(sys.argv[1], Path(sys.argv[2]))))
