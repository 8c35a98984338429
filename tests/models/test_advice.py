"""Errors of torch's and onnxruntime's own get the option that helps."""

import atexit
import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

import daskpatch
from daskpatch.model import TorchModel, advice_for

nn = torch.nn
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
STACK, COLOURS = np.zeros((20, 32, 32), "f4"), np.zeros((3, 32, 32), "f4")


class Unet(nn.Module):
    def forward(self, batch):
        down = nn.functional.max_pool2d(batch, 2)
        up = nn.functional.interpolate(down, scale_factor=2)
        return torch.cat([up, batch], 1)


class LongNamed(nn.Module):
    """Whose errors name much."""

    def __init__(self):
        super().__init__()
        self.convolution_of_a_name_that_takes_a_line = nn.Conv2d(1, 1, 3)

    def forward(self, batch):
        return self.convolution_of_a_name_that_takes_a_line(batch)


def exported_as_file(module, shape):
    path = Path(mkdtemp()) / "net.pt2"
    torch.export.save(torch.export.export(module.eval(), (torch.zeros(shape),)), path)
    atexit.register(shutil.rmtree, path.parent, ignore_errors=True)
    return TorchModel(path)


class BySlices(nn.Module):
    """Takes stacks, as many slices."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, batch):
        n, _, z, y, x = batch.shape
        return self.inner(batch.reshape(n * z, 1, y, x)).reshape(batch.shape)


TOLD = {
    "2-D on a stack": (STACK, "ZYX", nn.Conv2d(1, 1, 3), {}, "two numbers (YX)"),
    "2-D pooling": (STACK, "ZYX", nn.MaxPool2d(2), {}, "two numbers (YX)"),
    "2-D norm": (STACK, "ZYX", nn.BatchNorm2d(1), {}, "two numbers (YX)"),
    "2-D norm of instances": (STACK, "ZYX", nn.InstanceNorm2d(1), {}, "two numbers (YX)"),
    "2-D padding": (STACK, "ZYX", nn.ReflectionPad2d(1), {}, "two numbers (YX)"),
    "norm in half": (STACK, "ZYX", nn.BatchNorm3d(1).half(), {}, "input_dtype="),
    "norm of groups in double": (STACK, "ZYX", nn.GroupNorm(1, 1).double(), {}, "input_dtype="),
    "an exported one of three axes": (
        COLOURS[0], "YX",
        lambda: exported_as_file(nn.Conv3d(1, 1, 3, padding=1), (1, 1, 8, 16, 16)),
        {}, "three numbers (ZYX)",
    ),
    "a network called with NumPy's": (
        STACK, "ZYX", lambda: lambda batch: nn.Conv3d(1, 1, 3)(batch), {}, "torch.from_numpy"
    ),
    "NumPy's moved to a device": (
        STACK, "ZYX", lambda: lambda batch: batch.to("cpu"), {}, "torch.from_numpy"
    ),
    "a long name": (
        STACK, "ZYX", lambda: torch.jit.script(LongNamed().eval()), {}, "two numbers (YX)"
    ),
    "2-D upsampling": (
        STACK, "ZYX", nn.Upsample(scale_factor=2, mode="bilinear"), {}, "two numbers (YX)"
    ),
    "3-D on slices": (STACK, "ZYX", nn.BatchNorm3d(1), {"patch_size": (16, 16)}, "three numbers"),
    "one channel of three": (COLOURS, "CYX", nn.Conv2d(1, 1, 3), {}, "channels=[0]"),
    "norm of one": (COLOURS, "CYX", nn.BatchNorm2d(1), {}, "channels=[0]"),
    "three channels of one": (STACK, "ZYX", nn.Conv3d(3, 1, 3), {}, "takes 3 channels"),
    "half": (STACK, "ZYX", nn.Conv3d(1, 1, 3).half(), {}, 'input_dtype="float16"'),
    "slices in half": (STACK, "ZYX", BySlices().half(), {}, 'input_dtype="float16"'),
    "double": (STACK, "ZYX", nn.Conv3d(1, 1, 3).double(), {}, 'input_dtype="float64"'),
    "without bias": (
        STACK, "ZYX", nn.Conv3d(1, 1, 3, bias=False).half(), {}, 'input_dtype="float16"'
    ),
    "bfloat16": (STACK, "ZYX", nn.Conv3d(1, 1, 3).bfloat16(), {}, "model.float()"),
    "integers": (
        STACK, "ZYX", nn.Conv3d(1, 1, 3), {"input_dtype": "uint8"}, 'input_dtype="float32"'
    ),
    "strides": (COLOURS, "CYX", Unet(), {"patch_size": 15}, "multiples of its total stride"),
    "too small": (COLOURS, "CYX", nn.Conv2d(3, 1, 9), {"patch_size": 4}, "larger patch_size"),
    "padding": (COLOURS, "CYX", nn.ReflectionPad2d(9), {"patch_size": 8}, "larger patch_size"),
    "a norm of one voxel": (
        COLOURS, "CYX", nn.Sequential(nn.MaxPool2d(8), nn.InstanceNorm2d(3)), {"patch_size": 8},
        "larger patch_size",
    ),
    "groups of channels": (COLOURS, "CYX", nn.GroupNorm(2, 4), {}, "a multiple of 2 channels"),
    "a norm of four channels": (COLOURS, "CYX", nn.GroupNorm(1, 4), {}, "takes 4 channels"),
    "slopes of channels": (COLOURS, "CYX", nn.PReLU(4), {}, "takes 4 channels"),
    "a traced one of two axes": (
        STACK, "ZYX",
        lambda: torch.jit.trace(nn.Conv2d(1, 1, 3).eval(), torch.zeros(1, 1, 8, 8)),
        {}, "two numbers (YX)",
    ),
    "an exported one of one size": (
        COLOURS[0], "YX",
        lambda: torch.export.export(nn.Conv2d(1, 1, 3), (torch.zeros(1, 1, 16, 16),)).module(),
        {"patch_size": 8}, "The graph takes 16 along axis",
    ),
    "channels last": (STACK, "ZYX", nn.Linear(10, 3), {}, "channels that come last"),
    "one size": (
        COLOURS, "CYX", nn.Sequential(nn.Flatten(), nn.Linear(10, 3)), {}, "is to be patch_size"
    ),
    "a linear layer": (STACK, "ZYX", nn.Linear(16, 16).half(), {}, 'input_dtype="float16"'),
}  # fmt: skip


@pytest.mark.parametrize("case", TOLD)
def test_errors_of_torch(case):
    values, axes, model, options, words = TOLD[case]
    model = model if isinstance(model, nn.Module) else model()
    with pytest.raises(RuntimeError, match="failed on the trial tile") as told:
        daskpatch.plan(values, model, axes=axes, **{"patch_size": 16, **options})
    assert words in str(told.value)
    assert len(str(told.value)) <= 500


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (
            nn.Conv2d(1, 1, 3),
            "2 spatial axes, and ndim is 3. The network is 2-D: give patch_size as two",
        ),
        (nn.Conv3d(2, 1, 3), "1 channel, 3 spatial axes"),
        (nn.Conv3d(1, 1, 3).half(), "and float32 (size"),
    ],
)
def test_a_probe_tries_no_other_sizes_where_none_would_do(model, words):
    calls = []
    model.register_forward_pre_hook(lambda *_: calls.append(1))
    with pytest.raises(ValueError, match="Give channels= and input_dtype=|ndim=2") as told:
        daskpatch.probe(model, ndim=3)
    assert words in str(told.value)
    assert len(calls) <= 2


WITHOUT_GPU = """
import numpy as np, torch, daskpatch
for model in (lambda batch: torch.from_numpy(batch).to("cuda"), "net.py:net"):
    try:
        daskpatch.plan(np.zeros((20, 32, 32), "f4"), model, axes="ZYX", patch_size=16)
    except (RuntimeError, ImportError) as error:
        print(error)
