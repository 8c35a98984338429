"""What has a receipt outlasts the machine: flushed to the disk before the receipt is stored."""

import os
import pickle
import random
import threading

import flushes
import numpy as np
import pytest
import zarr
from children import Child
from example_models import gaussian
from volumes import read

import daskpatch
from daskpatch.receipts.segments import decode
from daskpatch.running.unflushed import Unflushed
from daskpatch.store import BACK_ENDS, StoredArray, locate
from daskpatch.verification.outputs import recorded_run

OPTIONS = {
    "patch_size": 16,
    "overlaps": 4,
    "model_id": "gaussian",
    "chunks": 12,
    "block_shape": 12,
    "pacing": daskpatch.Pacing(flush=0.0, pulse=0.01),
    "progress": False,
}


def inode(path):
    return os.stat(path).st_ino


def needed_for(out, blocks, index):
    """The inodes that a block's receipt speaks of: its chunks, and the folders on the way there."""
    (array,), (box,) = blocks.arrays, blocks.boxes(index)
    chunks = [out / key for key in array.keys(box.slices)]
    folders = {folder for chunk in chunks for folder in chunk.parents if out in folder.parents}
    return set(map(inode, [*chunks, *folders, out, out.parent, out / "zarr.json"]))


def check_flushed_first(log, out):
    """All that a segment speaks of was flushed before the segment was put in place."""
    synced, told, needed = set(), [], {}
    (blocks,) = recorded_run(out).main
    for line in log.read_text().splitlines():
        what, content = line.split()
        if what == "synced":
            synced.add(int(content))
            continue
        rows, n_lost = decode(bytes.fromhex(content))
        assert n_lost == 0
        for index in rows["index"].tolist():
            needed.setdefault(index, needed_for(out, blocks, index))
            assert needed[index] <= synced
        told.append(len(rows))
    assert told == sorted(told)
    assert told[-1] == daskpatch.status(out).done


@pytest.fixture
def log(tmp_path):
    yield tmp_path / "flushes.log"
    flushes.unwatch()


@pytest.mark.parametrize("io", BACK_ENDS)
def test_threads_flush_chunks_before_their_receipts(tmp_path, stored, log, io):
    out = tmp_path / "out.zarr"
    flushes.watch(log)
    daskpatch.predict(stored, gaussian, out, io=io, threads=2, **OPTIONS)
    check_flushed_first(log, out)


@pytest.mark.parametrize("timeout", [None, 600.0])
def test_workers_flush_what_they_wrote_before_they_say_so(
    tmp_path, stored, log, processes, timeout
):
    out = tmp_path / "out.zarr"
    flushes.watch(log)
    processes.run(flushes.watch, log)
    try:
        daskpatch.predict(stored, gaussian, out, client=processes, timeout=timeout, **OPTIONS)
    finally:
        processes.run(flushes.unwatch)
    check_flushed_first(log, out)


def test_statistics_that_blocks_leave_are_flushed_too(tmp_path, stored, log):
    out = tmp_path / "out.zarr"
    flushes.watch(log)
    daskpatch.predict(stored, gaussian, out, normalize="percentile", **OPTIONS)
    left = list((out / ".daskpatch/passes").rglob("left/*"))
    assert left
    synced = log.read_text().split()
    assert all(str(inode(each)) in synced for each in left)


def test_what_an_image_is_called_is_flushed_when_it_is_written(tmp_path, stored, log):
    out = tmp_path / "out.ome.zarr"
    flushes.watch(log)
    daskpatch.predict(stored, gaussian, out, pyramid=1, ome=True, **OPTIONS)
    lines = log.read_text().splitlines()
    named = list(out.rglob("zarr.json"))
    assert "multiscales" in (out / "zarr.json").read_text()
    assert len(named) == 3
    last = max(number for number, line in enumerate(lines) if line.startswith("segment"))
    assert {f"synced {inode(each)}" for each in named} <= set(lines)
    assert f"synced {inode(out / 'zarr.json')}" in lines[last:]


