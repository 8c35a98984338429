"""What may be at the output's place, and that nobody loses anything there."""

import json
import mmap
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import dask.array as da
import numpy as np
import obstore
import pytest
import zarr
from example_models import channels, double, identity
from folders import contents
from volumes import read, save
from zarr.storage import LocalStore, WrapperStore

import daskpatch


def predict(source, output, **options):
    options = {"patch_size": 16, "overlaps": 4, "progress": False} | options
    return daskpatch.predict(source, options.pop("model", double), output, **options)


def test_a_plan_touches_no_output(tmp_path, stored):
    plan = daskpatch.plan(stored, double, tmp_path / "out.zarr", patch_size=16)
    plan.view[0]
    plan.array[0].compute()
    assert not (tmp_path / "out.zarr").exists()


def test_an_output_that_exists_is_refused(tmp_path, stored):
    predict(stored, tmp_path / "out.zarr")
    before = contents(tmp_path / "out.zarr")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        predict(stored, tmp_path / "out.zarr")
    assert contents(tmp_path / "out.zarr") == before


def test_overwrite_replaces_an_array(tmp_path, stored, volume):
    save(tmp_path / "other.zarr", np.ones((5, 5)), chunks=(2, 2))
    predict(tmp_path / "other.zarr", tmp_path / "out.zarr", axes="YX")
    predict(stored, tmp_path / "out.zarr", overwrite=True)
    assert np.array_equal(read(tmp_path / "out.zarr"), volume * np.float32(2))


def test_overwrite_replaces_a_group_of_ours(tmp_path, stored, volume):
    predict([stored, stored], tmp_path / "out.zarr")
    predict([stored], tmp_path / "out.zarr", overwrite=True)
    assert sorted(zarr.open_group(str(tmp_path / "out.zarr")).array_keys()) == ["0"]


@pytest.mark.parametrize("outer", ["series", "several", "ome"])
def test_overwrite_spares_the_output_of_another_run_in_a_group_of_ours(tmp_path, stored, outer):
    out = tmp_path / "out.zarr"
    source = [stored, stored] if outer == "series" else stored
    options = {"ome": "0.5"} if outer == "ome" else {}
    if outer == "several":
        options["model"] = lambda batch: {"a": batch, "b": batch * 2}
    predict(source, out, **options)
    predict(stored, out / "mine")
    before = contents(out)
    with pytest.raises(FileExistsError, match="also holds mine, made by a run of its own"):
        predict(source, out, overwrite=True, **options)
    assert contents(out) == before
    shutil.rmtree(out / "mine")
    predict(source, out, overwrite=True, **options)
    assert daskpatch.verify(out, progress=False).ok


FORMS = ("plain", "series", "several", "ome")


@pytest.mark.parametrize("before", FORMS)
@pytest.mark.parametrize("after", FORMS)
def test_overwrite_by_another_form_leaves_no_record_of_the_former(tmp_path, stored, before, after):
    out = tmp_path / "out.zarr"
    for form, options in ((before, {}), (after, {"overwrite": True})):
        if form == "several":
            options["model"] = lambda batch: {"a": batch, "b": batch * 2}
        options |= {"ome": "0.5", "pyramid": 1} if form == "ome" else {}
        predict([stored, stored] if form == "series" else stored, out, **options)
    assert daskpatch.verify(out, progress=False).ok
    assert not daskpatch.status(out).remaining


def test_a_level_of_an_image_is_not_overwritten_by_itself(tmp_path, stored):
    out = tmp_path / "out.zarr"
    predict(stored, out, ome="0.5", pyramid=1)
    before = contents(out)
    with pytest.raises(FileExistsError, match="is a level of the image"):
        predict(out, out / "1", overwrite=True)
    assert contents(out) == before


def test_what_a_mask_reads_from_is_not_overwritten(tmp_path, stored):
    out = tmp_path / "out.zarr"
    predict(stored, out)
    before = contents(out)
    mask = da.from_zarr(str(out)) > 0
    with pytest.raises(FileExistsError, match="may read from it"):
        predict(stored, out, mask=mask, overwrite=True)
    assert contents(out) == before


def test_overwrite_spares_what_was_added_to_a_group_of_ours(tmp_path, stored):
    predict([stored], tmp_path / "out.zarr")
    zarr.open_group(str(tmp_path / "out.zarr")).create_array("labels", data=np.ones(3))
    with pytest.raises(FileExistsError, match="labels"):
        predict([stored], tmp_path / "out.zarr", overwrite=True)
    assert zarr.open_array(str(tmp_path / "out.zarr" / "labels"))[0] == 1


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_no_array_of_ours_is_never_deleted(tmp_path, stored, overwrite):
    zarr.create_group(store=str(tmp_path / "group.zarr")).create_array("mine", data=np.ones(3))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("precious")
    (tmp_path / "file.zarr").write_text("precious")
    before = contents(tmp_path)
    through = zarr.storage.ObjectStore(obstore.store.LocalStore(tmp_path))
    for output in (
        tmp_path / "group.zarr",
        tmp_path / "folder",
        tmp_path / "file.zarr",
        zarr.storage.StorePath(through, "folder"),
    ):
        with pytest.raises(FileExistsError):
            predict(stored, output, overwrite=overwrite)
    assert contents(tmp_path) == before


