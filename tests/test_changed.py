"""Sources and outputs that go away or are made anew: no voxel is made of what is not there."""

import contextlib
import json
import os
import shutil
import threading
import warnings
from functools import partial

import dask.array as da
import numpy as np
import pytest
import tensorstore
import xarray
import zarr
from example_models import double
from ome_images import dataset
from serving import served
from volumes import read, save
from zarr.storage import LocalStore, WrapperStore

import daskpatch

SHAPE = (64, 40, 40)

PLANE = (8, 40, 40)

PLANES = {"patch_size": PLANE, "overlaps": 0, "chunks": PLANE, "block_shape": PLANE}

OFTEN = daskpatch.Pacing(flush=0.0, delays=(0.01, 0.02))

STORED = {
    "v2": {"zarr_format": 2},
    "v3": {},
    "sharded": {"shards": (16, 40, 40)},
}


@pytest.fixture
def image(rng):
    return rng.random(SHAPE).astype("f4") + 1


@pytest.fixture
def source(tmp_path, image):
    return saved(tmp_path / "in.zarr", image)


def saved(path, values, chunks=(8, 40, 40), **options):
    save(path, values, chunks=chunks, dimension_names=None, **options)
    return path


def doubled_until(event, at=4):
    """A model that lets something happen while it works on its n-th batch."""
    calls = []

    def model(batch):
        calls.append(None)
        if len(calls) == at:
            event()
        return batch * 2

    return model


def predict(source, model, output, **options):
    options = {**PLANES, "axes": "ZYX", "threads": 1, "model_id": "m", "pacing": OFTEN, **options}
    return daskpatch.predict(source, model, output, progress=False, **options)


def test_an_interrupted_run_looks_back_at_its_source(tmp_path, source, image):
    stop, away = daskpatch.Interruption(grace=60), tmp_path / "away"
    calls = []

    def model(batch):
        calls.append(None)
        if len(calls) == 4:
            os.rename(source / "c", away)  # its metadata stay: chunks read as zeros
        if len(calls) == 6:
            stop.request()
        return batch * 2

    out = tmp_path / "out.zarr"
    with pytest.raises((daskpatch.RunFailed, KeyboardInterrupt)):
        predict(source, model, out, interruption=stop)
    os.rename(away, source / "c")
    predict(source, lambda batch: batch * 2, out, resume=True)
    np.testing.assert_array_equal(read(out), image * 2)


# What may happen to a source, and the words of the refusal


def moved(path, image):
    os.rename(path, f"{path}.elsewhere")


def deleted(path, image):
    shutil.rmtree(path)


def emptied(path, image):
    shutil.rmtree(path)
    path.mkdir()


def remade_in_other_chunks(path, image):
    os.rename(path, f"{path}.elsewhere")
    saved(path, image, chunks=(4, 20, 20))


def remade_in_another_format(path, image):
    os.rename(path, f"{path}.elsewhere")
    saved(path, image, chunks=(4, 20, 20), zarr_format=2)


def remade_as_a_group(path, image):
    os.rename(path, f"{path}.elsewhere")
    zarr.create_group(path)


def remade_alike(path, image):
    os.rename(path, f"{path}.elsewhere")
    saved(path, image + 1)


EVENTS = [
    moved,
    deleted,
    emptied,
    remade_in_other_chunks,
    remade_in_another_format,
    remade_as_a_group,
    remade_alike,
]


@pytest.mark.parametrize("io", ["zarr", "tensorstore"])
@pytest.mark.parametrize("event", EVENTS)
def test_a_source_that_changes_during_a_run_ends_it(source, image, tmp_path, event, io):
    model = doubled_until(partial(event, source, image))
    with pytest.raises(daskpatch.RunFailed, match="is gone|made anew|no array any more"):
        predict(source, model, tmp_path / "out.zarr", io=io)
    written = read(tmp_path / "out.zarr")
    done = daskpatch.status(tmp_path / "out.zarr").done
    assert done < 8
    np.testing.assert_array_equal(written[: done * 8], image[: done * 8] * 2)


def test_an_edit_of_attributes_ends_no_run(source, image, tmp_path):
    def event():
        document = json.loads((source / "zarr.json").read_text())
        document["attributes"] = {"edited": "just now"}
        (source / "zarr.json").write_text(json.dumps(document))

    report = predict(source, doubled_until(event), tmp_path / "out.zarr")
    assert report.done == 8
    np.testing.assert_array_equal(read(tmp_path / "out.zarr"), image * 2)


