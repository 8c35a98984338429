"""Blocks that never end, and blocks that end the process: runs get past them, and name them."""

import asyncio
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from functools import partial

import dask.config
import numpy as np
import pytest
import zarr
from children import Child
from distributed import Client, LocalCluster
from hypothesis import given
from hypothesis import strategies as st
from serving import served
from volumes import read, save
from zarr.storage import LocalStore, MemoryStore, WrapperStore

import daskpatch
from daskpatch.engine import TimedOutError, is_written_off
from daskpatch.engine.deadline import within
from daskpatch.receipts import Announcements, Claim, Part, Record
from daskpatch.running.announcing import Announcer
from daskpatch.store import locate
from daskpatch.support import DaemonThreads

PLANES = {"patch_size": (1, 4, 4), "chunks": (1, 4, 4), "block_shape": (1, 4, 4)}

TIMEOUT = 3.0
"""Seconds: much longer than a block here takes, on any machine."""


@pytest.fixture
def planes(tmp_path):
    """Twenty planes, each of its number: one block each."""
    values = np.arange(20, dtype="f4").repeat(16).reshape(20, 4, 4)
    save(tmp_path / "in.zarr", values, chunks=(1, 4, 4), dimension_names=["z", "y", "x"])
    return tmp_path / "in.zarr"


@pytest.fixture
def released():
    """An event that is set when the test ends, so that no thread hangs for ever."""
    event = threading.Event()
    yield event
    event.set()


def predict(source, model, output, **options):
    options = {**PLANES, "progress": False, "model_id": "m", **options}
    return daskpatch.predict(source, model, output, **options)


def hanging_at(number, released):
    def model(batch):
        if (batch == number).any():
            released.wait()
        return batch

    return model


# Calls


def test_a_call_gives_what_it_gives_or_raises_what_it_raises():
    assert within(60.0, lambda: "done") == "done"
    with pytest.raises(TimeoutError, match="its own"):
        within(60.0, lambda: (_ for _ in ()).throw(TimeoutError("its own")))


def test_calls_that_end_are_made_by_one_thread():
    threads = {within(60.0, threading.get_ident) for _ in range(10)}
    assert len(threads) == 1
    assert threads != {threading.get_ident()}


def test_a_call_that_takes_too_long_says_where_and_learns_that_nobody_waits(released):
    learnt = []

    def hang():
        released.wait()
        learnt.append(is_written_off())

    with pytest.raises(TimedOutError, match=r"longer than timeout=0.05 s, in wait \(") as failure:
        within(0.05, hang)
    assert "released.wait()" in "".join(failure.value.__notes__)
    assert pickle.loads(pickle.dumps(failure.value)).__notes__ == failure.value.__notes__
    released.set()
    while not learnt:
        time.sleep(0.001)
    assert learnt == [True]
    assert within(60.0, is_written_off) is False


def test_threads_that_compute_end_with_those_they_compute_for():
    with DaemonThreads(2, "outer") as threads:
        names = set(threads.map(lambda _: within(60.0, _name_of_this_thread), range(20)))
    assert names
    while names & {thread.name for thread in threading.enumerate()}:
        time.sleep(0.001)


def _name_of_this_thread():
    return threading.current_thread().name


def test_a_process_ends_while_threads_hang():
    code = "import threading; from daskpatch.support import DaemonThreads; "
    code += "DaemonThreads(1, 'hung').submit(threading.Event().wait)"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0


# Runs


def test_in_threads_a_block_that_hangs_fails_and_the_others_are_done(planes, tmp_path, released):
    out = tmp_path / "out.zarr"
    with pytest.raises(daskpatch.RunFailed, match="Block 7 failed: It took longer") as failure:
        predict(planes, hanging_at(7, released), out, threads=2, timeout=TIMEOUT, retries=5)
    (failed,) = failure.value.failed
    assert "released.wait()" in failed.traceback
    assert daskpatch.status(out).done == 19
    released.set()
    assert daskpatch.status(out).failed == 1
    predict(planes, np.positive, out, resume=True)
    np.testing.assert_array_equal(read(out), read(planes))


class Hanging(WrapperStore):
    """Never answers for plane 9, once a block was computed."""

    is_hanging = False
    ended = threading.Event()

    async def get(self, key, prototype, byte_range=None):
        while Hanging.is_hanging and key.startswith("c/9/") and not Hanging.ended.is_set():
            await asyncio.sleep(0.01)
        return await self._store.get(key, prototype, byte_range)


