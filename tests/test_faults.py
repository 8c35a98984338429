"""What goes wrong on the way: workers that die, models that fail, stores that refuse."""

import contextlib
import functools
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import dask
import numpy as np
import pytest
import zarr
from distributed import Client, LocalCluster, Status
from example_models import gaussian, slowly
from volumes import read, save
from zarr.storage import LocalStore, WrapperStore

import daskpatch
from daskpatch.engine.cluster import local_workers

TILES = {"patch_size": 16, "overlaps": 4, "chunks": 12, "block_shape": 12}

FAST = daskpatch.Pacing(flush=0.1, delays=(0.01, 0.02, 0.05))


@pytest.fixture
def two_workers():
    """A client of two worker processes that come back when they are killed."""
    with local_workers(2, threads=1) as client:
        yield client


@pytest.fixture
def whole(stored, tmp_path):
    predict(stored, tmp_path / "whole.zarr")
    return read(tmp_path / "whole.zarr")


def predict(source, output, model=gaussian, **options):
    options = {**TILES, "pacing": FAST, **options}
    return daskpatch.predict(source, model, output, progress=False, **options)


def wait_for_receipts(output):
    while True:
        with contextlib.suppress(FileNotFoundError):
            if daskpatch.status(output).done > 2:
                return
        time.sleep(0.02)


def kill_a_worker(client):
    """Kill a worker that its nanny has seen start: one killed before that never comes back."""

    def kill(dask_worker):
        process = dask_worker.process
        if process is None or process.status != Status.running:
            return False
        os.kill(process.pid, signal.SIGKILL)
        return True

    for nanny in client.scheduler_info(n_workers=-1)["workers"]:
        if client.run(kill, workers=[nanny], nanny=True)[nanny]:
            return True
    return False


# Workers that die


def test_workers_that_are_killed_again_and_again(stored, tmp_path, whole, two_workers):
    out = tmp_path / "out.zarr"
    ended = threading.Event()
    kills = []

    def kill():
        # At blocks, not at times: a slow machine would never get to the next one.
        wait_for_receipts(out)
        while not ended.wait(0.02) and len(kills) < 9:
            if daskpatch.status(out).done < 5 * (len(kills) + 1):
                continue
            with contextlib.suppress(Exception):  # the worker went another way
                if kill_a_worker(two_workers):
                    kills.append(True)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        report = predict(stored, out, slowly, client=two_workers, model_id="gaussian")
    finally:
        ended.set()
        killer.join()
    assert kills
    total = daskpatch.status(out).total
    assert (report.done, report.failed) == (total, 0)
    np.testing.assert_array_equal(read(out), whole)
    assert daskpatch.verify(out, progress=False).ok


def test_a_worker_of_this_machine_comes_back_however_slow_its_start_is():
    # distributed looks so long after a death whether the worker is back, and gives it up if not.
    impatient = {"distributed.deploy.lost-worker-timeout": "1ms"}
    with dask.config.set(impatient), local_workers(1, threads=1) as client:
        before = set(client.scheduler_info()["workers"])
        assert kill_a_worker(client)
        while set(client.scheduler_info()["workers"]) <= before:
            assert client.cluster.workers, "given up"
            time.sleep(0.02)
        assert client.submit(sum, (1, 2)).result() == 3


def test_a_block_that_kills_its_worker_is_set_aside_and_its_neighbours_are_not(
    tmp_path, two_workers
):
    values = np.arange(200, dtype="f4").repeat(16).reshape(200, 4, 4)
    save(tmp_path / "in.zarr", values, chunks=(1, 4, 4), dimension_names=["z", "y", "x"])

    def poisoned(batch):
        if (batch == 77).any():
            os.kill(os.getpid(), signal.SIGKILL)
        return batch

    out = tmp_path / "out.zarr"
    with pytest.raises(daskpatch.RunFailed) as failure:
        daskpatch.predict(
            tmp_path / "in.zarr",
            poisoned,
            out,
            patch_size=(1, 4, 4),
            chunks=(1, 4, 4),
            block_shape=(1, 4, 4),
            client=two_workers,
            progress=False,
        )
    (failed,) = failure.value.failed
    assert failed.index == 77
    assert failure.value.report.done == 199
    found = daskpatch.status(out)
    assert (found.done, found.failed, found.remaining) == (199, 1, 0)
    np.testing.assert_array_equal(np.delete(read(out), 77, 0), np.delete(values, 77, 0))


