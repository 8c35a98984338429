"""Runs that are interrupted, resumed, shared out in parts: nothing lost, nothing done twice."""

import json
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import zarr
from children import Child
from example_models import double, gaussian
from volumes import read, save

import daskpatch
from daskpatch.receipts import Part
from daskpatch.receipts.segments import decode, encode
from daskpatch.running import prediction_pass


class CountingStore(zarr.storage.WrapperStore):
    """Remembers what was read."""

    def __init__(self, store):
        super().__init__(store)
        self.read = []

    async def get(self, key, *arguments, **options):
        self.read.append(key)
        return await super().get(key, *arguments, **options)


TILES = {"patch_size": 16, "overlaps": 4, "chunks": 12, "block_shape": 12}


def predict(source, output, model=gaussian, **options):
    return daskpatch.predict(source, model, output, progress=False, **{**TILES, **options})


class Stops:
    """A model that fails for good after some calls."""

    def __init__(self, calls):
        self.left = calls

    def __call__(self, batch):
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("no more")
        return gaussian(batch)


def interrupted(source, output, calls=20, **options):
    """A run of which only some blocks are done."""
    options = {"model_id": "gaussian", "retries": 0, **options}
    with pytest.raises(daskpatch.RunFailed) as failure:
        predict(source, output, Stops(calls), **options)
    return failure.value.report


@pytest.fixture
def whole(stored, tmp_path):
    """The result of a run that was not interrupted."""
    predict(stored, tmp_path / "whole.zarr")
    return read(tmp_path / "whole.zarr")


@pytest.mark.parametrize("step", ["check", "cleared", "document", "job"])
def test_an_overwriting_plan_goes_on_wherever_it_was_interrupted(
    stored, tmp_path, monkeypatch, step
):
    out = tmp_path / "out.zarr"
    predict(stored, out, np.negative)
    plan = daskpatch.plan(stored, gaussian, out, overwrite=True, **TILES)

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(prediction_pass.PredictionPass, step, interrupt)
        with pytest.raises(KeyboardInterrupt, match="interrupted"):
            plan.run(progress=False)
    plan.run(resume=True, progress=False)
    predict(stored, tmp_path / "whole.zarr")
    np.testing.assert_array_equal(read(out), read(tmp_path / "whole.zarr"))


def test_an_overwriting_plan_resumes_no_other_run(stored, tmp_path):
    out = tmp_path / "out.zarr"
    plan = daskpatch.plan(stored, gaussian, out, overwrite=True, **TILES)
    plan.run(progress=False)
    predict(stored, out, np.negative, overwrite=True)
    with pytest.raises(ValueError, match="the run began otherwise: model"):
        plan.run(resume=True, progress=False)


def test_a_margin_is_not_told_as_a_scale_too(stored, tmp_path):
    def cutting(batch):
        return batch[..., 2:-2, 2:-2, 2:-2]

    out = tmp_path / "out.zarr"
    predict(stored, out)
    with pytest.raises(ValueError, match="treatment.margin was not given") as refusal:
        predict(stored, out, cutting, resume=True, margin=2)
    assert "treatment.scale" not in str(refusal.value)


def test_empty_folders_that_a_run_left_are_in_nobodys_way(stored, tmp_path):
    out = tmp_path / "out.zarr"
    (out / ".daskpatch" / "claims" / "part-1-of-1").mkdir(parents=True)
    predict(stored, out)
    (tmp_path / "other.zarr" / "inside").mkdir(parents=True)
    (tmp_path / "other.zarr" / "inside" / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"other.zarr exists"):
        predict(stored, tmp_path / "other.zarr")


def test_a_resumed_run_computes_only_what_has_no_receipt(stored, tmp_path, whole):
    out = tmp_path / "out.zarr"
    before = interrupted(stored, out)
    report = predict(stored, out, resume=True, model_id="gaussian")
    assert report.skipped == before.done > 0
    assert report.done == before.failed > 0
    np.testing.assert_array_equal(read(out), whole)
    again = predict(stored, out, resume=True, model_id="gaussian")
    assert (again.done, again.skipped) == (0, before.done + before.failed)