def test_a_half_written_edit_is_waited_for(source, image, tmp_path):
    whole = (source / "zarr.json").read_text()

    def event():
        (source / "zarr.json").write_text(whole[:20])
        threading.Timer(0.1, (source / "zarr.json").write_text, [whole]).start()

    patient = daskpatch.Pacing(flush=0.0, delays=(0.05,) * 200)
    report = predict(source, doubled_until(event), tmp_path / "out.zarr", pacing=patient)
    assert report.done == 8


def test_voxels_that_change_under_the_same_metadata_count_for_nothing(source, image, tmp_path):
    def event():
        zarr.open_array(source, mode="r+")[...] = image + 1

    with pytest.raises(daskpatch.RunFailed, match="its voxels are others"):
        predict(source, doubled_until(event), tmp_path / "out.zarr")
    assert daskpatch.status(tmp_path / "out.zarr").done == 0


@pytest.mark.parametrize("event", EVENTS)
def test_an_old_plan_of_a_source_that_changed_is_refused(source, image, tmp_path, event):
    plan = daskpatch.plan(source, double, tmp_path / "out.zarr", axes="ZYX", **PLANES)
    event(source, image)
    with pytest.raises(OSError, match="Make the plan anew"):
        plan.run(progress=False, pacing=OFTEN)
    assert not (tmp_path / "out.zarr").exists()


@pytest.mark.parametrize("stored", [*STORED, "in memory"])
@pytest.mark.parametrize("resume", [False, True])
def test_an_old_plan_of_other_voxels_is_refused(source, image, tmp_path, stored, resume):
    there = np.array(image) if stored == "in memory" else source
    if stored != "in memory":
        shutil.rmtree(source)
        saved(source, image, **STORED[stored])
    plan = daskpatch.plan(there, double, tmp_path / "out.zarr", axes="ZYX", **PLANES)
    edited = there if stored == "in memory" else zarr.open_array(source, mode="r+")
    edited[...] = image + 1
    with pytest.raises(OSError, match="its voxels are others. Make the plan anew"):
        plan.run(progress=False, pacing=OFTEN, resume=resume)
    assert not (tmp_path / "out.zarr").exists()
    edited[...] = image
    assert plan.run(progress=False, pacing=OFTEN, resume=resume).failed == 0


def test_voxels_beside_the_image_do_not_tell(image, tmp_path):
    words = {"axes": "ZYX", "patch_size": (96, 48, 48), "padding": "reflect"}
    plan = daskpatch.plan(image, double, tmp_path / "out.zarr", **words)
    assert plan.run(progress=False).failed == 0


def test_an_old_plan_of_an_output_that_changed_is_refused(source, image, tmp_path):
    output = saved(tmp_path / "out.zarr", np.zeros(SHAPE, "f4"))
    plan = daskpatch.plan(
        source, double, zarr.open_array(output, mode="r+"), axes="ZYX", patch_size=(8, 40, 40)
    )
    remade_in_other_chunks(output, image)
    with pytest.raises(OSError, match="Make the plan anew"):
        plan.run(progress=False, pacing=OFTEN)


@pytest.mark.parametrize("io", ["zarr", "tensorstore"])
@pytest.mark.parametrize("stored", STORED)
def test_a_source_that_is_away_for_a_moment_leaves_no_zeros(image, tmp_path, io, stored):
    source, away = tmp_path / "in.zarr", tmp_path / "elsewhere"
    saved(source, image, **STORED[stored])

    back = threading.Timer(0.02, os.rename, (away, source))

    def go():
        os.rename(source, away)
        back.start()

    options = {"io": io, "threads": 2, "pacing": daskpatch.Pacing(flush=0.0)}
    try:
        predict(source, doubled_until(go), tmp_path / "o.zarr", **options)
    except daskpatch.RunFailed:  # away for longer than it is waited for
        back.join()
        predict(source, lambda batch: batch * 2, tmp_path / "o.zarr", **options, resume=True)
    np.testing.assert_array_equal(read(tmp_path / "o.zarr"), image * 2)


