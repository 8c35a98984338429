"""Stores that fail now and then are asked again; what will not change is told of at once."""

import errno
import json
import logging
import os
import random
import time
from datetime import timedelta
from typing import ClassVar

import aiohttp
import numpy as np
import obstore.store
import pytest
import zarr
from volumes import read, save
from zarr.storage import FsspecStore, LocalStore, WrapperStore

import daskpatch
from daskpatch.store import Objects, at_first, locate, with_backoff

TILES = {"axes": "YX", "patch_size": 16, "chunks": 16, "block_shape": 16, "progress": False}

QUICK = daskpatch.Pacing(delays=(0.001,) * 4)


class DisconnectedError(Exception):
    """As network libraries have them, of no kind of Python's."""


class Flaky(WrapperStore):
    """Of so many requests fail so many, by chance."""

    dice = random.Random(3)
    share = 0.05
    kind: type[Exception] = OSError

    def _fail(self):
        if self.dice.random() < self.share:
            raise self.kind("the network is down")

    async def get(self, key, prototype, byte_range=None):
        self._fail()
        return await self._store.get(key, prototype, byte_range)

    async def set(self, key, value):
        self._fail()
        await self._store.set(key, value)

    async def set_if_not_exists(self, key, value):
        self._fail()
        await self._store.set_if_not_exists(key, value)

    async def exists(self, key):
        self._fail()
        return await self._store.exists(key)

    async def delete(self, key):
        self._fail()
        await self._store.delete(key)


@pytest.fixture
def image(rng):
    return rng.random((64, 64)).astype("f4")


def predict(image, output, **options):
    return daskpatch.predict(image, np.negative, output, **{**TILES, **options})


@pytest.mark.parametrize("kind", [OSError, DisconnectedError, aiohttp.ServerDisconnectedError])
def test_planning_and_all_that_is_around_a_run_survive_a_flaky_store(
    image, tmp_path, monkeypatch, kind
):
    monkeypatch.setattr(Flaky, "kind", kind)
    save(tmp_path / "in.zarr", image, chunks=(16, 16))
    for i in range(4):
        out = tmp_path / f"{i}.zarr"
        source = Flaky(LocalStore(tmp_path / "in.zarr", read_only=True))
        predict(source, Flaky(LocalStore(out)), model_id="m", pacing=QUICK)
        predict(source, Flaky(LocalStore(out)), model_id="m", pacing=QUICK, overwrite=True)
        assert daskpatch.status(Flaky(LocalStore(out))).remaining == 0
        assert daskpatch.verify(Flaky(LocalStore(out)), progress=False).ok
        np.testing.assert_array_equal(read(out), -image)


class Crowded(WrapperStore):
    """A disk that has no room for one of the documents."""

    name = ""

    async def set(self, key, value):
        if self.name in key:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        await super().set(key, value)

    async def set_if_not_exists(self, key, value):
        if self.name in key:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        await super().set_if_not_exists(key, value)


@pytest.mark.parametrize("name", ["run.json", "announced/", "receipts/"])
def test_a_full_disk_is_told_with_what_was_written_there(image, tmp_path, monkeypatch, name):
    monkeypatch.setattr(Crowded, "name", name)
    out = tmp_path / "out.zarr"
    told = rf"{name}.* in .*out\.zarr/\.daskpatch failed: No space left on device"
    with pytest.raises((OSError, daskpatch.RunFailed), match=told):
        predict(image, Crowded(LocalStore(out)), pacing=QUICK)