def test_a_chunk_that_hangs_does_not_hold_up_the_end_of_a_run_either(
    planes, tmp_path, released, monkeypatch
):
    monkeypatch.setattr(Hanging, "ended", released)
    monkeypatch.setattr(Hanging, "is_hanging", False)
    out = tmp_path / "out.zarr"
    armed = []

    def model(batch):
        Hanging.is_hanging = bool(armed)
        return batch

    source = Hanging(LocalStore(planes))
    plan = daskpatch.plan(source, model, out, **PLANES, model_id="m", threads=2, io="zarr")
    armed.append(True)
    with pytest.raises(daskpatch.RunFailed, match="the last look at the source") as failure:
        plan.run(timeout=TIMEOUT, progress=False)
    assert [failed.index for failed in failure.value.failed] == [9]
    status = daskpatch.status(out)
    assert (status.done, status.failed) == (19, 1)
    released.set()
    plan.run(resume=True, progress=False)
    np.testing.assert_array_equal(read(out), read(planes))


def test_what_a_written_off_thread_computes_is_not_written(planes, tmp_path, released):
    out = tmp_path / "out.zarr"
    with pytest.raises(daskpatch.RunFailed):
        predict(planes, hanging_at(7, released), out, threads=1, timeout=TIMEOUT)
    released.set()
    while any(thread.name.startswith("daskpatch-0-timed") for thread in threading.enumerate()):
        time.sleep(0.001)
    assert not read(out)[7].any()


def test_a_run_ends_when_more_threads_hang_than_it_has(planes, tmp_path, released):
    def model(batch):
        if (batch % 5 == 2).any():
            released.wait()
        return batch

    out = tmp_path / "out.zarr"
    with pytest.raises(daskpatch.RunFailed, match="2 blocks took longer than their timeout"):
        predict(planes, model, out, threads=1, timeout=TIMEOUT)
    assert {failed.index for failed in daskpatch.status(out).failed_blocks} == {2, 7}


def test_a_worker_of_this_process_is_not_ended(planes, tmp_path, released, in_process):
    out = tmp_path / "out.zarr"
    with pytest.raises(daskpatch.RunFailed, match="Block 7 failed: It took longer"):
        predict(planes, hanging_at(7, released), out, client=in_process, timeout=TIMEOUT)
    assert daskpatch.status(out).done == 19


def test_a_worker_process_is_ended_and_the_block_tried_once_more(planes, tmp_path):
    def model(batch):
        while (batch == 7).any():
            time.sleep(0.1)
        return batch

    out = tmp_path / "out.zarr"
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        before = client.run(os.getpid)
        with pytest.raises(daskpatch.RunFailed, match="Block 7 failed: It took longer") as failure:
            predict(planes, model, out, client=client, timeout=TIMEOUT)
        client.wait_for_workers(2)
        assert set(client.run(os.getpid).values()) != set(before.values())
    (failed,) = failure.value.failed
    assert "in model" in failed.traceback
    assert daskpatch.status(out).done == 19