def test_workers_that_join_later_get_the_job(stored, tmp_path, whole):
    out = tmp_path / "out.zarr"
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=1, processes=True, dashboard_address=":0"
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        timer = threading.Timer(0.5, lambda: cluster.scale(2))
        timer.start()
        predict(stored, out, slowly, client=client, model_id="gaussian")
        timer.join()
    np.testing.assert_array_equal(read(out), whole)


def test_a_run_whose_workers_are_all_gone_gives_up_after_its_patience(stored, tmp_path, caplog):
    out = tmp_path / "out.zarr"
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=1, processes=True, dashboard_address=":0"
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        leaving = threading.Thread(target=lambda: (wait_for_receipts(out), cluster.scale(0)))
        leaving.start()
        with pytest.raises(daskpatch.RunFailed, match="No worker was left"):
            predict(stored, out, slowly, client=client, patience=1.0, model_id="gaussian")
        leaving.join()
    assert "No worker is left" in caplog.text
    report = predict(stored, out, resume=True, model_id="gaussian")
    assert report.skipped > 0


def test_a_client_that_is_closed_in_the_middle_ends_the_run_with_a_clear_error(stored, tmp_path):
    out = tmp_path / "out.zarr"
    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=True, dashboard_address=":0"
    ) as cluster:
        client = Client(cluster, set_as_default=False)
        timer = threading.Timer(0.5, client.close)
        timer.start()
        with pytest.raises(daskpatch.RunFailed, match="scheduler is gone"):
            predict(stored, out, slowly, client=client, model_id="gaussian", retries=0)
        timer.join()
    report = predict(stored, out, resume=True, model_id="gaussian")
    assert report.done + report.skipped == daskpatch.status(out).total


def test_resources_that_workers_offer_and_that_they_do_not(stored, tmp_path, whole):
    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=2,
            processes=True,
            dashboard_address=":0",
            resources={"GPU": 1},
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        with pytest.raises(ValueError, match="No worker offers"):
            predict(stored, tmp_path / "a.zarr", client=client, resources={"TPU": 1})
        assert not (tmp_path / "a.zarr").exists()
        report = predict(stored, tmp_path / "out.zarr", client=client, resources={"GPU": 1})
    assert report.failed == 0
    np.testing.assert_array_equal(read(tmp_path / "out.zarr"), whole)


class UntellableError(Exception):
    """One that says what it is by saying what it is."""

    def __repr__(self):
        return repr(self)

    __str__ = __repr__


def untellable(home, batch):
    """Fails everywhere but at home."""
    if os.getpid() != home:
        raise UntellableError
    return batch


def test_an_error_that_cannot_be_told_ends_its_block(stored, tmp_path, two_workers):
    model = functools.partial(untellable, os.getpid())
    with pytest.raises(daskpatch.RunFailed, match="UntellableError"):
        predict(
            stored, tmp_path / "out.zarr", model, client=two_workers, retries=0, model_id="failing"
        )


def test_resources_need_a_client(stored, tmp_path):
    with pytest.raises(ValueError, match="give client="):
        predict(stored, tmp_path / "out.zarr", resources={"GPU": 1})


# Models that fail


def test_a_block_that_fails_once_is_tried_again(stored, tmp_path, whole):
    left = [3]  # the plan calls it twice

    def model(batch):
        left[0] -= 1
        if left[0] == 0:
            raise RuntimeError("once")
        return gaussian(batch)

    report = predict(stored, tmp_path / "out.zarr", model, threads=1)
    assert (report.retried, report.failed) == (1, 0)
    np.testing.assert_array_equal(read(tmp_path / "out.zarr"), whole)