def test_an_empty_folder_is_no_output_yet(tmp_path, stored, volume):
    (tmp_path / "out.zarr").mkdir()
    predict(stored, tmp_path / "out.zarr")
    assert np.array_equal(read(tmp_path / "out.zarr"), volume * np.float32(2))


def test_a_sibling_in_the_inputs_group_is_fine(tmp_path, volume):
    group = zarr.create_group(store=str(tmp_path / "g.zarr"))
    group.create_array("raw", data=volume, chunks=(16, 16, 16))
    predict(tmp_path / "g.zarr" / "raw", tmp_path / "g.zarr" / "denoised", axes="ZYX")
    assert sorted(group.array_keys()) == ["denoised", "raw"]
    assert np.array_equal(group["denoised"][...], volume * np.float32(2))


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("g.zarr/raw", "is the input"),
        ("link/raw", "is the input"),
        ("g.zarr/raw/inside", "inside the input"),
        ("g.zarr", "parent of the input"),
        ("", "parent of the input"),
    ],
)
def test_the_input_is_never_in_danger(tmp_path, volume, output, words, overwrite):
    group = zarr.create_group(store=str(tmp_path / "g.zarr"))
    group.create_array("raw", data=volume, chunks=(16, 16, 16))
    (tmp_path / "link").symlink_to(tmp_path / "g.zarr")
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=words):
        predict(tmp_path / "g.zarr" / "raw", tmp_path / output, axes="ZYX", overwrite=overwrite)
    assert contents(tmp_path) == before


def test_the_input_array_itself_is_no_output(stored):
    array = zarr.open_array(store=str(stored), mode="r+")
    with pytest.raises(ValueError, match="is the input"):
        predict(array, array)


def test_any_image_of_a_series_is_protected(tmp_path, stored, volume):
    save(tmp_path / "other.zarr", volume, chunks=(16, 16, 16), dimension_names=list("zyx"))
    with pytest.raises(ValueError, match="is the input"):
        predict([stored, tmp_path / "other.zarr"], tmp_path / "other.zarr", overwrite=True)


def existing(tmp_path, shape=(37, 61, 53), **options):
    options = {"chunks": (16, 16, 16), "dtype": "f4"} | options
    return zarr.create_array(store=str(tmp_path / "out.zarr"), shape=shape, **options)


def test_an_array_that_is_there_keeps_its_layout_and_dtype(tmp_path, stored, volume):
    array = existing(tmp_path, shards=(16, 32, 16), chunks=(16, 16, 16), dtype="f8")
    plan = daskpatch.plan(stored, double, array, patch_size=16, overwrite=True)
    assert (plan.chunks, plan.shards) == ((16, 16, 16), (16, 32, 16))
    assert plan.dtype == np.float64
    plan.run(progress=False)
    assert np.array_equal(array[...], volume * 2.0)


@pytest.mark.parametrize(
    ("shape", "options", "words"),
    [
        ((37, 61, 54), {}, "shape (37, 61, 54)"),
        ((37, 61), {"chunks": (8, 8)}, "(37, 61, 53)"),
    ],
)
def test_an_array_of_another_shape_is_refused(tmp_path, stored, shape, options, words):
    array = existing(tmp_path, shape=shape, **options)
    with pytest.raises(ValueError) as caught:
        predict(stored, array)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"chunks": 8}, "leave them out"),
        ({"shards": 32}, "leave them out"),
        ({"dtype": "u1"}, "float32"),
        ({"block_shape": (16, 16, 24)}, "lose voxels"),
        ({"block_shape": (16, 16)}, "2 numbers"),
    ],
)
def test_options_that_an_array_decides_are_refused(tmp_path, stored, options, words):
    with pytest.raises(ValueError, match=words):
        predict(stored, existing(tmp_path), **options)


def test_blocks_that_share_a_shard_are_refused(tmp_path, stored):
    with pytest.raises(ValueError, match=r"whole write units \(32, 32, 32\)"):
        predict(stored, tmp_path / "out.zarr", chunks=16, shards=32, block_shape=16)


def test_shards_that_cut_chunks_are_refused(tmp_path, stored):
    with pytest.raises(ValueError, match=r"the next that fit are \(32, 32, 32\)"):
        predict(stored, tmp_path / "out.zarr", chunks=(16, 16, 16), shards=(24, 24, 24))


def test_a_read_only_output_is_refused(tmp_path, stored):
    existing(tmp_path)
    for output in (
        zarr.open_array(store=str(tmp_path / "out.zarr"), mode="r"),
        zarr.storage.LocalStore(tmp_path / "new.zarr", read_only=True),
    ):
        with pytest.raises(ValueError, match="read-only"):
            predict(stored, output)


