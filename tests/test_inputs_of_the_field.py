"""What people have: arrays on a cluster, stores that cannot be sent, models beside other files."""

import glob
import os
import pickle
import sys
import threading
from functools import partial

import dask
import dask.array as da
import h5py
import ml_dtypes
import numpy as np
import pytest
import tensorstore
import tifffile
import xarray
import zarr
from dask.array.image import imread as dask_image_imread
from example_models import double
from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem
from scipy.ndimage import uniform_filter
from volumes import read, save
from zarr.storage import LocalStore, WrapperStore

import daskpatch
from daskpatch.output import as_target

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


@pytest.mark.parametrize("cluster", ["in_process", "processes"])
@pytest.mark.parametrize("made", [persisted, scattered, computed_from])
def test_lazy_arrays_of_what_a_cluster_holds(image, made, cluster, request):
    client = request.getfixturevalue(cluster)
    words = {"axes": "YX", "patch_size": 16, "overlaps": 4, "chunks": 12, "normalize": "minmax"}
    planned = daskpatch.plan(made(image, client), blurred_and_halved, align=2, **words)
    expected = daskpatch.plan(image, blurred_and_halved, align=2, **words).views
    with client.as_current():
        for array, values in zip(planned.arrays, expected, strict=True):
            assert array.npartitions > 1
            np.testing.assert_array_equal(array.compute(), values[...])
            np.testing.assert_array_equal((array[..., 5:9] + 1).compute(), values[..., 5:9] + 1)


def blurred_and_halved(tiles):
    """What sees neighbours, at two scales."""
    blurred = uniform_filter(tiles, (1, 1, 5, 5))
    return {"blurred": blurred, "half": blurred[..., ::2, ::2]}


@pytest.mark.parametrize("held", ["image", "mask", "both"])
def test_lazy_arrays_of_samples_and_masks_that_a_cluster_holds(rng, processes, held):
    image = rng.random((3, 2, 40, 36)).astype("f4")
    mask = image[0, 0, ::4, ::4] > 0.7

    def given(values, name):
        lazy = da.from_array(values, chunks=7)
        return processes.persist(lazy) if held in (name, "both") else values

    source, where = given(image, "image"), given(mask, "mask")
    words = {"axes": "TCYX", "patch_size": 16, "overlaps": 4, "chunks": (1, 1, 20, 20)}
    expected = daskpatch.plan(image, double, mask=mask, **words).view[...]
    assert (expected == 0).any()
    assert (expected == 2 * image).any()
    with processes.as_current():
        array = daskpatch.plan(source, double, mask=where, **words).array
        np.testing.assert_array_equal(array.compute(), expected)


@pytest.mark.parametrize("is_held", [True, False])
def test_chunks_of_another_dtype_than_dask_was_told(image, in_process, is_held):
    lazy = da.from_array(image, chunks=20).map_blocks(lambda b: b, meta=np.empty((0, 0), "u1"))
    source = in_process.persist(lazy) if is_held else lazy
    words = {"axes": "YX", "patch_size": 16, "overlaps": 4, "chunks": 12}
    with in_process.as_current():
        values = daskpatch.plan(source, double, dtype="f4", **words).array.compute()
    np.testing.assert_array_equal(values, 2 * image)


@pytest.mark.parametrize("is_held", [True, False])
def test_chunks_of_another_shape_than_dask_was_told(image, in_process, is_held):
    def shrunk(block, block_id):
        return block[:1, :1] if block_id == (0, 0) else block

    lazy = da.from_array(image, chunks=20).map_blocks(shrunk, dtype="f4", meta=image[:0, :0])
    source = in_process.persist(lazy) if is_held else lazy
    words = {"axes": "YX", "patch_size": 10, "chunks": 10}
    with in_process.as_current():
        array = daskpatch.plan(source, double, **words).array
        np.testing.assert_array_equal(array[20:, 20:].compute(), 2 * image[20:, 20:])
        with pytest.raises((ValueError, OSError), match=r"has shape \(.*asked for was \("):
            array[:10, :10].compute()


def test_an_array_that_became_smaller_is_not_stretched(image, tmp_path):
    with h5py.File(tmp_path / "in.h5", "w") as file:
        source = file.create_dataset("raw", data=image, maxshape=(None, None))
        planned = daskpatch.plan(source, double, tmp_path / "o.zarr", axes="YX", patch_size=16)
        source.resize(33, axis=0)
        with pytest.raises((OSError, daskpatch.RunFailed), match="has shape"):
            planned.run(progress=False)


