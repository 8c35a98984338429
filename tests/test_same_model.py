"""Two models never meet in one output: what tells them apart, and in what one may differ."""

import collections
import contextlib
import dataclasses
import functools
import json
import logging
import os
import py_compile
import shutil
import subprocess
import sys
import sysconfig
import threading
import zipfile

import numpy as np
import pytest
import zarr
from children import Child

import daskpatch

TILES = {
    "axes": "YX", "patch_size": 16, "overlaps": 4, "chunks": 12, "block_shape": 12, "threads": 1,
}  # fmt: skip


@pytest.fixture
def image():
    return np.random.default_rng(0).normal(100, 10, (48, 48)).astype("f4")


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out.zarr"


def predict(image, model, out, **options):
    return daskpatch.predict(image, model, out, progress=False, **{**TILES, **options})


def begun(image, model, out, **options):
    return predict(image, model, out, part=(1, 2), **options)


def refused(image, model, out, words, **options):
    with pytest.raises(ValueError, match=words):
        predict(image, model, out, resume=True, **options)


# Code in files


def run(folder, model, *flags, word="part=(1, 2)", **options):
    """A prediction in a process of its own, in a folder with the user's files."""
    code = (
        "import numpy as np, daskpatch, warnings\n"
        f"{model}\n"
        "image = np.random.default_rng(0).normal(100, 10, (48, 48)).astype('f4')\n"
        "with warnings.catch_warnings(record=True) as caught:\n"
        "    warnings.simplefilter('always')\n"
        f"    daskpatch.predict(image, model, 'out.zarr', progress=False, {word}, **{TILES!r})\n"
        "print(*(w.message for w in caught))\n"
    )
    if not flags:
        return Child(code, folder=folder).end()
    command = [sys.executable, "-B", *flags, "-c", code]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


INNER = """
class Inner:
    def __call__(self, x): return x * {0}
class Net:
    def __init__(self): self.inner = Inner()
    def __call__(self, x): return self.inner(x)
model = Net()
"""

HELPED = "import helper\ndef model(x): return x * helper.gain()\n"
FROM = "from helper import gain\ndef model(x): return x * gain()\n"
INSIDE = "def model(x):\n    from helper import gain\n    return x * gain()\n"
OF_CLASS = """
import helper
class Model:
    def __call__(self, x): return self.scaled(x)
    def scaled(self, x): return x * helper.gain()
model = Model()
"""
CHAINED = {"first.py": "from helper import gain as again\ndef gain(): return again()\n"}
HELPER = "def gain(): return {0}\n"


@pytest.mark.parametrize("named", ["net:model", "net.py:model", None])
@pytest.mark.parametrize(
    "files",
    [
        {"net.py": INNER},
        {"net.py": HELPED, "helper.py": HELPER},
        {"net.py": FROM, "helper.py": HELPER},
        {"net.py": INSIDE, "helper.py": HELPER},
        {"net.py": OF_CLASS, "helper.py": HELPER},
        {"net.py": HELPED.replace("helper", "first"), "helper.py": HELPER, **CHAINED},
        {
            "net.py": FROM.replace("helper", "lab.tools"),
            "lab/__init__.py": "",
            "lab/tools.py": HELPER,
        },
        {"net.py": FROM.replace("helper", "lab.tools"), "lab/tools.py": HELPER},
    ],
    ids=["inner", "helper", "from", "inside", "method", "chained", "package", "namespace"],
)
def test_edited_files_are_another_model(tmp_path, files, named):
    def written(number):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text.replace("{0}", str(number)))

    model = f"model = {named!r}" if named else "from net import model"
    if named == "net.py:model":  # as from the folder that it is in
        model = f"import sys; sys.path.insert(0, '')\n{model}"
    written(2)
    assert not run(tmp_path, model).stderr
    if named is None:
        assert not run(tmp_path, model, word="resume=True, part=(1, 2)").stderr
    written(3)
    found = run(tmp_path, model, word="resume=True")
    assert "cannot be resumed" in found.stderr
    assert "model.code changed" in found.stderr


