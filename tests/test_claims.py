"""Two drivers never write one place: claims in hierarchies, and those that were lost."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter

import numpy as np
import pytest
import zarr
from children import Child
from zarr.storage import LocalStore, StorePath, WrapperStore

import daskpatch

TILES = {
    "axes": "YX", "patch_size": 16, "chunks": 16, "block_shape": 16, "threads": 1, "io": "zarr",
}  # fmt: skip

SOON = daskpatch.Pacing(heartbeat=0.4, silence=1.5, flush=0.1, delays=(0.1,), pulse=0.05)


@pytest.fixture
def image():
    return np.ones((64, 64), "f4")


def predict(image, model, out, **options):
    options = {**TILES, "model_id": "m", "pacing": SOON, **options}
    return daskpatch.predict(image, model, out, progress=False, **options)


class Gate:
    """A model that waits, once it is armed."""

    def __init__(self, factor=2):
        self.factor, self.armed = factor, False
        self.begun, self.released = threading.Event(), threading.Event()

    def __call__(self, batch):
        if self.armed:
            self.begun.set()
            assert self.released.wait(60)
        return self.made_of(batch)

    def made_of(self, batch):
        return batch * self.factor


class TwoGates(Gate):
    def made_of(self, batch):
        return {"prob": batch * 2, "dist": batch * 3}


class Integers(Gate):
    def made_of(self, batch):
        return (batch * self.factor).astype("u4")


class Running:
    """A run in a thread, that is in its first block meanwhile."""

    def __init__(self, image, gate, out, **options):
        plan = daskpatch.plan(image, gate, out, **TILES, **options)
        gate.armed = True
        self.gate, self.errors = gate, []
        self.thread = threading.Thread(target=self.run, args=[plan])

    def run(self, plan):
        try:
            plan.run(progress=False, pacing=SOON)
        except Exception as error:
            self.errors.append(error)

    def __enter__(self):
        self.thread.start()
        assert self.gate.begun.wait(60)
        return self

    def __exit__(self, *error):
        self.gate.released.set()
        self.thread.join()
        assert not self.errors


# In hierarchies


def triple(batch):
    return batch * 3


def test_a_member_of_a_running_series_is_taken(image, tmp_path):
    out = tmp_path / "series.zarr"
    with (
        Running([image] * 3, Gate(), out),
        pytest.raises(daskpatch.ClaimedError, match="is being written"),
    ):
        predict(image, triple, out / "1", overwrite=True)
    assert daskpatch.verify(out, progress=False).ok
    assert (zarr.open_array(str(out / "1"))[:] == 2).all()


def test_an_array_of_a_running_run_with_several_is_taken(image, tmp_path):
    out = tmp_path / "both.zarr"
    with Running(image, TwoGates(), out), pytest.raises(daskpatch.ClaimedError):
        predict(image, triple, out / "dist", overwrite=True)
    assert daskpatch.verify(out, progress=False).ok
    assert (zarr.open_array(str(out / "dist"))[:] == 3).all()


def test_a_place_in_an_array_that_is_begun_since_the_plan_is_taken(image, tmp_path):
    out = tmp_path / "out.zarr"
    inside = daskpatch.plan(image, triple, out / "x/y", **TILES)
    with (
        Running(image, Gate(), out),
        pytest.raises(ValueError, match=r"is inside the array .*out\.zarr, among its chunks"),
    ):
        inside.run(progress=False, pacing=SOON)
    assert not (out / "x").exists()


def test_a_series_with_a_member_in_work_is_taken(image, tmp_path):
    out, gate = tmp_path / "series.zarr", Gate()
    predict([image] * 3, triple, out)
    with (
        Running(image, gate, out / "2", overwrite=True),
        pytest.raises(daskpatch.ClaimedError, match=r"series\.zarr/2 is being written"),
    ):
        predict([image] * 3, triple, out, overwrite=True)
    assert (zarr.open_array(str(out / "2"))[:] == 2).all()


@pytest.mark.parametrize("member", [0, 1, 2])
def test_a_label_image_of_a_series_in_work_is_taken(image, tmp_path, member):
    out = tmp_path / "series.zarr"
    predict([image] * 3, lambda batch: batch, out, ome="0.5")
    gate = Integers()
    with (
        Running([image] * 3, gate, out, label_image="cells"),
        pytest.raises(daskpatch.ClaimedError, match=r"labels/cells/0 is being written"),
    ):
        predict(image, Integers(3), out / str(member), label_image="cells", overwrite=True)
    for number in range(3):
        made = zarr.open_array(str(out / str(number) / "labels" / "cells" / "0"))
        assert (made[:] == 2).all()


def test_neighbours_in_a_group_of_somebody_else_do_not_disturb_each_other(image, tmp_path):
    zarr.create_group(store=str(tmp_path / "lab.zarr"))
    with Running(image, Gate(), tmp_path / "lab.zarr" / "a"):
        predict(image, triple, tmp_path / "lab.zarr" / "b")


class Counting(WrapperStore):
    """Counts requests by key; copies of it count together."""

    calls = Counter()

    async def get(self, key, *args, **kwargs):
        self.calls[key] += 1
        return await super().get(key, *args, **kwargs)

    async def list_prefix(self, prefix):
        self.calls[f"list {prefix}"] += 1
        async for key in super().list_prefix(prefix):
            yield key


class DeletingNoClaims(WrapperStore):
    async def delete(self, key):
        if "/claims/" in key:
            self.asked.append(key)
            raise OSError("nothing is deleted here")
        await super().delete(key)


def test_a_claim_that_cannot_be_deleted_keeps_nobody_waiting(image, tmp_path, caplog):
    store = DeletingNoClaims(LocalStore(tmp_path / "out.zarr"))
    store.asked = DeletingNoClaims.asked = []
    slow = daskpatch.Pacing(delays=(0.1, 1000.0))
    assert predict(image, triple, store, pacing=slow).blocks == 16
    assert len(store.asked) == 2
    assert "could not be taken back" in caplog.text
    # Another process finds a claim that nobody holds.
    code = f"import daskpatch; print(daskpatch.status({str(tmp_path / 'out.zarr')!r}).drivers)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "()"


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_plan_that_is_older_than_an_array_around_its_place_is_refused(
    image, tmp_path, zarr_format
):
    plan = daskpatch.plan(image, np.negative, tmp_path / "g/c/0/q", **TILES)
    data = {"data": image, "chunks": (16, 16), "zarr_format": zarr_format}
    zarr.create_array(tmp_path / "g", **data)
    with pytest.raises(ValueError, match="is inside the array .*/g, among its chunks"):
        plan.run(progress=False)
    assert not (tmp_path / "g/c/0/q").exists()


def test_one_look_at_each_group_around(image, tmp_path):
    Counting.calls.clear()
    store = Counting(LocalStore(tmp_path / "root"))
    plan = daskpatch.plan(image, triple, StorePath(store, "a/b/c/out.zarr"), **TILES)
    planned = Counter(Counting.calls)
    plan.run(progress=False, pacing=SOON)
    asked = Counting.calls - planned
    for group in ("", "a/", "a/b/"):
        # Before the claim and after it, and once by zarr; nothing is listed there.
        assert 2 <= asked[f"{group}zarr.json"] <= 3
        assert not asked[f"list {group}"]


# Lost

FIRST = """
import sys
from pathlib import Path
import daskpatch

