"""The rolling window on threads and on clusters: nothing lost, nothing unbounded."""

import os
import sys
import threading
import time
import traceback
from collections import Counter

import cloudpickle
import dask
import numpy as np
import pytest
import zarr
from distributed import get_worker
from example_models import double, fails
from volumes import read, save

import daskpatch
from daskpatch.engine import TASKS_PER_THREAD, Interruption, Window
from daskpatch.engine.cluster import local_workers
from daskpatch.engine.jobs import run_registered


def test_results_come_from_every_index():
    done = list(Window(lambda i: i * i, range(50), key="squares", threads=3))
    assert sorted(d.index for d in done) == list(range(50))
    assert all(d.result == d.index**2 and d.error is None for d in done)
    with pytest.raises(KeyError):
        run_registered("squares", (1,), 0.0)


def test_no_more_than_a_few_tasks_are_taken_from_the_indices():
    taken = []

    def indices():
        for i in range(1000):
            taken.append(i)
            yield i

    run = iter(Window(lambda i: i, indices(), key="window", threads=2))
    next(run)
    assert len(taken) <= 2 * TASKS_PER_THREAD + 2
    run.close()
    assert len(taken) < 1000


def test_a_task_that_fails_is_tried_again_then_set_aside_and_the_others_go_on():
    tries = Counter()

    def job(i):
        tries[i] += 1
        if i == 3 or (i == 5 and tries[5] == 1):
            raise ValueError(f"{i}")
        return i

    run = Window(job, range(100), key="fails", threads=2, retries=2)
    done = list(run)
    assert [(d.index, str(d.error)) for d in done if d.error] == [(3, "3")]
    assert sorted(d.index for d in done) == list(range(100))
    assert (tries[3], tries[5], run.retried) == (3, 2, 3)


def test_a_lasting_error_is_not_tried_again():
    tries = Counter()

    def job(i):
        tries[i] += 1
        raise OSError("gone")

    done = list(
        Window(job, range(3), key="lasting", threads=1, retries=5, is_lasting=lambda _: True)
    )
    assert len(done) == 3
    assert set(tries.values()) == {1}


def test_an_interrupted_run_ends_what_runs_and_begins_nothing():
    interruption = Interruption()
    begun, ended = [], []

    def job(i):
        begun.append(i)
        time.sleep(0.05)
        ended.append(i)
        return i

    run = Window(job, range(1000), key="interrupted", threads=2, interruption=interruption)
    for n, _ in enumerate(run):
        if n == 3:
            interruption.request()
    assert sorted(ended) == sorted(begun)
    assert 4 <= len(begun) < 20


def test_after_the_grace_running_tasks_are_not_waited_for():
    interruption = Interruption(grace=0.2)
    interruption.request()
    release = threading.Event()
    run = Window(lambda i: release.wait(10), [1], key="grace", threads=1, interruption=interruption)
    assert list(run) == []
    release.set()


def test_threads_run_side_by_side():
    barrier = threading.Barrier(3, timeout=10)
    done = list(Window(lambda i: barrier.wait(), range(3), key="barrier", threads=3))
    assert all(d.error is None for d in done)


def short_job(fails, log):
    """Fails with its own index; notes what it was called with, also in other processes."""

    def job(i):
        with log.open("a") as file:
            file.write(f"{i}\n")
        if i in fails:
            raise ValueError(f"{i}")
        return i, get_worker().get_current_task()

    return job


LINE_OF_FAILURE = short_job.__code__.co_firstlineno + 7


class Everything:
    """All blocks, any part of which may be asked for."""

    n_places, n_foreseen = 600, 0

    def at(self, places):
        return list(places)

    def block_at(self, place):
        return place


@pytest.mark.parametrize("indices", [range(600), Everything()], ids=["one by one", "placed"])
@pytest.mark.parametrize("fails", [(), (0,), (5, 6, 7, 577), range(0, 600, 9)])
def test_a_task_of_a_cluster_takes_neighbouring_blocks(processes, tmp_path, fails, indices):
    log = tmp_path / "calls"
    run = Window(
        short_job(fails, log), indices, key="short", threads=1, client=processes, retries=2
    )
    done = {each.index: each for each in run}
    assert done.keys() == set(range(600))
    assert {i: str(each.error) for i, each in done.items() if each.error} == {
        i: str(i) for i in fails
    }
    assert all(each.result[0] == i for i, each in done.items() if not each.error)
    tries = Counter(map(int, log.read_text().split()))
    assert {tries[i] for i in range(600) if i not in fails} == {1}
    assert all(tries[i] == 3 for i in fails)
    if not fails:
        of_task = Counter(each.result[1] for each in done.values())
        assert len(of_task) < 150
        assert max(of_task.values()) <= 64