@pytest.mark.parametrize("kind", ["archive", "bytecode"])
@pytest.mark.parametrize("named", ["net:model", "net.py:model", None])
def test_a_helper_that_has_no_source_of_its_own_is_compared(tmp_path, named, kind):
    def written(number):
        source = tmp_path / "source" / "helper.py"
        source.parent.mkdir(exist_ok=True)
        source.write_text(HELPER.replace("{0}", str(number)))
        if kind == "bytecode":
            py_compile.compile(str(source), str(tmp_path / "helper.pyc"), doraise=True)
            return
        with zipfile.ZipFile(tmp_path / "lib.zip", "w") as archive:
            archive.write(source, "helper.py")

    (tmp_path / "net.py").write_text(f"import sys; sys.path.insert(0, 'lib.zip')\n{HELPED}")
    model = f"model = {named!r}" if named else "from net import model"
    model = f"import sys; sys.path.insert(0, '')\n{model}"
    written(2)
    assert not run(tmp_path, model).stderr
    written(2)  # at another time
    os.utime(tmp_path / "source" / "helper.py", (1, 1))
    if kind == "bytecode":
        moved = tmp_path / "moved.py"
        shutil.move(tmp_path / "source" / "helper.py", moved)
        py_compile.compile(str(moved), str(tmp_path / "helper.pyc"), doraise=True)
        moved.unlink()
    assert not run(tmp_path, model, word="resume=True, part=(1, 2)").stderr
    written(3)
    found = run(tmp_path, model, word="resume=True")
    assert "cannot be resumed" in found.stderr
    assert "model.code changed" in found.stderr


NAMES = """
class Names(set):
    def __call__(self, batch): return batch * len(self)
model = Names(["dapi", "gfp", "rfp", "yfp"])
"""


def test_a_set_of_ones_own_kind_is_the_same_in_any_order(tmp_path):
    for part in ("(1, 2)", "(2, 2)"):
        assert not run(tmp_path, NAMES, "-R", word=f"part={part}, resume=True").stderr


class Replacing:
    """Of its pickle it leaves out what is large, and says None in its place."""

    def __init__(self, level):
        self.table = np.array([level])

    def __getstate__(self):
        return {**self.__dict__, "table": None}

    def __call__(self, batch):
        return np.where(batch > self.table[0], 1000.0, batch)


class Single:
    """One that pickles as a name."""

    def __init__(self, level):
        self.level = level

    def __reduce__(self):
        return "SINGLE"

    def __call__(self, batch):
        return np.where(batch > self.level, 1000.0, batch)


@pytest.mark.parametrize(
    ("kind", "what"), [(Replacing, r"weights\.table"), (Single, r"attributes\.level")]
)
def test_what_a_class_says_instead_of_its_attributes_hides_none(image, out, kind, what):
    begun(image, kind(500), out)
    begun(image, kind(500), out, resume=True)
    refused(image, kind(600), out, rf"model\.{what} changed")


COMPILED = """
#include <Python.h>
static PyObject *gain(PyObject *self, PyObject *none) { return PyFloat_FromDouble({0}); }
static PyMethodDef all[] = {{"gain", gain, METH_NOARGS, 0}, {0, 0, 0, 0}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "helper", 0, -1, all};
PyMODINIT_FUNC PyInit_helper(void) { return PyModule_Create(&module); }
"""


@pytest.mark.parametrize("source", [HELPED, FROM, INSIDE], ids=["import", "from", "inside"])
@pytest.mark.parametrize("named", ["net:model", "net.py:model", None])
def test_a_compiled_helper_that_was_built_anew_is_another_model(tmp_path, source, named):
    def built(number):
        (tmp_path / "helper.c").write_text(COMPILED.replace("{0}", str(number), 1))
        command = ["cc", "-shared", "-fPIC", f"-I{sysconfig.get_path('include')}", "helper.c"]
        subprocess.run([*command, "-o", "helper.so"], cwd=tmp_path, check=True)

    (tmp_path / "net.py").write_text(source)
    model = f"model = {named!r}" if named else "from net import model"
    if named == "net.py:model":
        model = f"import sys; sys.path.insert(0, '')\n{model}"
    built(2.0)
    assert not run(tmp_path, model).stderr
    built(2.001)  # which no result tells
    assert "model.code changed" in run(tmp_path, model, word="resume=True").stderr