def test_a_series_does_not_fit_an_array(tmp_path, stored):
    with pytest.raises(ValueError, match="group with one array per image"):
        predict([stored], existing(tmp_path))


def test_a_plan_without_output_does_not_run(stored):
    with pytest.raises(ValueError, match="no output"):
        daskpatch.plan(stored, double, patch_size=16).run()


def test_an_output_says_how_it_was_made(tmp_path, stored):
    plan = daskpatch.plan(stored, double, tmp_path / "out.zarr", patch_size=16, overlaps=4)
    plan.run(progress=False)
    facts = zarr.open_array(store=str(tmp_path / "out.zarr")).attrs["daskpatch"]
    assert facts["version"] == daskpatch.__version__
    assert facts["source"] == str(stored)
    assert facts["model"] == "example_models.double"
    assert facts["signature"]["outputs"] == [{"channels": 1, "dtype": "float32", "name": ""}]
    assert facts["tiling"] == {
        "strategy": "AlignedPatching",
        "patch_size": [16] * 3,
        "overlaps": [4] * 3,
        "align": [1] * 3,
        "min_size": [1] * 3,
        "margin": [[0, 0]] * 3,
        "front": None,
    }
    assert set(facts["packages"]) == {"numpy", "zarr", "dask", "tensorstore"}


def test_layouts_are_as_asked_and_written(tmp_path, stored):
    plan = daskpatch.plan(
        stored,
        channels,
        tmp_path / "out.zarr",
        patch_size=16,
        chunks=(1, 8, 8, 8),
        shards=(3, 16, 32, 32),
    )
    assert plan.block_shape[0] == 3
    plan.run(progress=False)
    out = zarr.open_array(store=str(tmp_path / "out.zarr"))
    assert (out.chunks, out.shards) == ((1, 8, 8, 8), (3, 16, 32, 32))
    metadata = json.loads((tmp_path / "out.zarr" / "zarr.json").read_text())
    inner = metadata["codecs"][0]["configuration"]["codecs"]
    assert inner[-1]["configuration"]["cname"] == "zstd"
    assert inner[-1]["configuration"]["shuffle"] == "bitshuffle"


def test_a_store_or_a_store_path_is_an_output(tmp_path, stored, volume):
    local = zarr.storage.LocalStore(tmp_path / "store.zarr")
    predict(stored, local)
    predict(stored, zarr.storage.StorePath(zarr.storage.LocalStore(tmp_path), "path.zarr"))
    for name in ("store.zarr", "path.zarr"):
        assert np.array_equal(read(tmp_path / name), volume * np.float32(2))


def test_a_file_url_is_an_output(tmp_path, stored, volume):
    predict(stored, f"file://{tmp_path}/url.zarr")
    assert np.array_equal(read(tmp_path / "url.zarr"), volume * np.float32(2))


def test_one_dimension_too_few_does_not_harm(tmp_path, stored):
    with pytest.raises(ValueError, match="axes"):
        predict(stored, tmp_path / "out.zarr", axes="YX")
    assert not (tmp_path / "out.zarr").exists()


def test_identity_of_fill_values_is_written(tmp_path):
    save(
        tmp_path / "zeros.zarr", np.zeros((30, 30), "u1"), chunks=(8, 8), dimension_names=["y", "x"]
    )
    predict(tmp_path / "zeros.zarr", tmp_path / "out.zarr", model=identity)
    assert (read(tmp_path / "out.zarr") == 0).all()


def test_overwrite_leaves_files_in_a_group_of_ours(tmp_path, stored):
    predict([stored, stored], tmp_path / "out.zarr")
    (tmp_path / "out.zarr" / "notes.txt").write_text("precious")
    with pytest.warns(UserWarning, match=r"1 file in .*out\.zarr is not .*: notes\.txt"):
        predict([stored], tmp_path / "out.zarr", overwrite=True)
    assert (tmp_path / "out.zarr" / "notes.txt").read_text() == "precious"
    assert not (tmp_path / "out.zarr" / "1").exists()


def test_overwrite_spares_a_group_in_the_place_of_an_array_of_ours(tmp_path, stored):
    predict([stored], tmp_path / "out.zarr")
    group = zarr.open_group(str(tmp_path / "out.zarr"))
    del group["0"]
    group.create_group("0").create_array("mine", data=np.ones(3))
    with pytest.raises(FileExistsError, match="also holds 0"):
        predict([stored], tmp_path / "out.zarr", overwrite=True)
    assert group["0/mine"][0] == 1


def other_ways(path):
    """One array, reached in other ways than by its path."""
    local = zarr.storage.LocalStore(path)
    return [
        zarr.storage.FsspecStore.from_url(f"file://{path}"),
        zarr.storage.LoggingStore(local),
        zarr.storage.ObjectStore(obstore.store.LocalStore(path)),
        zarr.storage.StorePath(zarr.storage.LocalStore(path.parent), path.name),
        f"file://{path}",
    ]


def test_the_input_is_recognised_however_it_is_reached(stored, volume):
    for way in other_ways(stored):
        with pytest.raises(ValueError, match="is the input"):
            predict(way, stored, overwrite=True)
        with pytest.raises(ValueError, match="is the input"):
            predict(stored, way, overwrite=True)
    assert np.array_equal(read(stored), volume)