class Refusing(WrapperStore):
    """May not be written."""

    tries = 0
    error: OSError | None = None

    async def set_if_not_exists(self, key, value):
        type(self).tries += 1
        raise self.error


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (13, "Permission denied"),
        (30, "Read-only file system"),
        (36, "File name too long"),
        (2, "No such file or directory"),
    ],
)
def test_a_place_that_takes_nothing_is_told_of_at_once(image, tmp_path, monkeypatch, number, words):
    slept = []
    monkeypatch.setattr(time, "sleep", slept.append)
    monkeypatch.setattr(Refusing, "error", OSError(number, words))
    monkeypatch.setattr(Refusing, "tries", 0)
    with pytest.raises(OSError, match=f"cannot be written: {words}"):
        predict(image, Refusing(LocalStore(tmp_path / "out.zarr")), threads=1)
    assert Refusing.tries == 1
    assert not slept


@pytest.mark.parametrize("look", [daskpatch.status, daskpatch.verify])
def test_what_does_not_exist_is_told_of_at_once(tmp_path, look, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("waited"))
    save(tmp_path / "plain.zarr", np.zeros((4, 4)), chunks=(4, 4))
    for place in (tmp_path / "nothing.zarr", zarr.storage.MemoryStore(), tmp_path / "plain.zarr"):
        with pytest.raises(FileNotFoundError):
            look(place)
    with pytest.raises(FileNotFoundError):
        daskpatch.plan(tmp_path / "nothing.zarr", np.negative, patch_size=16)


def test_a_link_that_leads_to_itself_is_told_of_as_what_cannot_be_opened(image, tmp_path):
    """It was an error of Python's own, of a kind that is not documented."""
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    for place in (tmp_path / "a", LocalStore(tmp_path / "b" / "in.zarr")):
        with pytest.raises(FileNotFoundError, match="No Zarr array or group"):
            daskpatch.open_image(place, axes="YX")
        with pytest.raises(FileNotFoundError, match="does not exist"):
            daskpatch.status(place)
    with pytest.raises(FileExistsError, match="is a link to .*b, where there is nothing"):
        predict(image, tmp_path / "a")
    with pytest.raises(OSError, match="a/out.zarr cannot be written"):
        predict(image, tmp_path / "a" / "out.zarr")


def test_a_folder_through_fsspec_is_that_folder(image, tmp_path):
    url = f"file://{tmp_path}/out.zarr"
    predict(image, FsspecStore.from_url(url))
    assert daskpatch.status(tmp_path / "out.zarr").remaining == 0
    with pytest.raises(FileExistsError):
        predict(image, tmp_path / "out.zarr")
    stack = daskpatch.open_image(FsspecStore.from_url(url, read_only=True), axes="YX")
    np.testing.assert_array_equal(stack.extract_patch(0, None, (0, 0), (64, 64))[0], -image)


class Full(WrapperStore):
    """Takes nothing any more once it is full."""

    is_full = False
    refused: ClassVar[list[str]] = []

    async def set(self, key, value):
        if Full.is_full:
            Full.refused.append(key)
            raise OSError(28, "No space left on device")
        await self._store.set(key, value)


def test_a_disk_that_is_full_is_waited_for_once(image, tmp_path, monkeypatch):
    monkeypatch.setattr(Full, "is_full", False)
    calls = []

    def fills(batch):
        calls.append(None)
        Full.is_full = len(calls) > 3
        return -batch

    store = Full(LocalStore(tmp_path / "out.zarr"))
    words = {"model_id": "m", "threads": 1, "pacing": QUICK, **TILES}
    with pytest.raises(daskpatch.RunFailed, match="No space left on device"):
        daskpatch.predict(image, fills, store, **words)
    # The chunk is tried as often as that takes; then nothing waits any more.
    chunks = [key for key in Full.refused if ".daskpatch" not in key]
    assert len(chunks) == 1 + len(QUICK.delays)
    assert len(set(chunks)) == 1
    others = [key for key in Full.refused if ".daskpatch" in key]
    assert len(others) == len(set(others))