SET_LATER = {
    "a global": "net.G = 1.5",
    "a global of a helper": "leaf.K = 3.0",
    "a class attribute": "net.Net.gain = 1.5",
    "an attribute": "net.model.own = 1.5",
    "a function": "net.scaled = lambda: 1.5",
    "a function of a helper": "leaf.k = lambda: 1.5",
    "a method": "net.Net.__call__ = lambda self, x: x * 3",
}
SETTABLE = """
import leaf
G = 1.0
class Net:
    gain = 1.0
    def __init__(self): self.own = 1.0
    def __call__(self, x): return x * leaf.K * leaf.k() * self.gain * self.own * G * scaled()
def scaled(): return 1.0
model = Net()
"""


@pytest.mark.parametrize("change", SET_LATER.values(), ids=SET_LATER)
def test_what_is_set_in_an_imported_module_is_another_model(tmp_path, change):
    (tmp_path / "net.py").write_text(SETTABLE)
    (tmp_path / "leaf.py").write_text("K = 2.0\ndef k(): return 1.0\n")
    code = f"""
import numpy as np, daskpatch, leaf, net
image = np.random.default_rng(0).normal(100, 10, (48, 48)).astype("f4")
plan = daskpatch.plan(image, "net:model", "out.zarr", **{TILES!r})
plan.run(part=(1, 2), progress=False)
{change}
try:
    plan.run(part=(2, 2), progress=False)
except ValueError as error:
    print("refused", error)
"""
    ended = Child(code, folder=tmp_path).end()
    assert ended.stdout.startswith("refused The model net:model is not what it was"), ended


@pytest.mark.parametrize("named", ["net:model", "net.py:model"])
def test_a_helper_that_was_edited_after_it_was_imported_is_refused(tmp_path, named):
    """This process has what it was, and workers would load what it is."""
    (tmp_path / "net.py").write_text("import leaf\ndef model(x): return x * leaf.K\n")
    (tmp_path / "leaf.py").write_text("K = 2.0\n")
    code = f"""
import importlib, pathlib, sys
import numpy as np, daskpatch
sys.dont_write_bytecode = True
image = np.random.default_rng(0).normal(100, 10, (48, 48)).astype("f4")
def go(out):
    return daskpatch.predict(image, {named!r}, out, progress=False, **{TILES!r})
go("one.zarr")
pathlib.Path("leaf.py").write_text("# a remark\\nK = 2.0\\n")
go("two.zarr")
pathlib.Path("leaf.py").write_text("K = 3.0  # longer\\n")
try:
    go("three.zarr")
except ImportError as error:
    print("refused", error, pathlib.Path("three.zarr").exists())
importlib.invalidate_caches()
importlib.reload(sys.modules["leaf"])
go("four.zarr")
print("and predicted")
"""
    ended = Child(code, folder=tmp_path).end()
    assert "refused The module leaf was changed in its file" in ended.stdout, ended
    assert "reload(leaf)" in ended.stdout
    assert "False" in ended.stdout
    assert "and predicted" in ended.stdout, ended


def _one(values):
    return values + 1


def _other(values):
    return values + 1


def _nothing(values):
    return bool(values.max() < 0)


def _none(values):
    return bool(values.max() < 0)


@pytest.mark.parametrize(
    ("option", "function", "renamed"), [("post", _one, _other), ("skip_empty", _nothing, _none)]
)
def test_what_functions_are_called_is_no_part_of_them(image, out, option, function, renamed):
    model = lambda batch: batch * 2  # noqa: E731
    begun(image, model, out, **{option: function})
    assert predict(image, model, out, resume=True, **{option: renamed}).skipped


def test_where_the_file_of_a_function_lies_is_no_part_of_it(image, out, tmp_path):
    (tmp_path / "later").mkdir()
    before, after = tmp_path / "one.py", tmp_path / "later/one.py"
    for path in (before, after):
        path.write_text("def function(values): return values + 1\n")
    model = lambda batch: batch * 2  # noqa: E731
    begun(image, model, out, post=f"{before}:function")
    assert predict(image, model, out, resume=True, post=f"{after}:function").skipped


def test_another_version_compares_sources(tmp_path):
    (tmp_path / "net.py").write_text("def model(x):\n    assert len(x)\n    return x * 2\n")
    model = "from net import model"
    assert not run(tmp_path, model).stderr
    # Another level of optimisation: other bytecode, as of another version of Python.
    found = run(tmp_path, model, "-O", word="resume=True")
    assert (found.returncode, found.stdout.strip()) == (0, "")
    (tmp_path / "net.py").write_text("def model(x):\n    assert len(x)\n    return x * 2.0\n")
    assert "model.code changed" in run(tmp_path, model, "-O", word="resume=True").stderr


