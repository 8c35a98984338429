"""Passwords and tokens are in nothing that is stored, logged, shown or raised."""

import inspect
import io
import json
import logging
import pickle
import shutil
import traceback

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving import Quiet, served
from volumes import save
from zarr.storage import FsspecStore

import daskpatch
from daskpatch.cli.commands import cli, main
from daskpatch.support import as_shown, cause_of, redacted, said_by, without_secrets

TOKEN, PASSWORD = "S3CRETTOKEN", "PASSW0RD"

TILES = {"axes": "YX", "patch_size": 16, "chunks": 16, "block_shape": 16}

QUICK = daskpatch.Pacing(delays=(0.001,))


class Server(Quiet):
    """Serves a folder, whatever the query; begins to answer otherwise when it is told to."""

    protocol_version = "HTTP/1.1"
    answer = 0

    def do_GET(self):  # noqa: N802 (so it is called)
        self.path = self.path.split("?")[0]
        if Server.answer and "/c/3" in self.path:
            self.send_error(Server.answer)
        else:
            super().do_GET()

    def do_HEAD(self):  # noqa: N802 (so it is called)
        self.path = self.path.split("?")[0]
        super().do_HEAD()


@pytest.fixture
def server(tmp_path, rng):
    """The address of a server of `in.zarr`."""
    values = rng.random((64, 64)).astype("f4")
    folder = tmp_path / "served"
    save(folder / "in.zarr", values, chunks=(16, 16), dimension_names=["y", "x"])

    Server.answer = 0
    with served(folder, Server) as address:
        yield address


def with_token(host):
    return f"http://{host}/in.zarr?token={TOKEN}"


def with_password(host):
    return f"http://me:{PASSWORD}@{host}/in.zarr"


def through_fsspec(host):
    return FsspecStore.from_url(with_password(host), read_only=True)


@pytest.mark.filterwarnings("ignore:Unclosed:ResourceWarning")
@pytest.mark.parametrize(
    ("source", "answer"),
    # obstore asks for half a minute by itself where a server says 500.
    [(with_token, 403), (with_password, 410), (through_fsspec, 500), (through_fsspec, 403)],
)
def test_nothing_of_a_run_that_fails_tells_a_secret(server, tmp_path, source, answer):
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    logger = logging.getLogger("daskpatch")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    is_planned = []

    def model(batch):
        Server.answer = answer if is_planned else 0
        return abs(batch)

    out = tmp_path / "out.zarr"
    try:
        plan = daskpatch.plan(source(server), model, out, model_id="m", **TILES)
        is_planned.append(True)
        shown = [repr(plan), plan._repr_html_(), json.dumps(plan.to_dict()), repr(plan.images)]
        shown += [repr(plan.view), repr(plan.array), *map(str, plan.array.__dask_graph__())]
        with pytest.raises(daskpatch.RunFailed) as failure:
            plan.run(progress=False, retries=0, threads=1, pacing=QUICK)
        shown += ["".join(traceback.format_exception(failure.value))]
        shown += [f"{failed} {failed.traceback}" for failed in failure.value.failed]
        shown += [str(daskpatch.status(out)), str(failure.value.report)]
    finally:
        logger.removeHandler(handler)
    shown += [path.read_bytes().decode("latin1") for path in out.rglob("*") if path.is_file()]
    for text in [*shown, log.getvalue()]:
        assert TOKEN not in text
        assert PASSWORD not in text
        assert "<html" not in text.lower()
        assert "Debug source" not in text