folder, kind = Path(sys.argv[1]), sys.argv[2]

def model(batch):
    import time
    from pathlib import Path
    folder = Path({folder!r})
    if (folder / "armed").exists():
        (folder / "begun").touch()
        while not (folder / "go").exists():
            time.sleep(0.01)
    return batch * 2

def main():
    pacing = daskpatch.Pacing(heartbeat=0.4, silence=1.5, flush=0.1, delays=(0.1,), pulse=0.05)
    client = None
    if kind == "cluster":
        from distributed import Client, LocalCluster
        cluster = LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None)
        client = Client(cluster)
    plan = daskpatch.plan(
        str(folder / "in.zarr"), model, str(folder / "out.zarr"), axes="YX", patch_size=16,
        chunks=16, block_shape=16, threads=1, io="zarr", model_id="m",
    )
    (folder / "armed").touch()
    try:
        plan.run(progress=False, pacing=pacing, client=client)
    except (daskpatch.RunFailed, daskpatch.ClaimedError) as error:
        print(type(error).__name__, error)

if __name__ == "__main__":
    main()
"""


def wait_for(path, seconds=60):
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, f"no {path}"
        time.sleep(0.01)


@pytest.mark.parametrize("kind", ["threads", "cluster"])
def test_a_driver_that_slept_writes_nothing_into_its_successors_output(image, tmp_path, kind):
    zarr.create_array(store=str(tmp_path / "in.zarr"), data=image, chunks=(16, 16))
    script, out = tmp_path / "first.py", tmp_path / "out.zarr"
    script.write_text(FIRST.format(folder=str(tmp_path)))
    first = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path), kind],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        wait_for(tmp_path / "begun")
        os.killpg(first.pid, signal.SIGSTOP)  # the machine sleeps, its workers too
        (claim,) = (out / ".daskpatch" / "claims").rglob("*.json")
        told = json.loads(claim.read_text())
        claim.write_text(json.dumps({**told, "boot": "of another machine"}))
        (tmp_path / "armed").unlink()
        report = predict(str(tmp_path / "in.zarr"), triple, out, overwrite=True)
        assert report.taken_over == 1
        before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
        (tmp_path / "go").touch()
        os.killpg(first.pid, signal.SIGCONT)
        output, errors = first.communicate(timeout=90)
    finally:
        if first.poll() is None:
            os.killpg(first.pid, signal.SIGKILL)
            first.communicate()
    assert "took the output over" in output, output + errors
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before
    assert daskpatch.verify(out, progress=False).ok
    assert (zarr.open_array(str(out))[:] == 3).all()


def wait_until_given_back(out, seconds=60):
    deadline = time.monotonic() + seconds
    while list((out / ".daskpatch" / "claims").rglob("*.json")):
        assert time.monotonic() < deadline
        time.sleep(0.05)


class Slow(WrapperStore):
    """A store that takes its time for the first chunk, or another object."""

    begun, released = threading.Event(), threading.Event()
    kind = "c/"

    async def set(self, key, value):
        if key.startswith(self.kind) and not self.begun.is_set():
            import asyncio

            self.begun.set()
            while not self.released.is_set():
                await asyncio.sleep(0.01)
        await super().set(key, value)


@pytest.mark.parametrize("lasting", [False, True])
def test_a_write_that_goes_on_keeps_the_claim(image, tmp_path, lasting):
    out, stop = tmp_path / "out.zarr", daskpatch.Interruption(grace=0.1)
    Slow.begun.clear()
    Slow.released.clear()
    plan = daskpatch.plan(image, lambda batch: batch * 2, Slow(LocalStore(out)), **TILES)

    def interrupt():
        Slow.begun.wait(60)
        stop.request()
        if not lasting:
            time.sleep(0.3)
            Slow.released.set()

    patient = daskpatch.Pacing(delays=(0.2,) if lasting else (20.0,))
    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        plan.run(progress=False, interruption=stop, pacing=patient)
    if lasting:  # it returned with the write under way: nobody else may begin
        with pytest.raises(daskpatch.ClaimedError):
            predict(image, triple, out, overwrite=True)
        Slow.released.set()
        wait_until_given_back(out)
    predict(image, triple, out, overwrite=True)
    assert daskpatch.verify(out, progress=False).ok
    assert (zarr.open_array(str(out))[:] == 3).all()


@pytest.mark.parametrize("kind", ["receipts", "announced"])
def test_a_run_ends_whose_record_is_not_written_and_the_claim_stays(
    image, tmp_path, kind, monkeypatch
):
    out, stop = tmp_path / "out.zarr", daskpatch.Interruption(grace=0.1)
    monkeypatch.setattr(Slow, "kind", f".daskpatch/{kind}/")
    Slow.begun.clear()
    Slow.released.clear()
    plan = daskpatch.plan(image, lambda batch: batch * 2, Slow(LocalStore(out)), **TILES)
    threading.Thread(target=lambda: Slow.begun.wait(60) and stop.request()).start()
    try:
        with pytest.raises(daskpatch.RunFailed, match=r"the store has not answered for 0\.2 s"):
            plan.run(progress=False, interruption=stop, pacing=daskpatch.Pacing(delays=(0.2,)))
        with pytest.raises(daskpatch.ClaimedError):
            predict(image, triple, out, overwrite=True)
    finally:
        Slow.released.set()
    wait_until_given_back(out)
    predict(image, triple, out, overwrite=True)
    assert (zarr.open_array(str(out))[:] == 3).all()


def test_receipts_of_another_run_never_count(image, tmp_path):
    out = tmp_path / "out.zarr"
    predict(image, triple, out)
    (segment,) = (out / ".daskpatch" / "receipts").rglob("*-0*")
    content, name = segment.read_bytes(), segment.relative_to(out)
    predict(image, lambda batch: batch * 2, out, overwrite=True, region=np.s_[:16, :16])
    (out / name).parent.mkdir(parents=True, exist_ok=True)
    (out / name).write_bytes(content)  # a flush of the first driver that came late
    assert daskpatch.status(out).done == 1


@pytest.mark.parametrize("name", ["Thumbs.db", "000001.json.bak", "desktop.ini"])
def test_files_of_others_among_claims_are_no_claims(image, tmp_path, name):
    out = tmp_path / "out.zarr"
    predict(image, triple, out, region=np.s_[:16, :16])
    claims = out / ".daskpatch" / "claims" / "part-1-of-1"
    claims.mkdir(parents=True, exist_ok=True)
    (claims / name).write_text("x")
    predict(image, triple, out, resume=True)
    assert daskpatch.verify(out, progress=False).ok


@pytest.mark.parametrize("content", ["null", "[]", "3", "{"])
def test_a_claim_that_is_none_is_named(image, tmp_path, content):
    out = tmp_path / "out.zarr"
    predict(image, triple, out, region=np.s_[:16, :16])
    claims = out / ".daskpatch" / "claims" / "part-1-of-1"
    claims.mkdir(parents=True, exist_ok=True)
    (claims / "000007.json").write_text(content)
    with pytest.raises(daskpatch.ClaimedError, match=r"000007\.json, a claim, cannot be read"):
        predict(image, triple, out, resume=True)


def test_the_claim_of_a_driver_that_nobody_waited_for_is_dead(image, tmp_path):
    """Killed, and still in the table of processes: a container without an init leaves it there."""
    out = tmp_path / "out.zarr"
    code = f"""