def test_without_sources_results_decide_in_another_version(tmp_path):
    model = "exec('def model(x): return x * {}')"
    assert not run(tmp_path, model.format(2)).stderr
    found = run(tmp_path, model.format(3), "-O", word="resume=True")
    assert "other values than the one that the run began with, on the same tile" in found.stderr
    found = run(tmp_path, model.format(2), "-O", word="resume=True")
    assert found.returncode == 0, found.stderr
    assert "its results on one tile decide" in found.stdout


def test_other_versions_of_packages_are_warned_of(image, out):
    def model(batch):
        return np.clip(batch, 90, 110)

    begun(image, model, out)
    path = out / ".daskpatch" / "run.json"
    document = json.loads(path.read_text())
    assert document["identity"]["model"]["versions"]["numpy"] == np.__version__
    document["identity"]["model"]["versions"]["numpy"] = "1.0"
    path.write_text(json.dumps(document))
    with pytest.warns(UserWarning, match=f"numpy 1.0 became {np.__version__}.*results on one tile"):
        predict(image, model, out, resume=True)


# What a call changes


class Counting:
    def __init__(self):
        self.calls, self.shapes, self.net = 0, [], None

    def __call__(self, batch):
        self.calls += 1
        self.shapes.append(batch.shape)
        self.net = self.net or (lambda x: x * 2)
        return self.net(batch)


def test_a_model_that_counts_its_calls_resumes(image, out, caplog):
    model = Counting()
    with caplog.at_level(logging.INFO, logger="daskpatch"):
        begun(image, model, out)
    assert "model changes when it is called, in model.calls, model.net, model.shapes" in caplog.text
    predict(image, model, out, resume=True, part=(1, 2))
    assert predict(image, Counting(), out, resume=True).skipped
    np.testing.assert_array_equal(zarr.open_array(out)[:], image * 2)


def with_code_in_what_it_changes(kind, factor):
    class Memo(dict):
        made = 0

        def __missing__(self, key):
            Memo.made += 1
            self[key] = factor
            return factor

    class History(list):
        def apply(self, batch):
            self.append(batch.mean())
            return batch * factor

    memo, history = Memo(), History()
    made_on_demand = collections.defaultdict(lambda: factor)
    return {
        "memo": lambda batch: batch * memo[float(batch.mean())],
        "history": lambda batch: history.apply(batch),
        "factory": lambda batch: batch * made_on_demand[float(batch.mean())],
    }[kind]


@pytest.mark.parametrize("kind", ["memo", "history", "factory"])
def test_code_of_what_a_call_changes_is_compared(image, out, kind):
    begun(image, with_code_in_what_it_changes(kind, 2.0), out)
    predict(image, with_code_in_what_it_changes(kind, 2.0), out, resume=True, part=(1, 2))
    refused(image, with_code_in_what_it_changes(kind, 2.0001), out, "model.* changed")
    assert predict(image, with_code_in_what_it_changes(kind, 2.0), out, resume=True).skipped


def with_a_cache(gain, maxsize):
    @functools.lru_cache(maxsize)
    def cached(key):
        return np.float32(key)

    cached.gain = gain
    return lambda batch: batch * cached(2) * cached.gain


def test_what_is_set_on_a_cached_function_is_compared(image, out):
    begun(image, with_a_cache(1.0, 8), out)
    predict(image, with_a_cache(1.0, 8), out, resume=True, part=(1, 2))
    refused(image, with_a_cache(1.0001, 8), out, "model.* changed")
    refused(image, with_a_cache(1.0, 16), out, "model.* changed")


class Settings(dict):
    """Of the user's own."""


class Filling:
    """Keeps something for each shape that it meets, beside its settings."""

    def __init__(self, kind, gain):
        self.kept = kind(int) if kind is collections.defaultdict else kind()
        self.kept["gain"] = gain

    def __call__(self, batch):
        self.kept.setdefault(str(batch.shape), np.ones(3))
        return np.where(batch > 120, batch * self.kept["gain"], batch)