@pytest.mark.parametrize("remade", [True, False])
@pytest.mark.parametrize("is_put_together", [True, False])
def test_a_tensorstore_whose_folder_is_another_one_is_noticed(
    image, tmp_path, remade, is_put_together
):
    save(tmp_path / "in.zarr", image, chunks=(20, 20))
    kvstore = {"driver": "file", "path": f"{tmp_path}/in.zarr/"}
    source = tensorstore.open({"driver": "zarr3", "kvstore": kvstore}).result()
    if is_put_together:
        source = tensorstore.concat([source[:20], source[20:]], axis=0)
    planned = daskpatch.plan(source, double, tmp_path / "o.zarr", axes="YX", patch_size=16)
    os.rename(tmp_path / "in.zarr", tmp_path / "away.zarr")
    if remade:
        save(tmp_path / "in.zarr", image[:30], chunks=(20, 20))
    with pytest.raises(OSError, match="was made anew since" if remade else "is gone"):
        planned.run(progress=False)
    with pytest.raises(OSError, match="was made anew since" if remade else "is gone"):
        planned.view[...]


def test_a_tensorstore_whose_chunks_a_function_makes(image, tmp_path):
    def make(domain, chunk, _):
        chunk[...] = image[domain.index_exp]

    domain = tensorstore.IndexDomain(shape=image.shape)
    made = tensorstore.virtual_chunked(make, dtype=image.dtype, domain=domain)
    words = {"axes": "YX", "patch_size": 16, "progress": False}
    daskpatch.predict(made, double, tmp_path / "o.zarr", **words)
    np.testing.assert_array_equal(zarr.open(tmp_path / "o.zarr")[...], double(image))
    assert daskpatch.predict(made, double, tmp_path / "o.zarr", resume=True, **words).done == 0
    with pytest.raises(FileExistsError, match="a function makes its chunks, which may read"):
        daskpatch.predict(made, double, tmp_path / "o.zarr", overwrite=True, **words)


def test_a_tensorstore_of_a_dtype_that_zarr_lacks(image, tmp_path):
    kvstore = {"driver": "file", "path": f"{tmp_path}/in.zarr/"}
    spec = {"driver": "zarr", "kvstore": kvstore}
    stored = tensorstore.open(spec, dtype=tensorstore.bfloat16, shape=image.shape, create=True)
    values = image.astype(ml_dtypes.bfloat16)
    stored.result()[...] = values
    source = tensorstore.cast(stored.result(), "float32")
    view = daskpatch.plan(source, double, axes="YX", patch_size=16).view
    np.testing.assert_array_equal(view[...], 2 * values.astype("f4"))


def test_an_active_client_is_left_alone_where_it_holds_the_source(
    image, tmp_path, processes, caplog
):
    source = persisted(image, processes)
    with processes.as_current():
        daskpatch.predict(source, double, tmp_path / "out.zarr", **TILES)
    assert "computing in threads of this process" in caplog.text
    np.testing.assert_array_equal(read(tmp_path / "out.zarr"), 2 * image)


class Masking:
    """An array that gives a masked one of itself."""

    shape, dtype = (40, 36), np.dtype("f4")

    class Part:
        def __init__(self, shape):
            self.shape = shape

        def __array__(self, dtype=None, copy=None):
            return np.ma.masked_array(np.ones(self.shape, "f4"), True)

    def __getitem__(self, key):
        return self.Part(np.empty(self.shape)[key].shape)


def test_what_gives_a_masked_array_of_itself_is_refused():
    with pytest.raises((ValueError, OSError), match="masked"):
        daskpatch.plan(Masking(), double, axes="YX", patch_size=16)


@pytest.mark.parametrize("kind", ["c8", "M8[s]", "U8", "O", "g", [("a", "f4")]], ids=str)
def test_blocks_of_another_kind_than_the_source_says_are_refused(image, kind):
    """Of complex ones NumPy would drop half: Dask believes whatever dtype it is told."""

    def other(block):
        return np.zeros(block.shape, kind)

    lying = da.from_array(image, chunks=8).map_blocks(other, dtype="f4")
    for options in ({}, {"normalize": "zscore"}):
        with pytest.raises(OSError, match="the source gave a block of dtype"):
            daskpatch.plan(lying, double, axes="YX", patch_size=16, overlaps=4, **options).view[0]
    plan = daskpatch.plan(image, double, axes="YX", patch_size=16, overlaps=4, mask=lying)
    with pytest.raises(OSError, match="the source gave a block of dtype"):
        plan.view[0]


