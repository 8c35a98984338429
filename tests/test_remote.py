"""Stores behind a server: S3 (moto's) and plain HTTP, on the loopback address."""

import contextlib
import signal
import subprocess
import sys
import threading
import time
import warnings
from functools import partial
from uuid import uuid4

import dask.config
import numpy as np
import pytest
import zarr
from example_models import double, identity
from ome_images import image
from serving import Quiet, served
from volumes import read, save

import daskpatch
from daskpatch.support import Pacing
from daskpatch.values import downsampled


@pytest.fixture
def volume(rng):
    """A small ZYX volume with awkward sizes: of few requests."""
    return rng.integers(0, 60_000, (21, 37, 35)).astype("uint16")


@pytest.fixture(scope="module")
def s3_server():
    """The address of a real S3 server."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        yield "http://{}:{}".format(*server.get_host_and_port())
    finally:
        server.stop()


@pytest.fixture
def s3(monkeypatch, s3_server):
    """The environment of a bucket of its own."""
    import boto3

    for name, value in {
        "AWS_ENDPOINT_URL": s3_server,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "a-secret",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    bucket = f"bucket-{uuid4().hex}"
    boto3.client("s3", region_name="us-east-1").create_bucket(Bucket=bucket)
    # Workers that fork from what began earlier do not know this environment.
    with dask.config.set({"distributed.worker.multiprocessing-method": "spawn"}):
        yield f"s3://{bucket}"


@pytest.fixture
def http(tmp_path):
    """The URL of a folder, served read-only."""

    with served(tmp_path) as address:
        yield f"http://{address}"


def put(url, values, **layout):
    from daskpatch.store import locate

    array = zarr.create_array(
        store=locate(url).given,
        shape=values.shape,
        dtype=values.dtype,
        dimension_names=["z", "y", "x"],
        **{"chunks": (16, 16, 16), **layout},
    )
    array[...] = values


def get(url):
    from daskpatch.store import locate

    return zarr.open_array(store=locate(url).given, mode="r")


@pytest.mark.parametrize("where", ["threads", "processes"])
def test_from_s3_to_s3(s3, volume, where):
    put(f"{s3}/in.zarr", volume, chunks=(8, 8, 8), shards=(32, 16, 64))
    plan = daskpatch.plan(
        f"{s3}/in.zarr", double, f"{s3}/out.zarr", patch_size=20, overlaps=4, chunks=8, shards=16
    )
    assert plan.io == "zarr"
    if where == "threads":
        plan.run(progress=False)
    else:
        from distributed import Client, LocalCluster

        with (
            LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
            Client(cluster, set_as_default=False) as client,
        ):
            plan.run(client=client, progress=False)
    out = get(f"{s3}/out.zarr")
    assert np.array_equal(out[...], volume * np.float32(2))
    assert "a-secret" not in str(dict(out.attrs))


def test_requests_of_a_short_run_on_s3(s3, volume, monkeypatch):
    from werkzeug.serving import WSGIRequestHandler

    asked = []

    def note(handler, *arguments):
        if "/c/" not in handler.path:
            asked.append((handler.command, handler.path))

    put(f"{s3}/in.zarr", volume)
    monkeypatch.setattr(WSGIRequestHandler, "log_request", note)
    before = []

    def notes(batch):
        before.append(len(asked))
        return batch * 2

    plan = daskpatch.plan(
        f"{s3}/in.zarr",
        notes,
        f"{s3}/out.zarr",
        patch_size=20,
        overlaps=4,
        pyramid=None,
        threads=1,
        model_id="notes",
    )
    before.clear()
    # However slow the machine is, nothing is asked because time went by.
    plan.run(progress=False, pacing=Pacing(heartbeat=3600, silence=7200, flush=3600, pulse=60))
    assert asked
    # Seven of them are for what lies around, the bucket: for a node, and for claims of others,
    # before there is one of ours and after it.
    assert before[0] <= 27, asked[: before[0]]
    assert len(asked) <= 37, asked


def test_a_pyramid_on_s3(s3, volume):
    out = f"{s3}/pyramid.zarr"
    daskpatch.predict(
        volume, double, out, axes="ZYX", ome=True, pyramid=2, patch_size=20, overlaps=4, chunks=16,
        progress=False,
    )  # fmt: skip
    fine = volume.astype("f4") * 2
    for level in range(1, 3):
        fine = downsampled(fine, (2, 2, 2), "mean")
        found = daskpatch.open_image(out, level=level)
        assert np.array_equal(found.extract_patch(0, None, (0, 0, 0), fine.shape)[0], fine)
    assert daskpatch.verify(out, progress=False).ok


def test_a_label_image_on_s3(s3, volume):
    source, out = f"{s3}/in.zarr", f"{s3}/labelled.zarr"
    put(source, volume)
    words = {"patch_size": 20, "overlaps": 4, "chunks": 32, "progress": False}
    daskpatch.predict(source, double, out, ome=True, pyramid=1, **words)
    words["label_image"] = "nuclei"
    label, model = f"{out}/labels/nuclei", bright
    daskpatch.predict(source, model, label, part=(1, 2), **words)
    daskpatch.predict(source, model, out, resume=True, **words)
    for place in (f"{label}/0", f"{label}/1"):
        assert set(np.unique(get(place)[...])) == {1, 2}
    assert daskpatch.verify(label, progress=False).ok
    assert daskpatch.status(f"{label}/0").remaining == 0
    assert daskpatch.verify(label, repair=True, model=model, progress=False).repaired is None
    with pytest.raises(FileExistsError, match="labels/nuclei exists; give resume=True"):
        daskpatch.predict(source, model, out, **words)
    daskpatch.predict(source, model, label, overwrite=True, **words)
    assert daskpatch.verify(out, progress=False).ok


def group_at(url, **kind):
    from daskpatch.store import locate

    place = locate(url)
    return zarr.create_group(store=place.store, path=place.path, **kind)


def test_what_lies_around_a_url_is_seen(s3, volume):
    """As around a path: the bucket is the root."""
    options = {"axes": "ZYX", "patch_size": 20, "pyramid": None, "progress": False}
    group_at(f"{s3}/second", zarr_format=2)
    daskpatch.predict(volume, double, f"{s3}/second/out", **options)
    assert get(f"{s3}/second/out").metadata.zarr_format == 2
    put(f"{s3}/array.zarr", volume)
    with pytest.raises(ValueError, match="is inside the array .*, among its chunks"):
        daskpatch.predict(volume, double, f"{s3}/array.zarr/x/out", **options)
    group = group_at(f"{s3}/consolidated")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that Zarr v3 does not say what that is
        zarr.consolidate_metadata(group.store, path=group.path)
    with pytest.warns(UserWarning, match="are consolidated: readers of that group will not see"):
        daskpatch.predict(volume, double, f"{s3}/consolidated/out", **options)


def test_a_member_of_a_series_that_is_written_is_no_place_for_another_run(s3, volume):
    options = {"axes": "ZYX", "patch_size": 20, "pyramid": None, "model_id": "m"}
    has_begun, may_end = threading.Event(), threading.Event()

    def held(batch):
        has_begun.set()
        may_end.wait(60)
        return batch * 2

    may_end.set()
    plan = daskpatch.plan([volume, volume], held, f"{s3}/series", **options)
    may_end.clear(), has_begun.clear()
    thread = threading.Thread(target=partial(plan.run, progress=False))
    thread.start()
    try:
        assert has_begun.wait(60)
        for place in ("series/1", "series/0/c/out"):
            with pytest.raises((daskpatch.ClaimedError, ValueError), match="written by|among its"):
                daskpatch.predict(
                    volume, double, f"{s3}/{place}", overwrite=True, progress=False, **options
                )
    finally:
        may_end.set()
        thread.join()
    assert daskpatch.verify(f"{s3}/series", progress=False).ok


def test_a_bucket_of_which_one_folder_may_be_seen(s3, volume, monkeypatch):
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication
    from werkzeug.wrappers import Request, Response

    serve = DomainDispatcherApplication.__call__
    denied = []

    def of_one_folder(application, environ, respond):
        request = Request(environ)
        asked = request.args.get("prefix") or request.path.split("/", 2)[-1]
        if "delete" in request.args or asked.startswith("mine/"):
            return serve(application, environ, respond)
        denied.append(asked)
        return Response("<Error><Code>AccessDenied</Code></Error>", 403)(environ, respond)

    put(f"{s3}/mine/in.zarr", volume)
    monkeypatch.setattr(DomainDispatcherApplication, "__call__", of_one_folder)
    out = f"{s3}/mine/out.zarr"
    daskpatch.predict(
        f"{s3}/mine/in.zarr", double, out, patch_size=20, ome=True, pyramid=1, progress=False
    )
    assert daskpatch.status(out).remaining == 0
    assert denied
    assert np.array_equal(get(f"{out}/0")[...], volume * np.float32(2))


def bright(batch):
    return (batch > 30_000).astype("uint8") + 1


def test_an_s3_output_that_exists_is_refused_and_overwritten(s3, volume):
    options = {"patch_size": 20, "progress": False}
    put(f"{s3}/in.zarr", volume)
    put(f"{s3}/theirs.zarr", volume)
    daskpatch.predict(f"{s3}/in.zarr", identity, f"{s3}/out.zarr", **options)
    with pytest.raises(FileExistsError):
        daskpatch.predict(f"{s3}/in.zarr", double, f"{s3}/out.zarr", **options)
    with pytest.raises(FileExistsError, match="daskpatch did not make"):
        daskpatch.predict(f"{s3}/in.zarr", double, f"{s3}/theirs.zarr", overwrite=True, **options)
    daskpatch.predict(f"{s3}/in.zarr", double, f"{s3}/out.zarr", overwrite=True, **options)
    assert np.array_equal(get(f"{s3}/out.zarr")[...], volume * np.float32(2))
    assert np.array_equal(get(f"{s3}/theirs.zarr")[...], volume)


@pytest.mark.parametrize(
    ("output", "words"), [("in.zarr", "is the input"), ("in.zarr/x", "inside the input")]
)
def test_the_input_on_s3_is_never_in_danger(s3, volume, output, words):
    put(f"{s3}/in.zarr", volume)
    with pytest.raises(ValueError, match=words):
        daskpatch.predict(f"{s3}/in.zarr", double, f"{s3}/{output}", patch_size=20, overwrite=True)
    assert np.array_equal(get(f"{s3}/in.zarr")[...], volume)


def test_a_group_on_s3_holds_a_series(s3, volume):
    put(f"{s3}/in.zarr", volume)
    source = f"{s3}/in.zarr"
    daskpatch.predict([source, source], double, f"{s3}/out.zarr", patch_size=20, progress=False)
    assert np.array_equal(get(f"{s3}/out.zarr/1")[...], volume * np.float32(2))


def test_from_http(http, stored, volume, tmp_path):
    image = daskpatch.open_image(f"{http}/in.zarr?token=secret")
    assert image.source == f"{http}/in.zarr"
    assert "secret" not in repr(image)
    daskpatch.predict(
        f"{http}/in.zarr", double, tmp_path / "out.zarr", patch_size=20, progress=False
    )
    assert np.array_equal(zarr.open_array(tmp_path / "out.zarr")[...], volume * np.float32(2))


def test_what_is_not_there_is_named(http):
    with pytest.raises(FileNotFoundError, match=r"missing\.zarr"):
        daskpatch.open_image(f"{http}/missing.zarr")


def test_an_interrupted_run_on_s3_with_two_worker_processes_is_resumed(s3, volume, tmp_path):
    from distributed import Client, LocalCluster

    from daskpatch.engine import Interruption

    put(f"{s3}/in.zarr", volume)
    source, out = f"{s3}/in.zarr", f"{s3}/out.zarr"
    options = {"patch_size": 20, "overlaps": 4, "chunks": 8, "shards": 16, "block_shape": 16}
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        interruption = Interruption()
        stop = threading.Thread(target=stop_soon, args=(out, interruption, tmp_path))
        planned = daskpatch.plan(source, Held(tmp_path), out, model_id="m", **options)
        (tmp_path / "armed").touch()
        stop.start()
        with pytest.raises(KeyboardInterrupt):
            planned.run(
                client=client,
                progress=False,
                interruption=interruption,
                pacing=daskpatch.Pacing(flush=0.1),
            )
        stop.join()
        before = daskpatch.status(out)
        assert 0 < before.done < before.total
        assert before.drivers == ()
        report = daskpatch.predict(
            source, double, out, model_id="m", client=client, resume=True, progress=False, **options
        )
    assert (report.skipped, report.done) == (before.done, before.remaining)
    assert np.array_equal(get(out)[...], volume * np.float32(2))
    assert daskpatch.verify(out, progress=False).ok
    assert daskpatch.predict(source, double, out, overwrite=True, progress=False, **options)


def stop_soon(output, interruption, folder):
    """As soon as some receipts are stored."""
    while True:
        with contextlib.suppress(FileNotFoundError):
            if daskpatch.status(output).done > 2:
                interruption.request()
                (folder / "free").touch()
                return
        time.sleep(0.05)


class Held:
    """A model that doubles; armed, its third call in a process waits until all are free."""

    def __init__(self, folder):
        self.folder, self.calls = folder, 0

    def __call__(self, batch):
        self.calls += (self.folder / "armed").exists()
        while self.calls > 2 and not (self.folder / "free").exists():
            time.sleep(0.01)
        return double(batch)


def test_only_one_claim_wins_on_s3(s3, volume):
    from concurrent.futures import ThreadPoolExecutor

    from daskpatch.receipts import Record
    from daskpatch.store import locate

    documents = [Record(locate(f"{s3}/out.zarr")).documents for _ in range(8)]
    assert documents[0].creates_atomically
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda i: documents[i].create("claim", f"mine {i}".encode()), range(8)))
    assert won.count(True) == 1
    assert documents[0].read("claim") == f"mine {won.index(True)}".encode()


def test_the_record_of_an_output_behind_fsspec(stored):
    import fsspec
    from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper
    from zarr.storage import FsspecStore

    from daskpatch.receipts import Record
    from daskpatch.store import locate

    fs = AsyncFileSystemWrapper(fsspec.filesystem("memory"), asynchronous=True)
    store = FsspecStore(fs, path=f"/{uuid4().hex}/out.zarr")
    options = {"patch_size": 20, "overlaps": 4, "chunks": 16, "progress": False}
    daskpatch.predict(stored, double, store, **options)
    assert daskpatch.predict(stored, double, store, resume=True, **options).done == 0
    assert not Record(locate(store)).documents.creates_atomically
    assert daskpatch.verify(store, progress=False).ok


def test_a_source_on_s3_that_is_deleted_during_a_run(s3, volume):
    import boto3

    put(f"{s3}/in.zarr", volume + 1)
    bucket = boto3.resource("s3", region_name="us-east-1").Bucket(s3.removeprefix("s3://"))

    def model(batch):
        if len(calls) == 3:
            bucket.objects.filter(Prefix="in.zarr/").delete()
        calls.append(None)
        return batch * 2

    calls = []
    with pytest.raises(daskpatch.RunFailed, match="is gone"):
        daskpatch.predict(
            f"{s3}/in.zarr",
            model,
            f"{s3}/out.zarr",
            patch_size=16,
            overlaps=0,
            chunks=16,
            block_shape=16,
            threads=1,
            progress=False,
        )
    found = get(f"{s3}/out.zarr")[...]
    written = found != 0  # the source has no zeros
    np.testing.assert_array_equal(found[written], ((volume + 1) * np.float32(2))[written])


def test_an_image_on_a_web_server_is_copied_with_a_pyramid(http, tmp_path, volume):
    save(tmp_path / "in.zarr", volume, chunks=(8, 16, 16))
    out = tmp_path / "out.zarr"
    daskpatch.pyramid(f"{http}/in.zarr", out, axes="ZYX", pyramid=1, progress=False)
    np.testing.assert_array_equal(read(out / "0"), volume)
    assert read(out / "1").shape == tuple(-(-n // 2) for n in volume.shape)


def test_a_server_that_begins_to_answer_404(http, tmp_path, volume):
    save(tmp_path / "in.zarr", volume + 1, chunks=(16, 16, 16))
    plan = daskpatch.plan(
        f"{http}/in.zarr", double, axes="ZYX", patch_size=16, overlaps=0, io="zarr"
    )
    doubled = (volume[:16, :16, :16] + 1) * np.float32(2)
    np.testing.assert_array_equal(plan.view[:16, :16, :16], doubled)
    (tmp_path / "in.zarr").rename(tmp_path / "elsewhere.zarr")
    with pytest.raises(OSError, match="is gone"):
        plan.view[:16, :16, :16]


# Servers that may not list


@pytest.fixture
def unlisted(tmp_path):
    """A folder, and the address of a server that answers 403 for what is not in it."""

    class Forbidding(Quiet):
        def send_error(self, code, *args):
            super().send_error(403 if code == 404 else code, *args)

    with served(tmp_path, Forbidding) as address:
        yield tmp_path, f"http://{address}"


@pytest.mark.parametrize("version", [2, 3])
def test_a_server_that_forbids_what_is_missing(unlisted, volume, version):
    folder, url = unlisted
    save(folder / "v.zarr", volume, chunks=(16, 16, 16), zarr_format=version)
    options = {"axes": "ZYX", "patch_size": 20, "overlaps": 4, "progress": False}
    daskpatch.predict(f"{url}/v.zarr", identity, folder / "out.zarr", **options)
    np.testing.assert_array_equal(zarr.open(folder / "out.zarr")[...], volume)
    # A chunk that is forbidden is no chunk of fill value.
    chunk = folder / "v.zarr" / ("c/1/1/1" if version == 3 else "1.1.1")
    chunk.unlink()
    with pytest.raises(OSError, match="servers that may not list answer so for what is missing"):
        daskpatch.plan(f"{url}/v.zarr", identity, axes="ZYX", patch_size=20).view[...]
    with pytest.raises(PermissionError, match="may not be read"):
        daskpatch.open_image(f"{url}/nothing.zarr")


@pytest.mark.parametrize("version", [2, 3])
def test_a_group_on_a_server_that_does_not_list(unlisted, volume, version):
    folder, url = unlisted
    group = zarr.open_group(folder / "g.zarr", mode="w", zarr_format=version)
    group.create_array("raw", data=volume, chunks=(16, 16, 16))
    with pytest.raises(ValueError, match="its server does not list. Name an array, as in"):
        daskpatch.open_image(f"{url}/g.zarr")
    assert daskpatch.open_image(f"{url}/g.zarr/raw", axes="ZYX").data_shape[2:] == volume.shape


@pytest.mark.parametrize("place", ["out.zarr", "out.zarr/0", "in.zarr", "nothing.zarr"])
def test_what_is_done_of_an_output_on_a_web_server_cannot_be_told(http, stored, tmp_path, place):
    words = {"patch_size": 20, "pyramid": 1, "ome": True, "progress": False}
    daskpatch.predict(stored, double, tmp_path / "out.zarr", **words)
    for verb in (daskpatch.status, partial(daskpatch.verify, progress=False)):
        with pytest.raises(ValueError, match=r"on a web server, .* or copy it whole, \.daskpatch"):
            verb(f"{http}/{place}")


def test_a_web_server_takes_no_output(unlisted, stored):
    _, url = unlisted
    with pytest.raises(ValueError, match="a web server, which takes nothing"):
        daskpatch.predict(stored, identity, f"{url}/out.zarr", patch_size=20, progress=False)


def test_a_source_through_fsspec_on_such_a_server_is_looked_at(unlisted, volume):
    from zarr.storage import FsspecStore

    folder, url = unlisted
    save(folder / "v.zarr", volume, chunks=(16, 16, 16))
    store = FsspecStore.from_url(f"{url}/v.zarr", read_only=True)
    image = daskpatch.open_image(store, axes="ZYX")
    image.array.look()
    (folder / "v.zarr" / "zarr.json").unlink()
    with pytest.raises(OSError, match="is gone|may not be read"):
        image.with_delays(()).array.look()


def test_a_pyramid_is_built_and_completed_in_a_bucket(s3, tmp_path, rng):
    values = rng.integers(0, 99, (12, 40, 50)).astype("u2")
    out = f"{s3}/out.zarr"
    daskpatch.pyramid(image(tmp_path / "in.zarr", values), out, pyramid=1, progress=False)
    assert daskpatch.pyramid(out, pyramid=2, progress=False).done
    expected = values
    for level in range(3):
        made = daskpatch.open_image(out, level=level)
        patch = made.extract_patch(0, None, (0, 0, 0), expected.shape)
        np.testing.assert_array_equal(patch[0], expected)
        expected = downsampled(expected, (1, 2, 2), "mean")
    assert daskpatch.verify(out, progress=False).ok
    assert daskpatch.pyramid(out, pyramid=2, progress=False).done == 0


ENDS = """
import sys, threading, zarr
from daskpatch.store import locate