def test_a_block_that_fails_for_ever_is_set_aside_and_tried_by_the_next_run(
    stored, tmp_path, whole, volume
):
    corner = float(volume[0, 0, 0])
    fails = [True]

    def model(batch):
        if fails[0] and batch[0, 0, 0, 0, 0] == corner:
            raise RuntimeError("not this one")
        return gaussian(batch)

    out = tmp_path / "out.zarr"
    with pytest.raises(daskpatch.RunFailed, match="Block 0 failed") as failure:
        predict(stored, out, model, model_id="m", retries=1)
    (failed,) = failure.value.report.failed_blocks
    assert failed.tile["coords"] == (0, 0, 0)
    assert "not this one" in failed.error
    assert "Traceback" in failed.traceback
    assert failure.value.report.retried == 1
    found = daskpatch.status(out)
    assert [f.index for f in found.failed_blocks] == [0]
    assert found.block_map()[0, 0, 0] == 2
    fails[0] = False
    report = predict(stored, out, model, model_id="m", resume=True)
    assert (report.done, report.skipped) == (1, found.total - 1)
    assert daskpatch.status(out).failed == 0
    np.testing.assert_array_equal(read(out), whole)


# Stores that refuse


class Flaky(WrapperStore):
    """One call in twenty fails, reading and writing."""

    random = random.Random(5)
    calls = failures = 0
    is_on = False

    def _maybe_fail(self):
        Flaky.calls += 1
        if Flaky.is_on and Flaky.random.random() < 0.05:
            Flaky.failures += 1
            raise OSError("the network is down")

    async def get(self, key, prototype, byte_range=None):
        self._maybe_fail()
        return await self._store.get(key, prototype, byte_range)

    async def set(self, key, value):
        self._maybe_fail()
        await self._store.set(key, value)


class Full(WrapperStore):
    """No space is left after some bytes."""

    left = 0

    async def set(self, key, value):
        if "/c/" in f"/{key}":
            Full.left -= len(value)
            if Full.left < 0:
                raise OSError(28, "No space left on device")
        await self._store.set(key, value)


@pytest.mark.parametrize("shards", [None, 24])
def test_a_store_that_fails_in_5_percent_of_its_calls(stored, tmp_path, whole, shards, monkeypatch):
    source = zarr.open_array(Flaky(LocalStore(stored)), mode="r")
    array = save(
        tmp_path / "out.zarr",
        np.zeros_like(whole),
        chunks=(12, 12, 12),
        **({"shards": (24, 24, 24)} if shards else {}),
    )
    output = zarr.open_array(Flaky(array.store), mode="r+")
    monkeypatch.setattr(Flaky, "random", random.Random(5))
    Flaky.calls = Flaky.failures = 0
    monkeypatch.setattr(Flaky, "is_on", True)
    options = {"chunks": None, "block_shape": shards or 12}
    report = predict(source, output, axes="ZYX", resume=True, model_id="m", **options)
    assert report.failed == 0
    assert Flaky.failures > 5
    np.testing.assert_array_equal(read(tmp_path / "out.zarr"), whole)
    assert daskpatch.verify(tmp_path / "out.zarr", progress=False).ok


def test_a_store_that_is_full_stops_the_run_and_what_has_a_receipt_is_there(
    stored, tmp_path, whole
):
    Full.left = whole.nbytes // 3
    output = tmp_path / "out.zarr"
    with pytest.raises(daskpatch.RunFailed, match="No space left on device") as failure:
        predict(stored, Full(LocalStore(output)))
    report = failure.value.report
    assert 0 < report.done < daskpatch.status(output).total
    checked = daskpatch.verify(output, progress=False)
    assert set(checked.reasons.values()) == {"never written"}
    assert len(checked.bad) == checked.total - report.done
    Full.left = 10 * whole.nbytes
    resumed = predict(stored, Full(LocalStore(output)), resume=True)
    assert resumed.skipped == report.done
    np.testing.assert_array_equal(read(output), whole)


