"""The command line: exit codes, one-line errors, JSON."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import zarr
from click import Option
from command_line import exit_code
from serving import served
from volumes import read, save

import daskpatch
from daskpatch.cli.commands import cli


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Run a command here; its exit code, output and errors."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        code = exit_code(*arguments)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


MODEL = ("--model", "example_models:double")


def test_predict_writes_the_prediction(run, stored, volume):
    code, out, err = run(
        "predict", stored, "out.zarr", *MODEL, "--patch-size", "16,20,24", "--overlaps", 4
    )
    assert code == 0, err
    assert "out.zarr" in out
    assert "voxel/s" in out
    assert "100.0 % done" in err
    assert np.array_equal(read("out.zarr"), volume * np.float32(2))


def test_predict_prints_json(run, stored):
    code, out, err = run(
        "predict", stored, "out.zarr", *MODEL, "--patch-size", 16, "--json", "--no-progress"
    )
    assert (code, err) == (0, "")
    facts = json.loads(out)
    assert set(daskpatch.Report.__dataclass_fields__) <= set(facts)
    assert facts["plan"]["n_blocks"] == facts["blocks"]


def test_predict_normalises_blends_and_makes_labels(run, stored, volume):
    Path("mine.py").write_text("def bright(block):\n    return (block[0] > 0.5).astype('uint8')\n")
    code, _, err = run(
        "predict", stored, "out.zarr", "--model", "example_models:identity", "--patch-size", 24,
        "--overlaps", 8, "--normalize", "percentile:0,100", "--normalize-over", "series",
        "--normalize-all-channels", "--stitch", "linear", "--augment", "flips",
        "--post", "mine.py:bright",
    )  # fmt: skip
    assert code == 0, err
    assert "statistics: 100.0 % done" in err
    scaled = (volume - volume.min()) / (int(volume.max()) - int(volume.min()))
    result = read("out.zarr")
    assert result.dtype == "uint8"
    certain = np.abs(scaled - 0.5) > 1e-4
    assert np.array_equal(result[certain], (scaled > 0.5).astype("u1")[certain])
    code, _, err = run("verify", "out.zarr", "--no-progress")
    assert code == 0, err


def test_predict_writes_several_arrays(run, stored, volume):
    Path("mine.py").write_text("def model(batch):\n    return {'a': batch * 2, 'b': batch > 9}\n")
    code, _, err = run(
        "predict", stored, "out.zarr", "--model", "mine.py:model", "--patch-size", 24
    )
    assert code == 0, err
    assert np.array_equal(read("out.zarr/a"), volume * np.float32(2))
    assert np.array_equal(read("out.zarr/b"), volume > 9)
    code, out, _ = run("status", "out.zarr")
    assert code == 0
    assert "0 remaining" in out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--normalize", "percentile:5"], "is no normalisation such as"),
        (["--normalize", "mean=a,std=2"], "is no normalisation such as"),
        (["--normalize", "best"], "'best'"),
        (["--augment", "turns"], "augment"),
        (["--scale", "0"], "scale is '0'"),
        (["--probe", "none.json"], "no probe at 'none.json'"),
        (["--probe", "."], "That is a folder; name a file: what Probe.save wrote"),
        (["--memory-limit", "8"], "--memory-limit is '8', which are 8 bytes; with a unit"),
        (["--patch-size", "automatic"], "no integer"),
        (["--timeout", "soon"], "no number of seconds such as 60"),
        (["--stitch", "mean"], "mean"),
    ],
    ids=str,
)
def test_new_options_that_do_not_fit(run, stored, tmp_path, options, words):
    arguments = [] if "--patch-size" in options else ["--patch-size", 16]
    code, _, err = run("predict", stored, "out.zarr", *MODEL, *arguments, *options)
    assert code == 2
    assert words in err
    assert not (tmp_path / "out.zarr").exists()


def test_a_missing_option_says_what_is_needed(run, stored):
    code, _, err = run("predict", stored, "out.zarr")
    assert code == 2
    assert "Missing option '--model'. Needed is package.module:attribute, file.py:attribute" in err


def test_a_flag_is_not_blamed_for_what_lies_in_a_folder_of_its_file(run):
    Path("mine.py").mkdir()
    code, _, err = run("predict", "mine.py/x.zarr", "out.zarr", "--model", "mine.py:net")
    assert code == 2
    assert err.splitlines()[-1].startswith("Error: --model mine.py:net: No file")
    Path("mine.py").rmdir()
    Path("mine.py").write_text("net = abs\n")
    code, _, err = run(
        "predict", "mine.py/x.zarr", "out.zarr", "--model", "mine.py:net", "--patch-size", 8
    )
    assert code == 2
    assert "Error: No Zarr array or group at mine.py/x.zarr" in err


def test_plan_writes_nothing(run, stored, tmp_path):
    code, out, _ = run("plan", stored, "out.zarr", *MODEL, "--patch-size", 16, "--json")
    assert code == 0
    assert json.loads(out)["output"] == "out.zarr"
    code, out, _ = run("plan", stored, *MODEL, "--patch-size", 16)
    assert code == 0
    assert out.startswith("<daskpatch.Plan>")
    assert not (tmp_path / "out.zarr").exists()


def test_every_option_reaches_the_plan(run, stored, tmp_path):
    code, out, err = run(
        "predict",
        stored,
        "out.zarr",
        *MODEL,
        "--axes",
        "ZYX",
        "--channels",
        "0",
        "--patch-size",
        "16",
        "--overlaps",
        "8,8,8",
        "--align",
        4,
        "--min-size",
        8,
        "--batch-size",
        2,
        "--chunks",
        "8",
        "--shards",
        "16",
        "--block-shape",
        "32",
        "--dtype",
        "uint16",
        "--input-dtype",
        "float64",
        "--padding",
        "edge",
        "--memory-limit",
        "2 GB",
        "--threads",
        1,
        "--io",
        "zarr",
        "--overwrite",
        "--region",
        "0:10,:,5",
        "--json",
        "--no-progress",
    )
    assert code == 0, err
    facts = json.loads(out)
    plan = facts["plan"]
    assert (plan["chunks"], plan["shards"], plan["block_shape"]) == ([8] * 3, [16] * 3, [32] * 3)
    assert (plan["dtype"], plan["threads"], plan["io"]) == ("uint16", 1, "zarr")
    assert facts["blocks"] == 2
    tiling = zarr.open_array("out.zarr").attrs["daskpatch"]["tiling"]
    assert (tiling["align"], tiling["min_size"]) == ([4] * 3, [8] * 3)


def test_a_strategy_is_named(run, stored, volume):
    code, _, err = run(
        "predict", stored, "out.zarr", *MODEL, "--patching", "example_models:patching"
    )
    assert code == 0, err
    assert np.array_equal(read("out.zarr"), volume * np.float32(2))


MINE = """
import daskpatch