def test_an_input_in_memory_is_recognised(volume):
    store = zarr.storage.MemoryStore()
    zarr.create_array(store=store, data=volume, chunks=(16, 16, 16))
    for source in (store, zarr.open_array(store=store, mode="r")):
        with pytest.raises(ValueError, match="is the input"):
            predict(source, store, axes="ZYX", overwrite=True)
    assert np.array_equal(zarr.open_array(store=store)[...], volume)


def test_what_a_lazy_source_may_read_from_is_not_overwritten(stored, volume):
    lazy = da.from_zarr(str(stored))
    with pytest.raises(FileExistsError, match="may read from it"):
        predict(lazy, stored, axes="ZYX", overwrite=True)
    assert np.array_equal(read(stored), volume)


def test_one_prediction_is_the_source_of_the_next(tmp_path, stored, volume):
    predict(stored, tmp_path / "a.zarr", model=double, chunks=8, block_shape=16)
    predict(tmp_path / "a.zarr", tmp_path / "b.zarr", model=double, chunks=8, block_shape=16)
    assert np.array_equal(read(tmp_path / "b.zarr"), volume * np.float32(4))


def test_an_uncompressed_array_in_memory_is_written(volume):
    array = zarr.create_array(
        store=zarr.storage.MemoryStore(),
        shape=volume.shape,
        dtype="f4",
        chunks=(16, 16, 16),
        compressors=None,
    )
    predict(volume, array, axes="ZYX", block_shape=16)
    assert np.array_equal(array[...], volume * np.float32(2))


def test_a_sibling_in_a_v2_group_is_seen_there(tmp_path, volume):
    group = zarr.create_group(store=str(tmp_path / "g.zarr"), zarr_format=2)
    group.create_array("raw", data=volume, chunks=(16, 16, 16))
    predict(tmp_path / "g.zarr" / "raw", tmp_path / "g.zarr" / "denoised", axes="ZYX")
    assert np.array_equal(
        zarr.open_group(str(tmp_path / "g.zarr"))["denoised"][...], volume * np.float32(2)
    )
    assert daskpatch.open_image(tmp_path / "g.zarr" / "denoised").original_axes == "ZYX"
    with pytest.raises(ValueError, match="v2"):
        predict(tmp_path / "g.zarr" / "raw", tmp_path / "g.zarr" / "x", axes="ZYX", shards=32)


def test_chunks_are_no_larger_than_the_image(stored):
    plan = daskpatch.plan(stored, double, patch_size=16, chunks=(2000, 2000, 16))
    assert plan.chunks == (37, 61, 16)


@pytest.mark.parametrize("source", ["array", "stored"])
def test_tensorstore_is_refused_where_it_cannot_write(stored, volume, source):
    store = zarr.storage.MemoryStore()
    with pytest.raises(ValueError, match="local folders"):
        predict(volume if source == "array" else stored, store, axes="ZYX", io="tensorstore")
    assert not store._store_dict


def test_a_zip_file_is_refused(tmp_path, stored):
    with pytest.raises(ValueError, match="ZIP"):
        predict(stored, zarr.storage.ZipStore(tmp_path / "out.zip", mode="w"))


def test_broken_metadata_is_named(tmp_path, stored):
    (tmp_path / "broken.zarr").mkdir()
    (tmp_path / "broken.zarr" / "zarr.json").write_text("{bad")
    with pytest.raises(OSError, match=r"broken\.zarr could not be read as Zarr"):
        predict(stored, tmp_path / "broken.zarr")


# What an overwrite deletes


def ours(tmp_path, stored, **options):
    predict(stored, tmp_path / "out.zarr", **{"chunks": 16, "block_shape": 32, **options})
    return tmp_path / "out.zarr"


class Background:
    def __init__(self, array):
        self.array = array

    def __call__(self, batch):
        return batch - np.float32(np.asarray(self.array[0, 0, 0]))


@pytest.mark.parametrize("words", [{}, {"model_id": "1"}], ids=str)
@pytest.mark.parametrize("way", ["replaced", "written into"])
@pytest.mark.parametrize("held", ["zarr", "dask", "closure", "store", "beside a lock"])
def test_what_a_model_reads_from_is_not_what_is_written(tmp_path, stored, held, way, words):
    out = ours(tmp_path, stored)
    before = contents(out)
    array = zarr.open_array(str(out), mode="r")
    model = Background(da.from_zarr(array) if held == "dask" else array)
    words = {"model_id": "1"} if held in ("store", "beside a lock") else words
    if held == "closure":
        subtract = model
        model = lambda batch: subtract(batch)  # noqa: E731
    elif held == "store":
        model.store = LocalStore(out)
    elif held == "beside a lock":
        model.array, model.lock, model.last = {(0, 0, 0): 1}, threading.Lock(), array
    target = zarr.open_array(str(out), mode="r+") if way == "written into" else out
    with pytest.raises(ValueError, match=f"would be {way}, and the model .* holds .*out"):
        predict(stored, target, model=model, overwrite=way == "replaced", **words)
    assert contents(out) == before
    predict(stored, tmp_path / "other.zarr", model=model, **words)