@pytest.mark.parametrize("source", [with_token, with_password])
def test_no_warning_of_zarr_tells_a_secret(server, tmp_path, rng, source):
    values = rng.random((64, 64)).astype("f4")
    save(tmp_path / "v2.zarr", values, chunks=(16, 16), zarr_format=2)
    shutil.copy(tmp_path / "v2.zarr/.zarray", tmp_path / "served/in.zarr/.zarray")
    with pytest.warns(UserWarning, match="Both zarr.json") as told:
        daskpatch.plan(source(server), abs, **TILES)
    assert not [each for each in told if TOKEN in str(each) or PASSWORD in str(each)]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://a.org/b.zarr", "https://a.org/b.zarr"),
        ("wrapping-file:///tmp/a", "wrapping-file:///tmp/a"),
        ("s3://key:secret@bucket/a?versionId=1#x", "s3://bucket/a"),
        ("url='http://h/a?sig=1', status=500", "url='http://h/a', status=500"),
        ("https://h/x.zarr;token=SECRET", "https://h/x.zarr"),
        (f"repo with hf_{'aB3' * 11} is gated", "repo with hf_*** is gated"),
        (f"ghp_{'x7' * 18} was refused", "ghp_*** was refused"),
        (f"glpat-{'x-7' * 7} was refused", "glpat-*** was refused"),
        ("id AKIAIOSFODNN7EXAMPLE is unknown", "id *** is unknown"),
        ("AWS_SECRET_ACCESS_KEY SECRET12345 failed", "AWS_SECRET_ACCESS_KEY *** failed"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE", "-----BEGIN RSA PRIVATE KEY-----***"),
        ("the password is hunter22, they said", "the password is ***, they said"),
        ("the token was 'abc'", "the token was ***"),
        ("the password is wrong", "the password is wrong"),
        ("curl -s -u me:pw -L h/a", "curl -s -u *** -L h/a"),
        ("curl h/a --user 'me:p w'", "curl h/a --user ***"),
        ("python -u net:model", "python -u net:model"),
        ("the API_KEY variable is not set", "the API_KEY variable is not set"),
        ("hf_denoised_volume_of_today.zarr is gone", "hf_denoised_volume_of_today.zarr is gone"),
        ("see http://h/a; b=1", "see http://h/a; b=1"),
        ("see http://h/a?x=1.", "see http://h/a."),
        ("(http://h/a?x=1)", "(http://h/a)"),
        ("secret_access_key=abc, region=eu", "secret_access_key=***, region=eu"),
        ("{'token': 'abc', 'anon': False}", "{'token': ***, 'anon': False}"),
        ("password=b'hunter2'", "password=***"),
        ("password = 'my pass phrase'", "password = ***"),
        ("token='ab,cd&ef'", "token=***"),
        ("/data/u.zarr?sig=SECRET", "/data/u.zarr?sig=***"),
        ("SharedAccessSignature sv=2020&sig=abc", "SharedAccessSignature sv=2020&sig=***"),
        ("{'pwd': 'x1'}", "{'pwd': ***}"),
        ("Unexpected token: 'x' in JSON", "Unexpected token: 'x' in JSON"),
        ("tokenizer: bpe failed", "tokenizer: bpe failed"),
        ("n_tokens=5 exceeds", "n_tokens=5 exceeds"),
        ("see https://a.org/x.html#section", "see https://a.org/x.html"),
        ("https://a.org/b.zarr#s3cr3t", "https://a.org/b.zarr"),
        ("zip://a::https://u:pw@h/x.zip", "zip://a::https://h/x.zip"),
        ("password: hunter2", "password: ***"),
        ("Authorization: Bearer abcdefghij", "Authorization: ***"),
        ("token=None", "token=None"),
        ("token: expected ')'", "token: expected ')'"),
        ("Ocp-Apim-Subscription-Key: SECRET", "Ocp-Apim-Subscription-Key: ***"),
        ("DB_PASS=SECRET", "DB_PASS=***"),
        ("forward_pass: failed", "forward_pass: failed"),
        ("{'pass': 'SECRET'}", "{'pass': ***}"),
        ("SecretStr('SECRET')", "SecretStr(***)"),
        ("u=https%3A%2F%2Fme%3APW%40h%2Fa%3Fsig%3DSECRET&x=1", "u=https%3A%2F%2Fh%2Fa&x=1"),
        ("in https%3A%2F%2Fh%2Fa%20b.zarr", "in https%3A%2F%2Fh%2Fa%20b.zarr"),
        ("a Basic fact", "a Basic fact"),
        ("http://me:a/SECRET@h/s.zarr", "http://h/s.zarr"),
        ("http://me:SECRET#b@h/s.zarr", "http://h/s.zarr"),
        ("http:/me:SECRET@h/s.zarr", "http:/h/s.zarr"),
        ("http://h:8080/path@2x.png", "http://h:8080/path@2x.png"),
        ("headers {'X-API-Key': 'SECRET'}", "headers {'X-API-Key': ***}"),
        ("bad api-key: SECRET", "bad api-key: ***"),
        ("'private_key': 'SECRET'", "'private_key': ***"),
        ("get(auth=('me', 'SECRET'))", "get(auth=***)"),
        ("Cookie: session=SECRET; a=1", "Cookie: ***"),
        ("key='0123456789abcdef'", "key=***"),
        ("key='c/0/0'", "key='c/0/0'"),
        ("{'client_kwargs': {'auth': ('me', 'X')}}", "{'client_kwargs': {'auth': ***}}"),
        ("auth=['me', 'X']", "auth=***"),
        ("{'token': {'access': 'X'}}", "{'token': ***}"),
        ("{'cookies': {'sid': 'X'}}", "{'cookies': ***}"),
        ("('x-api-key', 'X')", "('x-api-key', ***)"),
        ('{"sig": "X"}', '{"sig": ***}'),
        ("ssh me:X@host failed", "ssh host failed"),
        ("//me:X@h/x", "//h/x"),
        (r"token='it\'s X'", "token=***"),
        ("pw=X and pass=Y", "pw=*** and pass=***"),
        ("bearer:abcdefghij", "bearer:***"),
        ("run --password X", "run --password ***"),
        ("at 12:30@noon", "at 12:30@noon"),
        ("file.py:model", "file.py:model"),
    ],
)
def test_texts_lose_their_secrets_and_nothing_else(text, shown):
    assert redacted(text) == shown
    assert redacted(shown) == shown