tiling = daskpatch.TiledPatching([(1, 1, *{shape})], 16, 4)


class Mine:
    n_patches = tiling.n_patches
    get_patch_spec = staticmethod(tiling.get_patch_spec)
    get_patch_indices = staticmethod(tiling.get_patch_indices)


mine = Mine()
"""


def test_a_run_with_a_strategy_of_ones_own_is_repaired(run, stored, tmp_path, volume):
    (tmp_path / "mine.py").write_text(MINE.format(shape=volume.shape))
    strategy = ("--patching", "mine.py:mine")
    code, _, err = run("predict", stored, "out.zarr", *MODEL, *strategy)
    assert code == 0, err
    zarr.open_array("out.zarr", mode="r+")[0, 0, 0] += 1
    code, _, err = run("verify", "out.zarr", "--repair", *MODEL)
    assert code == 2
    assert "--patching" in err
    code, _, err = run("verify", "out.zarr", "--repair", *MODEL, *strategy)
    assert code == 0, err
    assert np.array_equal(read("out.zarr"), volume * np.float32(2))


def test_every_parameter_of_plan_and_run_has_a_flag():
    import inspect

    flags = {p.name for p in cli.commands["predict"].params if isinstance(p, Option)}
    wanted = set(inspect.signature(daskpatch.predict).parameters)
    values = {"source", "output", "tiles", "limits", "run"}
    in_python_only = {"client", "interruption", "pacing"}
    its_own = {"scheduler", "workers", "grace", "as_json", "debug"}
    assert flags == wanted - values - in_python_only | its_own


def test_info(run, stored, tmp_path, volume):
    code, out, _ = run("info", stored, "--json")
    assert code == 0
    assert json.loads(out) == {
        "source": str(stored),
        "shape": [37, 61, 53],
        "dtype": "uint16",
        "axes": "ZYX",
        "chunks": [16, 16, 16],
        "nbytes": volume.nbytes,
    }
    save(tmp_path / "plain.zarr", volume, chunks=(16, 16, 16))
    assert "pass --axes" in run("info", "plain.zarr")[1]
    assert "ZYX" in run("info", "plain.zarr", "--axes", "zyx")[1]
    zarr.create_group(store="group.zarr").create_array("raw", data=volume)
    zarr.open_group("group.zarr").create_group("inner")
    out = run("info", "group.zarr")[1]
    assert "raw" in out
    assert "inner       group" in out
    assert run("info", "missing.zarr")[0] == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["predict", "in.zarr", "in.zarr", *MODEL, "--patch-size", 16], "is the input"),
        (["predict", "in.zarr", "in.zarr/x", *MODEL, "--patch-size", 16], "inside the input"),
        (["predict", "no.zarr", "o.zarr", *MODEL, "--patch-size", 16], "no.zarr"),
        (["predict", "in.zarr", "there.zarr", *MODEL, "--patch-size", 16], "exists"),
        (["predict", "in.zarr", "o.zarr", *MODEL], "give --patch-size"),
        (["predict", "in.zarr", "o.zarr", "--patch-size", 16], "--model"),
        (["predict", "in.zarr", "o.zarr", *MODEL, "--patch-size", "a,b"], "a,b"),
        (["predict", "in.zarr", "o.zarr", *MODEL, "--patch-size", 16, "--overlaps", 16], "smaller"),
        (["predict", "in.zarr", "o.zarr", *MODEL, "--patch-size", 16, "--region", "x"], "slices"),
        (["predict", "in.zarr", "o.zarr", *MODEL, "--patch-size", 16, "--axes", "YX"], "axes"),
        (
            ["predict", "in.zarr", "o.zarr", *MODEL, "--patch-size", 16, "--memory-limit", "9 kB"],
            "--memory-limit",
        ),
        (["predict", "in.zarr", "o.zarr", "--model", "nope", "--patch-size", 16], "'nope'"),
        (
            ["predict", "in.zarr", "o.zarr", "--model", "no.py:m", "--patch-size", 16],
            "--model no.py:m: No file",
        ),
        (
            ["predict", "in.zarr", "o.zarr", *MODEL, "--patch-size", 16, "--device", "cuda"],
            "'--device'. It is the model's",
        ),
        (["predict", "in.zarr", "o.zarr", *MODEL, "--patch-size", "Auto"], "nor auto"),
        (
            ["predict", "in.zarr", "o.zarr", "--model", "example_models:no", "--patch-size", 16],
            "example_models has no no",
        ),
        (
            [
                "predict",
                "in.zarr",
                "o.zarr",
                *MODEL,
                "--patch-size",
                16,
                "--scheduler",
                "tcp://a:1",
                "--threads",
                2,
            ],
            "not both",
        ),
        (
            ["predict", "in.zarr", "o.zarr", *MODEL, "--patch-size", 16, "--frobnicate"],
            "frobnicate",
        ),
        (["frobnicate"], "frobnicate"),
        (["plan", "in.zarr", *MODEL, "--halo", 4], "'--halo'. Did you mean --overlaps?"),
        *(
            (["plan", "in.zarr", *MODEL, "--patch-size", 16, *given], f"{words} ")
            for given, words in [
                (["--channels", "5:9"], "--channels is 5:9; needed"),
                (["--channels", "red,blue"], "--channels is red,blue; needed"),
                (["--scale", "1/2,x"], "--scale is 1/2,x; needed"),
                (["--normalize", "mean=3"], "--normalize is mean=3; needed"),
                (["--align", "3,3,3,3"], "--align is 3,3,3,3, 4 numbers"),
            ]
        ),
        (
            ["predict", "in.zarr", "o.zarr", *MODEL, "--patch-size", 16, "--region", ":,900:"],
            "--region :,900: selects nothing",
        ),
    ],
)
def test_wrong_use_exits_with_2_and_one_line(run, stored, tmp_path, arguments, words):
    (tmp_path / "there.zarr").mkdir()
    (tmp_path / "there.zarr" / "x").write_text("x")
    code, _, err = run(*arguments)
    assert code == 2
    assert words in err
    assert "Traceback" not in err
    assert not (tmp_path / "o.zarr").exists()


@pytest.mark.filterwarnings("always::UserWarning")
@pytest.mark.parametrize("n_words", [1, 200])
def test_what_a_model_says_stays_as_it_is(run, stored, tmp_path, n_words):
    words = "patch_size=(16, 32) and chunks=[1, 2]; overwrite=True, such as (1, 2) "
    said = f"{words}{'word ' * n_words}{words}".strip()
    (tmp_path / "says.py").write_text(
        f"import warnings\nsaid = {said!r}\n"
        "def warns(batch):\n    warnings.warn(said)\n    return batch\n"
        "def fails(batch):\n    raise ValueError(said)\n"
    )
    tiles = ["--axes", "ZYX", "--patch-size", 16]
    _, _, err = run("plan", stored, "--model", "says.py:warns", *tiles)
    assert f"Warning: {said}" in err
    _, _, err = run("plan", stored, "--model", "says.py:fails", *tiles)
    assert f"ValueError: {words}" in err
    assert err.rstrip().endswith(words.strip())


@pytest.mark.parametrize("name", ["mask", "chunks"])
def test_a_file_that_is_called_as_an_option_is(run, tmp_path, name):
    save(tmp_path / name, np.zeros((8, 8), "f4"), chunks=(8, 8))
    _, _, err = run("plan", name, *MODEL, "--patch-size", 8)
    assert f"Error: {name} does not say what its axes are" in err


def test_a_file_that_is_named_twice_is_of_no_flag(run, stored, tmp_path):
    (tmp_path / "net.py").write_text("def model(batch): return batch")
    _, _, err = run("predict", "net.py", "o.zarr", "--model", "net.py:model", "--patch-size", 16)
    assert "Error: net.py is" in err


def test_flags_that_a_command_lacks_are_of_predict(run, tmp_path):
    (tmp_path / "o.zarr" / ".daskpatch").mkdir(parents=True)
    (tmp_path / "o.zarr" / ".daskpatch" / "run.json").write_text("{")
    for command in ("verify", "status"):
        code, _, err = run(command, "o.zarr")
        assert code == 2
        assert "predict's --overwrite starts anew" in err


def test_a_model_that_fails_exits_with_1(run, stored):
    arguments = (
        "predict",
        stored,
        "o.zarr",
        "--model",
        "example_models:fails",
        "--patch-size",
        16,
    )
    code, _, err = run(*arguments)
    assert code == 1
    assert "out of ideas" in err
    assert err.count("\n") == 1
    code, _, err = run(*arguments, "--debug")
    assert code == 1
    assert "Traceback" in err


def test_a_run_that_fails_exits_with_1(run, stored, tmp_path):
    (tmp_path / "late.py").write_text(
        "calls = []\n"
        "def model(batch):\n"
        "    calls.append(1)\n"
        "    if len(calls) > 3: raise RuntimeError('late')\n"
        "    return batch\n"
    )
    code, _, err = run(
        "predict", stored, "o.zarr", "--model", "late.py:model", "--patch-size", 16, "--no-progress"
    )
    assert code == 1
    assert "RuntimeError: late" in err
    assert "written and stay" in err


def test_a_scheduler_runs_the_blocks(run, stored, volume, processes):
    code, _, err = run(
        "predict",
        stored,
        "out.zarr",
        *MODEL,
        "--patch-size",
        16,
        "--scheduler",
        processes.scheduler.address,
        "--no-progress",
    )
    assert code == 0, err
    assert np.array_equal(read("out.zarr"), volume * np.float32(2))


@pytest.mark.parametrize("address", ["foo", "", "nope://127.0.0.1:1"])
def test_an_address_that_is_none_is_named(run, stored, address):
    code, _, errors = run(
        "predict", str(stored), "out.zarr", "--model", "example_models:double",
        "--patch-size", "16", "--scheduler", address,
    )  # fmt: skip
    assert code == 2
    assert "No dask scheduler answers" in errors


def test_a_server_that_is_no_scheduler_is_named(run, stored, tmp_path):
    with served(tmp_path) as address:
        code, _, errors = run(
            "predict", str(stored), "out.zarr", "--model", "example_models:double",
            "--patch-size", "16", "--scheduler", f"tcp://{address}",
        )  # fmt: skip
    assert code == 2
    assert "No dask scheduler answers" in errors


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--part", "4/3"], "no share i/n"),
        (["--patience", "nan"], "no number of seconds"),
        (["--grace", "-1"], "no number of seconds"),
        (["--retries", "-1"], "retries"),
        (["--workers", "0"], "workers"),
        (["--workers", "99999999999"], "workers"),
        (["--threads", "0"], "threads"),
        (["--resume", "--overwrite"], "not both"),
        (["--model-id", ""], "needed is a text"),
    ],
)
def test_flags_that_a_run_cannot_use(run, stored, tmp_path, flags, words):
    code, out, errors = run(
        "predict", str(stored), str(tmp_path / "o.zarr"), "--model", "example_models:double",
        "--patch-size", "16", *flags,
    )  # fmt: skip
    assert code == 2
    assert words in errors
    assert out == ""
    assert not (tmp_path / "o.zarr").exists()


def test_a_scheduler_that_does_not_answer_is_named(run, stored):
    code, _, err = run(
        "predict",
        stored,
        "out.zarr",
        *MODEL,
        "--patch-size",
        16,
        "--scheduler",
        "nonsense://nowhere",
    )
    assert code == 2
    assert "nonsense://nowhere" in err


SLOW = """
import time
def model(batch):
    time.sleep(0.3)
    return batch