@pytest.mark.parametrize("io", ["zarr", "tensorstore"])
def test_what_is_written_to_an_output_that_is_away_has_no_receipt(source, image, tmp_path, io):
    output, away = tmp_path / "share/o.zarr", tmp_path / "elsewhere"

    def go():
        os.rename(output.parent, away)

    with pytest.raises(daskpatch.RunFailed, match="is gone"):
        predict(source, doubled_until(go), output, io=io)
    shutil.rmtree(output.parent, ignore_errors=True)
    os.rename(away, output.parent)
    assert set(daskpatch.verify(output, progress=False).reasons.values()) == {"never written"}
    predict(source, lambda batch: batch * 2, output, io=io, resume=True)
    np.testing.assert_array_equal(read(output), image * 2)


@pytest.mark.parametrize("event", [moved, deleted, remade_in_other_chunks])
def test_an_output_that_goes_away_is_not_all_done(source, image, tmp_path, event):
    output = tmp_path / "out.zarr"
    with pytest.raises(daskpatch.RunFailed, match=r"out\.zarr is gone|out\.zarr was made anew"):
        predict(source, doubled_until(partial(event, output, image)), output)


@pytest.mark.parametrize("io", ["zarr", "tensorstore"])
def test_a_view_of_a_source_that_went_away_gives_no_zeros(source, image, tmp_path, io):
    plan = daskpatch.plan(source, double, axes="ZYX", io=io, patch_size=(8, 40, 40), overlaps=0)
    np.testing.assert_array_equal(plan.view[:8], image[:8] * 2)
    moved(source, image)
    with pytest.raises(OSError, match="is gone"):
        plan.view[32:40]
    with pytest.raises(OSError, match="is gone"):
        plan.array[32:40].compute(scheduler="threads")


@pytest.mark.parametrize("io", ["zarr", "tensorstore"])
def test_a_view_of_a_source_that_was_made_anew_is_an_error(source, image, tmp_path, io):
    plan = daskpatch.plan(source, double, axes="ZYX", io=io, patch_size=(8, 40, 40), overlaps=0)
    moved(source, image)
    saved(source, image.astype("i4"))
    with pytest.raises(OSError, match="was made anew"):
        plan.view[32:40]


@pytest.mark.parametrize("io", ["zarr", "tensorstore"])
def test_statistics_are_not_measured_on_what_went_away(source, image, tmp_path, io):
    plan = daskpatch.plan(
        source, double, axes="ZYX", io=io, patch_size=(8, 40, 40), normalize="zscore"
    )
    moved(source, image)
    with pytest.raises(OSError, match="is gone"):
        _ = plan.statistics


@pytest.mark.parametrize("look", ["statistics", "view", "array"])
@pytest.mark.parametrize("how", ["made anew", "edited"])
def test_statistics_of_what_the_source_was_are_not_taken(source, image, tmp_path, look, how):
    words = {"axes": "ZYX", "patch_size": (8, 40, 40), "normalize": "zscore"}
    plan = daskpatch.plan(source, double, tmp_path / "out.zarr", **words)
    _ = plan.statistics if look == "statistics" else np.asarray(getattr(plan, look)[:8])
    other = image[::-1] * 3 + 7
    if how == "made anew":
        shutil.rmtree(source)
        saved(source, other)
    else:  # but for what the model was tried on
        zarr.open_array(source, mode="r+")[:24] = other[:24]
    try:
        plan.run(progress=False)
    except OSError:  # a file system may tell the new folder from the old one
        assert how == "made anew"
        return
    daskpatch.predict(source, double, tmp_path / "new.zarr", progress=False, **words)
    np.testing.assert_array_equal(read(tmp_path / "out.zarr"), read(tmp_path / "new.zarr"))


def test_workers_notice_a_source_that_goes_away(source, tmp_path, processes):
    driver = os.getpid()

    def model(batch):
        assert batch.min() >= 1, "zeros were read"
        if os.getpid() != driver:
            with contextlib.suppress(OSError):  # another worker was faster
                os.rename(source, tmp_path / "elsewhere")
        return batch * 2

    with pytest.raises(daskpatch.RunFailed, match="is gone"):
        predict(source, model, tmp_path / "out.zarr", client=processes, threads=None)