def test_a_group_that_a_model_holds_is_not_replaced(tmp_path, stored):
    out = tmp_path / "both.zarr"
    predict(stored, out, model=lambda batch: {"a": batch, "b": batch * 2})
    before, group = contents(out), zarr.open_group(str(out), mode="r")
    with pytest.raises(ValueError, match="would be replaced, and the model .* holds .*both"):
        predict(
            stored,
            out,
            model=lambda batch: batch - group["a"][0, 0, 0],
            model_id="1",
            overwrite=True,
        )
    assert contents(out) == before


BESIDE = """
import numpy as np, zarr
background = zarr.open_array({out!r}, mode="r")
def model(batch): return batch - np.float32(background[0, 0, 0])
"""


@pytest.mark.parametrize("words", [{}, {"model_id": "1"}], ids=str)
def test_what_a_models_module_opened_is_not_replaced(tmp_path, stored, words):
    out = ours(tmp_path, stored)
    before = contents(out)
    (tmp_path / "beside.py").write_text(BESIDE.format(out=str(out)))
    with pytest.raises(ValueError, match="would be replaced, and the model .*beside.py.* holds"):
        predict(stored, out, model=f"{tmp_path / 'beside.py'}:model", overwrite=True, **words)
    assert contents(out) == before


class Named:
    """A model with much around it that is no array of the output."""

    def __init__(self, folder):
        self.classes = np.array(["out.zarr", str(folder), "doi://10.1/x"])
        self.objects = np.array([str(folder / "out.zarr"), None], dtype=object)
        self.lazy = da.ones((4, 4)).map_blocks(double)
        self.around = LocalStore(folder)

    def __call__(self, batch):
        return batch * np.float32(2)


def test_a_model_with_names_and_lazy_arrays_may_replace_an_output(tmp_path, stored, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = ours(tmp_path, stored)
    predict(stored, out, model=Named(tmp_path), model_id="1", overwrite=True)


def test_a_file_that_a_model_maps_is_not_deleted(tmp_path, stored):
    out = ours(tmp_path, stored)
    chunk = next(path for path in sorted(out.rglob("*")) if path.is_file() and "c/" in str(path))
    before = contents(out)
    mapped = np.memmap(chunk, dtype="u1", mode="r")
    with pytest.raises(ValueError, match="and the model .* holds .*out"):
        predict(stored, out, model=lambda batch: batch * np.float32(mapped[0]), overwrite=True)
    assert contents(out) == before


def views_of(file):
    """Arrays that show a file, whose classes say nothing of it."""
    shown = np.memmap(file, dtype="u1", mode="r")
    with open(file, "rb") as opened:
        mapped = mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ)
    return {
        "buffer": np.frombuffer(mapped, "u1"),
        "view of a map": np.frombuffer(memoryview(shown), "u1"),
        "strided": np.lib.stride_tricks.as_strided(shown, shown.shape, shown.strides),
    }


KINDS_OF_VIEWS = ["buffer", "view of a map", "strided"]


@pytest.mark.parametrize("kind", KINDS_OF_VIEWS)
def test_an_output_whose_file_the_source_shows_is_not_touched(tmp_path, kind):
    values = np.arange(4096, dtype="u1").reshape(64, 64)
    out = tmp_path / "out.zarr"
    array = zarr.create_array(out, data=values, chunks=(64, 64), compressors=None)
    source = views_of(out / "c/0/0")[kind].reshape(64, 64)
    before = contents(out)
    with pytest.raises(ValueError, match=r"may read from it: it reads from .*c/0/0"):
        predict(source, array, axes="YX")
    assert contents(out) == before


@pytest.mark.parametrize("kind", KINDS_OF_VIEWS)
def test_a_file_that_a_model_shows_is_not_deleted(tmp_path, stored, kind):
    out = ours(tmp_path, stored)
    chunk = next(path for path in sorted(out.rglob("*")) if path.is_file() and "c/" in str(path))
    before = contents(out)
    shown = views_of(chunk)[kind]
    with pytest.raises(ValueError, match="and the model .* holds .*out"):
        predict(stored, out, model=lambda batch: batch * np.float32(shown[0]), overwrite=True)
    assert contents(out) == before


@pytest.mark.parametrize("name", ["a\nb", "a\u2028b", "a b", " a"])
def test_mapped_files_are_known_whatever_their_names(tmp_path, stored, name):
    folder = tmp_path / name
    folder.mkdir()
    (folder / "other.bin").write_bytes(bytes(4096))
    other = np.memmap(folder / "other.bin", mode="r")
    out = folder / "out.zarr"
    predict(stored, out)
    chunk = next(path for path in sorted(out.rglob("*")) if path.is_file() and "c/" in str(path))
    shown = views_of(chunk)["buffer"]
    with pytest.raises(ValueError, match="and the model .* holds "):
        predict(stored, out, model=Holding(shown), overwrite=True)
    predict(stored, out, model=Holding(other), model_id="1", overwrite=True)