def read():
    try:
        zarr.open(store=locate(sys.argv[1], read_only=True).given, mode="r")
    except BaseException as error:
        print("ended:", type(error).__name__, flush=True)

threading.Thread(target=read, daemon=True).start()
sys.stdin.readline()
"""


def test_requests_end_before_the_process_does(tmp_path):
    asked, answered = threading.Event(), threading.Event()

    class Silent(Quiet):
        def do_GET(self):  # noqa: N802 (so it is called)
            asked.set()
            answered.wait(60)

    with served(tmp_path, Silent) as address:
        command = [sys.executable, "-c", ENDS, f"http://{address}/in.zarr"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        with subprocess.Popen(command, **pipes) as process:
            assert asked.wait(60)
            said, _ = process.communicate("\n", timeout=60)
        answered.set()
    assert process.returncode == 0
    assert "ended: CancelledError" in said


READS = """
import signal, sys, numpy as np, daskpatch
signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it is ignored
options = {"axes": "YX", "patch_size": 16, "chunks": 16, "progress": False}
options["pacing"] = daskpatch.Pacing(delays=(0.5,) * 6)
try:
    daskpatch.predict(sys.argv[1], np.negative, sys.argv[2], threads=2, **options)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def test_a_process_ends_though_a_server_never_answers(tmp_path):
    """Its reads wait in threads, which the standard library's executors would wait for."""
    values = np.zeros((256, 256), "f4") + np.arange(256, dtype="f4")
    save(tmp_path / "in.zarr", values, chunks=(16, 16))
    hung, released = threading.Event(), threading.Event()

    class Hanging(Quiet):
        def do_GET(self):  # noqa: N802 (so it is called)
            # Once blocks are read: before that a sample is, in threads of another kind.
            if "/c/" in self.path and (tmp_path / "out.zarr" / "zarr.json").exists():
                hung.set()
                released.wait(120)
            with contextlib.suppress(ConnectionError):  # who asked is gone
                super().do_GET()

    with served(tmp_path, Hanging) as address:
        url, out = f"http://{address}/in.zarr", str(tmp_path / "out.zarr")
        command = [sys.executable, "-c", READS, url, out]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            told = threading.Thread(target=process.stdout.readline)
            told.start()
            try:
                assert hung.wait(60)
                process.send_signal(signal.SIGINT)  # once: its last look at the source hangs, too
                told.join(90)
                assert process.wait(60) == 0
            finally:
                process.kill()
                released.set()


def test_what_is_created_in_a_bucket_is_created_once(s3):
    from daskpatch.store import Objects, locate

    place = locate(f"{s3}/folder")
    one, other = Objects(place, delays=()), Objects(place, delays=())
    assert one.create("claim", b"mine")
    assert not other.create("claim", b"theirs")
    assert one.create("claim", b"mine")  # as after an answer that was lost
    assert one.read("claim") == b"mine"
    seen = Objects(locate(f"{s3}/folder", read_only=True), delays=())
    with pytest.raises(ValueError, match="read-only"):
        seen.create("another", b"mine")
    assert other.read("another") is None