def test_resume_starts_a_run_where_there_is_none(stored, tmp_path, whole):
    report = predict(stored, tmp_path / "out.zarr", resume=True)
    assert report.skipped == 0
    np.testing.assert_array_equal(read(tmp_path / "out.zarr"), whole)


def test_resume_takes_the_layout_of_the_run(stored, tmp_path, whole):
    out = tmp_path / "out.zarr"
    interrupted(stored, out)
    options = {"patch_size": 16, "overlaps": 4, "model_id": "gaussian", "progress": False}
    planned = daskpatch.plan(stored, gaussian, out, patch_size=16, overlaps=4, model_id="gaussian")
    assert planned.block_shape != (12, 12, 12)
    daskpatch.predict(stored, gaussian, out, resume=True, batch_size=3, threads=1, **options)
    assert zarr.open_array(out).chunks == (12, 12, 12)
    np.testing.assert_array_equal(read(out), whole)


@pytest.mark.parametrize("io", ["zarr", "tensorstore"])
def test_batch_threads_and_back_end_may_change(stored, tmp_path, whole, io):
    out = tmp_path / "out.zarr"
    interrupted(stored, out, io="zarr")
    predict(stored, out, resume=True, model_id="gaussian", io=io, threads=3, batch_size=2)
    np.testing.assert_array_equal(read(out), whole)


def test_resume_of_an_array_that_the_user_has(stored, tmp_path, whole):
    array = save(tmp_path / "out.zarr", np.zeros_like(whole), chunks=(12, 12, 12))
    interrupted(stored, array, chunks=None)
    report = predict(stored, array, chunks=None, resume=True, model_id="gaussian")
    assert report.skipped > 0
    np.testing.assert_array_equal(array[:], whole)


def test_a_new_run_into_an_array_forgets_the_old_receipts(stored, tmp_path, volume):
    array = save(tmp_path / "out.zarr", np.zeros(volume.shape, "f4"), chunks=(12, 12, 12))
    predict(stored, array, chunks=None)
    report = predict(stored, array, double, chunks=None)
    assert report.skipped == 0
    np.testing.assert_array_equal(array[:], volume * 2.0)


def test_resume_of_a_series(stored, tmp_path, rng):
    other = rng.integers(0, 999, (20, 30, 40)).astype("uint16")
    save(tmp_path / "b.zarr", other, chunks=(16, 16, 16), dimension_names=["z", "y", "x"])
    sources = [stored, tmp_path / "b.zarr"]
    predict(sources, tmp_path / "whole.zarr")
    total = daskpatch.status(tmp_path / "whole.zarr").total
    report = interrupted(sources, tmp_path / "out.zarr", calls=total - 5)
    assert 0 < report.failed < total
    resumed = predict(sources, tmp_path / "out.zarr", resume=True, model_id="gaussian")
    assert resumed.skipped + resumed.done == total
    for name in "01":
        np.testing.assert_array_equal(
            read(tmp_path / "out.zarr" / name), read(tmp_path / "whole.zarr" / name)
        )
    assert daskpatch.verify(tmp_path / "out.zarr", progress=False).ok


def test_another_image_of_a_series_is_named_before_its_results(stored, tmp_path, rng):
    """The model gives other values for it, and is the same."""
    for name in "bc":
        other = rng.integers(0, 999, (20, 30, 40)).astype("uint16")
        save(tmp_path / f"{name}.zarr", other, chunks=(16, 16, 16), dimension_names=["z", "y", "x"])
    out = tmp_path / "out.zarr"
    predict([stored, tmp_path / "b.zarr"], out, part=(1, 2))
    with pytest.raises(ValueError, match=r"source.content changed; source.where was .*b\.zarr"):
        predict([stored, tmp_path / "c.zarr"], out, resume=True)


@pytest.mark.parametrize("shards", [None, 24])
def test_readers_are_not_disturbed_by_the_record(stored, tmp_path, whole, shards):
    import tensorstore

    out = tmp_path / "group.zarr" / "out"
    zarr.create_group(store=str(tmp_path / "group.zarr"))
    predict(stored, out, shards=shards, block_shape=24)
    group = zarr.open_group(str(tmp_path / "group.zarr"), mode="r")
    assert list(group.array_keys()) == ["out"]
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{out}/"}}
    np.testing.assert_array_equal(tensorstore.open(spec).result().read().result(), whole)
    assert (out / ".daskpatch" / "run.json").exists()