def test_a_worker_that_stands_still_is_given_up_by_its_scheduler(planes, tmp_path):
    """No watchdog runs in it; its scheduler misses it, after minutes if not told otherwise."""
    stopped, driver = tmp_path / "stopped", os.getpid()

    def model(batch):
        if (batch == 7).any() and os.getpid() != driver and not stopped.exists():
            stopped.touch()
            os.kill(os.getpid(), signal.SIGSTOP)
        return batch

    out = tmp_path / "out.zarr"
    with (
        dask.config.set({"distributed.scheduler.worker-ttl": "1s"}),
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        plan = daskpatch.plan(planes, model, out, model_id="m", **PLANES)
        report = plan.run(client=client, timeout=TIMEOUT, progress=False)
    assert report.blocks == 20
    np.testing.assert_array_equal(read(out), read(planes))
    assert daskpatch.verify(out, progress=False).ok


@pytest.mark.parametrize("wrong", [0, -1, "soon", float("nan")])
def test_a_timeout_is_a_number_of_seconds(planes, tmp_path, wrong):
    with pytest.raises(ValueError, match="timeout"):
        predict(planes, np.positive, tmp_path / "out.zarr", timeout=wrong)
    assert not (tmp_path / "out.zarr").exists()


def test_status_names_blocks_in_work(planes, tmp_path, released):
    out = tmp_path / "out.zarr"
    begun = time.time()
    pacing = daskpatch.Pacing(heartbeat=0.05)
    run = threading.Thread(
        target=predict,
        args=(planes, hanging_at(7, released), out),
        kwargs={"threads": 2, "pacing": pacing},
    )
    run.start()
    while True:
        if (out / "zarr.json").exists():
            status = daskpatch.status(out)
            if [block.index for block in status.working] == [7]:
                break
        time.sleep(0.02)
    assert begun - 1 < status.working[0].since < time.time() + 1
    assert "block 7 is in work since " in str(status)
    assert json.loads(json.dumps(status.to_dict()))["working"][0]["index"] == 7
    released.set()
    run.join()
    assert daskpatch.status(out).working == ()


# A worker that dies while all are told something


def test_a_worker_that_dies_when_the_run_begins_or_ends(planes, tmp_path, monkeypatch):
    start = [sys.executable, "-m", "distributed.cli.dask_worker", "--nthreads", "1"]
    start += ["--no-dashboard", "--local-directory", str(tmp_path)]
    with (
        LocalCluster(n_workers=0, dashboard_address=":0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        workers = [
            subprocess.Popen([*start, cluster.scheduler_address], start_new_session=True)
            for _ in range(3)
        ]
        try:
            client.wait_for_workers(3)
            for name in ("register_plugin", "unregister_worker_plugin"):
                victims = [workers[-1]]
                told = partial(dies_first, getattr(client, name), victims)
                with monkeypatch.context() as patch:
                    patch.setattr(client, name, told)
                    out = tmp_path / f"{name}.zarr"
                    assert predict(planes, np.positive, out, client=client).done == 20
                np.testing.assert_array_equal(read(out), read(planes))
                assert not victims
                workers.pop()
        finally:
            for worker in workers:
                end(worker)


def dies_first(tell, victims, *args):
    """A worker dies, and the scheduler still believes in it when it is to tell all something."""
    if victims:
        end(victims.pop())
    return tell(*args)


def end(worker):
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()


def test_a_thread_that_was_written_off_does_not_go_on_with_its_block(tmp_path, released):
    """It would take memory and a processor beside the one that replaced it."""
    image = np.zeros((32, 32), "f4")
    image[0, 0] = 1  # in the first tile of four of the first block
    calls, hanging = [], []

    def model(batch):
        calls.append(threading.current_thread())
        if batch[0, 0, 0, 0] == 1:
            hanging.append(threading.current_thread())
            released.wait()
        return batch

    out = tmp_path / "out.zarr"
    tiles = {"axes": "YX", "patch_size": 8, "chunks": 16, "block_shape": 16, "threads": 1}
    with pytest.raises(daskpatch.RunFailed, match="took longer"):
        predict(image, model, out, **tiles, timeout=TIMEOUT, retries=0)
    (thread,) = hanging
    released.set()
    thread.join(60)
    assert not thread.is_alive()
    assert calls.count(thread) == 1
    assert daskpatch.status(out).done == 3


# Blocks that end the process

JOB = """
import os, sys, daskpatch
def model(batch):
    if (batch == 7).any(): os.kill(os.getpid(), 9)
    return batch
daskpatch.predict("in.zarr", model, "out.zarr", patch_size=(1, 4, 4), chunks=(1, 4, 4),
    block_shape=(1, 4, 4), threads=int(sys.argv[1]), progress=False, model_id="m", resume=True)
"""


@pytest.mark.parametrize("threads", [1, 3])
def test_a_block_that_ends_the_process_is_found_and_set_aside(planes, tmp_path, threads):
    ends = [Child(JOB, threads, folder=tmp_path).end() for _ in range(5)]
    # With the others, then twice alone; then it is left alone.
    assert [end.returncode for end in ends] == [-9, -9, -9, 1, 1]
    assert "Block 7 failed: the process ended twice" in ends[-1].stderr
    assert "19 of 20 blocks are written and stay.\n" in ends[-1].stderr  # nothing to go on with
    out = tmp_path / "out.zarr"
    status = daskpatch.status(out)
    assert (status.done, [block.index for block in status.failed_blocks]) == (19, [7])
    # Named, it is tried again.
    report = predict(planes, np.positive, out, resume=True, region=slice(7, 8))
    assert report.done == 1
    assert predict(planes, np.positive, out, resume=True).done == 0
    np.testing.assert_array_equal(read(out), read(planes))
    assert not list((out / ".daskpatch" / "announced").rglob("*.json"))


SERIES_JOB = JOB.replace('"in.zarr", model', '["in.zarr", "in.zarr"], model')


def test_a_repair_tries_blocks_again_that_ended_the_process(planes, tmp_path):
    """Of a series no region can be selected."""
    ends = [Child(SERIES_JOB, 1, folder=tmp_path).end()]
    while ends[-1].returncode == -9 and len(ends) < 8:
        ends.append(Child(SERIES_JOB, 1, folder=tmp_path).end())
    assert "verify repairs the output (repair=True)" in ends[-1].stderr
    out = tmp_path / "out.zarr"
    with pytest.raises(daskpatch.RunFailed, match="ended twice"):
        predict([planes, planes], np.positive, out, resume=True)
    repaired = daskpatch.verify(
        out, repair=True, model=np.positive, model_id="m", progress=False, source=[planes, planes]
    )
    assert repaired.repaired.done == 2
    assert daskpatch.verify(out, progress=False).ok


def test_what_a_killed_driver_announced_runs_alone_and_last(planes, tmp_path):
    inside, seen = [], []

    def model(batch):
        inside.append(None)
        seen.append((int(batch.flat[0]), len(inside)))
        time.sleep(0.002)
        inside.pop()
        return batch

    out = tmp_path / "out.zarr"
    plan = daskpatch.plan(planes, model, out, model_id="m", **PLANES)
    plan.run(threads=4, region=slice(0, 2), progress=False)
    Announcements(Record(locate(str(out))), Part()).write(range(5, 9), {}, None)
    seen.clear()
    assert plan.run(resume=True, threads=4, progress=False).done == 18
    assert seen[-4:] == [(5, 1), (6, 1), (7, 1), (8, 1)]


class Silent(WrapperStore):
    """Takes no announcements any more, once it is told to."""

    is_silent = False

    async def set(self, key, value):
        if Silent.is_silent and "/announced/" in key:
            raise PermissionError("not here")
        await self._store.set(key, value)


@pytest.mark.parametrize("alone", [(), range(5, 9)])
def test_no_block_begins_where_announcements_cannot_be_stored(planes, tmp_path, monkeypatch, alone):
    armed, begun = [], []

    def model(batch):
        if armed:
            begun.append(None)
            Silent.is_silent = len(begun) > 2
        return batch

    monkeypatch.setattr(Silent, "is_silent", False)
    store = Silent(LocalStore(tmp_path / "out.zarr"))
    plan = daskpatch.plan(planes, model, store, model_id="m", **PLANES)
    words = {"threads": 1, "progress": False, "pacing": daskpatch.Pacing(delays=(0.01,))}
    plan.run(region=slice(0, 1), **words)
    if alone:
        Announcements(Record(locate(store)), Part()).write(alone, {}, None)
    armed.append(None)
    with pytest.raises(daskpatch.RunFailed, match="not here"):
        plan.run(resume=True, **words)
    armed.clear()
    Silent.is_silent = False
    assert daskpatch.status(tmp_path / "out.zarr").remaining
    assert plan.run(resume=True, **words).done


BLOCKS = st.lists(st.integers(0, 300), unique=True, min_size=1, max_size=40)


@given(BLOCKS, st.data())
def test_no_block_begins_that_was_not_announced(blocks, data):
    """Whatever is done and stored in between, and wherever the driver is killed."""
    record = Record(locate(MemoryStore()))
    left, suspects = set(blocks), set()
    for _ in range(3):
        announcer = announcer_of(record, [block for block in blocks if block in left])
        begun, ended = [], []
        for index in announcer.side_by_side():
            assert index in announced(record)
            assert index not in suspects
            begun.append(index)
            if data.draw(st.booleans()):
                ended.append(index)
                announcer.ended(index)
            if data.draw(st.booleans()):
                announcer.stored()
                left.difference_update(ended)
            if data.draw(st.integers(0, 9)) == 0:
                break  # killed
        else:
            assert suspects & left <= set(announcer.alone()) <= left
            return
        suspects |= set(begun) & left


def test_parts_take_over_what_overlaps(tmp_path):
    record = Record(locate(MemoryStore()))
    Announcements(record, Part(1, 2)).write([3, 4], {4: 1}, 4)
    Announcements(record, Part(2, 2)).write([7], {}, None)
    mine = Announcements(record, Part(1, 2)).take_over()
    assert (mine.blocks, mine.deaths) == ({3, 4}, {4: 2})
    whole = Announcements(record, Part()).take_over()
    assert (whole.blocks, whole.deaths) == ({3, 4, 7}, {4: 2})
    # Cut otherwise, each part learns of what may be of its own; once taken over, it counts once.
    for number in (1, 2, 3):
        found = Announcements(record, Part(number, 3)).take_over()
        assert (found.blocks, found.deaths) == ({3, 4, 7}, {4: 2})


def test_who_lost_the_claim_does_not_speak_for_who_has_it(planes, tmp_path):
    plan = daskpatch.plan(planes, np.positive, tmp_path / "out.zarr", model_id="m", **PLANES)
    plan.run(threads=1, region=slice(0, 2), progress=False)
    record = Record(locate(str(tmp_path / "out.zarr")))
    with Claim(record, Part()) as claim:
        late = Announcements(record, Part(), claim.permit)
        late.write([3], {}, 3)
        name = claim.permit.name
        record.documents.write(
            name, record.documents.read(name).replace(b'"token": "', b'"token": "x')
        )
        claim.permit.end()
        Announcements(record, Part()).write([3], {}, 3)
        with pytest.raises(daskpatch.ClaimedError):
            late.write([], {}, None)
    assert Announcements(record, Part()).take_over().deaths == {3: 1}


def test_a_torn_announcement_holds_nothing_up(caplog):
    record = Record(locate(MemoryStore()))
    record.documents.write("announced/part-1-of-1.json", b'{"number": 1')
    assert Announcements(record, Part()).take_over().blocks == set()
    assert "is torn" in caplog.text


def announcer_of(record, blocks):
    return Announcer(
        iter(blocks),
        Announcements(record, Part()),
        ahead=2,
        on_poison=pytest.fail,
        resumes=True,
        is_here=True,
        forgives=False,
    )


def announced(record):
    document = json.loads(record.documents.read("announced/part-1-of-1.json"))
    return {i for start, stop in document["ranges"] for i in range(start, stop)}


BREAKING = """
import os, sys
import numcodecs, numpy as np
import daskpatch

class Breaking(numcodecs.abc.Codec):
    codec_id = "breaking"
    is_armed = False

    def encode(self, buf):
        return buf

    def decode(self, buf, out=None):
        if Breaking.is_armed and np.frombuffer(buf, "f4")[0] == 30:
            os._exit(99)
        return buf

numcodecs.register_codec(Breaking)
"""

BROKEN = (
    BREAKING
    + """
plan = daskpatch.plan(
    sys.argv[1], np.negative, sys.argv[2], axes="ZYX", patch_size=(1, 8, 8), chunks=(1, 8, 8),
    block_shape=(1, 8, 8), threads=2, model_id="m",
)
Breaking.is_armed = True
plan.run(resume=True, progress=False)
"""
)


@pytest.mark.filterwarnings("ignore:.*zarr_format=3")
def test_a_chunk_that_ends_the_process_is_not_read_ahead_of_its_announcement(tmp_path):
    """Chunks are fetched before their blocks: also then it is known which block it was.

    Of 170 chunks the thirtieth is not among those that tell an image from others.
    """
    values = np.arange(170, dtype="f4").repeat(64).reshape(170, 8, 8)
    made = BREAKING + (
        "import zarr\n"
        "values = np.arange(170, dtype='f4').repeat(64).reshape(170, 8, 8)\n"
        "zarr.create_array(store=sys.argv[1], data=values, chunks=(1, 8, 8), zarr_format=2,\n"
        "    filters=[Breaking()], compressors=None)\n"
    )
    assert Child(made, tmp_path / "in.zarr").end().returncode == 0
    out = tmp_path / "out.zarr"
    with served(tmp_path) as address:
        codes = [99]
        while codes[-1] == 99 and len(codes) < 6:
            codes.append(Child(BROKEN, f"http://{address}/in.zarr", out).end().returncode)
    assert codes[-1] == 1
    found = daskpatch.status(out)
    assert [block.index for block in found.failed_blocks] == [30]
    assert found.done == 169
    written = zarr.open_array(str(out))[...]
    assert np.array_equal(np.delete(written, 30, 0), -np.delete(values, 30, 0))


def test_only_what_is_announced_and_harmless_may_be_begun_before_its_turn():
    record = Record(locate(MemoryStore()))
    Announcements(record, Part()).write([2, 5], {5: 2}, None)
    poisonous = []
    announcer = Announcer(
        iter(range(12)), Announcements(record, Part()), ahead=3, on_poison=poisonous.append,
        resumes=True, is_here=True, forgives=False,
    )  # fmt: skip
    computed, ahead = announcer.side_by_side(), announcer.announced()
    assert next(computed) == 0
    assert [next(ahead) for _ in range(2)] == [1, 3]
    waiting = threading.Thread(target=lambda: seen.extend(ahead))
    seen = []
    waiting.start()
    assert list(computed) == [1, 3, 4, 6, 7, 8, 9, 10, 11]
    announcer.nothing_follows()
    waiting.join(10)
    assert not waiting.is_alive()
    assert seen == [4, 6, 7, 8, 9, 10, 11][: len(seen)]
    assert poisonous == [5]
    assert list(announcer.alone()) == [2]
