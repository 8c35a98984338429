"""What the README shows runs as printed."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import zarr
from command_line import exit_code
from volumes import read, save

README = (Path(__file__).parent.parent / "README.md").read_text()


@pytest.fixture(autouse=True)
def volume(tmp_path, monkeypatch, rng):
    monkeypatch.chdir(tmp_path)
    values = rng.integers(0, 1000, (64, 128, 128)).astype("uint16")
    save("volume.zarr", values, chunks=(32, 64, 64))
    (tmp_path / "mine.py").write_text("def model(batch): return batch * 2\n")
    return values


def test_the_python_examples_run(volume, capsys):
    first, second = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names = {}
    exec(first, names)
    assert np.array_equal(read("predicted.zarr"), volume * np.float32(2))
    assert "at the peak of a worker" in capsys.readouterr().out
    exec(second, {})
    out = capsys.readouterr().out
    assert "chosen: tiles of" in out
    assert "No seams" in out


def test_the_command_line_examples_run(volume):
    """Beside what the first example in Python left."""
    zarr.create_group("predicted.zarr")
    (command,) = re.findall(r"^daskpatch (predict .*)$", README, re.MULTILINE)
    (check,) = re.findall(r"^daskpatch (check .*)$", README, re.MULTILINE)
    assert exit_code(*shlex.split(check)) == 0
    assert exit_code(*shlex.split(command)) == 0
    assert zarr.open_array("doubled.zarr").shape == volume.shape