"""


def test_a_device_that_there_is_not(tmp_path):
    (tmp_path / "net.py").write_text("import torch\nnet = torch.nn.Conv3d(1, 1, 3).to('cuda')\n")
    told = subprocess.run(
        [sys.executable, "-c", WITHOUT_GPU],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert len(told) == 2
    assert all("device='cpu', map_location='cpu'" in line for line in told)


def test_a_module_without_weights():
    with pytest.raises(ValueError, match="has no weights.*'meta'.*load_state_dict"):
        daskpatch.plan(STACK, nn.Conv3d(1, 1, 3, device="meta"), axes="ZYX", patch_size=16)


def test_the_class_instead_of_the_network():
    with pytest.raises(TypeError, match=r"the class Conv3d; give an instance.*Conv3d\(…\)"):
        daskpatch.plan(STACK, nn.Conv3d, axes="ZYX", patch_size=16)


def test_weights_instead_of_a_network(tmp_path):
    torch.save(nn.Conv3d(1, 1, 3).state_dict(), tmp_path / "w.pt")
    with pytest.raises(ValueError, match="no TorchScript archive. Of weights .*load_state_dict"):
        daskpatch.plan(STACK, f"{tmp_path}/w.pt", axes="ZYX", patch_size=16)


@pytest.mark.parametrize("suffix", [".pt", ".pt2"])
def test_a_whole_network_is_named_by_its_file(tmp_path, rng, suffix):
    net = nn.Conv2d(1, 1, 3, padding=1).eval()
    path, example = tmp_path / f"net{suffix}", torch.zeros(1, 1, 16, 16)
    if suffix == ".pt":
        torch.jit.trace(net, example).save(path)
    else:
        torch.export.save(torch.export.export(net, (example,)), path)
    image = rng.random((40, 40)).astype("f4")
    words = {"axes": "YX", "patch_size": 16, "overlaps": 4}
    named, held = (daskpatch.plan(image, m, **words).view[...] for m in (str(path), net))
    np.testing.assert_allclose(named, held, atol=1e-6)
    assert TorchModel(path).name in daskpatch.plan(image, str(path), **words).model_name


def graph(ndim, shape, *, channels=1, dtype=TensorProto.FLOAT):
    size = np.float16 if dtype == TensorProto.FLOAT16 else np.float32
    kernel = (1, channels) + (3,) * ndim
    weight = helper.make_tensor("w", dtype, kernel, np.zeros(kernel, size).tobytes(), raw=True)
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[1] * 2 * ndim)
    ends = [
        helper.make_tensor_value_info(name, dtype, s) for name, s in (("x", shape), ("y", None))
    ]
    made = helper.make_graph([node], "g", ends[:1], ends[1:], [weight])
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


GRAPHS = {
    "channels": (graph(2, ["n", 1, "h", "w"]), COLOURS, "CYX", "channels=[0]"),
    "channels of the weights": (
        graph(2, ["n", "c", "h", "w"], channels=4), COLOURS, "CYX", "takes 4 channels"
    ),
    "rank": (graph(2, ["n", 1, "h", "w"]), STACK, "ZYX", "two numbers (YX)"),
    "dtype": (
        graph(2, ["n", 3, "h", "w"], channels=3, dtype=TensorProto.FLOAT16), COLOURS, "CYX",
        'input_dtype="float16"',
    ),
    "size": (graph(2, ["n", 3, 24, 24], channels=3), COLOURS, "CYX", "takes 24 along axis 2"),
}  # fmt: skip


@pytest.mark.parametrize("case", GRAPHS)
def test_errors_of_onnxruntime(tmp_path, case):
    model, values, axes, words = GRAPHS[case]
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(RuntimeError, match="failed on the trial tile") as told:
        daskpatch.plan(values, str(tmp_path / "net.onnx"), axes=axes, patch_size=16)
    assert words in str(told.value)


INNER = {
    "channels": (COLOURS, "CYX", nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(2, 1, 1))),
    "rank": (STACK, "ZYX", nn.Sequential(nn.Conv3d(1, 4, 1), nn.Conv2d(4, 1, 1))),
}


class Adds(nn.Module):
    def forward(self, batch):
        return batch + torch.ones(batch.shape[-1] - 9)


@pytest.mark.parametrize("case", [*INNER, "sum"])
def test_errors_of_inner_layers_get_no_advice(case):
    values, axes, model = INNER.get(case, (COLOURS, "CYX", Adds()))
    with pytest.raises(RuntimeError) as told:
        daskpatch.plan(values, model, axes=axes, patch_size=16)
    assert not any(word in str(told.value) for word in ("give ", "choose", "The network"))


def test_other_errors_get_no_advice():
    assert advice_for(ValueError("no idea"), (1, 1, 8, 8)) == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("index: 3 Got: 16 Expected: 3", "channels came last; they must come second"),
        ("index: 3 Got: 16 Expected: 24", "give its own size as patch_size"),
        (
            "Unexpected input data type. Actual: (tensor(float)) , expected: (tensor(string))",
            "takes texts, not voxels",
        ),
    ],
)
def test_a_graph_of_another_kind_gets_advice_that_works(text, words):
    assert words in advice_for(RuntimeError(text), (1, 1, 16, 16), "float32")