def test_a_source_that_goes_away_bit_by_bit(source, image, tmp_path):
    """Chunks first, metadata last, as `rm -rf` does; then it is put back, and the run resumed."""
    shutil.copytree(source, tmp_path / "backup.zarr")
    calls = []

    def model(batch):
        calls.append(None)
        if len(calls) == 3:
            for plane in (4, 5, 6, 7):
                shutil.rmtree(source / "c" / str(plane))
        if len(calls) == 7:
            shutil.rmtree(source)
        return batch * 2

    with pytest.raises(daskpatch.RunFailed, match="is gone"):
        predict(source, model, tmp_path / "out.zarr")
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(tmp_path / "backup.zarr", source)
    predict(source, double, tmp_path / "out.zarr", resume=True)
    np.testing.assert_array_equal(read(tmp_path / "out.zarr"), image * 2)


def test_a_block_that_failed_before_the_source_went_away_is_told_of(source, image, tmp_path):
    calls = []

    def model(batch):
        calls.append(None)
        if len(calls) == 3:  # the plan called it twice
            raise RuntimeError("no")
        if len(calls) == 6:
            shutil.rmtree(source)
        return batch * 2

    rarely = daskpatch.Pacing(flush=100.0, delays=())
    with pytest.raises(daskpatch.RunFailed, match="is gone"):
        predict(source, model, tmp_path / "out.zarr", retries=0, pacing=rarely)
    assert daskpatch.status(tmp_path / "out.zarr").failed == 1


class Refusing(WrapperStore):
    """A store whose error for metadata is of its own kind, once in a while."""

    class BusyError(Exception):
        pass

    calls = 0

    async def get(self, key, prototype, byte_range=None):
        if key.endswith("zarr.json"):
            type(self).calls += 1
            if self.calls > 10 and self.calls % 2:
                raise self.BusyError("503 SlowDown")
        return await super().get(key, prototype, byte_range)


def test_a_store_that_is_busy_for_a_moment_ends_no_run(source, image, tmp_path):
    array = zarr.open_array(Refusing(LocalStore(source)), mode="r+")
    report = predict(array, double, tmp_path / "out.zarr")
    assert (report.done, Refusing.calls > 10) == (8, True)
    np.testing.assert_array_equal(read(tmp_path / "out.zarr"), image * 2)


def test_a_zip_file_that_is_open_for_writing_is_a_source(image, tmp_path):
    with zarr.storage.ZipStore(tmp_path / "in.zip", mode="w") as store:
        array = zarr.create_array(store, shape=SHAPE, chunks=PLANE, dtype="f4")
        array[...] = image
        predict(array, double, tmp_path / "out.zarr")
    np.testing.assert_array_equal(read(tmp_path / "out.zarr"), image * 2)


class Indexed:
    """An array of one's own around a Zarr array."""

    ndim, shape, dtype = 3, SHAPE, np.dtype("f4")

    def __init__(self, array):
        self.array = array

    def __getitem__(self, key):
        return self.array[key]


def as_tensorstore(array):
    path = str(array.store.root)
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": path}}
    return tensorstore.open(spec).result()


READ_BY_OTHERS = [
    da.from_zarr,
    lambda array: da.from_array(array, chunks=PLANE).map_blocks(lambda block: block),
    lambda array: xarray.DataArray(da.from_zarr(array), dims=("z", "y", "x")),
    Indexed,
]


@pytest.mark.parametrize("wrap", READ_BY_OTHERS)
def test_a_zarr_array_in_a_source_that_is_computed_is_watched(source, image, tmp_path, wrap):
    lazy = wrap(zarr.open_array(source, mode="r"))
    model = doubled_until(partial(moved, source, image))
    with pytest.raises(daskpatch.RunFailed, match="is gone"):
        predict(lazy, model, tmp_path / "out.zarr")
    done = daskpatch.status(tmp_path / "out.zarr").done
    np.testing.assert_array_equal(read(tmp_path / "out.zarr")[: done * 8], image[: done * 8] * 2)


@pytest.mark.parametrize("wrap", [*READ_BY_OTHERS, as_tensorstore])
def test_a_source_that_others_read_is_sampled_again(source, image, tmp_path, wrap):
    lazy = wrap(zarr.open_array(source, mode="r"))
    model = doubled_until(partial(shutil.rmtree, source / "c"))  # it reads as zeros
    with pytest.raises(daskpatch.RunFailed, match="its voxels are others"):
        predict(lazy, model, tmp_path / "out.zarr")
    assert daskpatch.status(tmp_path / "out.zarr").done == 0


