"""What processes of workers expect: the blocks of their lanes, whose chunks they keep and fetch."""

import os
import pickle
import threading
import time
from contextlib import contextmanager
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving import Quiet, served
from volumes import read, save

import daskpatch
from daskpatch.deciding import Selection
from daskpatch.engine import Outlook
from daskpatch.engine.lanes import Lanes
from daskpatch.engine.stretches import StretchLength
from daskpatch.geometry import RegularGrid
from daskpatch.running.foresight import Foresight
from daskpatch.running.left import Left
from daskpatch.running.on_workers import OnWorkers

GRIDS = RegularGrid.clipped((6, 8, 10), (1, 2, 2)), RegularGrid.clipped((2, 4, 4), (1, 2, 2))
N_BLOCKS = sum(grid.n_cells for grid in GRIDS)


class Expecting:
    """A job that notes what it is told to expect."""

    n_ahead = 4
    n_changes = 0

    @contextmanager
    def expecting(self, is_left, coming):
        self.is_left, self.coming = is_left, coming
        yield

    def expects_others(self):
        self.n_changes += 1


def foreseen(done=(), selection=None):
    job = Expecting()
    selection = Selection.of(GRIDS) if selection is None else selection
    return job, Foresight(job, Left(selection, np.array(sorted(done), np.uint64)))


def left_of(job):
    return [i for i in range(N_BLOCKS) if job.is_left(i)]


def test_a_lane_is_expected_without_what_is_done():
    job, foresight = foreseen(done=[13, 14, 90])
    foresight.foresee([10, 11], Outlook("a", 1, 20, (12, 15, 16)))
    assert left_of(job) == [10, 11, 12, *range(15, 21)]
    assert list(islice(job.coming, 4)) == [11, 12, 15, 16]
    foresight.foresee([12, 15], Outlook("a", 1, 20, (16, 17, 18)))
    assert list(islice(job.coming, 2)) == [17, 18]
    assert not job.n_changes


def test_what_others_take_of_a_lane_is_not_expected_any_more():
    job, foresight = foreseen()
    foresight.foresee([10], Outlook("a", 1, 20, (11,)))
    foresight.foresee([11], Outlook("a", 1, 15, (12,)))
    assert left_of(job) == list(range(11, 16))
    foresight.foresee([60], Outlook("a", 1, 62, (61, 62)))
    assert left_of(job) == [60, 61, 62]
    assert job.n_changes == 2
    assert list(islice(job.coming, 4)) == [11, 12, 61, 62]


def test_tasks_that_were_meant_for_others_change_no_lane():
    job, foresight = foreseen(done=[71])
    foresight.foresee([70, 71, 72], None)
    foresight.foresee([10], Outlook("a", 1, 12, (11, 12)))
    foresight.foresee([30], None)
    foresight.foresee([11], Outlook("a", 1, 12, (12,)))
    assert left_of(job) == [11, 12, 30, 70, 72]
    foresight.end()
    assert list(job.coming) == [11, 12]
    assert not job.n_changes


def test_blocks_of_a_lane_that_others_took_are_not_waited_for():
    job, foresight = foreseen()
    foresight.foresee([10], Outlook("a", 2, 20, (11, 12)))
    foresight.foresee([11], Outlook("a", 2, 20, (12, 13)))
    assert left_of(job) == list(range(10, 21))  # both may be in work
    assert not job.n_changes
    foresight.foresee([14], Outlook("a", 2, 20, (15, 16)))
    assert job.n_changes == 1
    foresight.foresee([15], Outlook("a", 2, 20, (16, 17)))
    assert left_of(job) == list(range(14, 21))


def test_what_ends_before_it_begins_does_not_begin():
    job, foresight = foreseen()
    foresight.end()
    foresight.foresee([10], Outlook("a", 1, 20, (11,)))
    assert not hasattr(job, "is_left")


def test_nothing_is_noted_for_a_job_that_fetches_nothing_ahead():
    job, foresight = foreseen()
    job.n_ahead = 0
    foresight.foresee([10, 11], Outlook("a", 1, 20, (12,)))
    foresight.end()
    assert list(job.coming) == []