class Holding:
    """A model that has something."""

    def __init__(self, held):
        self.held = held

    def __call__(self, batch):
        return batch * np.float32(2)


def through_no_prefix(path):
    """A place by way of a store of the whole file system."""
    whole = zarr.storage.ObjectStore(obstore.store.LocalStore())
    return zarr.storage.StorePath(whole, str(path).strip("/"))


@pytest.mark.parametrize("as_what", ["source", "mask", "output"])
def test_the_input_through_a_store_without_prefix_is_the_input(tmp_path, stored, volume, as_what):
    out = ours(tmp_path, stored)
    before = contents(out)
    source, output, words = through_no_prefix(out), out, {}
    if as_what == "output":
        source, output = output, source
    if as_what == "mask":
        mask = zarr.open_array(source, mode="r")
        source, words = volume, {"mask": mask, "axes": "ZYX"}
    with pytest.raises(ValueError, match="is the input"):
        predict(source, output, overwrite=True, **words)
    assert contents(out) == before


def azure(account, container, prefix):
    store = obstore.store.AzureStore(container, account_name=account, prefix=prefix)
    return zarr.storage.ObjectStore(store)


def test_places_in_azure_are_told_apart():
    from daskpatch.store import locate

    one = locate("abfs://raw@lab.dfs.core.windows.net/day1/a.zarr")
    assert one.name == "abfs://raw@lab.dfs.core.windows.net/day1/a.zarr"
    assert one.parts == locate(azure("lab", "raw", "day1/a.zarr")).parts
    assert locate(azure("lab", "raw", "day1")).contains(one)
    for other in (azure("lab", "raw", "day2"), azure("lab", "more", "day1"), azure("a", "raw", "")):
        assert not locate(other).contains(one)
    assert one.has_address
    assert one.is_comparable


def test_places_in_azure_without_an_account_are_in_one(monkeypatch):
    from daskpatch.store import locate

    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "lab")
    told = locate(azure("lab", "raw", "day1/a.zarr"))
    assert locate("az://raw/day1/a.zarr").parts == told.parts


def test_a_copy_that_took_our_attribute_along_is_not_ours(tmp_path, stored):
    made = zarr.open_array(str(ours(tmp_path, stored)), mode="r")
    save(tmp_path / "smoothed.zarr", made[...], chunks=made.chunks)
    zarr.open_array(str(tmp_path / "smoothed.zarr")).attrs.update(made.attrs.asdict())
    before = contents(tmp_path / "smoothed.zarr")
    with pytest.raises(
        FileExistsError, match="no record of a run: its record was deleted, or it is a copy"
    ):
        predict(stored, tmp_path / "smoothed.zarr", overwrite=True)
    assert contents(tmp_path / "smoothed.zarr") == before


def test_an_array_of_somebody_else_is_never_deleted(tmp_path, stored):
    save(tmp_path / "raw.zarr", np.ones((5, 5)), chunks=(2, 2))
    before = contents(tmp_path / "raw.zarr")
    with pytest.raises(FileExistsError, match="an array that daskpatch did not make"):
        predict(stored, tmp_path / "raw.zarr", overwrite=True)
    assert contents(tmp_path / "raw.zarr") == before


@pytest.mark.parametrize("shards", [None, 32])
def test_files_beside_chunks_stay_and_are_counted(tmp_path, stored, volume, shards):
    out = ours(tmp_path, stored, shards=shards)
    mine = [
        "NOTES.txt",
        "thesis/chapter1.tex",
        "c/notes2.txt",
        "c/0/9999/0",
        "c/0/0/0.bak",
        "c/01/0/0",
        ".daskpatch/notes.txt",
        ".daskpatch/receipts/notes/run.json",
    ]
    for name in mine:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("precious")
    left_by_writes = [
        f"c/0/0/0.{'0af3' * 8}.partial",
        "c/0/0/1.__lock",
        "c/0/0/1_f0414a1c949e043b.__lock",
        f"zarr.{'0af3' * 8}.partial",
    ]
    for name in left_by_writes:
        (out / name).write_text("half")
    with pytest.warns(UserWarning, match=r"8 files in .*out\.zarr are not daskpatch's"):
        ours(tmp_path, stored, shards=shards, overwrite=True)
    assert all((out / name).read_text() == "precious" for name in mine)
    assert not any((out / name).exists() for name in left_by_writes)
    assert np.array_equal(read(out), volume * np.float32(2))
    assert not (out / ".daskpatch" / "cleared").exists()


@pytest.mark.parametrize("inside", ["labels", "c/labels", "deep/in/labels"])
def test_a_nested_array_refuses_before_anything_is_gone(tmp_path, stored, inside):
    out = ours(tmp_path, stored)
    save(out / inside, np.ones((5, 5)), chunks=(2, 2))
    before = contents(out)
    with pytest.raises(FileExistsError, match=f"also holds {inside}, which daskpatch did not make"):
        ours(tmp_path, stored, overwrite=True)
    assert contents(out) == before