"""


def test_an_interrupted_run_exits_with_130(stored, tmp_path):
    (tmp_path / "slow.py").write_text(SLOW)
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "daskpatch",
            "predict",
            str(stored),
            "out.zarr",
            "--model",
            "slow.py:model",
            "--patch-size",
            "8",
            "--chunks",
            "8",
            "--block-shape",
            "8",
        ],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "out.zarr" / "c").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Interrupted" in err
    assert "Traceback" not in err


def test_the_version_is_told():
    out = subprocess.run(
        [sys.executable, "-m", "daskpatch", "--version"], capture_output=True, text=True, check=True
    ).stdout
    assert daskpatch.__version__ in out


def test_files_run_only_through_the_explicit_form(run, stored, tmp_path):
    (tmp_path / "evil.py").write_text("import pathlib; pathlib.Path('ran').touch()")
    for name in ("evil.py", "evil"):
        assert run("predict", stored, "o.zarr", "--model", name, "--patch-size", 16)[0] == 2
    assert not os.path.exists("ran")


@pytest.mark.parametrize("text", ["import nothere", "undefined_name", "this is no Python"])
def test_a_file_that_does_not_load_is_named(run, stored, tmp_path, text):
    (tmp_path / "bad.py").write_text(text)
    code, _, err = run("predict", stored, "o.zarr", "--model", "bad.py:f", "--patch-size", 16)
    assert code == 2
    assert "bad.py could not be loaded" in err


def test_secrets_in_urls_are_not_printed(run):
    for url in ("foo://me:s3cret@x/y?token=s3cret", "http://me:s3cret@127.0.0.1:1/x?token=s3cret"):
        code, out, err = run("info", url)
        assert code in (1, 2)
        assert "s3cret" not in out + err


def test_a_warning_is_a_line_that_names_flags(tmp_path):
    save(tmp_path / "in.zarr", np.ones((16, 16), "f4"), chunks=(16, 16), dimension_names=["y", "x"])
    command = [sys.executable, "-m", "daskpatch", "plan", "in.zarr", "--model", "numpy:negative"]
    options = ["--patch-size", "16", "--axes", "XY"]
    done = subprocess.run([*command, *options], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == (
        "Warning: --axes is 'XY', and in.zarr says of itself that it is 'YX'; axes counts. Leave "
        "it out if that is right.\n"
    )


def test_a_range_of_channels(run, tmp_path, rng):
    values = rng.random((3, 20, 20)).astype("f4")
    save(tmp_path / "c.zarr", values, chunks=(1, 20, 20))
    code, _, err = run(
        "predict", "c.zarr", "out.zarr", *MODEL,
        "--axes", "CYX", "--channels", "1:", "--patch-size", 20,
    )  # fmt: skip
    assert code == 0, err
    assert np.array_equal(read("out.zarr"), 2 * values[1:])