def test_a_store_that_takes_no_receipts_ends_the_run(stored, tmp_path, monkeypatch, whole):
    class NoReceipts(WrapperStore):
        refuses = True

        async def set(self, key, value):
            if NoReceipts.refuses and "receipts" in key:
                raise OSError(28, "No space left on device")
            await self._store.set(key, value)

    out = tmp_path / "out.zarr"
    with pytest.raises(daskpatch.RunFailed, match="could not be stored") as failure:
        predict(stored, NoReceipts(LocalStore(out)))
    assert "No space left" in str(failure.value)
    assert daskpatch.status(out).done == 0
    NoReceipts.refuses = False
    assert predict(stored, NoReceipts(LocalStore(out)), resume=True).skipped == 0
    np.testing.assert_array_equal(read(out), whole)


def test_a_source_that_cannot_be_read_any_more_stops_the_run(stored, tmp_path):
    planned = daskpatch.plan(stored, gaussian, tmp_path / "out.zarr", threads=1, **TILES)
    for chunk in Path(stored, "c").rglob("*"):
        if chunk.is_file():
            chunk.write_bytes(b"not a chunk")
    with pytest.raises((daskpatch.RunFailed, OSError), match="could not be read"):
        planned.run(progress=False, pacing=FAST)


@pytest.mark.parametrize("io", ["zarr", "tensorstore"])
@pytest.mark.parametrize("damage", ["torn", "emptied"])
def test_a_torn_shard_of_an_earlier_run_is_replaced(stored, tmp_path, whole, io, damage, caplog):
    out = tmp_path / "out.zarr"
    options = {"shards": 24, "block_shape": 24, "io": io}
    predict(stored, out, **options)
    shards = [path for path in (out / "c").rglob("*") if path.is_file()]
    for path in shards[:3]:
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2] if damage == "torn" else b"")
    bad = daskpatch.verify(out, progress=False).bad
    assert len(bad) == 3
    checked = daskpatch.verify(out, repair=True, model=gaussian, progress=False)
    assert checked.repaired.done == 3
    assert daskpatch.verify(out, progress=False).ok
    np.testing.assert_array_equal(read(out), whole)
    if io == "zarr":
        planned = daskpatch.plan(
            stored, gaussian, read_write(out), block_shape=24, io=io, patch_size=16, overlaps=4
        )
        shards[0].write_bytes(shards[0].read_bytes()[:100])
        planned.run(progress=False, pacing=FAST)
        assert "Replaced torn chunks or shards" in caplog.text
        np.testing.assert_array_equal(read(out), whole)


@pytest.mark.parametrize("io", ["zarr", "tensorstore"])
@pytest.mark.parametrize("length", [0, 10, 100])
def test_a_torn_chunk_at_the_edge_is_replaced(stored, tmp_path, whole, io, length):
    out = tmp_path / "out.zarr"
    predict(stored, out, io=io)
    last = max(int(path.name) for path in (out / "c").iterdir())
    chunk = out / "c" / str(last) / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:length])
    checked = daskpatch.verify(out, repair=True, model=gaussian, progress=False)
    assert checked.repaired.done == 1
    np.testing.assert_array_equal(read(out), whole)


def read_write(path):
    return zarr.open_array(str(path), mode="r+")


# Interruption

COMMAND = [sys.executable, "-m", "daskpatch"]