def test_ids_and_names_of_models_tell_no_secret(tmp_path):
    image, url = np.ones((16, 16), "f4"), f"https://me:{PASSWORD}@h/m.onnx"
    tiles = {"axes": "YX", "patch_size": 16}
    out = tmp_path / "out.zarr"
    daskpatch.predict(
        image, np.abs, out, post=np.abs, model_id=url, post_id=url, progress=False, **tiles
    )
    files = [path for path in out.rglob("*") if path.is_file()]
    assert files
    assert not any(PASSWORD.encode() in path.read_bytes() for path in files)
    for options in ({"model": url}, {"model": np.abs, "probe": url}):
        with pytest.raises((ValueError, FileNotFoundError)) as told:
            daskpatch.plan(image, **options, **tiles)
        assert PASSWORD not in str(told.value)


def raising(text):
    def model(batch):
        raise RuntimeError(text)

    return model


class Unsent:
    """Neither told apart nor sent."""

    def __reduce__(self):
        raise TypeError(f"not over https://me:{PASSWORD}@h/x")

    def __call__(self, batch):
        return batch


TOLD = f"GET https://me:{PASSWORD}@h/x failed"


@pytest.mark.parametrize(
    "attempt",
    [
        lambda image, out: daskpatch.plan(image, raising(TOLD), axes="YX", patch_size=16),
        lambda image, out: daskpatch.plan(
            image, np.abs, axes="YX", patch_size=16, post=raising(TOLD)
        ),
        lambda image, out: daskpatch.plan(image, "net.py:model", axes="YX", patch_size=16),
        lambda image, out: daskpatch.probe(raising(TOLD), ndim=2, patch_size=16),
        lambda image, out: daskpatch.predict(
            image, Unsent(), out, axes="YX", patch_size=16, progress=False, resume=True
        ),
        lambda image, out: daskpatch.open_image(f"file://me:{PASSWORD}@server/x.zarr"),
        lambda image, out: daskpatch.OnnxModel(f"https://me:{PASSWORD}@h/x.onnx"),
        lambda image, out: daskpatch.plan(
            image, f"https:/me:{PASSWORD}@h/x.py:model", axes="YX", patch_size=16
        ),
    ],
)
def test_errors_and_their_tracebacks_tell_no_secret(tmp_path, monkeypatch, attempt):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(f"raise OSError({TOLD!r})\n")
    with pytest.raises(Exception) as raised:
        attempt(np.ones((16, 16), "f4"), tmp_path / "out.zarr")
    lines = traceback.format_exception(raised.value)
    # Not the sources of this file.
    told = [line for text in lines for line in text.splitlines() if not line.startswith("    ")]
    assert PASSWORD not in "\n".join(told)


ARRAY = np.ones((16, 16), "f4")

VERBS = {
    "plan": lambda **word: daskpatch.plan(
        **{"source": ARRAY, "model": np.abs, "axes": "YX", "patch_size": 16} | word
    ),
    "run": lambda **word: daskpatch.plan(ARRAY, np.abs, axes="YX", patch_size=16).run(**word),
    "open_image": lambda **word: daskpatch.open_image(**{"source": ARRAY, "axes": "YX"} | word),
    "open_sequence": lambda **word: daskpatch.open_sequence(
        **{"files": ["gone.tif"], "axis": "Z"} | word
    ),
    "probe": lambda **word: daskpatch.probe(
        **{"model": np.abs, "ndim": 2, "patch_size": 16, "seconds": 0} | word
    ),
    "pyramid": lambda **word: daskpatch.pyramid(**{"image": ARRAY} | word),
}

OF_VERBS = {
    "plan": daskpatch.plan,
    "run": daskpatch.Plan.run,
    "open_image": daskpatch.open_image,
    "open_sequence": daskpatch.open_sequence,
    "probe": daskpatch.probe,
    "pyramid": daskpatch.pyramid,
}

ASKED_FOR = {"source", "output", "image", "client", "mask"}
"""Words that URLs are good for, or good enough: servers would be asked."""