@pytest.mark.parametrize(
    "kind",
    [dict, collections.OrderedDict, collections.defaultdict, collections.Counter, Settings],
)
def test_of_a_dict_to_which_a_call_adds_the_other_entries_are_compared(image, out, kind):
    begun(image, Filling(kind, 1), out)
    refused(image, Filling(kind, 2), out, r"\[gain\] changed")
    # Other tiles are called, and add something else.
    assert predict(image, Filling(kind, 1), out, resume=True, batch_size=3).skipped


class Swapping:
    """Has its buffers in turn: as they were after each second call."""

    def __init__(self, gain):
        self.one, self.other = [gain], [0]

    def __call__(self, batch):
        self.one, self.other = self.other, self.one
        return batch * max(self.one[0], self.other[0])


@pytest.mark.parametrize("n_calls", [0, 1])
def test_how_often_a_model_was_called_is_no_part_of_it(image, out, n_calls, tmp_path):
    def planned(gain, output, **options):
        return daskpatch.plan(image, Swapping(gain), output, **{**TILES, **options})

    planned(2, out, cache_probe=n_calls == 0).run(progress=False, part=(1, 2))
    planned(2, tmp_path / "remembered.zarr")
    again = planned(2, out, cache_probe=n_calls == 1)
    assert again.run(progress=False, resume=True).skipped
    with pytest.raises(ValueError, match="one"):
        planned(3, out).run(progress=False, resume=True)


class Ring:
    """Keeps its last results, another place of what holds them each time."""

    def __init__(self, kind):
        self.kind, self.calls = kind, 0
        self.kept = {
            "deque": collections.deque([np.zeros(1)] * 5, maxlen=5),
            "list": [None] * 5,
            "inner": {"last": [np.zeros(2) for _ in range(5)]},
        }[kind]

    def __call__(self, batch):
        at, self.calls = self.calls % 5, self.calls + 1
        if self.kind == "deque":
            self.kept.append(batch.mean())
        elif self.kind == "list":
            self.kept[at] = batch.mean()
        else:
            self.kept["last"][at] = batch.ravel()[:2].copy()
        return batch * 2


@pytest.mark.parametrize("kind", ["deque", "list", "inner"])
def test_another_call_may_change_another_entry(image, out, kind):
    plan = daskpatch.plan(image, Ring(kind), out, **TILES)
    plan.run(part=(1, 4), progress=False)
    plan.run(part=(2, 4), progress=False)
    predict(image, Ring(kind), out, resume=True, part=(3, 4))
    used = Ring(kind)
    for _ in range(3):
        used(image)
    assert predict(image, used, out, resume=True).skipped
    np.testing.assert_array_equal(zarr.open_array(out)[:], image * 2)


def test_what_a_call_opens_is_left_out(image, out):
    class Lazy:
        def __init__(self, factor):
            self.factor, self.opened = factor, None

        def __call__(self, batch):
            self.opened = self.opened or threading.Lock()  # as a session or a log file is
            return batch * self.factor

    plan = daskpatch.plan(image, Lazy(2), out, **TILES)
    plan.run(part=(1, 2), progress=False)
    plan.run(part=(2, 2), progress=False)
    assert predict(image, Lazy(2), out, resume=True).skipped
    refused(image, Lazy(2.0001), out, r"model\.attributes\.factor")


# A net below it


@pytest.mark.parametrize("dtype", ["f4", "u2"])
def test_results_tell_what_code_does_not(tmp_path, image, out, dtype):
    gain = tmp_path / "gain.txt"

    def model(batch):
        return (batch * float(gain.read_text())).astype(dtype)

    gain.write_text("2")
    begun(image, model, out, model_id="the same")
    gain.write_text("2.1")
    refused(image, model, out, "other values .* of 256 values differ", model_id="the same")
    gain.write_text("2")
    assert predict(image, model, out, resume=True, model_id="the same").skipped


def test_what_rounding_moves_is_the_same(image, out):
    begun(image, lambda batch: batch * 2, out, model_id="the same")
    moved = lambda batch: batch * 2 + 1e-4  # noqa: E731
    assert predict(image, moved, out, resume=True, model_id="the same").skipped


