"""What tells models and images apart, in any process, and what does not."""

import functools
import os
import subprocess
import sys
import threading
import types

import numpy as np
import pytest
from volumes import save

from daskpatch.image import identity_of_image, open_image
from daskpatch.model import NoIdentityError, shared_model
from daskpatch.model.walk import contents_of

SCALE = 2.0


def identity_of_value(value):
    parts = contents_of(value).parts()
    return parts.bytecode, parts.weights, parts.attributes


def scaled(batch, offset=0, *, power=1):
    return batch**power * SCALE + offset


def made(code, name="model", **values):
    """A function of a module that is typed in: without source."""
    module = types.ModuleType("typed")
    module.__dict__.update(values)
    exec(code, module.__dict__)
    return module.__dict__[name]


def test_the_same_function_is_the_same():
    assert identity_of_value(scaled) == identity_of_value(scaled)


def test_a_global_that_a_function_uses_is_part_of_it(monkeypatch):
    before = identity_of_value(scaled)
    monkeypatch.setitem(globals(), "SCALE", 3.0)
    assert identity_of_value(scaled) != before


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("def model(x): return x * 2", "def model(x): return x * 3"),
        ("def model(x, a=1): return x", "def model(x, a=2): return x"),
        ("def model(x, *, a=1): return x", "def model(x, *, a=2): return x"),
        ("def model(x): return x.sum()", "def model(x): return x.max()"),
        ("A = 1\ndef model(x): return x + A", "A = 2\ndef model(x): return x + A"),
        (
            "A = 1\ndef inner(x): return x + A\ndef model(x): return inner(x)",
            "A = 2\ndef inner(x): return x + A\ndef model(x): return inner(x)",
        ),
        (
            "A = 1\ndef model(x): return [y + A for y in x]",
            "A = 2\ndef model(x): return [y + A for y in x]",
        ),
        (
            "def make(a):\n  def f(x): return x + a\n  return f\nmodel = make(1)",
            "def make(a):\n  def f(x): return x + a\n  return f\nmodel = make(2)",
        ),
        (
            "class M:\n  def __init__(s, a): s.a = a\n  def __call__(s, x): return x\nmodel = M(1)",
            "class M:\n  def __init__(s, a): s.a = a\n  def __call__(s, x): return x\nmodel = M(2)",
        ),
        (
            "class M:\n  def __call__(s, x): return x + 1\nmodel = M()",
            "class M:\n  def __call__(s, x): return x + 2\nmodel = M()",
        ),
    ],
)
def test_what_changes_the_result_changes_the_identity(one, other):
    assert identity_of_value(made(one)) == identity_of_value(made(one))
    assert identity_of_value(made(one)) != identity_of_value(made(other))
    moved = made("\n\n\n" + one)
    assert identity_of_value(moved) == identity_of_value(made(one))


def test_values_are_told_apart():
    values = [
        None, True, 1, 1.0, "1", b"1", (1,), [1], {1: 2}, {1}, frozenset({2}), range(3),
        np.float32(1), np.arange(3), np.arange(3.0), np.zeros((2, 3)), np.zeros((3, 2)),
        np.sin, np.cos, len, functools.partial(scaled, offset=1), functools.partial(scaled),
        np, os, np.dtype("f4"), slice(3), [[1], [2]], [[1, 2]], {"a": {"b"}},
    ]  # fmt: skip
    assert len({identity_of_value(value) for value in values}) == len(values)


def test_order_matters_where_there_is_one():
    assert identity_of_value({"a": 1, "b": 2}) != identity_of_value({"b": 2, "a": 1})
    assert identity_of_value({"a", "b", "c"}) == identity_of_value({"c", "b", "a"})


def test_values_that_refer_to_themselves():
    loop = [1]
    loop.append(loop)
    assert identity_of_value(loop) == identity_of_value(loop)
    recursive = made("def model(x): return model(x)")
    assert identity_of_value(recursive) == identity_of_value(recursive)


@pytest.mark.parametrize(
    "value",
    [
        threading.Lock(),
        sys.__stdout__,
        (i for i in "ab"),
        threading.local(),
        np.frompyfunc(abs, 1, 1),
    ],
)
def test_what_has_no_identity_says_so(value):
    with pytest.raises(NoIdentityError):
        identity_of_value(lambda batch: value)


def test_it_is_the_same_in_every_process():
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import test_identity as t\n"
        "print(t.identity_of_value((t.scaled, {'x', 'y', 'z'}, t.np.sin)))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code, os.path.dirname(__file__)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(found) == 1


def test_a_named_model_is_its_file(tmp_path):
    path = tmp_path / "model.py"
    path.write_text("def model(x): return x\ndef other(x): return x\n")
    before = shared_model(f"{path}:model").handle.contents()
    assert shared_model(f"{path}:other").handle.contents() != before
    path.write_text("def model(x): return x + 1\n")
    assert shared_model(f"{path}:model").handle.contents() != before


def test_a_module_that_is_not_there_has_none():
    with pytest.raises((NoIdentityError, ImportError)):
        shared_model("no.such.module:model").handle.contents()


# Images


def test_an_image_is_where_it_is_what_it_is_and_its_voxels(tmp_path, volume):
    save(tmp_path / "a.zarr", volume, chunks=(16, 16, 16))
    image = open_image(tmp_path / "a.zarr", axes="ZYX")
    before = identity_of_image(image)
    assert identity_of_image(image) == before
    assert before["where"] == (tmp_path / "a.zarr").as_uri()
    array = image.array.array
    other = open_image(tmp_path / "a.zarr", axes="ZYX", padding="edge")
    assert identity_of_image(other) | {"padding": "reflect"} == before
    for place in [(0, 0, 0), (36, 60, 52), (20, 30, 17)]:
        import zarr

        writable = zarr.open_array(array.store.with_read_only(False), mode="r+")
        writable[place] += 1
        now = identity_of_image(open_image(tmp_path / "a.zarr", axes="ZYX"))
        assert now["content"] != before["content"]
        assert now | {"content": 0} == before | {"content": 0}
        before = now


def test_a_large_image_is_sampled_in_64_places(tmp_path):
    import zarr

    array = zarr.create_array(
        str(tmp_path / "a.zarr"), shape=(2048, 2048), chunks=(32, 32), dtype="u1"
    )
    read = []
    image = open_image(array, axes="YX")
    original = type(image.array).read

    class Counting(type(image.array)):
        def read(self, box):
            read.append(box)
            return original(self, box)

    object.__setattr__(image, "array", Counting(array))
    identity_of_image(image)
    assert len(read) == 64
    assert {box[0].start for box in read} >= {0, 2048 - 32}