@pytest.mark.parametrize("verb", VERBS)
def test_a_url_given_to_the_wrong_option_is_told_without_its_secrets(verb, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    url = f"https://me:{PASSWORD}@h/x.zarr;sig={TOKEN}?token={TOKEN}"
    words = set(inspect.signature(OF_VERBS[verb]).parameters) - ASKED_FOR - {"self"}
    told = ""
    for word in words:
        for value in (url, [url], {url: url}):
            try:
                told += repr(VERBS[verb](**{word: value}))
            except Exception as error:
                told += "".join(traceback.format_exception_only(error))
    assert "Error" in told
    assert PASSWORD not in told
    assert TOKEN not in told


FLAGS = [flag.opts[0] for flag in cli.commands["plan"].params if flag.opts[0].startswith("-")]

ARGUMENTS = [*(("plan", "in.zarr", flag) for flag in FLAGS), ("plan", "in.zarr", "o.zarr"), ()]


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=" ".join)
def test_the_command_line_tells_no_secret(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "in.zarr", np.zeros((32, 32), "f4"), chunks=(16, 16))
    url = f"https://me:{PASSWORD}@h.invalid/x.zarr;sig={TOKEN}?token={TOKEN}"
    model = ["--model", "example_models:double"] if arguments else []
    with pytest.raises(SystemExit):
        main([*arguments, url, *model, "--patch-size", "16", "--axes", "YX"])
    told = "".join(capsys.readouterr())
    assert told
    assert PASSWORD not in told
    assert TOKEN not in told


def test_a_mask_that_a_server_lacks_is_told_without_secrets(server):
    url = f"http://me:{PASSWORD}@{server}/gone.zarr?token={TOKEN}"
    with pytest.raises(
        FileNotFoundError, match=r"^mask is 'http://127.*/gone.zarr', which"
    ) as told:
        daskpatch.plan(ARRAY, np.abs, axes="YX", patch_size=16, mask=url)
    assert PASSWORD not in str(told.value)
    assert TOKEN not in str(told.value)


def test_a_url_given_for_one_of_several_images_is_told_without_its_secrets(tmp_path):
    save(tmp_path / "in.zarr", ARRAY, chunks=(16, 16))
    url = f"https://me:{PASSWORD}@h/x.zarr?token={TOKEN}"
    with pytest.raises(ValueError, match="image is 'https://h/x.zarr', and") as told:
        daskpatch.open_image(tmp_path / "in.zarr", axes="YX", image=url)
    assert TOKEN not in str(told.value)


def test_a_server_s_page_is_no_error_text():
    page = "404 Not Found: <!DOCTYPE html><html><body>" + "x" * 9999
    assert said_by(OSError(page)) == "404 Not Found"
    for begin in ("<body><h1>", "<center>nginx", "<Error><Code>"):
        assert said_by(OSError(f"400: {begin}No</x>")) == "400"
    assert len(said_by(OSError("x" * 9999))) < 500


@given(st.text(), st.text(), st.text(alphabet="abc123"))
def test_whatever_is_a_url_has_no_password(host, path, password):
    password = f"#{password}#".replace("#", "PW")
    assert password not in without_secrets(
        f"http://user:{password}@h{host}/{path}".partition("\n")[0]
    )


def test_an_error_that_shows_secrets_when_it_is_represented_is_no_cause():
    class RequestFailedError(Exception):
        def __repr__(self):
            return "RequestFailed(headers={'Authorization': 'Bearer a-secret-of-mine'})"

    assert cause_of(RequestFailedError("500")) is None
    harmless = ValueError("500")
    assert cause_of(harmless) is harmless


def test_errors_of_runs_travel(server):
    failed = daskpatch.RunFailed("no", None, ())
    assert str(pickle.loads(pickle.dumps(failed))) == "no"


@pytest.mark.parametrize(
    "part", ["a-", "token-", "password=", "x://", "authorization:", "bearer ", "sig=", "?", ":"]
)
def test_long_texts_are_looked_through_once(part):
    """Each of these took minutes with an expression that goes back: a hang fails it."""
    assert len(redacted(part * 100_000)) > 10


def test_an_error_keeps_its_number():
    error = OSError(28, "No space at http://h/a?token=1")
    shown = as_shown(error, "Writing")
    assert shown is not error
    assert (type(shown), shown.errno) == (OSError, 28)


def test_values_and_errors_of_models_show_no_secret():
    url = "https://bob:S3CR@host/x.zarr?token=S3CR"
    values = (daskpatch.Source(url), daskpatch.Output(url))
    assert "S3CR" not in repr(values)

    def model(batch):
        raise ValueError(f"GET {url}")

    with pytest.raises(daskpatch.ModelError, match="GET https://host/x.zarr") as told:
        daskpatch.plan(np.zeros((8, 8)), model, axes="YX", patch_size=4)
    assert "S3CR" not in repr((told.value, told.value.args, told.value.reason))