def test_receipts_take_less_than_100_bytes_a_block(stored, tmp_path):
    out = tmp_path / "out.zarr"
    predict(stored, out)
    segments = list((out / ".daskpatch" / "receipts").rglob("*-0*"))
    size = sum(path.stat().st_size for path in segments)
    assert size / daskpatch.status(out).total < 100
    assert len(segments) == 1


def test_of_a_torn_segment_only_what_is_damaged_is_computed_again(stored, tmp_path, whole, caplog):
    out = tmp_path / "out.zarr"
    predict(stored, out)
    (segment,) = (out / ".daskpatch" / "receipts").rglob("*-0*")
    segment.write_bytes(segment.read_bytes()[:-30])
    report = predict(stored, out, resume=True)
    assert (report.done, report.skipped) == (1, daskpatch.status(out).total - 1)
    assert "1 receipt is damaged" in caplog.text
    np.testing.assert_array_equal(read(out), whole)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"format": 99, "fingerprint": {}}'])
def test_a_broken_record_is_named(stored, tmp_path, content):
    out = tmp_path / "out.zarr"
    predict(stored, out)
    (out / ".daskpatch" / "run.json").write_text(content)
    for verb in (
        lambda: predict(stored, out, resume=True),
        lambda: daskpatch.status(out),
        lambda: daskpatch.verify(out, progress=False),
    ):
        with pytest.raises(ValueError, match=r"record of .* is broken"):
            verb()
    predict(stored, out, overwrite=True)
    assert daskpatch.verify(out, progress=False).ok


def test_torn_failures_and_claims(stored, tmp_path, caplog):
    out = tmp_path / "out.zarr"
    interrupted(stored, out)
    next((out / ".daskpatch" / "failures").rglob("part-1-of-1.json")).write_text('[{"ind')
    assert daskpatch.status(out).failed == 0
    assert "torn" in caplog.text
    claim = out / ".daskpatch" / "claims" / "part-1-of-1" / "000001.json"
    claim.write_text('{"tok')
    with pytest.raises(daskpatch.ClaimedError, match=r"000001.json, a claim, cannot be read"):
        predict(stored, out, resume=True, model_id="gaussian")
    claim.unlink()
    assert predict(stored, out, resume=True, model_id="gaussian").failed == 0


# What must not be resumed


def changed_input(stored, tmp_path):
    array = zarr.open_array(str(stored), mode="r+")
    array[20, 30, 30] += 1
    return {}


def changed_axes(stored, tmp_path):
    return {"axes": "ZXY"}


def other_place(stored, tmp_path):
    return {"source": save(tmp_path / "b.zarr", read(stored), chunks=(16, 16, 16)), "axes": "ZYX"}


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (changed_input, "source.content"),
        pytest.param(
            changed_axes,
            "source.axes",
            marks=pytest.mark.filterwarnings("ignore:axes is 'ZXY'"),
        ),
        (other_place, "source.where"),
        ({"padding": "edge"}, "source.padding"),
        ({"patch_size": 20, "overlaps": 8}, "tiling.patch_size was (16, 16, 16) and is (20, 20"),
        ({"overlaps": 2, "patch_size": 14}, "tiling.overlaps"),
        ({"align": 2}, "tiling.align"),
        ({"model": double}, "model.code changed"),
        ({"chunks": 6}, "layout.chunks"),
        ({"block_shape": 24}, "layout.block_shape"),
        ({"shards": 12}, "layout.shards"),
        ({"dtype": "float64"}, "output.dtype"),
        ({"input_dtype": "float64", "dtype": "float32"}, "input_dtype"),
    ],
)
def test_what_changed_is_named_and_refused(stored, tmp_path, options, field):
    out = tmp_path / "out.zarr"
    predict(stored, out)
    values = read(out)
    options = options(stored, tmp_path) if callable(options) else dict(options)
    source = options.pop("source", stored)
    with pytest.raises(ValueError, match="cannot be resumed") as refusal:
        predict(source, out, options.pop("model", gaussian), resume=True, **options)
    assert field in str(refusal.value)
    np.testing.assert_array_equal(read(out), values)