def test_a_source_larger_than_memory_in_one_chunk_is_refused(tmp_path):
    path = tmp_path / "in.zarr"
    save(path, np.ones((32, 32), "f4"), chunks=(16, 16), dimension_names=["y", "x"])
    document = json.loads((path / "zarr.json").read_text())
    document["shape"] = document["chunk_grid"]["configuration"]["chunk_shape"] = [2**40, 16]
    (path / "zarr.json").write_text(json.dumps(document))
    for io in ("zarr", "tensorstore"):
        with pytest.raises(MemoryError, match=r"One chunk of .* is 64.00 TiB"):
            daskpatch.plan(path, np.negative, patch_size=16, io=io)


def test_an_image_of_chunks_larger_than_memory_is_not_read(tmp_path):
    shape = (2**20, 2**20)
    zarr.create_array(tmp_path / "in.zarr", shape=shape, chunks=shape, dtype="f4")
    image = daskpatch.open_image(tmp_path / "in.zarr", axes="YX")
    with pytest.raises(MemoryError, match=r"One chunk of .* is 4.* this machine has"):
        image.extract_patch(0, None, (0, 0), (4, 4))


def test_a_mask_larger_than_memory_in_one_chunk_is_named(tmp_path):
    path = tmp_path / "mask.zarr"
    names = ["y", "x"]
    zarr.create_array(
        path, shape=(2**20, 2**20), chunks=(2**20, 2**20), dtype="f4", dimension_names=names
    )
    image = np.ones((2**10, 2**10), "u1")
    for mask in (path, [path]):
        with pytest.raises(MemoryError, match=f"of the mask {path} is 4.* the mask in smaller"):
            daskpatch.plan(image, np.negative, axes="YX", patch_size=16, mask=mask)


def test_chunks_of_as_many_threads_fit_or_are_refused(tmp_path):
    save(tmp_path / "in.zarr", np.ones((1024, 1024), "f4"), chunks=(1024, 1024))
    words = {"axes": "YX", "patch_size": 16, "memory_limit": "10 MB"}
    with pytest.raises(MemoryError, match="3 threads decode as many at a time.*lower threads"):
        daskpatch.plan(tmp_path / "in.zarr", np.negative, threads=3, **words)


def test_an_axis_without_end_is_refused(tmp_path):
    path = tmp_path / "in.zarr"
    save(path, np.ones((32, 32), "f4"), chunks=(16, 16), dimension_names=["y", "x"])
    document = json.loads((path / "zarr.json").read_text())
    document["shape"] = [10**30, 32]
    (path / "zarr.json").write_text(json.dumps(document))
    with pytest.raises(ValueError, match=r"an axis of 1e\+30 voxels"):
        daskpatch.open_image(path)


# What errors say


def test_a_library_s_own_error_is_an_error_of_the_store():
    class GenericError(Exception):
        pass

    def fails():
        raise GenericError("GET http://me:pw@h/a?sig=1 failed\n\nDebug source:\nGeneric {")

    for call in (at_first, lambda call, what: with_backoff(call, what, (0.001,))):
        with pytest.raises(OSError, match="Reading a failed: GenericError: GET http://h/a failed$"):
            call(fails, "Reading a")


def test_an_error_with_a_secret_keeps_its_kind(caplog):
    caplog.set_level(logging.INFO, "daskpatch")

    def fails():
        raise FileNotFoundError("http://h/a?token=SECRET")

    with pytest.raises(FileNotFoundError, match="http://h/a$") as failure:
        with_backoff(fails, "Reading", (0.001,))
    assert failure.value.__suppress_context__
    assert "SECRET" not in caplog.text
    assert "http://h/a" in caplog.text


def test_objects_of_one_file_system_share_its_sessions(tmp_path):
    import fsspec

    fs = fsspec.filesystem("http", asynchronous=True, skip_instance_cache=True)
    stores = [Objects(locate(FsspecStore(fs, path="h/a")))._store._store.fs for _ in range(3)]
    assert stores[0] is stores[1] is stores[2]
    assert stores[0] is not fs