def test_broken_metadata_inside_refuse(tmp_path, stored):
    out = ours(tmp_path, stored)
    (out / "labels").mkdir()
    (out / "labels" / "zarr.json").write_text("{")
    with pytest.raises(FileExistsError, match="also holds labels"):
        ours(tmp_path, stored, overwrite=True)


def test_chunks_in_a_linked_folder_are_not_deleted(tmp_path, stored):
    out = ours(tmp_path, stored)
    (out / "c").rename(tmp_path / "elsewhere")
    (out / "c").symlink_to(tmp_path / "elsewhere")
    before = contents(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError, match=r"links to folders elsewhere \(c\)"):
        ours(tmp_path, stored, overwrite=True)
    assert contents(tmp_path / "elsewhere") == before


def linked_whole(given, source):
    shutil.rmtree(given / "c")
    (given / "c").symlink_to(source / "c")


def linked_in_part(given, source):
    shutil.rmtree(given / "c" / "0")
    (given / "c" / "0").symlink_to(source / "c" / "0")


def linked_deep(given, source):
    shutil.rmtree(given / "c" / "1" / "1")
    (given / "c" / "1" / "1").symlink_to(source / "c" / "1" / "1")


@pytest.mark.parametrize("link", [linked_whole, linked_in_part, linked_deep])
@pytest.mark.parametrize("how", ["given", "resume"])
def test_a_source_is_not_written_through_links_of_the_output(tmp_path, stored, volume, link, how):
    out = tmp_path / "out.zarr"
    words = {"chunks": 16, "block_shape": 16, "model_id": "m"}
    predict(stored, out, part=(1, 2), **words)
    if how == "given":
        shutil.rmtree(out)
        save(out, np.ones(volume.shape, "f4"), chunks=(16, 16, 16))
        target, words = zarr.open_array(str(out), mode="r+"), {"block_shape": 16}
    else:
        save(tmp_path / "full.zarr", np.ones(volume.shape, "f4"), chunks=(16, 16, 16))
        shutil.rmtree(out / "c")
        shutil.copytree(tmp_path / "full.zarr" / "c", out / "c")
        target, words = out, {**words, "resume": True}
    link(out, stored)
    with pytest.raises((ValueError, daskpatch.RunFailed), match="link"):
        predict(stored, target, **words)
    assert np.array_equal(read(stored), volume)


def test_chunks_that_a_source_links_to_are_not_deleted(tmp_path, stored):
    out = ours(tmp_path, stored)
    source = tmp_path / "links.zarr"
    for path in sorted(out.rglob("*")):
        place = source / path.relative_to(out)
        place.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file() and "c" in path.relative_to(out).parts[:1]:
            place.symlink_to(path)
        elif path.name == "zarr.json":
            place.write_bytes(path.read_bytes())
    before = contents(out)
    with pytest.raises(ValueError, match="holds chunks of the input"):
        predict(source, out, overwrite=True)
    assert contents(out) == before


@pytest.mark.parametrize("io", ["zarr", "tensorstore"])
@pytest.mark.parametrize("how", ["given", "overwrite"])
def test_a_source_of_hard_links_to_the_outputs_files_stays(tmp_path, stored, volume, io, how):
    """As `cp -al` makes them: files are replaced, never written in place."""
    out, source = ours(tmp_path, stored), tmp_path / "links.zarr"
    shutil.copytree(out, source, copy_function=os.link)
    if how == "given":
        predict(source, zarr.open_array(str(out), mode="r+"), io=io)
    else:
        predict(source, out, io=io, overwrite=True)
    assert np.array_equal(read(source), volume * np.float32(2))
    assert np.array_equal(read(out), volume * np.float32(4))


def test_a_text_is_no_mark_of_ours(tmp_path, stored):
    out = tmp_path / "theirs.zarr"
    save(out, np.ones((5, 5)), chunks=(2, 2), attributes={"daskpatch": "cited"})
    with pytest.raises(FileExistsError, match="that daskpatch did not make"):
        predict(stored, out, overwrite=True)


def test_a_v2_array_of_ours_is_overwritten(tmp_path, stored, volume):
    zarr.create_group(store=str(tmp_path / "g.zarr"), zarr_format=2)
    out = tmp_path / "g.zarr" / "out"
    predict(stored, out)
    (out / "NOTES.txt").write_text("precious")
    with pytest.warns(UserWarning, match=r"1 file in"):
        predict(stored, out, overwrite=True)
    assert np.array_equal(zarr.open_array(str(out))[...], volume * np.float32(2))


KILLED = """
import os, sys
import daskpatch
from example_models import double
from zarr.storage import LocalStore, WrapperStore

class Dying(WrapperStore):
    async def set(self, key, value):
        if key == "zarr.json":
            os._exit(9)
        await super().set(key, value)

source, out = sys.argv[1:]
store = Dying(LocalStore(out))
daskpatch.predict(source, double, store, patch_size=16, overwrite=True, progress=False)
"""