FACTOR = 2.0


def times_factor(batch):
    return batch * FACTOR


def test_a_global_that_the_model_uses_is_part_of_it(stored, tmp_path, monkeypatch):
    out = tmp_path / "out.zarr"
    predict(stored, out, times_factor)
    assert predict(stored, out, times_factor, resume=True).done == 0
    monkeypatch.setitem(globals(), "FACTOR", 3.0)
    with pytest.raises(ValueError, match=r"model\.attributes\.FACTOR changed"):
        predict(stored, out, times_factor, resume=True)


def test_a_model_file_that_changed_is_another_model(stored, tmp_path):
    path = tmp_path / "model.py"
    path.write_text("def model(x): return x\n")
    predict(stored, tmp_path / "out.zarr", f"{path}:model")
    path.write_text("def model(x): return x + 1\n")
    with pytest.raises(ValueError, match="model.code changed"):
        predict(stored, tmp_path / "out.zarr", f"{path}:model", resume=True)


def test_resume_and_overwrite_do_not_go_together(stored, tmp_path):
    with pytest.raises(ValueError, match="one starts anew, the other goes on"):
        predict(stored, tmp_path / "out.zarr", resume=True, overwrite=True)
    with pytest.raises(ValueError, match="one starts anew, the other goes on"):
        predict(stored, tmp_path / "out.zarr", part=(1, 2), overwrite=True)


def test_an_array_without_a_record_is_not_resumed(stored, tmp_path, volume):
    save(tmp_path / "out.zarr", volume, chunks=(8, 8, 8))
    with pytest.raises(FileExistsError, match="did not make it"):
        predict(stored, tmp_path / "out.zarr", resume=True)
    np.testing.assert_array_equal(read(tmp_path / "out.zarr"), volume)


def test_a_model_without_identity_needs_a_model_id(stored, tmp_path):
    lock = threading.Lock()

    def model(batch):
        with lock:
            return batch

    with pytest.raises(ValueError, match="model_id"):
        predict(stored, tmp_path / "out.zarr", model, resume=True)
    predict(stored, tmp_path / "out.zarr", model)
    with pytest.raises(ValueError, match="model_id"):
        predict(stored, tmp_path / "out.zarr", model, resume=True)


def test_overwrite_starts_anew(stored, tmp_path, volume):
    out = tmp_path / "out.zarr"
    interrupted(stored, out)
    report = predict(stored, out, double, overwrite=True)
    assert report.skipped == 0
    np.testing.assert_array_equal(read(out), volume * 2.0)
    assert daskpatch.verify(out, progress=False).ok


def test_a_run_that_had_only_begun_can_be_resumed_or_overwritten(stored, tmp_path, whole):
    out = tmp_path / "out.zarr"
    predict(stored, out)
    for name in ("zarr.json",):
        (out / name).unlink()
    for options in ({"resume": True}, {"overwrite": True}):
        predict(stored, out, **options)
    np.testing.assert_array_equal(read(out), whole)


# Claims


class Gate:
    """A model that waits, once it is armed."""

    def __init__(self, before=lambda: None):
        self.armed, self.before = False, before
        self.begun, self.release = threading.Event(), threading.Event()

    def __call__(self, batch):
        if self.armed:
            self.begun.set()
            self.before()
            assert self.release.wait(20)
        return batch


def test_a_second_driver_is_refused_with_the_name_of_the_first(stored, tmp_path):
    out, gate = tmp_path / "out.zarr", Gate()
    planned = daskpatch.plan(stored, gate, out, model_id="gate", **TILES)
    gate.armed = True
    running = threading.Thread(target=lambda: planned.run(progress=False))
    running.start()
    assert gate.begun.wait(20)
    try:
        (driver,) = daskpatch.status(out).drivers
        assert f"process {os.getpid()} on " in driver
        for options in ({"resume": True}, {"overwrite": True}, {"part": (1, 2)}):
            with pytest.raises(daskpatch.ClaimedError, match=f"process {os.getpid()} on .* since"):
                predict(stored, out, Gate(), model_id="gate", **options)
    finally:
        gate.release.set()
        running.join()
    assert daskpatch.status(out).remaining == 0
    assert daskpatch.status(out).drivers == ()


