"""Shared inputs: small volumes, stores, models, clusters that stop by themselves."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from hypothesis import settings
from zarr.codecs import BloscCodec

# Machines are noisy: a slow example is no failure.
settings.register_profile("daskpatch", deadline=None)
settings.load_profile("daskpatch")


@pytest.fixture()
def rng():
    return np.random.default_rng(20)


@pytest.fixture()
def volume(rng):
    """A small ZYX volume with awkward sizes."""
    return rng.integers(0, 60_000, (37, 61, 53)).astype("uint16")


@pytest.fixture()
def stored(tmp_path, volume):
    """The path of the volume as a Zarr v3 array with named axes."""
    path = tmp_path / "in.zarr"
    save(path, volume, chunks=(16, 16, 16), dimension_names=["z", "y", "x"])
    return path


def save(path, values, *, chunks, dimension_names=None, **options):
    """Write an array as Zarr."""
    if options.get("zarr_format", 3) == 3:
        options.setdefault("compressors", BloscCodec(cname="zstd", clevel=1))
    array = zarr.create_array(
        store=str(path),
        shape=values.shape,
        dtype=values.dtype,
        chunks=chunks,
        dimension_names=dimension_names,
        **options,
    )
    array[:] = values
    return array


def read(path):
    """A whole Zarr array."""
    return zarr.open_array(store=str(path), mode="r")[...]


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


@pytest.fixture()
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