def start(stored, tmp_path, *options):
    (tmp_path / "model.py").write_text(
        "import time\nfrom pathlib import Path\n"
        f"begun = Path({str(tmp_path / 'begun')!r})\n"
        "def model(batch):\n    begun.touch()\n    time.sleep(0.05)\n    return batch\n"
    )
    command = [*COMMAND, "predict", str(stored), str(tmp_path / "out.zarr")]
    command += ["--model", str(tmp_path / "model.py") + ":model", "--patch-size", "16"]
    threads = () if "--threads" in options else ("--threads", "2")
    command += ["--chunks", "16", "--block-shape", "16", *threads, *options]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "out.zarr" / "zarr.json").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.2)
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_in_order(stored, tmp_path, volume, number):
    process = start(stored, tmp_path)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    assert "Stopping" in errors
    assert "--resume" in errors
    found = daskpatch.status(tmp_path / "out.zarr")
    assert 0 < found.done < found.total
    assert found.drivers == ()
    resumed = start(stored, tmp_path, "--resume", "--json")
    out, errors = resumed.communicate(timeout=60)
    assert resumed.returncode == 0, errors
    np.testing.assert_array_equal(read(tmp_path / "out.zarr"), volume)
    assert f'"skipped": {found.done}' in out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_the_first_block_leaves_the_output_alone(stored, tmp_path, number):
    out, begun = tmp_path / "out.zarr", tmp_path / "begun"
    predict(stored, out)
    before = read(out)
    (tmp_path / "model.py").write_text(
        f"import time\nfrom pathlib import Path\nbegun = Path({str(begun)!r})\n"
        "def model(batch):\n    begun.touch()\n    time.sleep(60)\n    return batch\n"
    )
    command = [*COMMAND, "predict", str(stored), str(out), "--overwrite", "--patch-size", "16"]
    command += ["--model", str(tmp_path / "model.py") + ":model"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not begun.exists():
        time.sleep(0.01)
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130, errors
    assert "No block was running" in errors
    assert daskpatch.verify(out, progress=False).ok
    np.testing.assert_array_equal(read(out), before)


def test_an_interruption_before_the_run_leaves_the_output_alone(stored, tmp_path):
    out = tmp_path / "out.zarr"
    predict(stored, out)
    interruption = daskpatch.Interruption()
    interruption.request()
    planned = daskpatch.plan(stored, gaussian, out, overwrite=True, **TILES)
    with pytest.raises(KeyboardInterrupt, match="Nothing was written"):
        planned.run(progress=False, pacing=FAST, interruption=interruption)
    assert daskpatch.verify(out, progress=False).ok


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_group_leaves_its_workers_alone(stored, tmp_path, number):
    process = start(stored, tmp_path, "--workers", "2", "--threads", "1")
    os.killpg(process.pid, number)
    _, errors = process.communicate(timeout=40)
    assert process.returncode == 130, errors
    assert "--resume" in errors
    found = daskpatch.status(tmp_path / "out.zarr")
    assert 0 < found.done < found.total
    assert found.drivers == ()


def test_a_second_signal_leaves_at_once_with_the_receipts(stored, tmp_path):
    process = start(stored, tmp_path, "--grace", "60")
    (tmp_path / "model.py").touch()
    process.send_signal(signal.SIGINT)
    time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    begin = time.monotonic()
    process.communicate(timeout=30)
    assert time.monotonic() - begin < 10
    assert process.returncode == 130
    assert daskpatch.status(tmp_path / "out.zarr").drivers == ()


@pytest.fixture
def interruptible():
    """A process in which SIGINT is KeyboardInterrupt, also where it was started without."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("client", [None, "two_workers"])
def test_an_interrupted_library_call_returns_at_once_and_writes_no_more(
    stored, tmp_path, client, interruptible, request
):
    client = request.getfixturevalue(client) if client else None
    out = tmp_path / "out.zarr"
    armed, begun, released, ended = (tmp_path / name for name in ("armed", "begun", "go", "end"))

    def model(batch):
        if armed.exists():
            begun.touch()
            while not released.exists():
                time.sleep(0.01)
            ended.touch()
        return batch

    def interrupt():
        while not begun.exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    planned = daskpatch.plan(stored, model, out, threads=1, model_id="m", **TILES)
    armed.touch()
    thread = threading.Thread(target=interrupt)
    thread.start()
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        planned.run(client=client, progress=False, pacing=FAST)
    assert time.monotonic() - begin < 10
    thread.join()
    armed.unlink()
    released.touch()
    while not ended.exists():
        time.sleep(0.01)
    time.sleep(0.5)
    assert not (out / "c").exists()
    assert predict(stored, out, model, resume=True, model_id="m").skipped == 0