def test_on_a_scratch_disk_nothing_is_flushed(tmp_path, stored, log):
    out = tmp_path / "out.zarr"
    flushes.watch(log)
    daskpatch.predict(stored, gaussian, out, durable=False, **OPTIONS)
    assert "synced" not in log.read_text()
    assert daskpatch.verify(out, progress=False).ok


# A machine that loses its power


LOSING = """
import itertools, os, shutil, signal, sys, threading, time
import daskpatch, numpy as np, zarr
from example_models import gaussian
from daskpatch.store import BACK_ENDS, Objects, locate

source, out, last = sys.argv[1], sys.argv[2], int(sys.argv[3])
events = itertools.count(1)

def happens():
    if next(events) == last:
        os.kill(os.getpid(), signal.SIGKILL)

class Side:
    '''Writes land in a side folder, the memory of the machine, and move when they are flushed.'''
    name = "side"
    def opens(self, location):
        return location.local_path is not None and not str(location.local_path).endswith(".side")
    def check(self, location):
        pass
    def lasts(self, error):
        return True
    def open(self, array, delays):
        return Handle(array, delays)

class Handle:
    def __init__(self, array, delays):
        self.there = BACK_ENDS["zarr"].open(array, delays)
        self.folder = str(locate(array).local_path)
        self.read, self.read_chunks = self.there.read, self.there.read_chunks
    def write(self, box, values):
        side = self.folder + ".side"
        if not os.path.exists(side + "/zarr.json"):
            os.makedirs(side, exist_ok=True)
            copy = f"{side}/zarr.json.{threading.get_ident()}"
            shutil.copy(self.folder + "/zarr.json", copy)
            os.replace(copy, side + "/zarr.json")  # another thread writes beside this one
        happens()
        zarr.open_array(store=side, mode="r+")[box] = values
        happens()
    def flush(self, keys):
        for key in keys:
            happens()
            time.sleep(0.005)  # a disk takes longer than a receipt
            os.makedirs(os.path.dirname(f"{self.folder}/{key}"), exist_ok=True)
            os.replace(f"{self.folder}.side/{key}", f"{self.folder}/{key}")
        happens()

ours = dict(BACK_ENDS)
BACK_ENDS.clear()
BACK_ENDS.update({"side": Side(), **ours})
write = Objects.write
def told(self, name, content):
    happens()
    write(self, name, content)
    happens()
Objects.write = told
daskpatch.predict(
    source, gaussian, out, patch_size=16, overlaps=4, model_id="gaussian", chunks=12,
    block_shape=12, threads=3, io="side", resume=True, progress=False,
    pacing=daskpatch.Pacing(flush=0.05, pulse=0.01, heartbeat=0.2, silence=1.0),
)
print("done")
"""


@pytest.mark.parametrize("seed", range(3))
def test_a_receipt_has_its_voxels_whenever_power_is_lost(tmp_path, stored, seed):
    out, whole = tmp_path / "out.zarr", tmp_path / "whole.zarr"
    daskpatch.predict(stored, gaussian, whole, **OPTIONS)
    expected, rng = read(whole), random.Random(seed)
    n_done, n_deaths, has_ended = 0, 0, False
    while not has_ended:
        ended = Child(LOSING, stored, out, rng.randint(1, 300), folder="tests").end()
        has_ended = ended.stdout.strip().endswith("done")
        assert has_ended or ended.returncode == -9, ended.stderr
        n_deaths += not has_ended
        if not (out / ".daskpatch/run.json").exists():
            continue
        (blocks,) = recorded_run(out).main
        written = read(out)
        done = blocks.record.receipts()["index"].tolist()
        for index in done:
            (box,) = blocks.boxes(index)
            np.testing.assert_array_equal(written[box.slices], expected[box.slices])
        assert len(done) >= n_done
        n_done = len(done)
        # What was in the machine's memory is gone.
        for key in (tmp_path / "out.zarr.side").rglob("c/**/*"):
            if key.is_file():
                key.unlink()
    assert n_deaths
    assert daskpatch.verify(out, progress=False).ok


