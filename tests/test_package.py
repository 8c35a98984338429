"""What importing the package costs, what it needs, what it ships."""

import re
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest

import daskpatch


def python(code):
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_importing_it_imports_no_engine():
    loaded = python(
        "import sys, daskpatch; print(*sorted({m.partition('.')[0] for m in sys.modules}))"
    )
    for engine in (
        "torch",
        "onnxruntime",
        "tensorstore",
        "distributed",
        "obstore",
        "matplotlib",
        "skimage",
        "click",
    ):
        assert engine not in loaded.split()


def test_importing_it_imports_little_more_than_zarr_and_dask_array():
    """Counted in modules, which does not vary as seconds do; those are in benchmarks/."""
    code = "import sys; import {}; print(len(sys.modules))"
    ours, theirs = (
        int(python(code.format("daskpatch"))),
        int(python(code.format("zarr, dask.array"))),
    )
    assert ours < 1.2 * theirs


def test_it_is_typed():
    assert (Path(daskpatch.__file__).parent / "py.typed").is_file()


def test_required_packages_are_few():
    needed = [r for r in requires("daskpatch") if "extra ==" not in r]
    names = {re.match(r"[a-z0-9-]+", r).group() for r in needed}
    assert names == {
        "click", "crc32c", "dask", "distributed", "msgspec", "numcodecs", "numpy",
        "platformdirs", "psutil", "pyyaml", "tqdm", "zarr",
    }  # fmt: skip


def test_no_extra_of_the_tests_needs_torch():
    extras = [r for r in requires("daskpatch") if 'extra == "test"' in r]
    assert not any("torch" in r or "onnx" in r for r in extras)


@pytest.mark.parametrize(
    ("missing", "extra", "code"),
    [
        ("torch", "torch", "daskpatch.TorchModel(__file__)"),
        ("onnxruntime", "onnx", "daskpatch.OnnxModel(__file__)"),
    ],
)
def test_a_missing_engine_names_its_extra(tmp_path, missing, extra, code):
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        f"sys.modules[{missing!r}] = None\n"
        "import numpy as np, daskpatch\n"
        "try:\n"
        f"    daskpatch.plan(np.zeros((9, 9)), {code}, axes='YX', patch_size=8)\n"
        "except ImportError as error:\n"
        "    print(error)\n"
    )
    out = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert f"pip install 'daskpatch[{extra}]'" in out.stdout, out.stderr


@pytest.mark.parametrize(
    ("missing", "extra", "code"),
    [
        ("obstore.store", "s3", "daskpatch.open_image('s3://bucket/a.zarr')"),
        (
            "tensorstore",
            "fast",
            "import zarr; zarr.create_array('a.zarr', shape=(9, 9), chunks=(9, 9), dtype='u1'); "
            "daskpatch.plan('a.zarr', np.negative, axes='YX', patch_size=8, io='tensorstore')",
        ),
        ("skimage.restoration", "demo", "import daskpatch.demo as d; d.run_demo('demo')"),
        ("matplotlib.figure", "demo", "import daskpatch.demo as d; d.run_demo('demo')"),
    ],
)
def test_a_missing_package_names_its_extra(tmp_path, missing, extra, code):
    script = (
        f"import os, sys; os.chdir({str(tmp_path)!r}); sys.modules[{missing!r}] = None\n"
        "import numpy as np, daskpatch\n"
        f"try:\n    {code}\nexcept Exception as error:\n    print(error)"
    )
    assert f"pip install 'daskpatch[{extra}]'" in python(script)


def test_without_tensorstore_zarr_does_the_work(tmp_path):
    script = (
        "import sys; sys.modules['tensorstore'] = None\n"
        "import numpy as np, zarr, daskpatch\n"
        f"zarr.create_array({str(tmp_path / 'a.zarr')!r}, data=np.ones((9, 9), 'f4'))\n"
        f"plan = daskpatch.plan({str(tmp_path / 'a.zarr')!r}, np.negative, "
        f"{str(tmp_path / 'b.zarr')!r}, axes='YX', patch_size=4)\n"
        "plan.run(progress=False)\n"
        f"print(plan.io, zarr.open({str(tmp_path / 'b.zarr')!r})[0, 0])"
    )
    assert python(script) == "zarr -1.0"