def test_a_foresight_travels_without_what_it_has_heard():
    job, foresight = foreseen()
    foresight.foresee([10], Outlook("a", 1, 20, (11,)))
    copy = pickle.loads(pickle.dumps(Foresight(None, foresight._left)))
    assert copy._lane is None
    foresight.end()
    assert list(job.coming) == [11]


@given(
    st.sets(st.integers(0, N_BLOCKS - 1), max_size=60),
    st.permutations(range(3)),
    st.lists(st.sampled_from("abc"), max_size=60),
    st.floats(0.05, 3.0),
)
def test_whoever_takes_blocks_expected_them(done, order, turns, seconds):
    selection = Selection.of(GRIDS[:1], order=tuple(order))
    done = {i for i in done if i < GRIDS[0].n_cells}
    left = Left(selection, np.array(sorted(done), np.uint64))
    lanes, length = Lanes(OnWorkers(left, lambda blocks: blocks, 4)), StretchLength(2.0)
    length.add(1, seconds)
    slots = dict.fromkeys("abc", 2)
    expecting = {worker: foreseen(done, selection) for worker in slots}
    told = {worker: set() for worker in slots}
    for worker in turns:
        stretch, outlook, _ = lanes.take(length, worker, slots)
        if not stretch:
            break
        job, foresight = expecting[worker]
        foresight.foresee(stretch, outlook)
        assert all(job.is_left(i) for i in (*stretch, *outlook.coming))
        assert not any(job.is_left(i) for i in done)
        told[worker] |= {*stretch, *outlook.coming}
    for worker, (job, foresight) in expecting.items():
        foresight.end()
        if foresight._has_begun:
            coming = list(job.coming)
            assert len(coming) == len(set(coming))
            assert set(coming) <= told[worker]


class Counting(Quiet):
    """Adds a byte to a file for each chunk that is asked for."""

    def do_GET(self):  # noqa: N802 (the interface)
        if "/c/" in self.path:
            with open(os.path.join(self.directory, "asked"), "ab") as file:
                file.write(b".")
        super().do_GET()


def is_reading_ahead():
    return any(thread.name.startswith("daskpatch-ahead") for thread in threading.enumerate())


@pytest.mark.parametrize("timeout", [None, 120.0])
def test_workers_read_ahead_of_their_models(tmp_path, rng, processes, timeout):
    values = rng.integers(0, 99, (8, 8, 512)).astype("uint16")
    save(tmp_path / "in.zarr", values, chunks=(8, 8, 8), dimension_names=["z", "y", "x"])
    asked, driver = tmp_path / "asked", os.getpid()

    def waits(batch):
        # Of 16 blocks at most four are in the model, which need six of the 64 chunks each.
        for _ in range(6000):
            if os.getpid() == driver or asked.stat().st_size >= 40:
                return batch * 2
            time.sleep(0.01)
        raise AssertionError("nothing is read ahead")

    with served(tmp_path, Counting) as address:
        plan = daskpatch.plan(
            f"http://{address}/in.zarr",
            waits,
            tmp_path / "out.zarr",
            patch_size=(8, 8, 36),
            overlaps=(0, 0, 4),
            chunks=(8, 8, 32),
            block_shape=(8, 8, 32),
            model_id="waits",
        )
        asked.write_bytes(b"")
        report = plan.run(progress=False, client=processes, timeout=timeout)
    np.testing.assert_array_equal(read(tmp_path / "out.zarr"), values * np.uint16(2))
    assert report.blocks == 16
    end = time.monotonic() + 60
    while any(processes.run(is_reading_ahead).values()):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_workers_keep_chunks_for_the_blocks_of_their_lanes(tmp_path, rng, processes):
    values = rng.integers(0, 99, (64, 64, 64)).astype("uint16")
    save(tmp_path / "in.zarr", values, chunks=(8, 8, 8), dimension_names=["z", "y", "x"])
    plan = daskpatch.plan(
        tmp_path / "in.zarr",
        lambda batch: batch * 2,
        tmp_path / "out.zarr",
        patch_size=10,
        overlaps=2,
        chunks=8,
        block_shape=8,
        cache="300 kB",  # of 524
        model_id="doubles",
    )
    report = plan.run(progress=False, client=processes)
    np.testing.assert_array_equal(read(tmp_path / "out.zarr"), values * np.uint16(2))
    # Where blocks go to whoever is free, each of the two fetches all of them.
    assert report.chunks_fetched < 1.75 * 8**3