# What cannot be flushed


class Failing:
    """A place whose flushes fail when they are told to."""

    def __init__(self):
        self.fails, self.flushed = False, []
        self.goes_on = threading.Event()
        self.goes_on.set()

    def flush(self, names):
        self.goes_on.wait()
        if self.fails:
            raise OSError(5, "Input/output error")
        self.flushed += names


def test_what_was_lost_once_is_lost():
    place, unflushed = Failing(), Unflushed(pause=0.0)
    unflushed.add(place, ["a"])
    unflushed.flush()
    assert place.flushed == ["a"]
    place.fails = True
    unflushed.add(place, ["b"])
    unflushed.begin()
    place.fails = False
    unflushed.add(place, ["c"])
    for _ in range(2):
        with pytest.raises(OSError, match="Input/output error"):
            unflushed.flush()


def test_whoever_flushes_waits_for_what_another_one_took():
    place, unflushed = Failing(), Unflushed(pause=0.0)
    place.goes_on.clear()
    unflushed.add(place, ["a"])
    unflushed.begin()
    ended = []
    threads = [
        threading.Thread(target=lambda: ended.append((unflushed.flush(), *place.flushed)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    assert not ended
    place.goes_on.set()
    for thread in threads:
        thread.join()
    assert ended == [(None, "a")] * 2


def test_what_was_written_elsewhere_is_flushed_by_each_task():
    assert not Unflushed().is_far
    assert pickle.loads(pickle.dumps(Unflushed())).is_far


class Unflushable:
    """A back end as another, whose flushes fail from one on."""

    name = "unflushable"

    def __init__(self, after):
        self.left = after

    def opens(self, location):
        return location.local_path is not None

    def check(self, location):
        pass

    def lasts(self, error):
        return True

    def open(self, array, delays):
        handle, theirs = BACK_ENDS["zarr"].open(array, delays), self

        class Handle:
            read, read_chunks, write = handle.read, handle.read_chunks, handle.write

            def flush(self, keys):
                theirs.left -= 1
                if theirs.left < 0:
                    raise OSError(5, "Input/output error")
                handle.flush(keys)

        return Handle()


@pytest.fixture
def unflushable(monkeypatch):
    monkeypatch.setitem(BACK_ENDS, Unflushable.name, Unflushable(after=5))


@pytest.mark.parametrize("on_a_cluster", [False, True])
def test_what_could_not_be_flushed_has_no_receipt(
    tmp_path, stored, unflushable, request, on_a_cluster
):
    out, whole = tmp_path / "out.zarr", tmp_path / "whole.zarr"
    where = {"client": request.getfixturevalue("in_process")} if on_a_cluster else {"threads": 2}
    daskpatch.predict(stored, gaussian, whole, **OPTIONS)
    with pytest.raises(daskpatch.RunFailed, match="may be lost, it could not be flushed.*Errno 5"):
        daskpatch.predict(stored, gaussian, out, io="unflushable", **where, **OPTIONS)
    done = recorded_run(out).main[0].record.receipts()["index"]
    assert len(done) < daskpatch.status(out).total
    daskpatch.predict(stored, gaussian, out, resume=True, **OPTIONS)
    np.testing.assert_array_equal(read(out), read(whole))


def test_a_store_that_answers_keeps_what_it_was_given(stored):
    store = zarr.storage.MemoryStore()
    daskpatch.predict(stored, gaussian, store, **OPTIONS)
    assert daskpatch.verify(store, progress=False).ok
    assert StoredArray(zarr.open_array(store=store)).flush(["c/0/0/0"]) is None
    assert locate(store).local_path is None