def test_an_error_of_a_cluster_has_its_own_stack(processes, tmp_path):
    job = short_job([300], tmp_path / "calls")
    run = Window(job, range(600), key="stack", threads=1, client=processes, retries=1)
    error = next(each.error for each in run if each.error)
    told = "".join(traceback.format_exception(error))
    assert f"line {LINE_OF_FAILURE}, in job" in told


@pytest.mark.parametrize(
    "alone", [{}, {"timeout": 60.0}, {"retries": 0}], ids=["", "timeout", "no second try"]
)
def test_blocks_that_may_take_others_with_them_go_alone(processes, alone):
    options = {"retries": 2, **alone}
    run = Window(lambda i: i, range(300), key="timed", threads=1, client=processes, **options)
    most = max(len(run.in_work) for _ in run)
    assert (most <= 4 * TASKS_PER_THREAD) == bool(alone)


@pytest.mark.parametrize("timeout", [None, 60.0])
def test_blocks_that_could_not_be_settled_are_not_done(processes, timeout):
    class Unsettled:
        def __call__(self, i):
            return i

        def settle(self):
            raise OSError("not flushed")

    run = Window(
        Unsettled(), range(100), key="settle", threads=1, client=processes, retries=1,
        is_lasting=lambda error: isinstance(error, OSError), timeout=timeout,
    )  # fmt: skip
    assert {each.index: str(each.error) for each in run} == dict.fromkeys(range(100), "not flushed")


def test_a_task_ends_when_its_time_is_over(processes):
    """What was learned from blocks that take nothing says nothing of those that take long."""

    def job(i):
        time.sleep(0.3 if i >= 500 else 0.0)
        return get_worker().get_current_task()

    run = Window(job, range(550), key="slow", threads=1, client=processes, retries=2)
    of_task = Counter(each.result for each in run if each.index >= 500)
    assert sum(of_task.values()) == 50
    assert max(of_task.values()) < 2.0 / 0.3 + 2


def test_a_block_that_ends_its_worker_takes_no_other_with_it():
    def job(i):
        if i == 150:
            os._exit(1)
        return i

    alone = []
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        local_workers(2, 1) as client,
    ):
        run = Window(
            job, range(400), key="ends", threads=1, client=client, retries=2, on_alone=alone.append
        )
        done = {each.index: each for each in run}
    assert done.keys() == set(range(400))
    assert len(alone) <= 4 * TASKS_PER_THREAD  # the others of its task went by themselves
    assert [i for i, each in done.items() if each.error] == [150]
    assert "worker processes ended while they computed nothing but this" in str(done[150].error)


LAYOUTS = {"chunks": {"chunks": 8}, "shards": {"chunks": 4, "shards": 8}}


@pytest.fixture
def cube(tmp_path, rng):
    values = rng.integers(1, 60_000, (48, 50, 52)).astype("uint16")
    save(tmp_path / "cube.zarr", values, chunks=(16, 16, 16), dimension_names=["z", "y", "x"])
    return tmp_path / "cube.zarr", values


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("io", ["zarr", "tensorstore"])
def test_no_voxel_is_lost_with_many_threads(tmp_path, cube, layout, io):
    source, values = cube
    for attempt in range(2):
        plan = daskpatch.plan(
            source,
            double,
            tmp_path / "out.zarr",
            patch_size=12,
            overlaps=4,
            block_shape=8,
            io=io,
            overwrite=True,
            threads=16,
            **layout,
        )
        assert plan.n_blocks == 6 * 6 * 7
        plan.run(progress=False)
        assert np.array_equal(read(tmp_path / "out.zarr"), values * np.float32(2)), attempt


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("io", ["zarr", "tensorstore"])
def test_no_voxel_is_lost_with_many_processes(tmp_path, cube, layout, io, processes):
    source, values = cube
    plan = daskpatch.plan(
        source,
        double,
        tmp_path / "out.zarr",
        patch_size=12,
        overlaps=4,
        block_shape=8,
        io=io,
        overwrite=True,
        **layout,
    )
    report = plan.run(client=processes, progress=False)
    assert report.blocks == plan.n_blocks
    assert np.array_equal(read(tmp_path / "out.zarr"), values * np.float32(2))