def claim_of_somebody(out, **facts):
    """A claim as a driver leaves it that is killed."""
    import platform

    from daskpatch.receipts.claim import Holder

    holder = Holder.here(Part())
    state = {name: getattr(holder, name) for name in Holder.__slots__} | facts
    path = out / ".daskpatch" / "claims" / "part-1-of-1" / "000007.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    # At once, as drivers do: whoever watches the claim must not see half of it.
    written = path.with_name("written")
    written.write_text(json.dumps(state))
    written.replace(path)
    assert platform.node() == holder.host


def test_a_dead_process_is_taken_over_at_once(stored, tmp_path, whole):
    out = tmp_path / "out.zarr"
    interrupted(stored, out)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    claim_of_somebody(out, process=dead.pid)
    report = predict(stored, out, resume=True, model_id="gaussian")
    assert report.taken_over == 1
    np.testing.assert_array_equal(read(out), whole)


WATCHED = daskpatch.Pacing(silence=1.5)


class Elsewhere:
    """A driver on another host, whose clock is wrong, that renews its claim."""

    def __init__(self, out, skew):
        self.out, self.skew, self.ended = out, skew, threading.Event()
        self.thread = threading.Thread(target=self.renew_often)
        self.token = f"of {out}"

    def renew(self):
        heartbeat = time.time() + self.skew
        claim_of_somebody(self.out, token=self.token, boot="elsewhere", heartbeat=heartbeat)

    def renew_often(self):
        while not self.ended.wait(0.2):
            self.renew()

    def __enter__(self):
        self.renew()
        self.thread.start()

    def __exit__(self, *error):
        self.ended.set()
        self.thread.join()


@pytest.mark.parametrize("skew", [0, -600, 600])
def test_another_host_is_watched_whatever_its_clock_says(stored, tmp_path, caplog, skew):
    out = tmp_path / "out.zarr"
    interrupted(stored, out)
    options = {"resume": True, "model_id": "gaussian", "pacing": WATCHED}
    with Elsewhere(out, skew), pytest.raises(daskpatch.ClaimedError, match="by its clock"):
        predict(stored, out, **options)
    assert "watching it for up to 2 s" in caplog.text
    time.sleep(WATCHED.silence)  # it died: its last heartbeat stays what it is
    assert predict(stored, out, **options).taken_over == 1


def test_status_does_not_wait(stored, tmp_path):
    out = tmp_path / "out.zarr"
    interrupted(stored, out)
    claim_of_somebody(out, token="somebody's", boot="elsewhere", heartbeat=time.time() - 600)
    (driver,) = daskpatch.status(out).drivers
    assert "seen 600 s ago by its clock" in driver


@pytest.mark.parametrize("facts", [{"boot": "cloned"}, {"namespace": "pid:[1]"}, {"boot": ""}])
def test_a_living_number_on_another_machine_says_nothing(stored, tmp_path, facts):
    out = tmp_path / "out.zarr"
    interrupted(stored, out)
    claim_of_somebody(out, token=f"{facts}", **facts)  # our own number, host and start
    options = {"resume": True, "model_id": "gaussian", "pacing": WATCHED}
    assert predict(stored, out, **options).taken_over == 1


def test_a_heartbeat_that_is_no_number_is_one_that_does_not_change(stored, tmp_path):
    out = tmp_path / "out.zarr"
    interrupted(stored, out)
    claim_of_somebody(out, token="nan's", boot="elsewhere", heartbeat=float("nan"))
    options = {"resume": True, "model_id": "gaussian", "pacing": WATCHED}
    assert predict(stored, out, **options).taken_over == 1


def test_dead_claims_in_members_of_a_series_are_watched_once(stored, tmp_path, caplog):
    out, options = tmp_path / "out.zarr", {"model_id": "gaussian", "pacing": WATCHED}
    predict([stored, stored], out, **options)
    claim_of_somebody(out / "1", token="a member's", boot="elsewhere")
    predict([stored, stored], out, resume=True, **options)
    assert "watching it for up to 2 s" in caplog.text
    assert not list(out.rglob("claims/*/*.json"))
    caplog.clear()
    predict([stored, stored], out, resume=True, **options)
    assert "watching" not in caplog.text