@pytest.mark.parametrize("value", [7, np.nan])
def test_a_model_that_is_constant_on_an_image_is_tried_on_noise(out, value):
    image = np.full((48, 48), value, "f4")
    begun(image, lambda batch: batch * 2, out, model_id="the same")
    recorded = json.loads((out / ".daskpatch" / "run.json").read_text())
    assert len(recorded["identity"]["results"]) == 3
    other = lambda batch: batch + 7  # noqa: E731
    refused(image, other, out, "other values", model_id="the same")


def test_where_the_tile_is_background_noise_is_like_the_image(out):
    image = np.zeros((96, 96), "u2")
    image[:32] = np.random.default_rng(0).integers(8000, 12_000, (32, 96))
    tiles = {"patch_size": 32, "overlaps": 0, "chunks": 32, "block_shape": 32, "model_id": "same"}
    begun(image, lambda batch: (batch > 9000).astype("u1"), out, **tiles)
    other = lambda batch: (batch > 11_000).astype("u1")  # noqa: E731
    refused(image, other, out, "other values", **tiles)


def test_of_several_arrays_each_that_is_constant_is_tried_on_noise(image, out):
    begun(image, lambda batch: {"a": batch, "b": batch > 900}, out, model_id="same")
    other = lambda batch: {"a": batch, "b": batch > 1e6}  # noqa: E731
    assert predict(image, other, out, resume=True, model_id="same").skipped
    image[:12, :12] += 2000
    again = out.with_name("again.zarr")
    begun(image, lambda batch: {"a": batch, "b": batch > 900}, again, model_id="same")
    refused(image, other, again, "other values", model_id="same")


def test_a_model_that_never_gives_the_same_has_no_such_record(image, out):
    rng = np.random.default_rng()

    def model(batch):
        return batch + rng.normal(0, 1, batch.shape)

    plan = daskpatch.plan(image, model, out, **TILES)
    assert "gives other values when it is called again" in str(plan)
    plan.run(part=(1, 2), progress=False)
    assert predict(image, model, out, resume=True).skipped


# What has no identity


@pytest.fixture
def post(tmp_path):
    with open(tmp_path / "log.txt", "w") as file:
        yield lambda values: values + 0 * len(file.name)


def test_post_without_identity_asks_for_a_post_id(image, out, post):
    def model(batch):
        return batch

    report = begun(image, model, out, post=post, post_id="1")
    assert report.failed == 0
    refused(image, model, out, "post was .*post_id 1.* and is .*post_id 2", post=post, post_id="2")
    refused(image, model, out, "post.*has no identity.*TextIOWrapper.*post_id", post=post)
    refused(image, model, out, "post.*has no identity", post=post, model_id="m")
    predict(image, model, out, resume=True, post=post, post_id="1")
    chunk = next(path for path in sorted(out.glob("c/**/*")) if path.is_file())
    chunk.unlink()
    mended = daskpatch.verify(
        out, repair=True, model=model, source=image, post=post, post_id="1", progress=False
    )
    assert mended.repaired.done == 1


def test_another_post_is_named(image, out):
    def model(batch):
        return batch

    begun(image, model, out, post=lambda values: values * 2)
    refused(image, model, out, "post.code changed", post=lambda values: values * 3)


# A plan that is older than its model


class Scale:
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, batch):
        return batch * self.factor


FACTOR = 2.0


def of_a_global(batch):
    return batch * FACTOR


def change_attribute(monkeypatch, what):
    what.factor = 3.0


def change_global(monkeypatch, what):
    monkeypatch.setattr(sys.modules[__name__], "FACTOR", 3.0)


@pytest.mark.parametrize("how", ["part", "resume", "later"])
@pytest.mark.parametrize(
    ("make", "change", "word"),
    [
        (lambda: (Scale(2.0), None), change_attribute, "model .*Scale.* .factor."),
        (lambda: (of_a_global, None), change_global, "model .*attributes .FACTOR"),
        (lambda: (np.positive, Scale(2.0)), change_attribute, "post .*Scale.* .factor."),
    ],
)
def test_a_plan_is_of_the_model_that_it_was_made_with(
    image, out, monkeypatch, how, make, change, word
):
    model, post = make()
    plan = daskpatch.plan(image, model, out, post=post, **TILES)
    first, second = {"part": (1, 2)}, {"part": (2, 2)}
    if how == "resume":
        first, second = {"region": np.s_[:12, :12]}, {"resume": True}
    if how == "later":
        second = {}
    else:
        plan.run(progress=False, **first)
    change(monkeypatch, model if post is None else post)
    with pytest.raises(ValueError, match=f"{word}.* changed. Make the plan anew"):
        plan.run(progress=False, **second)


