"""What was found out about a model is remembered, and only of that model."""

import json
import os
import subprocess
import sys

import numpy as np
import platformdirs
import pytest
from scipy import ndimage

import daskpatch
from daskpatch.probing import Remembered
from daskpatch.probing.speed import Budget


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / "cache" / name)
    return tmp_path / "cache/daskpatch/probes"


def smooth(sigma):
    """A model without counts, so that what it is made of stays the same."""

    def model(batch):
        return ndimage.gaussian_filter(batch, (0, 0, sigma, sigma))

    return model


@pytest.fixture
def calls(monkeypatch):
    """The shapes that models are asked for, while they are probed."""
    from daskpatch.probing.probed_model import ProbedModel

    asked, call = [], ProbedModel.__call__

    def counted(self, batch):
        asked.append(batch.shape)
        return call(self, batch)

    monkeypatch.setattr(ProbedModel, "__call__", counted)
    return asked


def planned(model, rng=None, shape=(120, 130), **options):
    image = np.random.default_rng(rng).random(shape, "f4")
    return daskpatch.plan(image, model, axes="YX", patch_size="auto", **options)


def test_a_second_plan_asks_nothing_and_chooses_the_same(calls, folder):
    first = planned(smooth(1.5), 0)
    assert calls
    assert len(list(folder.iterdir())) == 2
    calls.clear()
    for _ in range(3):
        other = planned(smooth(1.5), 0)
        assert other.patching == first.patching
        assert other.choice == first.choice
    assert not calls


@pytest.mark.parametrize("change", ["model", "image", "option"])
def test_another_model_or_image_is_asked_anew(calls, change):
    first = planned(smooth(1.5), 0)
    calls.clear()
    if change == "model":
        assert planned(smooth(2.5), 0).patching != first.patching
    elif change == "image":
        planned(smooth(1.5), 1)
    else:
        planned(smooth(1.5), 0, input_dtype="float64")
    assert calls


GROWING = """
import pathlib, sys
import numpy as np
import daskpatch

counter = pathlib.Path(sys.argv[1])
counter.write_text("")

def model(batch):
    counter.write_text(f"{counter.read_text()}.")
    np.ones(4_000_000 * min(len(counter.read_text()), 3))
    return batch

side, patch_size, cache_probe = map(int, sys.argv[2:])
options = {"axes": "YX", "threads": 1, "patch_size": patch_size, "overlaps": 0}
plan = daskpatch.plan(np.ones((side, side), "f4"), model, cache_probe=bool(cache_probe), **options)
print(len(counter.read_text()), plan.memory.working, plan.peak_memory)
"""
"""Takes 32 MB in its first call, and 96 in its third; counts in a file, to stay the same."""


def planned_elsewhere(tmp_path, patch_size=64, side=640, cache_probe=True):
    """Calls, what one takes, and the peak: by a new process, whose heap is as all of them are."""
    arguments = [tmp_path / "calls", side, patch_size, int(cache_probe)]
    child = subprocess.run(
        [sys.executable, "-c", GROWING, *map(str, arguments)],
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "elsewhere")},
        capture_output=True,
        text=True,
        check=True,
    )
    return tuple(map(int, child.stdout.split()))


def test_memory_is_that_of_the_largest_of_three_calls_and_remembered(tmp_path):
    n_calls, working, peak = planned_elsewhere(tmp_path)
    assert n_calls == 3
    assert 90_000_000 < working < 110_000_000
    assert planned_elsewhere(tmp_path) == (1, working, peak)
    assert planned_elsewhere(tmp_path, cache_probe=False)[0] == 3
    assert planned_elsewhere(tmp_path, patch_size=32)[0] == 3


def test_memory_of_a_run_of_few_tiles_is_that_of_one_call(tmp_path):
    """Two more would take longer than the run; what three took is remembered for it, too."""
    n_calls, working, _ = planned_elsewhere(tmp_path, side=128)
    assert n_calls == 1
    assert 30_000_000 < working < 40_000_000
    assert planned_elsewhere(tmp_path, side=192)[:2] == (1, working)
    n_calls, of_three, _ = planned_elsewhere(tmp_path)
    assert n_calls == 3
    assert planned_elsewhere(tmp_path, side=128)[:2] == (1, of_three)


def test_a_model_that_takes_little_is_called_once(tmp_path):
    counter = tmp_path / "calls"
    counter.write_text("")

    def model(batch):
        counter.write_text(f"{counter.read_text()}.")
        return batch

    plan = daskpatch.plan(np.ones((64, 64), "f4"), model, axes="YX", patch_size=64)
    assert counter.read_text() == "."
    assert plan.memory.working < 1_000_000


