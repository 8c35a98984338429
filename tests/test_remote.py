"""Stores behind a server: S3 (moto's) and plain HTTP, on the loopback address."""

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from uuid import uuid4

import numpy as np
import pytest
import zarr
from example_models import double

import daskpatch


@pytest.fixture
def s3(monkeypatch):
    """The environment of a bucket on a real S3 server."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "a-secret",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    bucket = f"bucket-{uuid4().hex}"
    boto3.client("s3", region_name="us-east-1").create_bucket(Bucket=bucket)
    try:
        yield f"s3://{bucket}"
    finally:
        server.stop()


@pytest.fixture
def http(tmp_path):
    """The URL of a folder, served read-only."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def put(url, values):
    from daskpatch.store import locate

    array = zarr.create_array(
        store=locate(url).store,
        shape=values.shape,
        dtype=values.dtype,
        chunks=(16, 16, 16),
        dimension_names=["z", "y", "x"],
    )
    array[...] = values


def get(url):
    from daskpatch.store import locate

    return zarr.open_array(store=locate(url).store, mode="r")


@pytest.mark.parametrize("where", ["threads", "processes"])
def test_from_s3_to_s3(s3, volume, where):
    put(f"{s3}/in.zarr", volume)
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


def test_an_s3_output_that_exists_is_refused_and_overwritten(s3, volume):
    put(f"{s3}/in.zarr", volume)
    put(f"{s3}/out.zarr", volume)
    with pytest.raises(FileExistsError):
        daskpatch.predict(f"{s3}/in.zarr", double, f"{s3}/out.zarr", patch_size=20, progress=False)
    daskpatch.predict(
        f"{s3}/in.zarr", double, f"{s3}/out.zarr", patch_size=20, progress=False, overwrite=True
    )
    assert np.array_equal(get(f"{s3}/out.zarr")[...], volume * np.float32(2))


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