@pytest.mark.parametrize("cluster", ["in_process", "processes"])
@pytest.mark.parametrize("made", [persisted, scattered])
def test_arrays_that_a_cluster_holds_are_not_for_its_tasks(image, tmp_path, made, cluster, request):
    client = request.getfixturevalue(cluster)
    out = tmp_path / "out.zarr"
    source = made(image, client)
    with pytest.raises(ValueError, match=r"persisted on a cluster.*threads=…"):
        daskpatch.predict(source, double, out, client=client, **TILES)
    assert not out.exists()
    with pytest.raises(TypeError, match="cannot be used by workers: it was persisted"):
        pickle.dumps(daskpatch.open_image(source, axes="YX"))


# Stores that cannot be sent to other processes


class Locked(WrapperStore):
    """Holds what cannot be pickled: tifffile's store an open file, this one a lock."""

    def __init__(self, store):
        super().__init__(store)
        self.lock = threading.Lock()


def test_a_source_whose_store_cannot_be_sent(image, tmp_path, processes):
    save(tmp_path / "in.zarr", image, chunks=(20, 20))
    store = Locked(LocalStore(tmp_path / "in.zarr", read_only=True))
    source = zarr.open_array(store, mode="r")
    with pytest.raises(ValueError, match="workers: its store, a Locked.*path or URL"):
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