def test_a_claim_that_this_process_could_not_take_back_is_dead(stored, tmp_path):
    out = tmp_path / "out.zarr"
    interrupted(stored, out)
    claim_of_somebody(out)
    assert predict(stored, out, resume=True, model_id="gaussian").taken_over == 1


def test_a_driver_whose_claim_was_taken_stops(stored, tmp_path):
    out = tmp_path / "out.zarr"

    def rob():
        for path in (out / ".daskpatch" / "claims").rglob("*.json"):
            path.unlink(missing_ok=True)
        time.sleep(0.2)
        gate.release.set()

    gate = Gate(rob)
    planned = daskpatch.plan(stored, gate, out, model_id="gate", threads=1, **TILES)
    gate.armed = True
    with pytest.raises(daskpatch.RunFailed, match="took the output over"):
        planned.run(progress=False, pacing=daskpatch.Pacing(heartbeat=0.05))


# Parts


def test_parts_are_the_whole(stored, tmp_path, whole):
    out = tmp_path / "out.zarr"
    reports = [predict(stored, out, part=(i, 3)) for i in (2, 3, 1)]
    assert sum(r.done for r in reports) == daskpatch.status(out).total
    np.testing.assert_array_equal(read(out), whole)
    assert predict(stored, out, part=(2, 3)).done == 0
    assert predict(stored, out, resume=True).done == 0


def test_a_part_can_be_any_share(stored, tmp_path, whole):
    out = tmp_path / "out.zarr"
    predict(stored, out, part=(1, 2))
    report = predict(stored, out, part=(2, 5))
    assert report.skipped > 0
    predict(stored, out, resume=True)
    np.testing.assert_array_equal(read(out), whole)


@pytest.mark.parametrize("part", [(0, 3), (4, 3), (1,), "1/3", (1, 0)])
def test_parts_that_are_none(stored, tmp_path, part):
    with pytest.raises(ValueError, match="part is"):
        predict(stored, tmp_path / "out.zarr", part=part)
    assert not (tmp_path / "out.zarr").exists()


PART = """
import sys, daskpatch
from children import Child
from example_models import gaussian
source, out, number = sys.argv[1:]
daskpatch.predict(source, gaussian, out, patch_size=16, overlaps=4, chunks=12, block_shape=12,
                  part=(int(number), 3), progress=False, threads=1)
"""


def test_three_parts_at_once_in_three_processes(stored, tmp_path, whole):
    out = tmp_path / "out.zarr"
    for part in [Child(PART, stored, out, number) for number in (1, 2, 3)]:
        part.said()
    np.testing.assert_array_equal(read(out), whole)
    found = daskpatch.status(out)
    assert (found.done, found.remaining, found.drivers) == (found.total, 0, ())
    assert daskpatch.verify(out, progress=False).ok


# Drivers that are killed

KILLED = """
import sys, threading, daskpatch
from example_models import gaussian
source, out, most = sys.argv[1:]
answers = threading.Semaphore(1000)

def model(batch):
    with open(out + ".calls", "a") as calls:
        calls.write("x")
    if not answers.acquire(blocking=False):
        open(out + ".waiting", "w").close()
        threading.Event().wait()
    return gaussian(batch)

plan = daskpatch.plan(source, model, out, patch_size=16, overlaps=4, chunks=12, block_shape=12,
                      model_id="gaussian", threads=2)
answers = threading.Semaphore(int(most))
report = plan.run(resume=True, progress=False, pacing=daskpatch.Pacing(flush=0.0))
print(report.done, report.skipped)
"""


def kill_a_driver(stored, out, answers, seconds):
    """Kill a driver some time after its model has given so many answers, and waits."""
    waiting = out.with_name(f"{out.name}.waiting")
    waiting.unlink(missing_ok=True)
    driver = Child(KILLED, stored, out, answers)
    driver.kill_when(lambda: waiting.exists() and not time.sleep(seconds))