def test_a_computed_source_need_not_come_out_the_same_each_time(image, tmp_path):
    noisy = da.from_array(image, chunks=PLANE).map_blocks(
        lambda block: block + np.random.default_rng().random(block.shape) * 1e-6
    )
    assert predict(noisy, double, tmp_path / "out.zarr").done == 8


# Chunks that nobody wrote


@pytest.mark.parametrize("io", ["zarr", "tensorstore"])
@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("fill_value", [0, 3])
def test_chunks_that_nobody_wrote_are_fill_values_and_counted(
    tmp_path, image, stored, io, fill_value
):
    image[16:48] = fill_value
    path = saved(tmp_path / "in.zarr", image, fill_value=fill_value, **STORED[stored])
    report = predict(path, double, tmp_path / "out.zarr", io=io)
    np.testing.assert_array_equal(read(tmp_path / "out.zarr"), image * 2)
    assert report.absent_chunks == 4
    assert "4 chunks were absent when read" in str(report)


def test_no_chunk_is_absent_where_all_are_written(source, tmp_path):
    report = predict(source, double, tmp_path / "out.zarr")
    assert report.absent_chunks == 0
    assert "absent" not in str(report)


def test_a_fill_value_that_is_not_a_number(tmp_path, image):
    image[16:48] = np.nan
    path = saved(tmp_path / "in.zarr", image, fill_value=np.nan)
    predict(path, np.nan_to_num, tmp_path / "out.zarr")
    np.testing.assert_array_equal(read(tmp_path / "out.zarr"), np.nan_to_num(image))


@pytest.mark.parametrize("io", ["zarr", "tensorstore"])
@pytest.mark.parametrize("stored", STORED)
def test_a_chunk_without_bytes_is_damage(tmp_path, image, stored, io):
    path = saved(tmp_path / "in.zarr", image, **STORED[stored])
    chunk = path / ("0.0.0" if stored == "v2" else "c/0/0/0")
    chunk.write_bytes(b"")
    with pytest.raises(OSError, match="could not be read"):
        predict(path, double, tmp_path / "out.zarr", io=io)


def test_a_shard_without_bytes_behind_a_server_is_damage(tmp_path, image):
    path = saved(tmp_path / "in.zarr", image[:16], **STORED["sharded"])
    with served(tmp_path) as address, pytest.raises(OSError) as told:
        predict(f"http://{address}/in.zarr", double, tmp_path / "out.zarr")
    assert "Range request not supported" in str(told.value)  # of Python's own server; at once
    (path / "c/0/0/0").write_bytes(b"")
    with served(tmp_path) as address, pytest.raises(OSError, match="c/0/0/0 is damaged: it has"):
        predict(f"http://{address}/in.zarr", double, tmp_path / "out.zarr")


# Metadata that are older than what they speak of


