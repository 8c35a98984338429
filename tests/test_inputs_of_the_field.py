"""What people have: arrays on a cluster, stores that cannot be sent, models beside other files."""

import sys
import threading

import dask.array as da
import numpy as np
import pytest
import zarr
from example_models import double
from volumes import read, save
from zarr.storage import LocalStore, WrapperStore

import daskpatch

TILES = {"axes": "YX", "patch_size": 16, "overlaps": 4, "chunks": 12, "progress": False}


@pytest.fixture
def image(rng):
    return rng.random((40, 36)).astype("f4")


# Dask arrays whose parts a cluster holds


def persisted(image, client):
    return client.persist(da.from_array(image, chunks=20))


def scattered(image, client):
    return da.from_delayed(client.scatter(image), shape=image.shape, dtype=image.dtype)


def computed_from(image, client):
    return persisted(image, client) * 1


@pytest.mark.parametrize("cluster", ["in_process", "processes"])
@pytest.mark.parametrize("made", [persisted, scattered, computed_from])
def test_arrays_that_a_cluster_holds(image, tmp_path, made, cluster, request):
    client = request.getfixturevalue(cluster)
    source = made(image, client)
    out = tmp_path / "out.zarr"
    daskpatch.predict(source, double, out, threads=2, **TILES)
    np.testing.assert_array_equal(read(out), 2 * image)
    words = {word: value for word, value in TILES.items() if word != "progress"}
    view = daskpatch.plan(source, double, **words).view
    np.testing.assert_array_equal(view[3:30], 2 * image[3:30])


@pytest.mark.parametrize("made", [persisted, scattered])
def test_arrays_that_a_cluster_holds_are_not_sent_to_its_workers(image, tmp_path, made, processes):
    out = tmp_path / "out.zarr"
    with pytest.raises(ValueError, match=r"persisted on a cluster.*threads=…"):
        daskpatch.predict(made(image, processes), double, out, client=processes, **TILES)
    assert not out.exists()


# Stores that cannot be sent to other processes


class Locked(WrapperStore):
    """Holds what cannot be pickled: tifffile's store an open file, this one a lock."""

    def __init__(self, store):
        super().__init__(store)
        self.lock = threading.Lock()

    def _with_store(self, store):
        return type(self)(store)


def test_a_source_whose_store_cannot_be_sent(image, tmp_path, processes):
    save(tmp_path / "in.zarr", image, chunks=(20, 20))
    store = Locked(LocalStore(tmp_path / "in.zarr", read_only=True))
    source = zarr.open_array(store, mode="r")
    with pytest.raises(ValueError, match="worker processes: its store, a Locked.*path or URL"):
        daskpatch.predict(source, double, tmp_path / "o.zarr", client=processes, **TILES)
    assert not (tmp_path / "o.zarr").exists()
    daskpatch.predict(source, double, tmp_path / "o.zarr", **TILES)
    np.testing.assert_array_equal(read(tmp_path / "o.zarr"), 2 * image)


def test_an_output_whose_store_cannot_be_sent(image, tmp_path, processes):
    store = Locked(LocalStore(tmp_path / "o.zarr"))
    save(tmp_path / "in.zarr", image, chunks=(20, 20))
    with pytest.raises(ValueError, match="The output .* its store cannot be sent"):
        daskpatch.predict(tmp_path / "in.zarr", double, store, client=processes, **TILES)
    daskpatch.predict(tmp_path / "in.zarr", double, store, **TILES)
    np.testing.assert_array_equal(read(tmp_path / "o.zarr"), 2 * image)


# Models in files


def test_a_file_that_imports_its_neighbour(image, tmp_path, monkeypatch, processes):
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "own_layers.py").write_text("def twice(batch):\n    return batch * 2\n")
    (tmp_path / "net.py").write_text("from own_layers import twice\nmodel = twice\n")
    save(tmp_path / "in.zarr", image, chunks=(20, 20))
    model = f"{tmp_path}/net.py:model"
    for name, how in {"threads": {"threads": 2}, "workers": {"client": processes}}.items():
        out = tmp_path / f"{name}.zarr"
        daskpatch.predict(tmp_path / "in.zarr", model, out, **how, **TILES)
        np.testing.assert_array_equal(read(out), 2 * image)
    # The neighbour is part of the model.
    sys.modules.pop("own_layers")
    (tmp_path / "own_layers.py").write_text("def twice(batch):\n    return batch * 2 + 1\n")
    with pytest.raises(ValueError, match="cannot be resumed"):
        daskpatch.predict(
            tmp_path / "in.zarr", model, tmp_path / "threads.zarr", resume=True, **TILES
        )
    sys.modules.pop("own_layers")
