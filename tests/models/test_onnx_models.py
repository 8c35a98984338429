"""ONNX graphs."""

import numpy as np
import onnx
import pytest
import zarr
from onnx import TensorProto, helper, numpy_helper

import daskpatch
from daskpatch import OnnxModel


@pytest.fixture
def blur(tmp_path):
    """A 3×3 mean with zero padding, as an ONNX graph."""
    kernel = np.full((1, 1, 3, 3), 1 / 9, "f4")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "kernel"], ["blurred"], pads=[1, 1, 1, 1])],
        "blur",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 1, "y", "x"])],
        [helper.make_tensor_value_info("blurred", TensorProto.FLOAT, ["n", 1, "y", "x"])],
        [helper.make_tensor("kernel", TensorProto.FLOAT, kernel.shape, kernel.ravel())],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path = tmp_path / "blur.onnx"
    onnx.save(model, path)
    return path


def blurred(values):
    padded = np.pad(values, 1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
    return windows.mean(axis=(2, 3))


@pytest.fixture
def values():
    return np.random.default_rng(1).normal(size=(101, 67)).astype("f4")


@pytest.mark.parametrize("name", [str, OnnxModel])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_graph_predicts(blur, values, tmp_path, name, batch_size):
    report = daskpatch.predict(
        values,
        name(blur),
        tmp_path / "out.zarr",
        axes="YX",
        patch_size=32,
        overlaps=8,
        batch_size=batch_size,
        progress=False,
    )
    out = zarr.open_array(store=str(tmp_path / "out.zarr"))[...]
    assert np.abs(out - blurred(values)).max() < 1e-5
    assert report.nan_tiles == 0


def test_worker_processes_load_the_graph(blur, values, tmp_path):
    from distributed import Client, LocalCluster
    from volumes import save

    save(tmp_path / "in.zarr", values, chunks=(32, 32), dimension_names=["y", "x"])
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        daskpatch.predict(
            tmp_path / "in.zarr",
            blur,
            tmp_path / "out.zarr",
            patch_size=32,
            overlaps=8,
            chunks=16,
            block_shape=32,
            client=client,
            progress=False,
        )
    out = zarr.open_array(store=str(tmp_path / "out.zarr"))[...]
    assert np.abs(out - blurred(values)).max() < 1e-5


def test_a_graph_with_two_inputs_is_refused(tmp_path, values):
    inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1]) for n in "ab"]
    outputs = [helper.make_tensor_value_info("c", TensorProto.FLOAT, [1])]
    graph = helper.make_graph([helper.make_node("Add", ["a", "b"], ["c"])], "add", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "add.onnx")
    with pytest.raises(ValueError, match="2 inputs"):
        daskpatch.plan(values, tmp_path / "add.onnx", axes="YX", patch_size=32)


def test_a_missing_graph_is_named():
    with pytest.raises(FileNotFoundError, match=r"no\.onnx"):
        OnnxModel("no.onnx")


def test_a_graph_of_two_outputs_gives_two_arrays(tmp_path, values):
    shape = ["n", 1, "y", "x"]
    given = helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)
    outputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in ("a/b:0", "up")]
    nodes = [
        helper.make_node("Neg", ["image"], ["a/b:0"]),
        helper.make_node("Relu", ["image"], ["up"]),
    ]
    graph = helper.make_graph(nodes, "two", [given], outputs)
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=9), tmp_path / "two.onnx")
    plan = daskpatch.plan(values, tmp_path / "two.onnx", axes="YX", patch_size=32)
    assert plan.output_names == ("a_b_0", "up")
    assert np.array_equal(plan.views[0][...], -values)
    assert np.array_equal(plan.views[1][...], np.maximum(values, 0))


def scaled(folder, factor, name="weights.bin"):
    """A graph that multiplies, and keeps its factor in a file of its own."""
    shape = ["N", 1, "Y", "X"]
    given, made = (helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in "xy")
    weight = numpy_helper.from_array(np.full((1, 1, 1, 200), factor, "f4"), "k")
    nodes = [
        helper.make_node("ReduceMean", ["k"], ["m"], keepdims=1),
        helper.make_node("Mul", ["x", "m"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "scaled", [given], [made], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    (folder / name).unlink(missing_ok=True)
    path = folder / "scaled.onnx"
    onnx.save_model(model, path, save_as_external_data=True, location=name, size_threshold=0)
    return path


@pytest.mark.parametrize("name", ["weights.bin", "gewichte-ü.bin", "w" * 200])
def test_weights_in_a_file_of_their_own_are_part_of_a_graph(tmp_path, values, name):
    path = scaled(tmp_path, 2.0, name)
    before = daskpatch.OnnxModel(path)
    identity, nbytes = before.contents(), before.nbytes()
    assert nbytes > path.stat().st_size + 200 * 4 - 1
    options = {"axes": "YX", "patch_size": 32, "overlaps": 8, "chunks": 16, "block_shape": 16}
    daskpatch.predict(values, path, tmp_path / "o.zarr", **options, part=(1, 2), progress=False)
    assert daskpatch.OnnxModel(scaled(tmp_path, 2.0, name)).contents() == identity
    assert daskpatch.OnnxModel(scaled(tmp_path, 3.0, name)).contents() != identity
    with pytest.raises(ValueError, match="model.weights.1 changed"):
        daskpatch.predict(values, path, tmp_path / "o.zarr", **options, part=(2, 2), progress=False)


def test_weights_that_are_not_beside_the_graph_are_named(tmp_path, values):
    path = scaled(tmp_path, 2.0)
    options = {"axes": "YX", "patch_size": 32}
    (tmp_path / "weights.bin").rename(tmp_path / "elsewhere.bin")
    with pytest.raises(ValueError, match="keeps weights in 'weights.bin', which is not there"):
        daskpatch.plan(values, path, **options)
    path.write_bytes(path.read_bytes().replace(b"weights.bin", b"../ghts.bin"))
    with pytest.raises(ValueError, match="keeps weights in '../ghts.bin', outside of its folder"):
        daskpatch.plan(values, path, **options)


@pytest.mark.parametrize("content", [b"", b"\x0a\x08location\x12", b"\x0a\x08location\x12\xff"])
def test_what_is_no_graph_is_told_so(tmp_path, values, content):
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(ValueError, match="no ONNX graph"):
        daskpatch.plan(values, tmp_path / "m.onnx", tmp_path / "o.zarr", axes="YX", patch_size=32)


@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize("batch_size", [1, 3, 4, 6])
def test_a_graph_of_one_fixed_batch(tmp_path, values, size, batch_size):
    shape = [size, 1, 24, 24]
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        "twice",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "twice.onnx")
    words = {"axes": "YX", "patch_size": 24, "overlaps": 8, "min_size": 24}
    plan = daskpatch.plan(values, tmp_path / "twice.onnx", batch_size=batch_size, **words)
    np.testing.assert_array_equal(plan.view[...], 2 * values)