def test_a_file_that_is_replaced_after_the_plan(image, tmp_path, out):
    file = tmp_path / "net.py"
    file.write_text("def model(batch):\n    return batch * 2\n")
    plan = daskpatch.plan(image, f"{file}:model", out, **TILES)
    file.write_text("def model(batch):\n    return batch * 3\n")
    with pytest.raises(ValueError, match=r"net\.py:model is not what it was .* code changed"):
        plan.run(progress=False)
    assert not out.exists()


def test_a_file_that_is_gone_after_the_plan(image, tmp_path, out):
    file = tmp_path / "net.py"
    file.write_text("def model(batch):\n    return batch * 2\n")
    plan = daskpatch.plan(image, f"{file}:model", out, **TILES)
    file.unlink()
    with pytest.raises(FileNotFoundError, match=r"net\.py:model is gone since this plan was made"):
        plan.run(progress=False)
    assert not out.exists()


def test_a_model_that_counts_is_run_again_by_its_plan(image, out):
    class Counting:
        calls = 0

        def __call__(self, batch):
            self.calls += 1
            return batch * 2

    plan = daskpatch.plan(image, Counting(), out, **TILES)
    plan.run(part=(1, 2), progress=False)
    plan.run(part=(2, 2), progress=False)
    np.testing.assert_array_equal(zarr.open_array(str(out))[...], image * 2)


# Code that says it is Python's own, or a library's


def made_of_text(factor):
    known = {}
    exec(f"class Model:\n    def __call__(self, batch):\n        return batch * {factor}", known)
    return known["Model"]()


def made_of_fields(factor):
    def call(self, batch):
        return batch * factor

    return dataclasses.make_dataclass("Model", [], namespace={"__call__": call})()


@pytest.mark.parametrize("make", [made_of_text, made_of_fields])
def test_classes_that_say_they_are_pythons_own(image, out, make):
    def saturated(factor):
        inner = make(factor)
        return lambda batch: np.minimum(inner(batch), 1.0)

    begun(image, saturated(2), out)
    refused(image, saturated(3), out, "model.(code|attributes)")


def test_what_a_librarys_decorator_hides_asks_for_an_id(image, out, tmp_path):
    file = open(tmp_path / "log.txt", "w")  # noqa: SIM115 (it has no identity while it is open)

    @contextlib.contextmanager
    def quietly():
        yield

    @quietly()
    def model(batch):
        return batch + 0 * len(file.name)

    with file, pytest.raises(ValueError, match="no identity.*model_id"):
        predict(image, model, out, part=(1, 2), resume=True)


HELD = {
    "a generator": "np.random.default_rng(0)",
    "a sequence of seeds": "np.random.SeedSequence(3)",
    "a bit generator": "np.random.PCG64(1)",
    "a method of a generator": "np.random.default_rng(0).normal",
    "a compiled function": "scipy.ndimage._ni_label._label",
    "a compiled object": "scipy.spatial.cKDTree(np.eye(3))",
    "labelled values": "xarray.DataArray([1, 2], coords={'k': ['a', 'b']}, dims='k')",
    "a table": "xarray.DataArray([1, 2], coords={'k': ['a', 'b']}, dims='k').to_series()",
}
HOLDING = """
import scipy.ndimage._ni_label, scipy.spatial, xarray
class Model:
    def __call__(self, x):
        return x * 2
model = Model()
model.held = {held}
"""


@pytest.mark.parametrize("held", HELD.values(), ids=HELD)
def test_what_a_compiled_library_made_is_the_same_in_another_process(tmp_path, held):
    model = HOLDING.format(held=held)
    assert not run(tmp_path, model).stderr
    assert not run(tmp_path, model, word="resume=True").stderr


def test_another_state_of_a_generator_is_another_model(tmp_path):
    assert not run(tmp_path, HOLDING.format(held="np.random.default_rng(0)")).stderr
    other = HOLDING.format(held="np.random.default_rng(1)")
    assert "attributes" in run(tmp_path, other, word="resume=True").stderr