@pytest.mark.parametrize("where", ["at the top", "inside", "by a neighbour"])
def test_a_file_never_gets_the_neighbour_of_another(image, tmp_path, monkeypatch, where):
    """Python has one module of a name, whoever imported it first."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    texts = {
        "at the top": "from our_gain import GAIN\ndef model(batch): return batch * GAIN\n",
        "inside": "def model(batch):\n    import our_gain\n    return batch * our_gain.GAIN\n",
        "by a neighbour": "from {0}_more import model\n",
    }
    for name, gain in {"one": 2, "other": 3}.items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / "our_gain.py").write_text(f"GAIN = {gain}\n")
        (folder / f"{name}_more.py").write_text(texts["at the top"])
        (folder / "net.py").write_text(texts[where].format(name))
    tiles = {name: value for name, value in TILES.items() if name != "progress"}
    plan = daskpatch.plan(image, f"{tmp_path}/one/net.py:model", **tiles)
    np.testing.assert_array_equal(plan.view[...], image * 2)
    with pytest.raises(ImportError, match="would get .*one/our_gain.py instead of .*other"):
        daskpatch.plan(image, f"{tmp_path}/other/net.py:model", **tiles)
    for name in ("our_gain", "one_more"):
        sys.modules.pop(name, None)


# Arrays of other libraries, which say their axes


def labelled(image, **more):
    spec = {
        "driver": "zarr3",
        "kvstore": {"driver": "memory"},
        "metadata": {"shape": image.shape, "data_type": str(image.dtype), **more},
    }
    array = tensorstore.open(spec, create=True).result()
    array[...] = image
    return array


def tensorstores_part(image):
    """Which keeps the indices of the whole, and has no voxel 0."""
    whole = np.pad(image, ((5, 0), (3, 4)))
    return labelled(whole, dimension_names=["y", "x"])[5:, 3 : 3 + image.shape[1]]


SAYING_THEIR_AXES = {
    "xarray": lambda image: xarray.DataArray(image, dims=("y", "x")),
    "xarray of dask": lambda image: xarray.DataArray(da.from_array(image, 20), dims=("Y", "X")),
    "xarray's variable": lambda image: xarray.Variable(("y", "x"), image),
    "tensorstore": lambda image: labelled(image, dimension_names=["y", "x"]),
    "tensorstore's part": tensorstores_part,
}


@pytest.mark.parametrize("kind", SAYING_THEIR_AXES)
def test_arrays_that_say_their_axes(image, tmp_path, kind, processes):
    source = SAYING_THEIR_AXES[kind](image)
    tiles = {**TILES, "axes": None}
    daskpatch.predict(source, double, tmp_path / "out.zarr", **tiles)
    np.testing.assert_array_equal(read(tmp_path / "out.zarr"), 2 * image)
    if not kind.startswith("tensorstore"):  # in memory, they are not sent
        daskpatch.predict(source, double, tmp_path / "sent.zarr", client=processes, **tiles)
        np.testing.assert_array_equal(read(tmp_path / "sent.zarr"), 2 * image)


@pytest.mark.parametrize("driver", ["zarr", "zarr3"])
def test_a_tensorstore_array_on_disk_is_sent_to_workers(image, tmp_path, driver, processes):
    save(tmp_path / "in.zarr", image, chunks=(20, 20), zarr_format=3 if driver == "zarr3" else 2)
    kvstore = {"driver": "file", "path": f"{tmp_path}/in.zarr/"}
    source = tensorstore.open({"driver": driver, "kvstore": kvstore}).result()
    daskpatch.predict(source, double, tmp_path / "out.zarr", client=processes, **TILES)
    np.testing.assert_array_equal(read(tmp_path / "out.zarr"), 2 * image)


def test_names_of_axes_that_are_no_letters_are_named():
    source = xarray.DataArray(np.zeros((8, 8)), dims=("lat", "lon"))
    with pytest.raises(ValueError, match=r"calls its axes lat, lon; its shape.*axes='YX'"):
        daskpatch.open_image(source)


@pytest.mark.parametrize(("place", "axes"), [(0, "CYX"), (2, "YXC")])
def test_colours_of_tifffile_are_told_from_samples(tmp_path, place, axes):
    shape, config = ((3, 32, 36), "separate") if place == 0 else ((32, 36, 3), "contig")
    colours = np.zeros(shape, "u1")
    tifffile.imwrite(
        tmp_path / "a.tif", colours, photometric="rgb", planarconfig=config, tile=(16, 16)
    )
    with (
        tifffile.imread(tmp_path / "a.tif", aszarr=True) as store,
        pytest.warns(UserWarning, match=rf"Axis {place} .* S, 3 samples: .*axes={axes}"),
    ):
        daskpatch.open_image(zarr.open(store, mode="r"))


def test_two_channels_of_one_name_ask_for_an_index():
    names = ["DAPI", "GFP", "GFP"]
    source = xarray.DataArray(np.zeros((3, 8, 8)), dims=("c", "y", "x"), coords={"c": names})
    with pytest.raises(ValueError, match="several channels are called GFP: 1, 2; needed is an ind"):
        daskpatch.open_image(source, channels=["GFP"])
    assert daskpatch.open_image(source, channels=["DAPI"]).data_shape[1] == 1


def test_a_future_and_a_result_that_is_none_are_told_as_such(image, tmp_path):
    save(tmp_path / "in.zarr", image, chunks=(16, 16))
    future = tensorstore.open({"driver": "zarr3", "kvstore": f"file://{tmp_path}/in.zarr/"})
    with pytest.raises(TypeError, match=r"is a Future; .* Wait for it: source.result\(\)"):
        daskpatch.open_image(future, axes="YX")
    with pytest.raises(TypeError, match=r"is a Spec, .* array: tensorstore.open\(source\)"):
        daskpatch.open_image(future.result().spec(), axes="YX")
    half = tensorstore.array(np.ones((8, 8), tensorstore.bfloat16.numpy_dtype))
    with pytest.raises(ValueError, match=r"Cast it: tensorstore.cast\(source, 'float32'\)"):
        daskpatch.open_image(half, axes="YX")
    for model, name in (
        (lambda b: {"a": b, "loss": None}, "loss"),
        (lambda b: (b, None), "output1"),
    ):
        with pytest.raises(RuntimeError, match=f"its result '{name}' is None, no array: give"):
            daskpatch.plan(image, model, axes="YX", patch_size=16)


def test_a_dtype_that_is_not_numpys(image):
    with pytest.raises(ValueError, match=r"has dtype bfloat16; .* Cast it: tensorstore.cast"):
        daskpatch.open_image(labelled(image.astype(ml_dtypes.bfloat16)), axes="YX")


def test_what_an_array_of_another_library_holds_is_not_sent_when_it_is_large(tmp_path, processes):
    source = xarray.DataArray(np.zeros((800, 800), "f4"), dims=("y", "x"))
    with pytest.raises(ValueError, match="a DataArray that holds 3 MB in this process"):
        daskpatch.predict(
            source, double, tmp_path / "out.zarr", client=processes, **{**TILES, "axes": None}
        )


# Stores that know their own keys only


class Strict(WrapperStore):
    """Raises for keys of another Zarr format, as stores do that make up their keys."""

    async def get(self, key, prototype, byte_range=None):
        if key.endswith("zarr.json") and "/" in key:
            raise KeyError(key)
        return await self._store.get(key, prototype, byte_range)


def test_a_level_of_a_tiff_pyramid(image, tmp_path):
    with tifffile.TiffWriter(tmp_path / "pyramid.tif") as writer:
        writer.write(image, tile=(16, 16), subifds=1)
        writer.write(image[::2, ::2], tile=(16, 16), subfiletype=1)
    with tifffile.imread(tmp_path / "pyramid.tif", aszarr=True, level=None) as store:
        level = zarr.open(store, mode="r")["0"]
        daskpatch.predict(level, double, tmp_path / "out.zarr", **TILES)
    np.testing.assert_array_equal(read(tmp_path / "out.zarr"), 2 * image)


def test_arrays_of_strict_stores_are_read_and_written(image, tmp_path):
    group = zarr.create_group(Strict(LocalStore(tmp_path / "g.zarr")), zarr_format=2)
    source = group.create_array("in", data=image, chunks=(20, 20))
    output = group.create_array("out", shape=image.shape, dtype="f4", chunks=(12, 12))
    words = {word: value for word, value in TILES.items() if word != "chunks"}
    daskpatch.predict(source, double, output, **words)
    np.testing.assert_array_equal(output[...], 2 * image)
    assert daskpatch.verify(output, progress=False).ok


# Cells that are run again: what a lazy source reads from


def of_zarr(folder):
    return da.from_zarr(f"{folder}/in.zarr")


def of_an_open_array(folder):
    return da.from_array(zarr.open_array(f"{folder}/in.zarr", mode="r"))


def computed_of_zarr(folder):
    return (da.from_zarr(f"{folder}/in.zarr").rechunk(9) * 2).astype("f4") / 2


def of_files(folder):
    imread = dask.delayed(tifffile.imread)
    rows = [da.from_delayed(imread(f"{folder}/{i}.tif"), (20, 36), "f4") for i in range(2)]
    return da.concatenate(rows)


def of_a_pattern(folder):
    return dask_image_imread(f"{folder}/*.tif").reshape(40, 36)


def of_xarray(folder):
    return xarray.DataArray(of_zarr(folder), dims=("y", "x"))


def of_hdf5(folder):
    return da.from_array(h5py.File(f"{folder}/in.h5")["raw"], chunks=20)


def of_a_memory_map(folder):
    return da.from_array(np.load(f"{folder}/in.npy", mmap_mode="r"), chunks=20)


def of_tensorstore(folder):
    kvstore = {"driver": "file", "path": f"{folder}/in.zarr/"}
    return tensorstore.open({"driver": "zarr3", "kvstore": kvstore}).result()


LAZY = [
    of_zarr, of_an_open_array, computed_of_zarr, of_files, of_a_pattern, of_xarray, of_hdf5,
    of_a_memory_map, of_tensorstore,
]  # fmt: skip


@pytest.fixture
def folder(image, tmp_path):
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    save(inputs / "in.zarr", image, chunks=(20, 20))
    for i in range(2):
        tifffile.imwrite(inputs / f"{i}.tif", image[20 * i : 20 * i + 20])
    with h5py.File(inputs / "in.h5", "w") as file:
        file["raw"] = image
    np.save(inputs / "in.npy", image)
    return inputs


@pytest.mark.parametrize("made", LAZY)
def test_a_cell_with_a_lazy_source_is_run_again(image, tmp_path, folder, made):
    for _ in range(2):
        daskpatch.predict(made(folder), double, tmp_path / "out.zarr", overwrite=True, **TILES)
    np.testing.assert_array_equal(read(tmp_path / "out.zarr"), 2 * image)
    output = zarr.open_array(tmp_path / "out.zarr", mode="r+")
    words = {word: value for word, value in TILES.items() if word != "chunks"}
    daskpatch.predict(made(folder), np.negative, output, **words)
    np.testing.assert_array_equal(output[...], -image)


def of_the_output(out):
    return da.from_zarr(str(out)) * 2


def of_a_path_to_the_output(out):
    return da.from_delayed(dask.delayed(zarr.load)(str(out)), (40, 36), "f4")


def of_a_pattern_around_the_output(out):
    found = dask.delayed(glob.glob)(f"{out.parent}/*.zarr")
    return da.from_delayed(
        dask.delayed(np.full)((40, 36), dask.delayed(len)(found)), (40, 36), "f4"
    )


def of_the_output_by_xarray(out):
    return xarray.DataArray(da.from_zarr(str(out)), dims=("y", "x"))


def of_the_output_by_tensorstore(out):
    kvstore = {"driver": "file", "path": f"{out}/"}
    return tensorstore.open({"driver": "zarr3", "kvstore": kvstore}).result()


def of_code_of_the_users(out):
    return da.from_zarr(str(out)).map_blocks(lambda block: block)


def of_a_chunk_that_is_mapped(out):
    first = next(path for path in sorted((out / "c").rglob("*")) if path.is_file())
    return np.memmap(first, "u1", "r")[None]


def of_a_link_to_the_output(out):
    link = out.parent / "link.zarr"
    link.symlink_to(out)
    return da.from_zarr(str(link))


@pytest.mark.parametrize(
    "made",
    [
        of_the_output, of_a_path_to_the_output, of_a_pattern_around_the_output,
        of_the_output_by_xarray, of_the_output_by_tensorstore, of_code_of_the_users,
        of_a_link_to_the_output, of_a_chunk_that_is_mapped,
    ],
)  # fmt: skip
def test_what_a_lazy_source_reads_from_is_not_deleted(image, tmp_path, made):
    out = tmp_path / "out.zarr"
    daskpatch.predict(image, double, out, **TILES)
    source = made(out)
    with pytest.raises(FileExistsError, match="may read from it: it (reads|calls)"):
        daskpatch.predict(source, double, out, overwrite=True, **TILES)
    words = {word: value for word, value in TILES.items() if word != "chunks"}
    with pytest.raises(ValueError, match="may read from it: it (reads|calls)"):
        daskpatch.predict(source, double, zarr.open_array(out, mode="r+"), **words)
    np.testing.assert_array_equal(read(out), 2 * image)


# Other ways to the output


def tensorstore_at(out):
    kvstore = {"driver": "file", "path": f"{out}/"}
    return tensorstore.open({"driver": "zarr3", "kvstore": kvstore}).result()


def joined_tensorstores(out):
    whole = tensorstore_at(out)
    return tensorstore.concat([whole[:20], whole[20:].translate_to[0]], axis=0)


def stacked_tensorstores(out):
    return tensorstore.stack([tensorstore_at(out)])[0]


def laid_over_each_other(out):
    return tensorstore.overlay([tensorstore_at(out)])


def of_a_method(out):
    read = zarr.open_array(str(out), mode="r").get_basic_selection
    return da.from_delayed(dask.delayed(partial(read, ...))(), (40, 36), "f4")


def linked_chunks(out):
    folder = out.parent / "linked.zarr"
    folder.mkdir()
    (folder / "zarr.json").write_bytes((out / "zarr.json").read_bytes())
    (folder / "c").symlink_to(out / "c")
    return folder


def of_linked_chunks(out):
    return da.from_zarr(str(linked_chunks(out)))


def of_another_file_system(out):
    inner = DirFileSystem(path=str(out.parent), fs=LocalFileSystem())
    wrapped = AsyncFileSystemWrapper(inner, asynchronous=True)
    store = zarr.storage.FsspecStore(wrapped, path=out.name, read_only=True)
    return zarr.open_array(store, mode="r")


def of_bytes(out):
    name = dask.delayed(os.fsencode(f"{out}/c/0/0"))
    read = dask.delayed(np.resize)(dask.delayed(np.fromfile)(name, "u1"), (40, 36))
    return da.from_delayed(read, (40, 36), "u1")


def of_a_path_that_reads(out):
    read = dask.delayed((out / "c" / "0" / "0").read_bytes)()
    values = dask.delayed(np.resize)(dask.delayed(np.frombuffer)(read, "u1"), (40, 36))
    return da.from_delayed(values, (40, 36), "u1")


def of_an_unknown_url(out):
    return da.from_delayed(dask.delayed(np.full)((40, 36), f"local://{out}"), (40, 36), "f4")


def disguised(path):
    return zarr.open_array(path, mode="r")[...]


disguised.__module__, disguised.__qualname__ = "zarr", "open"


def of_code_that_says_it_is_zarrs(out):
    return da.from_delayed(dask.delayed(disguised)("here"), (40, 36), "f4")


def of_a_chain_of_file_systems(out):
    url = f"simplecache::file://{out}"
    return da.from_delayed(dask.delayed(zarr.load)(url), (40, 36), "f4")


@pytest.mark.parametrize(
    "made",
    [
        of_a_chain_of_file_systems,
        tensorstore_at, joined_tensorstores, stacked_tensorstores, laid_over_each_other,
        of_a_method, linked_chunks, of_linked_chunks, of_another_file_system, of_bytes,
        of_a_path_that_reads, of_an_unknown_url, of_code_that_says_it_is_zarrs,
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["out.zarr", "my Ünique out.zarr"])
def test_other_ways_to_the_output_are_found(image, tmp_path, made, name):
    out = tmp_path / name
    daskpatch.predict(image, double, out, **TILES)
    images = (daskpatch.open_image(made(out), axes="YX"),)
    output = daskpatch.Output(out, overwrite=True)
    with pytest.raises((FileExistsError, ValueError), match=r"may read from it: |has links to"):
        as_target(output, images, source=daskpatch.Source(out), io="auto").check()
    np.testing.assert_array_equal(read(out), 2 * image)


@pytest.mark.parametrize("word", ["raw", "edge", "."])
def test_words_that_are_names_of_folders_are_words(image, tmp_path, monkeypatch, word):
    monkeypatch.chdir(tmp_path)
    out = tmp_path / word / "out.zarr"
    source = xarray.DataArray(da.from_array(image, 20, name=word), dims=("y", "x"), name=word)
    for _ in range(2):
        daskpatch.predict(
            source.assign_attrs(path=word), double, out, overwrite=True, **{**TILES, "axes": None}
        )
    np.testing.assert_array_equal(read(out), 2 * image)


@pytest.mark.parametrize(
    ("dtype", "wider"),
    [
        (ml_dtypes.int4, "int8"),
        (ml_dtypes.uint2, "uint8"),
        (ml_dtypes.float8_e4m3fn, "float32"),
        (np.longdouble, "float64"),
    ],
)
def test_dtypes_that_are_none_of_ours_are_told_how_to_cast(dtype, wider):
    source = np.zeros((8, 8), dtype)
    with pytest.raises(ValueError, match=rf"needed are integers of .*source.astype\('{wider}'\)"):
        daskpatch.open_image(source, axes="YX")
    assert daskpatch.open_image(source.astype(wider), axes="YX").data_shape == (1, 1, 8, 8)


@pytest.mark.parametrize("dtype", ["S4", "complex64", "M8[ns]", "V3"])
def test_dtypes_that_hold_no_real_numbers_are_refused(dtype):
    with pytest.raises(ValueError, match=r"needed are integers of .* or booleans\.$"):
        daskpatch.open_image(np.zeros((8, 8), dtype), axes="YX")


@pytest.mark.parametrize("resume", [False, True])
def test_a_file_that_came_to_the_place_since_the_plan_is_told(tmp_path, image, resume):
    planned = daskpatch.plan(image, abs, tmp_path / "out", axes="YX", patch_size=8, model_id="abs")
    (tmp_path / "out").write_text("notes")
    with pytest.raises(FileExistsError, match="out is a file; give another place"):
        planned.run(resume=resume, progress=False)
    assert (tmp_path / "out").read_text() == "notes"


def test_a_zip_store_is_opened_where_it_is_not(tmp_path, image):
    path = tmp_path / "image.zip"
    with zarr.storage.ZipStore(path, mode="w") as store:
        zarr.create_array(store, data=image)
    found = daskpatch.open_image(zarr.storage.ZipStore(path, mode="r"), axes="YX")
    assert np.array_equal(found.extract_patch(0, None, (0, 0), image.shape)[0], image)
    with pytest.raises(FileNotFoundError, match="No ZIP file at .*other.zip; check the path"):
        daskpatch.open_image(zarr.storage.ZipStore(tmp_path / "other.zip", mode="r"), axes="YX")
    (tmp_path / "text.zip").write_text("no archive")
    with pytest.raises(ValueError, match="text.zip is no ZIP file"):
        daskpatch.open_image(zarr.storage.ZipStore(tmp_path / "text.zip", mode="r"), axes="YX")