def test_an_active_client_is_used(tmp_path, cube, in_process):
    source, values = cube

    def model(batch):
        get_worker()  # fails outside a worker's task
        return batch

    plan = daskpatch.plan(source, double, tmp_path / "out.zarr", patch_size=24)
    with in_process.as_current():
        plan.run(progress=False)
    assert np.array_equal(read(tmp_path / "out.zarr"), values * np.float32(2))


def test_a_worker_in_this_process_writes_into_its_memory(rng, in_process):
    values = rng.normal(size=(40, 50)).astype("f4")
    store = zarr.storage.MemoryStore()
    daskpatch.predict(
        values, double, store, axes="YX", patch_size=16, client=in_process, progress=False
    )
    assert np.array_equal(zarr.open_array(store=store)[...], values * 2)


def test_what_lives_in_this_process_is_refused_by_worker_processes(tmp_path, processes):
    large = np.zeros((1000, 1000), "f4")
    memory = zarr.storage.MemoryStore()
    for source, output, words in [
        (large, tmp_path / "out.zarr", "4 MB"),
        (large[:50, :50], memory, "copies"),
    ]:
        plan = daskpatch.plan(source, double, output, axes="YX", patch_size=16)
        with pytest.raises(ValueError, match=words):
            plan.run(client=processes, progress=False)
    assert not (tmp_path / "out.zarr").exists()


def test_the_job_leaves_the_workers_when_the_run_ends(tmp_path, cube, processes):
    source, _ = cube
    daskpatch.predict(
        source, double, tmp_path / "out.zarr", patch_size=24, client=processes, progress=False
    )

    def jobs():
        from daskpatch.engine import jobs

        return len(jobs._jobs)

    assert set(processes.run(jobs).values()) == {0}


def test_a_model_is_loaded_once_per_worker_process(tmp_path, cube, processes):
    source, _ = cube
    counter = tmp_path / "loads"
    counter.mkdir()
    (tmp_path / "model.py").write_text(
        "import os, pathlib, tempfile\n"
        f"tempfile.mkstemp(dir={str(counter)!r})\n"
        "def model(batch): return batch\n"
    )
    plan = daskpatch.plan(
        source,
        f"{tmp_path}/model.py:model",
        tmp_path / "out.zarr",
        patch_size=12,
        block_shape=8,
        chunks=8,
    )
    assert len(list(counter.iterdir())) == 1
    plan.run(client=processes, progress=False)
    assert 2 <= len(list(counter.iterdir())) <= 3


@pytest.mark.parametrize("where", ["threads", "processes"])
def test_a_model_that_fails_in_the_middle(tmp_path, cube, where, request):
    source, values = cube
    client = request.getfixturevalue("processes") if where == "processes" else None
    bad = float(values[20, 20, 20])

    def model(batch):
        if (batch == bad).any():
            raise ArithmeticError("it is there")
        return batch

    values[values == bad] = bad - 1
    values[20, 20, 20] = bad
    zarr.open_array(store=str(source), mode="r+")[...] = values
    plan = daskpatch.plan(
        source, model, tmp_path / "out.zarr", patch_size=12, chunks=12, block_shape=12
    )
    with pytest.raises(daskpatch.RunFailed, match="it is there") as caught:
        plan.run(client=client, progress=False)
    error = caught.value
    assert isinstance(error, RuntimeError)
    assert isinstance(error.__cause__, ArithmeticError)
    (failed,) = error.failed
    assert failed.index == np.ravel_multi_index((1, 1, 1), (4, 5, 5))
    assert failed.tile["coords"] == (12, 12, 12)
    assert 0 < error.report.blocks < plan.n_blocks
    assert f"Block {failed.index}" in str(error)
    out = read(tmp_path / "out.zarr")
    written = out != 0
    assert np.array_equal(out[written], values[written])
    assert written.sum() == round(error.report.voxels_per_second * error.report.seconds)


def test_a_model_that_fails_at_once_fails_the_plan(stored):
    with pytest.raises(
        RuntimeError, match=r"trial tile \(image 0, sample 0, coords .* out of ideas"
    ):
        daskpatch.plan(stored, fails, patch_size=16)


