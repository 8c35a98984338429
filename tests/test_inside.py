"""daskpatch inside other things: forked processes, dask tasks, coroutines, threads."""

import asyncio
import multiprocessing
import threading

import dask.array as da
import numpy as np
import pytest
import zarr
from distributed import Client, LocalCluster, get_client, worker_client
from volumes import read, save
from zarr.storage import ObjectStore

import daskpatch

TILES = {"axes": "YX", "patch_size": 16, "overlaps": 4, "chunks": 12, "progress": False}


@pytest.fixture
def image(rng):
    return rng.random((48, 40)).astype("f4")


@pytest.fixture
def source(tmp_path, image):
    save(tmp_path / "in.zarr", image, chunks=(16, 16))
    return tmp_path / "in.zarr"


def doubled(source, output, **options):
    report = daskpatch.predict(source, np.negative, output, **{**TILES, **options})
    return report.done


# Forked processes: a DataLoader's workers


def in_a_fork(call):
    """What a call gives in a forked process: its result, or its error in words."""

    def work(results):
        try:
            results.put(call())
        except Exception as error:
            results.put(f"{type(error).__name__}: {error}")

    context = multiprocessing.get_context("fork")
    results = context.Queue()
    process = context.Process(target=work, args=(results,))
    process.start()
    result = results.get(timeout=100)
    process.join()
    return result


@pytest.mark.parametrize("io", ["zarr", "auto"])
def test_views_images_and_runs_in_a_forked_process(source, image, tmp_path, io):
    words = {word: value for word, value in TILES.items() if word != "progress"}
    plan = daskpatch.plan(source, np.negative, tmp_path / "o.zarr", io=io, **words)
    stack = daskpatch.open_image(source, axes="YX")
    np.testing.assert_array_equal(plan.view[...], -image)
    stack.extract_patch(0, None, (0, 0), (8, 8))

    def work():
        np.testing.assert_array_equal(plan.view[3:30], -image[3:30])
        # Dask's own threads stay with a parent that computed something in them.
        np.testing.assert_array_equal(plan.array.compute(scheduler="synchronous"), -image)
        np.testing.assert_array_equal(
            stack.extract_patch(0, None, (8, 8), (8, 8))[0], image[8:16, 8:16]
        )
        doubled(source, tmp_path / "child.zarr", io=io)
        np.testing.assert_array_equal(read(tmp_path / "child.zarr"), -image)
        return "right"

    assert in_a_fork(work) == "right"


def test_what_cannot_work_in_a_forked_process_says_so(source, tmp_path):
    import obstore.store

    stack = daskpatch.open_image(source, axes="YX").with_io("tensorstore")
    stack.extract_patch(0, None, (0, 0), (8, 8))
    said = in_a_fork(lambda: stack.extract_patch(0, None, (0, 0), (8, 8)))
    assert "does not work in a forked process" in said
    assert "spawn" in said
    store = ObjectStore(obstore.store.LocalStore(str(source)), read_only=True)
    stored = daskpatch.open_image(store, axes="YX")
    stored.extract_patch(0, None, (0, 0), (8, 8))
    said = in_a_fork(lambda: stored.extract_patch(0, None, (0, 0), (8, 8)))
    assert "Start processes by 'spawn'" in said  # what comes before is cut where paths are long


def test_a_client_stays_with_the_process_that_opened_it(source, image, tmp_path):
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0"
        ) as cluster,
        Client(cluster),
    ):
        assert in_a_fork(lambda: doubled(source, tmp_path / "out.zarr", io="zarr")) > 0
    np.testing.assert_array_equal(read(tmp_path / "out.zarr"), -image)


# Dask tasks


def done_in_a_task(call, *, processes=False):
    """What a call gives inside a task of a cluster that has one thread."""
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=1, processes=processes, dashboard_address=":0"
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        return client.submit(call).result(timeout=100)


@pytest.mark.parametrize("processes", [True, False])
@pytest.mark.parametrize("explicit", [True, False])
def test_a_run_inside_a_task_of_a_cluster_of_one_thread(
    source, image, tmp_path, processes, explicit
):
    out = tmp_path / "out.zarr"

    def task():
        return doubled(source, out, **({"client": get_client()} if explicit else {}))

    assert done_in_a_task(task, processes=processes) > 0
    np.testing.assert_array_equal(read(out), -image)


def test_a_run_inside_a_task_that_gave_its_thread_back(source, image, tmp_path):
    out = tmp_path / "out.zarr"

    def task():
        with worker_client() as client:
            return doubled(source, out, client=client)

    assert done_in_a_task(task) > 0
    np.testing.assert_array_equal(read(out), -image)


def test_a_dask_array_is_predicted_inside_a_task(image, tmp_path):
    out = tmp_path / "out.zarr"

    def task():
        return doubled(da.from_array(image, chunks=20), out)

    assert done_in_a_task(task) > 0
    np.testing.assert_array_equal(read(out), -image)


# Coroutines


def test_a_run_in_a_coroutine(source, image, tmp_path):
    async def main():
        doubled(source, tmp_path / "a.zarr")
        await asyncio.to_thread(doubled, source, tmp_path / "b.zarr")

    asyncio.run(main())
    for name in "ab":
        np.testing.assert_array_equal(read(tmp_path / f"{name}.zarr"), -image)


def test_asynchronous_clients(source, image, tmp_path, caplog):
    async def main():
        async with (
            LocalCluster(
                n_workers=1, processes=False, asynchronous=True, dashboard_address=":0"
            ) as cluster,
            Client(cluster, asynchronous=True) as client,
        ):
            with pytest.raises(TypeError, match="asyncio.to_thread"):
                doubled(source, tmp_path / "out.zarr", client=client)
            assert not (tmp_path / "out.zarr").exists()
            doubled(source, tmp_path / "threads.zarr")  # the active one, unasked
            await asyncio.to_thread(doubled, source, tmp_path / "out.zarr", client=client)

    asyncio.run(main())
    assert "The active client is asynchronous" in caplog.text
    for name in ("threads.zarr", "out.zarr"):
        np.testing.assert_array_equal(read(tmp_path / name), -image)


# Threads


def test_runs_in_several_threads_at_once(source, image, tmp_path):
    runs = [
        threading.Thread(target=doubled, args=(source, tmp_path / f"{i}.zarr")) for i in range(4)
    ]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    for i in range(4):
        np.testing.assert_array_equal(zarr.open(tmp_path / f"{i}.zarr", mode="r")[...], -image)