def test_a_driver_killed_at_ten_random_moments(stored, tmp_path, whole, rng):
    out, calls = tmp_path / "out.zarr", tmp_path / "out.zarr.calls"
    done_before = 0
    # What was in work at a death runs alone, and is set aside after two: each gets past that.
    for answers, seconds in zip(rng.integers(4, 7, 10), rng.uniform(0, 0.02, 10), strict=True):
        kill_a_driver(stored, out, answers, seconds)
        done = daskpatch.status(out).done
        assert done > done_before
        done_before = done
    done, skipped = map(int, Child(KILLED, stored, out, 1000).said().split())
    assert skipped == done_before
    total = daskpatch.status(out).total
    assert done + skipped == total
    # Per kill: what was in flight, what came while receipts were stored; and each plan's trial.
    in_flight, interval, runs = 2, 2, 11
    assert total <= calls.stat().st_size <= total + runs * (in_flight + interval + 1)
    np.testing.assert_array_equal(read(out), whole)
    assert daskpatch.verify(out, progress=False).ok


# What is refused


@pytest.mark.parametrize("options", [{"resume": True}, {"part": (1, 2)}])
def test_a_folder_of_somebody_else_is_not_resumed(stored, tmp_path, options):
    notes = tmp_path / "out.zarr" / "c" / "0" / "0"
    notes.mkdir(parents=True)
    (notes / "0").write_text("precious")
    with pytest.raises(FileExistsError, match="did not make it"):
        predict(stored, tmp_path / "out.zarr", **options)
    assert (notes / "0").read_text() == "precious"


def test_an_output_among_the_chunks_of_another_is_refused(stored, tmp_path):
    predict(stored, tmp_path / "out.zarr")
    for inside in ("sub", "c/sub.zarr", ".daskpatch/x.zarr"):
        with pytest.raises(ValueError, match="among its chunks"):
            predict(stored, tmp_path / "out.zarr" / inside)


@pytest.mark.parametrize("model_id", ["", 5, b"x", True])
def test_a_model_id_is_a_text(stored, tmp_path, model_id):
    with pytest.raises(ValueError, match="needed is a text"):
        predict(stored, tmp_path / "out.zarr", model_id=model_id)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"retries": "2"}, "retries is '2'"),
        ({"retries": None}, "retries is None"),
        ({"retries": 1.5}, "retries is 1.5"),
        ({"retries": -1}, "retries is -1"),
        ({"part": "13"}, "part is '13'"),
        ({"part": (0, 3)}, "1 <= i <= n"),
        ({"part": (4, 3)}, "1 <= i <= n"),
        ({"part": (1.5, 3)}, "1 <= i <= n"),
        ({"part": {1: 2, 3: 4}}, "1 <= i <= n"),
        ({"interruption": True}, "needed is a daskpatch.Interruption"),
        ({"patience": "2"}, "patience is '2'"),
        ({"patience": float("nan")}, "patience is nan"),
        ({"patience": -1}, "0 or more"),
        ({"resume": "no"}, "resume is 'no'"),
        ({"resources": "GPU"}, "amounts above 0 by name"),
        ({"resources": {"GPU": 0}}, "amounts above 0 by name"),
        ({"resources": {"GPU": "1"}}, "amounts above 0 by name"),
        ({"resources": {"GPU": float("nan")}}, "amounts above 0 by name"),
    ],
)
def test_options_that_a_run_cannot_use(stored, tmp_path, options, words):
    planned = daskpatch.plan(stored, gaussian, tmp_path / "out.zarr", **TILES)
    with pytest.raises(ValueError, match=words):
        planned.run(progress=False, **options)
    assert not (tmp_path / "out.zarr").exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda run: run.update(fingerprint={}),
        lambda run: run.update(blocks={}),
        lambda run: run["fingerprint"].pop("layout"),
        lambda run: run["blocks"].update(shape=[0, 0, 0]),
        lambda run: run.update(format=2),
    ],
)
def test_a_record_that_lacks_something_is_named(stored, tmp_path, change):
    out = tmp_path / "out.zarr"
    predict(stored, out)
    document = out / ".daskpatch" / "run.json"
    run = json.loads(document.read_text())
    change(run)
    document.write_text(json.dumps(run))
    for call in (daskpatch.status, daskpatch.verify, lambda out: predict(stored, out, resume=True)):
        with pytest.raises(ValueError, match="record of .* is broken"):
            call(out)