def test_an_overwrite_that_was_cut_short_does_not_make_the_place_taken(tmp_path, stored, volume):
    out = ours(tmp_path, stored)
    (out / "NOTES.txt").write_text("precious")
    command = [sys.executable, "-c", KILLED, str(stored), str(out)]
    found = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True)
    assert found.returncode == 9, found.stderr
    assert {name.parts[0] for name in contents(out)} == {".daskpatch", "NOTES.txt"}
    ours(tmp_path, stored, overwrite=True)
    assert np.array_equal(read(out), volume * np.float32(2))
    assert (out / "NOTES.txt").read_text() == "precious"


class Ending(WrapperStore):
    """Takes some changes, then none any more: as a process that is killed makes none."""

    def __init__(self, store, n_left=0):
        super().__init__(store)
        self.n_left = n_left

    def _count(self):
        self.n_left -= 1
        if self.n_left < 0:
            raise NotADirectoryError("ended")  # which nobody waits for

    async def set(self, key, value):
        self._count()
        await super().set(key, value)

    async def set_if_not_exists(self, key, value):
        self._count()
        await super().set_if_not_exists(key, value)

    async def delete(self, key):
        self._count()
        await super().delete(key)


@pytest.mark.parametrize("words", [{"ome": "0.4"}, {"ome": "0.5"}, {}], ids=str)
def test_an_overwrite_that_ends_at_any_change_leaves_a_place_that_is_ours(tmp_path, words):
    volume = np.arange(64, dtype=np.float32).reshape(8, 8)
    save(tmp_path / "in.zarr", volume, chunks=(8, 8))
    options = {"axes": "YX", "patch_size": 8, "overlaps": 0, "io": "zarr", "pyramid": None} | words
    before, out = tmp_path / "before.zarr", tmp_path / "out.zarr"
    predict(tmp_path / "in.zarr", before, model=identity, **options)
    n_changes = 0
    while True:
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(before, out)
        store = Ending(LocalStore(out), n_changes)
        try:
            predict(tmp_path / "in.zarr", store, overwrite=True, **options)
            break
        except (OSError, daskpatch.RunFailed):
            n_changes += 1
        with pytest.raises(FileExistsError, match=r"resume=True .* overwrite=True"):
            predict(tmp_path / "in.zarr", out, **options)
        predict(tmp_path / "in.zarr", out, overwrite=True, **options)
        array = zarr.open_array(str(out / "0" if words else out))
        assert np.array_equal(array[...], volume * np.float32(2)), n_changes
        assert daskpatch.verify(out, progress=False).ok, n_changes
    assert n_changes > 10


def test_a_source_behind_a_link_inside_a_store_is_recognised(tmp_path, stored, volume):
    out = ours(tmp_path, stored)
    (tmp_path / "link").symlink_to(tmp_path)
    root = zarr.storage.LocalStore(tmp_path)
    linked = zarr.storage.StorePath(root, "link/out.zarr")
    with pytest.raises(ValueError, match="is the input"):
        predict(linked, out, axes="ZYX", overwrite=True)
    with pytest.raises(ValueError, match="is the input"):
        predict(out, linked, axes="ZYX", overwrite=True)
    assert np.array_equal(read(out), volume * np.float32(2))


def test_an_array_in_the_place_of_a_member_is_not_gone_on_with(tmp_path, stored):
    out = tmp_path / "series.zarr"
    options = {"patch_size": 16, "overlaps": 4, "progress": False}
    daskpatch.predict([stored, stored], np.positive, out, **options)
    shape = zarr.open_array(str(out / "1")).shape
    shutil.rmtree(out / "1")
    made = zarr.open_array(str(out / "0"))
    save(out / "1", np.full(shape, 7, made.dtype), chunks=made.chunks)
    before = contents(out / "1")
    for words in ({"resume": True}, {"overwrite": True}):
        with pytest.raises((ValueError, FileExistsError), match="daskpatch did not make"):
            daskpatch.predict([stored, stored], np.positive, out, **options, **words)
    assert contents(out / "1") == before


def test_empty_folders_of_others_stay(tmp_path, stored):
    out = ours(tmp_path, stored)
    for name in ("notes", "c/later", "deep/er"):
        (out / name).mkdir(parents=True)
    ours(tmp_path, stored, overwrite=True)
    assert all((out / name).is_dir() for name in ("notes", "c/later", "deep/er"))


@pytest.mark.filterwarnings("ignore:The data type .* does not have a Zarr V3")
@pytest.mark.parametrize("dtype", ["S4", "U3", "V4", "c8"])
def test_an_array_of_no_numbers_is_no_output(tmp_path, dtype):
    array = zarr.create_array(tmp_path / "out.zarr", shape=(40, 40), chunks=(16, 16), dtype=dtype)
    with pytest.raises(ValueError, match=r"out\.zarr has dtype .*; needed is an array of integers"):
        daskpatch.plan(np.ones((40, 40)), np.negative, array, axes="YX", patch_size=16)