def test_an_output_in_a_folder_that_is_not_there_yet_waits_for_nothing(rng, tmp_path, caplog):
    image = rng.random((16, 16)).astype("f4")
    out = tmp_path / "results" / "today" / "out.zarr"
    with caplog.at_level("INFO", "daskpatch"):
        daskpatch.predict(image, np.negative, out, axes="YX", patch_size=16, progress=False)
    assert "again in" not in caplog.text
    np.testing.assert_array_equal(zarr.open_array(out, mode="r")[...], -image)


# What was allowed before


class Denying(WrapperStore):
    """Denies some calls of a kind, once it has answered others: many are under way at a time.

    An expired token denies whatever is asked for.
    """

    denied = ""
    answers, denials = 0, 0
    before, most = 8, 3

    def _deny(self, kind):
        is_allowed = Denying.answers < self.before or Denying.denials == self.most
        if kind != Denying.denied or is_allowed:
            return
        Denying.denials += 1
        raise OSError(30, "Read-only file system") if kind == "set" else PermissionError("403")

    def _answered(self, kind):
        Denying.answers += kind == Denying.denied

    async def get(self, key, prototype, byte_range=None):
        self._deny("get")
        found = await self._store.get(key, prototype, byte_range)
        self._answered("get")
        return found

    async def set(self, key, value):
        self._deny("set")
        await self._store.set(key, value)
        self._answered("set")


@pytest.mark.parametrize("kind", ["get", "set"])
def test_a_store_that_denies_for_a_while_what_it_allowed_is_waited_for(
    image, tmp_path, monkeypatch, kind
):
    monkeypatch.setattr(Denying, "answers", 0)
    monkeypatch.setattr(Denying, "denials", 0)
    save(tmp_path / "in.zarr", image, chunks=(16, 16))
    source = LocalStore(tmp_path / "in.zarr", read_only=True)
    output = LocalStore(tmp_path / "out.zarr")
    source, output = (Denying(source), output) if kind == "get" else (source, Denying(output))
    tiles = {word: value for word, value in TILES.items() if word != "progress"}
    plan = daskpatch.plan(source, np.negative, output, threads=1, **tiles)
    monkeypatch.setattr(Denying, "denied", kind)
    plan.run(progress=False, pacing=QUICK, retries=0)
    assert Denying.denials == Denying.most
    np.testing.assert_array_equal(read(tmp_path / "out.zarr"), -image)


@pytest.fixture
def away():
    """A bucket at a port where nobody listens, of a store that tries again by itself."""
    store = obstore.store.S3Store(
        "bucket",
        endpoint="http://127.0.0.1:9",
        client_options={"allow_http": True},
        access_key_id="a",
        secret_access_key="b",
        region="x",
        retry_config={
            "max_retries": 1,
            "backoff": {"init_backoff": ONE_MS, "max_backoff": ONE_MS, "base": 2},
        },
    )
    return zarr.storage.ObjectStore(store)


ONE_MS = timedelta(milliseconds=1)


@pytest.mark.parametrize(
    "ask",
    [
        daskpatch.status,
        lambda out: daskpatch.plan(
            np.ones((16, 16), "f4"), np.abs, out, axes="YX", patch_size=16, model_id="m"
        ),
    ],
)
def test_an_output_whose_store_is_away_is_an_error_at_once(away, ask, caplog):
    """It was none of a plan, after minutes."""
    with (
        caplog.at_level("INFO", "daskpatch"),
        pytest.raises(OSError, match="after 1 retries.*Check the URL, the network"),
    ):
        ask(away)
    assert "again in" not in caplog.text


class Denied(Flaky):
    """A place that may not be looked at."""

    async def exists(self, key):
        raise PermissionError(13, "Permission denied")


def test_a_status_that_may_not_be_read_is_told_by_its_place(tmp_path):
    for verb in (daskpatch.status, daskpatch.verify):
        with pytest.raises(PermissionError, match=f"{tmp_path} may not be read: Permission denied"):
            verb(Denied(LocalStore(tmp_path)))