def in_a_file(counter, factors):
    """Counts in a file, and multiplies by what another file says: neither is part of it."""

    def model(batch):
        counter.write_text(f"{counter.read_text()}.")
        factor = float(factors.read_text())
        return np.random.random(batch.shape) if np.isnan(factor) else batch * factor

    return model


@pytest.fixture
def planned_in(tmp_path):
    counter, factors = tmp_path / "calls", tmp_path / "factors"

    def planned_in(output, factor=2.0, **options):
        counter.write_text("")
        factors.write_text(str(factor))
        options = {"axes": "YX", "patch_size": 32, "batch_size": 2, **options}
        image = np.arange(64.0 * 64).reshape(64, 64)
        plan = daskpatch.plan(image, in_a_file(counter, factors), tmp_path / output, **options)
        return plan, len(counter.read_text())

    return planned_in


def test_a_model_that_gives_what_it_gave_is_called_once(planned_in):
    # Once for the trial, once whether it gives the same again, once for a batch, once for noise.
    assert planned_in("one.zarr")[1] == 4
    assert planned_in("two.zarr")[1] == 1
    assert planned_in("three.zarr", cache_probe=False)[1] == 4
    assert planned_in("four.zarr", patch_size=16)[1] == 4


def test_what_is_remembered_is_not_believed_of_a_model_that_gives_something_else(planned_in):
    (first, _), (same, _), (other, n_calls) = (planned_in("a.zarr", by) for by in (2.0, 2.0, 3.0))
    assert n_calls == 4
    first.run(progress=False)
    assert same.run(progress=False, resume=True).done == 0
    with pytest.raises(ValueError, match="gives other values than"):
        other.run(progress=False, resume=True)
    random, n_calls = planned_in("b.zarr", float("nan"))
    assert n_calls == 5
    assert "gives other values" in str(random)


def test_on_request_nothing_is_remembered(calls, folder):
    for _ in range(2):
        calls.clear()
        planned(smooth(1.5), 0, cache_probe=False)
        assert calls
    assert not folder.exists()


def test_a_model_that_cannot_be_told_is_asked_each_time(calls, folder):
    class Odd:
        def __init__(self):
            self.lock = __import__("_thread").allocate_lock()

        def __call__(self, batch):
            return batch * 2

    for _ in range(2):
        calls.clear()
        planned(Odd(), 0)
        assert calls
    assert not folder.exists()


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"key": 1, "found": 2}'])
def test_a_damaged_file_is_none(calls, folder, content):
    first = planned(smooth(1.5), 0)
    for path in folder.iterdir():
        path.write_text(content)
    calls.clear()
    assert planned(smooth(1.5), 0).patching == first.patching
    assert calls


def test_a_finding_of_another_shape_is_none(calls, folder):
    first = planned(smooth(1.5), 0)
    for path in folder.iterdir():
        kept = json.loads(path.read_text())
        path.write_text(json.dumps({**kept, "found": {"halo": "far", "costs": 3}}))
    calls.clear()
    assert planned(smooth(1.5), 0).patching == first.patching
    assert calls


def test_a_folder_that_cannot_be_written_is_done_without(calls, folder):
    folder.parent.mkdir(parents=True)
    folder.write_text("a file")
    for _ in range(2):
        calls.clear()
        planned(smooth(1.5), 0)
        assert calls


def test_a_larger_run_measures_more(calls):
    planned(smooth(1.5), 0, shape=(120, 130), threads=1)
    calls.clear()
    planned(smooth(1.5), 0, shape=(120, 130), threads=1)
    assert not calls
    planned(smooth(1.5), 0, shape=(960, 1300), threads=1)
    assert calls


@pytest.mark.parametrize(
    ("one", "other", "covers"),
    [
        (Budget(10, 5, 100.0), Budget(10, 5, 100.0), True),
        (Budget(10, 5, 100.0), Budget(10, 5, 99.0), True),
        (Budget(10, 5, 100.0), Budget(10, 5, 101.0), False),
        (Budget(10, 5, 100.0), Budget(10, 6, 1.0), False),
        (Budget(10, None, None), Budget(10, 6, 1.0), True),
        (Budget(10, 6, 1.0), Budget(10, None, None), False),
    ],
)
def test_which_measurements_do_for_which_run(one, other, covers):
    assert one.covers(other) is covers


def test_the_latest_are_kept(folder, monkeypatch):
    monkeypatch.setattr("daskpatch.probing.remembered._MOST", 3)
    remembered = Remembered({"model": "m"})
    for number in range(5):
        remembered.keep({"number": number}, number)
    assert len(list(folder.iterdir())) == 3
    assert remembered.recall({"number": 4}, int) == 4