def ome_image(path, values, version):
    """An OME-Zarr image whose metadata are consolidated."""
    group = zarr.open_group(path, mode="w", zarr_format=version)
    array = group.create_array("0", shape=values.shape, chunks=(8, 20, 20), dtype=values.dtype)
    array[...] = values
    axes = [{"name": name} for name in "zyx"]
    scales = [{"version": "0.4", "axes": axes, "datasets": [dataset("0", 1, 1, 1)]}]
    group.attrs.update(
        {"multiscales": scales}
        if version == 2
        else {"ome": {"version": "0.5", "multiscales": scales}}
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        zarr.consolidate_metadata(path)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("planes", [32, 96])
def test_an_image_that_grew_or_shrank_after_it_was_consolidated(tmp_path, image, version, planes):
    path = tmp_path / "image.zarr"
    ome_image(path, image, version)
    zarr.open_array(path / "0", mode="r+").resize((planes, 40, 40))
    plan = daskpatch.plan(path, double, patch_size=16, overlaps=4)
    assert plan.view.shape == (planes, 40, 40)
    kept = min(planes, len(image))
    np.testing.assert_array_equal(plan.view[:kept], image[:kept] * 2)
    assert daskpatch.open_image(zarr.open_group(path)).data_shape == (1, 1, planes, 40, 40)
    member = zarr.open_group(path)["0"]
    assert member.shape == image.shape
    with pytest.warns(UserWarning, match=f"was opened as .*, and is .{planes}, 40, 40"):
        assert daskpatch.open_image(member, axes="ZYX").data_shape == (1, 1, planes, 40, 40)


@pytest.mark.parametrize("version", [2, 3])
def test_a_member_that_was_added_after_its_group_was_consolidated(tmp_path, image, version):
    ome_image(tmp_path / "images.zarr", image, version)
    saved(tmp_path / "images.zarr" / "late", image, zarr_format=version)
    plan = daskpatch.plan(
        tmp_path / "images.zarr" / "late", double, axes="ZYX", patch_size=16, overlaps=4
    )
    np.testing.assert_array_equal(plan.view[:8], image[:8] * 2)


@pytest.mark.parametrize("version", [2, 3])
def test_an_output_in_a_consolidated_group_is_told_of(tmp_path, image, source, version):
    ome_image(tmp_path / "image.zarr", image, version)
    with pytest.warns(UserWarning, match=r"zarr\.consolidate_metadata"):
        predict(source, double, tmp_path / "image.zarr" / "predicted")
    np.testing.assert_array_equal(read(tmp_path / "image.zarr" / "predicted"), image * 2)


def regular(*chunks):
    return {"name": "regular", "configuration": {"chunk_shape": chunks}}


def test_an_array_of_the_users_that_was_edited_is_not_gone_on_with(source, tmp_path):
    output = zarr.create_array(tmp_path / "o.zarr", shape=SHAPE, chunks=PLANE, dtype="f4")
    words = {"chunks": None, "block_shape": (16, 40, 40)}
    predict(source, double, output, **words)
    document = json.loads((tmp_path / "o.zarr/zarr.json").read_text())
    document["chunk_grid"] = regular(8, 20, 40)
    (tmp_path / "o.zarr/zarr.json").write_text(json.dumps(document))
    edited = zarr.open_array(tmp_path / "o.zarr")
    with pytest.raises(ValueError, match="chunks"):
        predict(source, double, edited, **words, resume=True)


@pytest.mark.parametrize("field", ["data_type", "shape", "fill_value", "huge", "chunks"])
def test_an_output_whose_metadata_were_edited_is_bad_and_not_gone_on_with(source, tmp_path, field):
    output = tmp_path / "out.zarr"
    predict(source, double, output)
    good = (output / "zarr.json").read_text()
    document = json.loads(good)
    document |= {
        "chunks": {"chunk_grid": regular(4, 20, 20)},
        "data_type": {"data_type": "int32"},
        "shape": {"shape": [48, 40, 40]},
        "fill_value": {"fill_value": 7},
        "huge": {"shape": [2**40, 40, 40]},
    }[field]
    (output / "zarr.json").write_text(json.dumps(document))
    found = daskpatch.verify(output, progress=False)
    assert not found.ok
    assert set(found.reasons.values()) == {"unlike the record"}
    with pytest.raises(ValueError, match="Put its metadata right"):
        predict(source, double, output, resume=True)
    with pytest.raises(ValueError, match="Put its metadata right"):
        daskpatch.verify(output, repair=True, model=double, model_id="m", progress=False)
    (output / "zarr.json").write_text(good)
    assert daskpatch.verify(output, progress=False).ok  # nothing was forgotten


# Chunks that are elsewhere


def link_all(path, chunk):
    (path / "c").rename(path.parent / "elsewhere")
    (path / "c").symlink_to(path.parent / "not mounted")


def link_one(path, chunk):
    chunk.unlink()
    chunk.symlink_to(path.parent / "not fetched")


def folder_for_one(path, chunk):
    chunk.unlink()
    chunk.mkdir()


def file_for_some(path, chunk):
    shutil.rmtree(chunk.parent)
    chunk.parent.write_text("")


@pytest.mark.parametrize("io", ["zarr", "tensorstore"])
@pytest.mark.parametrize("change", [link_all, link_one, folder_for_one, file_for_some])
def test_chunks_that_only_seem_absent(source, tmp_path, io, change):
    change(source, source / "c" / "6" / "0" / "0")
    with pytest.raises((OSError, RuntimeError), match="could not be read"):
        predict(source, double, tmp_path / "out.zarr", io=io, retries=0)


def test_chunks_behind_a_link_are_read(source, image, tmp_path):
    (source / "c").rename(tmp_path / "elsewhere")
    (source / "c").symlink_to(tmp_path / "elsewhere")
    shutil.rmtree(tmp_path / "elsewhere" / "3")
    predict(source, double, tmp_path / "out.zarr")
    image[24:32] = 0
    np.testing.assert_array_equal(read(tmp_path / "out.zarr"), image * 2)