def test_what_others_leave_in_the_record_is_left_alone(stored, tmp_path):
    out = tmp_path / "out.zarr"
    predict(stored, out)
    record = out / ".daskpatch"
    next((record / "receipts").rglob("part-1-of-1")).joinpath("notes.txt").write_text("mine")
    (record / "claims").mkdir(exist_ok=True)
    (record / "claims" / ".DS_Store").write_bytes(b"mine")
    found = daskpatch.status(out)
    assert found.done == found.total
    assert predict(stored, out, resume=True).skipped == found.total
    (record / "claims" / "part-1-of-1").mkdir(exist_ok=True)
    (record / "claims" / "part-1-of-1" / "000001.json").write_text("torn")
    assert "cannot be read" in daskpatch.status(out).drivers[0]


def test_a_receipt_of_no_block_is_not_counted(stored, tmp_path):
    out = tmp_path / "out.zarr"
    predict(stored, out)
    found = daskpatch.status(out)
    segment = next((out / ".daskpatch" / "receipts").rglob("*-00000000"))
    rows = decode(segment.read_bytes())[0].copy()
    rows["index"][0] = 9999
    segment.write_bytes(encode(rows))
    assert daskpatch.status(out).done == found.total - 1


@pytest.mark.parametrize("look", [daskpatch.status, daskpatch.verify])
def test_looking_at_what_is_not_there_makes_nothing(tmp_path, look):
    with pytest.raises(FileNotFoundError, match="no record|does not exist"):
        look(tmp_path / "typo" / "out.zarr")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("a file")
    with pytest.raises(FileNotFoundError, match="is a file"):
        look(tmp_path / "file")


def test_a_repair_is_refused_before_the_output_is_read(stored, tmp_path):
    out = tmp_path / "out.zarr"
    predict(stored, out)
    store = CountingStore(zarr.storage.LocalStore(out))
    with pytest.raises(ValueError, match="model"):
        daskpatch.verify(store, repair=True, model=double, progress=False)
    assert not [key for key in store.read if key.startswith("c/")]


@pytest.mark.parametrize("cut", ["among blocks", "before creation"])
def test_a_plan_that_overwrites_resumes_what_it_began(stored, tmp_path, whole, cut, monkeypatch):
    out, model = tmp_path / "out.zarr", Stops(20)
    predict(stored, out, double)
    plan = daskpatch.plan(
        stored, model, out, overwrite=True, model_id="gaussian", threads=1, **TILES
    )
    with monkeypatch.context() as patched:
        if cut == "before creation":
            patched.setattr(prediction_pass, "create_arrays", out_of_time)
        with pytest.raises((daskpatch.RunFailed, KeyboardInterrupt)):
            plan.run(progress=False, retries=0)
    model.left = 10**6
    report = plan.run(resume=True, progress=False)
    assert (report.skipped > 0) == (cut == "among blocks")
    np.testing.assert_array_equal(read(out), whole)
    assert not list(out.rglob("cleared"))
    # What another plan began is neither gone on with nor deleted.
    other = daskpatch.plan(stored, double, out, overwrite=True, **TILES)
    with pytest.raises(ValueError, match="cannot be resumed"):
        other.run(resume=True, progress=False)
    np.testing.assert_array_equal(read(out), whole)


def out_of_time(*arguments, **options):
    raise KeyboardInterrupt


@pytest.mark.parametrize("member", ["0", "1"])
def test_a_group_in_the_place_of_an_array_is_named(tmp_path, stored, member):
    out = tmp_path / "out.zarr"
    options = {"patch_size": 16, "progress": False, "model_id": "m"}
    daskpatch.predict([stored, stored], np.positive, out, **options)
    metadata = out / member / "zarr.json"
    metadata.write_text('{"zarr_format": 3, "node_type": "group", "attributes": {}}')
    with pytest.raises(ValueError, match="holds a group"):
        daskpatch.predict([stored, stored], np.positive, out, resume=True, **options)