def test_client_and_threads_exclude_each_other(tmp_path, stored, in_process):
    plan = daskpatch.plan(stored, double, tmp_path / "out.zarr", patch_size=16)
    with pytest.raises(ValueError, match="not both"):
        plan.run(client=in_process, threads=2)


def test_a_worker_with_too_little_memory_is_refused(tmp_path, stored):
    from distributed import Client, LocalCluster

    plan = daskpatch.plan(stored, double, tmp_path / "out.zarr", patch_size=16)
    limit = plan.peak_memory // 4
    with (
        LocalCluster(
            n_workers=1,
            threads_per_worker=1,
            processes=False,
            dashboard_address=":0",
            memory_limit=0,
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        plan.run(client=client, progress=False)
    with pytest.raises(MemoryError, match="memory_limit"):
        daskpatch.plan(stored, double, patch_size=16, memory_limit=limit)


def test_progress_is_logged_where_there_is_no_terminal(tmp_path, stored, volume, caplog):
    caplog.set_level("INFO", logger="daskpatch")
    daskpatch.predict(stored, double, tmp_path / "out.zarr", patch_size=16)
    assert "100.0 % done" in caplog.text


def test_a_bar_is_shown_in_a_terminal(tmp_path, stored, volume, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    daskpatch.predict(stored, double, tmp_path / "out.zarr", patch_size=16)
    shown = capsys.readouterr().err
    assert "100%" in shown
    assert "voxel/s" in shown


def test_tasks_are_small_whatever_the_job_weighs(tmp_path, rng, processes, monkeypatch):
    images = [rng.normal(size=(8, 8)).astype("f4") for _ in range(20)]
    weights, submit, sizes = np.zeros(10_000_000, "u1"), processes.submit, []

    def weighed(*task, **options):
        sizes.append(len(cloudpickle.dumps(task)))
        return submit(*task, **options)

    monkeypatch.setattr(processes, "submit", weighed)
    plan = daskpatch.plan(
        images, lambda b: b + weights[0], tmp_path / "out.zarr", axes="YX", patch_size=8
    )
    plan.run(client=processes, progress=False)
    assert len(sizes) == plan.n_blocks == 20
    assert max(sizes) < 4096


def test_a_model_that_does_not_travel_is_refused_before_anything_is_written(
    tmp_path, stored, processes
):
    class Locked:
        def __init__(self):
            self.lock = threading.Lock()

        def __call__(self, batch):
            return batch

    plan = daskpatch.plan(stored, Locked(), tmp_path / "out.zarr", patch_size=16)
    with pytest.raises(ValueError, match="cannot be sent to worker processes"):
        plan.run(client=processes, progress=False)
    assert not (tmp_path / "out.zarr").exists()


def test_the_memory_limit_holds_on_a_cluster_too(tmp_path, stored, in_process):
    plan = daskpatch.plan(stored, double, tmp_path / "out.zarr", patch_size=16, threads=1)
    limited = daskpatch.plan(
        stored,
        double,
        tmp_path / "out.zarr",
        patch_size=16,
        threads=1,
        memory_limit=plan.peak_memory * 11 // 10,
    )
    with pytest.raises(MemoryError, match="2 threads"):
        limited.run(client=in_process, progress=False)
    assert not (tmp_path / "out.zarr").exists()


def test_a_memory_filesystem_is_refused_by_worker_processes(stored, processes):
    store = zarr.storage.FsspecStore.from_url("memory://out.zarr")
    plan = daskpatch.plan(stored, double, store, patch_size=16)
    with pytest.raises(ValueError, match="copies"):
        plan.run(client=processes, progress=False)


def test_a_worker_that_leaves_takes_no_job_with_it(tmp_path, cube):
    from distributed import Client, LocalCluster

    source, values = cube

    def slow(batch):
        time.sleep(0.05)
        return batch

    plan = daskpatch.plan(
        source, slow, tmp_path / "out.zarr", patch_size=16, chunks=16, block_shape=16
    )
    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=False,
            protocol="tcp://",
            host="127.0.0.1",
            dashboard_address=":0",
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        leaving = threading.Timer(0.3, cluster.scale, [1])
        leaving.start()
        plan.run(client=client, progress=False)
        leaving.join()
    assert np.array_equal(read(tmp_path / "out.zarr"), values)