import time
import numpy as np, daskpatch
def model(batch):
    time.sleep(0.2)
    return batch
daskpatch.predict(np.ones((64, 64), "f4"), model, {str(out)!r}, axes="YX", patch_size=16, chunks=16,
    block_shape=16, threads=1, model_id="m", progress=False, pacing=daskpatch.Pacing(flush=0.1))
"""
    driver = subprocess.Popen([sys.executable, "-c", code])
    try:
        while not list(out.rglob("receipts/*/*/*")):
            assert driver.poll() is None
            time.sleep(0.05)
        driver.kill()
        os.waitid(os.P_PID, driver.pid, os.WEXITED | os.WNOWAIT)
        assert daskpatch.status(out).drivers == ()
    finally:
        driver.kill()
        driver.wait()


class Overtaken(WrapperStore):
    """A store to which something happens between a look at a place and the claim on it."""

    happens = []

    async def list_prefix(self, prefix):
        if "claims" in prefix and self.happens:
            self.happens.pop()()
        async for key in super().list_prefix(prefix):
            yield key


WHOLE_RUN = """
import sys, numpy as np, daskpatch
options = {options}
daskpatch.predict(np.ones((64, 64), "f4"), np.negative, sys.argv[1], progress=False, **options)
"""


@pytest.mark.parametrize("by", ["a run", "somebody else"])
def test_what_was_made_while_a_run_began_is_not_replaced(image, tmp_path, by):
    """As two jobs that start at the same time: the second found nothing when it looked."""
    out = tmp_path / "out.zarr"

    def overtake():
        if by == "a run":
            Child(WHOLE_RUN.format(options=TILES), out).said()
        else:
            shutil.copytree(tmp_path / "theirs.zarr", out, dirs_exist_ok=True)

    zarr.save_array(str(tmp_path / "theirs.zarr"), -image)
    Overtaken.happens = [overtake]
    with pytest.raises(FileExistsError, match="made by somebody else while this run began"):
        predict(image, triple, Overtaken(LocalStore(out)))
    assert not Overtaken.happens
    np.testing.assert_array_equal(zarr.open_array(str(out))[...], -image)
    if by == "a run":
        assert daskpatch.verify(out, progress=False).ok
        assert daskpatch.status(out).done == 16
