"""Shared inputs: small volumes, stores, models, clusters that stop by themselves."""

from __future__ import annotations

import os
import tempfile
from multiprocessing import forkserver

import dask.config
import numpy as np
import pytest
from hypothesis import settings
from volumes import save

# Machines are noisy: a slow example is no failure.
settings.register_profile("daskpatch", deadline=None)
settings.load_profile("daskpatch")

# What is found out about models is remembered in no folder that outlasts the tests, by none that
# finds out about another's.
_cache = tempfile.TemporaryDirectory(prefix="daskpatch-tests-")
os.environ["XDG_CACHE_HOME"] = _cache.name


def pytest_unconfigure():
    _cache.cleanup()


# Processes of tests fork from one that has imported what all of them need (distributed's list
# of this comes later than ours); workers do not wake up each 10 ms to be profiled.
forkserver.set_forkserver_preload(["daskpatch.planning", "distributed", "hypothesis", "pytest"])
forkserver.ensure_running()
dask.config.set(
    {
        "distributed.worker.multiprocessing-method": "forkserver",
        "distributed.worker.profile.enabled": False,
        "distributed.admin.tick.interval": "1s",
    }
)


@pytest.fixture
def rng():
    return np.random.default_rng(20)


@pytest.fixture
def volume(rng):
    """A small ZYX volume with awkward sizes."""
    return rng.integers(0, 60_000, (37, 61, 53)).astype("uint16")


@pytest.fixture
def stored(tmp_path, volume):
    """The path of the volume as a Zarr v3 array with named axes."""
    path = tmp_path / "in.zarr"
    save(path, volume, chunks=(16, 16, 16), dimension_names=["z", "y", "x"])
    return path


@pytest.fixture(scope="session")
def processes():
    """A client of two worker processes with two threads each."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=2, threads_per_worker=2, processes=True, dashboard_address=":0"
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture
def in_process():
    """A client of one worker with two threads in this process."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0"
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client
