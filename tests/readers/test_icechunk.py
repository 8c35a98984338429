"""Icechunk repositories: read as any other store, and not written to."""

import icechunk
import numpy as np
import pytest
import zarr
from children import Child
from volumes import read

import daskpatch

OPTIONS = {
    "patch_size": 16, "overlaps": 4, "chunks": 16, "block_shape": 32, "progress": False
}  # fmt: skip

HALF = """
import sys
import icechunk, numpy as np, zarr
import daskpatch
folder, output = sys.argv[1:]
repository = icechunk.Repository.open(icechunk.local_filesystem_storage(folder))
image = zarr.open_array(repository.readonly_session("main").store, path="image", mode="r")
options = dict(patch_size=16, overlaps=4, chunks=16, block_shape=32, progress=False)
print(daskpatch.predict(image, np.negative, output, part=(1, 2), **options).blocks)
"""


def opened(folder):
    repository = icechunk.Repository.open(icechunk.local_filesystem_storage(str(folder)))
    return zarr.open_array(repository.readonly_session("main").store, path="image", mode="r")


@pytest.fixture
def repository(tmp_path, rng):
    """A repository's folder, its writable session's store and the image in it."""
    values = rng.random((64, 64)).astype("f4")
    storage = icechunk.local_filesystem_storage(str(tmp_path / "repository"))
    session = icechunk.Repository.create(storage).writable_session("main")
    zarr.create_array(
        session.store, name="image", data=values, chunks=(16, 16), dimension_names=["y", "x"]
    )
    session.commit("an image")
    return tmp_path / "repository", values


def test_a_run_is_resumed_by_another_process(repository, tmp_path):
    """The place has no name that both know; the voxels tell that it is the same image."""
    folder, values = repository
    assert Child(HALF, folder, tmp_path / "out.zarr").said() == "2\n"
    report = daskpatch.predict(
        opened(folder), np.negative, tmp_path / "out.zarr", resume=True, **OPTIONS
    )
    assert (report.blocks, report.skipped) == (2, 2)
    np.testing.assert_array_equal(read(tmp_path / "out.zarr"), -values)


def test_another_image_is_no_resume(repository, tmp_path):
    folder, values = repository
    out = tmp_path / "out.zarr"
    daskpatch.predict(opened(folder), np.negative, out, part=(1, 2), **OPTIONS)
    repository = icechunk.Repository.open(icechunk.local_filesystem_storage(str(folder)))
    session = repository.writable_session("main")
    zarr.open_array(session.store, path="image")[...] = values + 1
    session.commit("another")
    with pytest.raises(ValueError, match=r"source\.content"):
        daskpatch.predict(opened(folder), np.negative, out, resume=True, **OPTIONS)


def test_what_would_be_written_there_is_refused(repository):
    folder, _ = repository
    repository = icechunk.Repository.open(icechunk.local_filesystem_storage(str(folder)))
    store = repository.writable_session("main").store
    with pytest.raises(ValueError, match="IcechunkStore/new is in an Icechunk store.*no receipts"):
        daskpatch.plan(
            opened(folder), np.negative, zarr.storage.StorePath(store, "new"), patch_size=16
        )
    for look in (daskpatch.status, daskpatch.verify):
        with pytest.raises(ValueError, match="IcechunkStore has no receipts"):
            look(store)
