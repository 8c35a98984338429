"""Plans: what they refuse, choose and say."""

import dataclasses
import inspect
import json
import math
import re
import sys
import time
import warnings
from collections import Counter

import numpy as np
import pytest
import zarr
from dask.utils import format_bytes
from example_models import double, identity
from hypothesis import given
from hypothesis import strategies as st
from serving import served
from tracing import traced_peak
from volumes import save

import daskpatch
from daskpatch import TiledPatching, WholeSamplePatching
from daskpatch.block import block_grid, bounding_box, touching
from daskpatch.deciding import Pace, Selection, available_memory
from daskpatch.geometry import Dimensions
from daskpatch.output import BlockBudget, choose_layout
from daskpatch.output.layout import nearest
from daskpatch.planning import prediction_of

ROOMY = BlockBudget(
    seconds_per_voxel=1e-6, bytes_per_voxel=10, bytes_per_thread=1e9, threads=2, has_cache=True
)


def layout(axes, shape, step, **options):
    options = {"chunks": None, "shards": None, "block_shape": None, "budget": ROOMY} | options
    ndim = len(step)
    return choose_layout(Dimensions(axes, shape, ndim), step, **options)


@pytest.mark.parametrize(
    ("axes", "shape", "step", "chunks"),
    [
        ("ZYX", (500, 500, 500), (64, 128, 128), (64, 64, 64)),
        ("ZYX", (500, 500, 500), (48, 48, 48), (48, 48, 48)),
        ("ZYX", (500, 500, 500), (24, 40, 100), (72, 80, 50)),
        ("ZYX", (20, 500, 500), (64, 64, 64), (20, 64, 64)),
        ("YX", (5000, 5000), (224, 384), (448, 384)),
        ("TCYX", (9, 3, 5000, 5000), (256, 128), (1, 3, 512, 512)),
        ("ZCYX", (9, 3, 5000, 5000), (256, 128), (1, 3, 512, 512)),
    ],
)
def test_default_chunks_fit_the_step(axes, shape, step, chunks):
    assert layout(axes, shape, step).chunks == chunks


def test_nearest_takes_the_larger_of_two():
    assert nearest([32, 96, 1], 64) == 96


@given(st.data())
def test_every_write_unit_belongs_to_one_block(data):
    shape = tuple(data.draw(st.integers(1, 300)) for _ in range(3))
    step = tuple(data.draw(st.integers(1, 130)) for _ in range(3))
    shards = data.draw(st.none() | st.integers(1, 80))
    budget = BlockBudget(
        seconds_per_voxel=data.draw(st.sampled_from([1e-9, 1e-5])),
        bytes_per_voxel=10,
        bytes_per_thread=data.draw(st.sampled_from([1e5, 1e9])),
        threads=2,
        has_cache=data.draw(st.booleans()),
    )
    made = layout("ZYX", shape, step, shards=shards, budget=budget)
    for unit, block, chunk in zip(made.write_unit, made.block_shape, made.chunks, strict=True):
        assert block % unit == 0
        assert unit % chunk == 0


def test_default_blocks_are_whole_steps_and_worth_a_task():
    made = layout("ZYX", (2000, 2000, 2000), (64, 128, 128), chunks=(64, 128, 128))
    assert all(b % s == 0 for b, s in zip(made.block_shape, (64, 128, 128), strict=True))
    assert 2**20 <= math.prod(made.block_shape) <= 2**24


def test_blocks_are_larger_where_no_cache_serves_their_halo():
    options = {"chunks": (64, 128, 128)}
    cached = layout(
        "ZYX",
        (2000, 2000, 2000),
        (64, 128, 128),
        **options,
        budget=dataclasses.replace(ROOMY, seconds_per_voxel=1e-9),
    )
    uncached = layout(
        "ZYX",
        (2000, 2000, 2000),
        (64, 128, 128),
        **options,
        budget=dataclasses.replace(ROOMY, seconds_per_voxel=1e-9, has_cache=False),
    )
    assert math.prod(uncached.block_shape) == 2 * math.prod(cached.block_shape)


def test_small_samples_share_a_block():
    made = layout("TYX", (10_000, 100, 100), (64, 64))
    assert made.chunks == (1, 100, 100)
    assert made.block_shape[1:] == (100, 100)
    assert math.prod(made.block_shape) >= 2**19


def test_a_block_is_one_shard_where_whole_steps_would_leave_threads_without_work():
    image = np.zeros((480, 640), "u1")
    words = {
        "axes": "YX",
        "patch_size": 16,
        "overlaps": 4,
        "shards": (240, 160),
        "chunks": (24, 16),
    }
    few = daskpatch.plan(image, np.negative, threads=4, **words)
    assert few.to_dict()["block_shape"] == [240, 160]
    assert "computed twice" in str(few)


def test_blocks_shrink_with_memory():
    tight = BlockBudget(1e-9, 10, 2e6, 2, True)
    assert math.prod(layout("ZYX", (2000,) * 3, (64,) * 3, budget=tight).block_shape) * 10 <= 3e6


def test_steps_that_do_not_fit_give_way_to_write_units():
    made = layout("ZYX", (9000,) * 3, (100, 100, 100), chunks=64)
    assert all(b % 64 == 0 for b in made.block_shape)
    assert math.prod(made.block_shape) <= 2**23


VALUES = np.zeros((40, 50), "f4")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "give patch_size"),
        ({"patch_size": 16, "patching": TiledPatching([(1, 1, 40, 50)], 8, 0)}, "not both"),
        ({"overlaps": 4, "patching": TiledPatching([(1, 1, 40, 50)], 8, 0)}, "overlaps"),
        ({"patch_size": 16, "overlaps": 16}, "smaller than patch_size"),
        ({"patch_size": (8, 16, 16)}, "no Z"),
        ({"patch_size": (8,)}, "1 number;"),
        ({"patch_size": 0}, "at least 1"),
        ({"patch_size": 16, "axes": "ZYX"}, "names 3 axes"),
        ({"patch_size": 16, "axes": None}, "Pass one letter"),
        ({"patch_size": 20, "align": 8}, "(16, 16) or (24, 24)"),
        ({"patch_size": 16, "batch_size": 0}, "batch_size"),
        ({"patch_size": 16, "threads": 0}, "threads"),
        ({"patch_size": 16, "io": "hdf5"}, "'hdf5'"),
        ({"patch_size": 16, "dtype": "complex64"}, "complex64"),
        ({"patch_size": 16, "dtype": "nope"}, "'nope'"),
        ({"patch_size": 16, "dtype": "longdouble"}, "64 bits"),
        ({"patch_size": 16, "memory_limit": float("inf")}, "inf"),
        ({"patch_size": 16, "memory_limit": ""}, "memory_limit"),
        ({"patch_size": 16, "input_dtype": object}, "input_dtype"),
        ({"patch_size": 16, "memory_limit": "much"}, "'much'"),
        ({"patch_size": 16, "padding": "wrap"}, "'wrap'"),
        ({"patch_size": 16, "chunks": (8, 8, 8)}, "3 numbers"),
        ({"patch_size": 16, "chunks": 0}, "at least 1"),
        ({"patch_size": 16, "chunks": "a"}, "chunks"),
    ],
)
def test_options_that_do_not_fit_are_refused_in_words(options, words):
    with pytest.raises(ValueError) as caught:
        daskpatch.plan(VALUES, identity, **{"axes": "YX"} | options)
    assert words in str(caught.value)


def test_too_little_memory_is_refused_with_the_knob_to_turn():
    values = np.zeros((200, 200, 200), "u1")
    options = {"axes": "ZYX", "patch_size": 64, "memory_limit": "1 MB"}
    with pytest.raises(MemoryError, match="smaller patch_size"):
        daskpatch.plan(values, double, **options)
    options |= {"memory_limit": "5 MB", "block_shape": 128}
    with pytest.raises(MemoryError, match="lower threads or give smaller block_shape"):
        daskpatch.plan(values, double, threads=4, **options)
    options |= {"memory_limit": "50 MB", "batch_size": 32}
    with pytest.raises(MemoryError, match="lower batch_size"):
        daskpatch.plan(values, double, threads=1, **options)


def test_threads_are_lowered_to_what_fits_unless_they_are_given():
    # Tiles that are large beside what other threads of this process take while a call is measured.
    values = np.zeros((200, 200, 200), "u1")
    options = {"axes": "ZYX", "patch_size": 128, "block_shape": 128, "chunks": 128}
    one = daskpatch.plan(values, double, threads=1, **options)
    fitting = daskpatch.plan(values, double, memory_limit=int(one.peak_memory * 1.5), **options)
    assert fitting.threads == 1


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (lambda b: b[..., :5], ["(1, 1, 16, 5)", "no more for larger tiles", "coords"]),
        (lambda b: b[0], ["(1, 16, 16)"]),
        (lambda b: b.astype(complex), ["complex"]),
        (lambda b: 1 / 0, ["ZeroDivisionError", "coords (16, 32)", "(1, 1, 16, 16)"]),
        (lambda b: None, ["needed is"]),
        (lambda b: b[:, :0], ["(1, 0, 16, 16)", "needed is (1, 1, 16, 16)"]),
        (lambda b: b.astype("longdouble"), ["64 bits"]),
    ],
)
def test_a_model_that_is_none_is_refused_with_the_tile(model, words):
    with pytest.raises(daskpatch.ModelError) as caught:
        daskpatch.plan(VALUES, model, axes="YX", patch_size=16)
    for word in words:
        assert word in str(caught.value)
    assert caught.value.tile["patch_size"] == (16, 16)


def test_the_models_own_error_is_chained():
    with pytest.raises(daskpatch.ModelError) as caught:
        daskpatch.plan(VALUES, lambda b: 1 / 0, axes="YX", patch_size=16)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_another_shape_or_dtype_in_the_middle_names_tile_and_shapes():
    calls = []

    def model(batch):
        calls.append(1)
        return batch if len(calls) == 1 else batch[..., 1:]

    plan = daskpatch.plan(VALUES, model, axes="YX", patch_size=16)
    with pytest.raises(daskpatch.ModelError, match=r"coords.*needed is \(1, 1, 16, 16\)"):
        plan.view[0]

    def other(batch):
        calls.append(1)
        return batch if len(calls) == 1 else batch.astype("f8")

    calls.clear()
    plan = daskpatch.plan(VALUES, other, axes="YX", patch_size=16)
    with pytest.raises(daskpatch.ModelError, match="float64.*float32"):
        plan.view[0]


def counted(plan):
    """Voxels computed and chunks touched, by brute force over blocks and tiles."""
    computed = read = 0
    prediction = prediction_of(plan)
    image, grid = prediction.images[0], prediction.grids[0]
    blocks = block_grid(prediction, 0, plan.block_shape)
    dims = prediction.primary[0]
    for index in range(blocks.n_cells):
        region = dims.spatial_part(blocks.cell(index))
        ranges = touching(grid, region)
        computed += math.prod(
            sum(axis.tile(i).size for i in r) for axis, r in zip(grid.axes, ranges, strict=True)
        )
        box = bounding_box(grid, ranges)
        read += math.prod(
            min(-(-min(b, n) // c) * c, n) - max(a, 0) // c * c
            for a, b, n, c in zip(
                box.start, box.stop, image.data_shape[2:], image.chunk_shape, strict=True
            )
        )
    kept = math.prod(image.data_shape[2:])
    return computed / kept, read / kept


@pytest.mark.parametrize("block", [16, 20, 64])
def test_ratios_are_those_of_a_count(stored, block):
    plan = daskpatch.plan(
        stored, double, patch_size=(20, 24, 28), overlaps=(3, 4, 8), chunks=4, block_shape=block
    )
    assert (plan.compute_ratio, plan.read_ratio) == pytest.approx(counted(plan))


def test_ratios_of_many_blocks_are_those_of_a_count(tmp_path):
    values = np.zeros((700, 5), "u1")
    save(tmp_path / "long.zarr", values, chunks=(6, 5), dimension_names=["y", "x"])
    plan = daskpatch.plan(
        tmp_path / "long.zarr",
        double,
        patch_size=(8, 5),
        overlaps=(2, 0),
        chunks=2,
        block_shape=(4, 5),
    )
    assert plan.n_blocks == 175
    assert (plan.compute_ratio, plan.read_ratio) == pytest.approx(counted(plan))


def test_blocks_at_multiples_of_the_step_compute_nothing_twice():
    plan = daskpatch.plan(
        np.zeros((200, 200), "u1"),
        double,
        axes="YX",
        patch_size=48,
        overlaps=16,
        chunks=32,
        block_shape=64,
    )
    tiles = sum(math.prod(tile["patch_size"]) for tile in plan.patching)
    assert plan.compute_ratio == pytest.approx(tiles / 200**2)


class Petabyte:
    shape, dtype = (10**5, 10**5, 10**5), np.dtype("u2")

    def __getitem__(self, key):
        return np.ones([s.stop - s.start for s in key], "u2")


def plan_of_a_petabyte():
    return daskpatch.plan(Petabyte(), double, axes="ZYX", patch_size=32, overlaps=8)


def planned_once():
    plan_of_a_petabyte()
    return plan_of_a_petabyte


def test_a_plan_costs_the_same_at_any_size():
    assert traced_peak(planned_once) < 3_000_000
    made = plan_of_a_petabyte()
    assert made.n_tiles == 4167**3
    assert made.n_blocks > 10**6
    assert made.compute_ratio == pytest.approx((32 / 24) ** 3, rel=1e-2)
    selection = Selection.everything(prediction_of(made), made.block_shape)
    assert next(iter(selection)) == 0


@pytest.mark.parametrize("shape", [(10**18, 48), (10**18, 10**18), (10**12, 10**12)])
def test_axes_of_any_length_cost_no_memory(tmp_path, shape):
    """Metadata may say so: nothing is made for each block of an axis."""
    source = str(tmp_path / "in.zarr")
    zarr.create_array(source, shape=shape, chunks=(16, 16), dtype="u1")

    def planned():
        return daskpatch.plan(source, double, axes="YX", patch_size=16, overlaps=4)

    def prepared():
        planned()
        return planned

    assert planned().n_tiles > 10**17
    assert traced_peak(prepared) < 3_000_000


def test_a_plan_says_what_will_happen(stored, tmp_path):
    plan = daskpatch.plan(stored, double, tmp_path / "out.zarr", patch_size=16, overlaps=4)
    text = repr(plan)
    for word in (
        str(stored),
        "out.zarr",
        "example_models.double",
        "(16, 16, 16)",
        "float32",
        f"{plan.n_tiles} of",
        "voxels computed per voxel kept",
        "at the peak",
    ):
        assert word in text
    html = plan._repr_html_()
    assert "<table>" in html
    assert "<svg" in html
    assert "'></th>" not in html  # lines without a name fold under the one before
    assert "out.zarr" in html


def test_a_plan_says_how_its_source_will_be_read(stored, tmp_path):
    options = {"patch_size": 16, "overlaps": 4, "chunks": 16, "block_shape": 16, "threads": 2}
    plan = daskpatch.plan(stored, double, **options)
    kept = format_bytes(plan.memory.chunks)
    assert f"reading each chunk is fetched about once; {kept} of them kept\n" in repr(plan)
    short = daskpatch.plan(stored, double, cache=10, **options)
    assert short.fetches_per_chunk > 1
    assert f"fetched up to {short.fetches_per_chunk:.2f} times; 10 B of them kept" in repr(short)
    assert "(cache=)" in repr(short)
    without = daskpatch.plan(VALUES, double, axes="YX", **options)
    assert f"reading {without.read_ratio:.2f} bytes read per byte needed" in repr(without)
    with served(tmp_path) as address:
        away = daskpatch.plan(f"http://{address}/{stored.name}", double, **options)
    assert away.blocks_ahead > 0
    assert f"for up to {away.blocks_ahead} blocks ahead" in repr(away)
    assert plan.blocks_ahead == 0


def test_text_in_html_is_escaped():
    def model(batch):
        return batch

    model.__qualname__ = "<script>"
    plan = daskpatch.plan(VALUES, model, axes="YX", patch_size=16)
    assert "<script>" not in plan._repr_html_()


def test_a_plan_is_json(stored, tmp_path):
    plan = daskpatch.plan(stored, double, tmp_path / "out.zarr", patch_size=16, overlaps=4)
    facts = json.loads(json.dumps(plan.to_dict()))
    for name in (
        "n_tiles",
        "n_blocks",
        "n_tasks",
        "bytes_in",
        "bytes_out",
        "read_ratio",
        "fetches_per_chunk",
        "blocks_ahead",
        "compute_ratio",
        "peak_memory",
        "io",
    ):
        assert facts[name] == getattr(plan, name)
    for name in ("block_shape", "chunks"):
        assert facts[name] == list(getattr(plan, name))
    assert facts["shards"] is None


def test_bytes_are_those_of_the_voxels(stored, volume):
    plan = daskpatch.plan(stored, double, patch_size=16)
    assert (plan.bytes_in, plan.bytes_out) == (volume.nbytes, 2 * volume.nbytes)


def test_memory_counts_threads_blocks_and_batches():
    values = np.zeros((128, 128, 128), "u1")
    options = {"axes": "ZYX", "patch_size": 32, "chunks": 32}
    base = daskpatch.plan(values, double, threads=1, block_shape=32, **options).memory
    assert daskpatch.plan(values, double, threads=2, block_shape=32, **options).memory.threads == 2
    larger = daskpatch.plan(values, double, threads=1, block_shape=64, **options).memory
    assert larger.block == 8 * base.block == 2 * 64**3 * 4
    batched = daskpatch.plan(values, double, threads=1, block_shape=32, batch_size=4, **options)
    assert batched.memory.batches == 4 * base.batches == 4 * 2 * 32**3 * 4


def test_the_machine_has_memory():
    assert 10**8 < available_memory() < 10**15


def test_a_series_of_mixed_axes_is_refused():
    with pytest.raises(ValueError, match="same axes"):
        daskpatch.plan(
            [daskpatch.open_image(VALUES, axes="YX"), daskpatch.open_image(VALUES, axes="XY")],
            double,
            patch_size=8,
        )
    with pytest.raises(ValueError, match="empty list"):
        daskpatch.plan([], double, patch_size=8)


def test_what_is_no_model_is_refused():
    with pytest.raises(TypeError, match="is 3; needed is a callable"):
        daskpatch.plan(VALUES, 3, axes="YX", patch_size=8)
    with pytest.raises(ValueError, match="names nothing"):
        daskpatch.plan(VALUES, "model", axes="YX", patch_size=8)
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        daskpatch.plan(VALUES, "no_such_module:model", axes="YX", patch_size=8)
    with pytest.raises(ImportError, match="identity"):
        daskpatch.plan(VALUES, "example_models:identty", axes="YX", patch_size=8)
    with pytest.raises(TypeError, match="is a class"):
        daskpatch.plan(VALUES, "example_models:NotAnInstance", axes="YX", patch_size=8)
    with pytest.raises(FileNotFoundError, match=r"nothing\.py"):
        daskpatch.plan(VALUES, "nothing.py:model", axes="YX", patch_size=8)
    with pytest.raises(FileNotFoundError, match=r"nothing\.onnx"):
        daskpatch.plan(VALUES, "nothing.onnx", axes="YX", patch_size=8)


def test_models_are_named_by_module_or_file(tmp_path):
    (tmp_path / "mine.py").write_text("class Namespace:\n    model = staticmethod(abs)\n")
    plan = daskpatch.plan(
        -VALUES - 1, f"{tmp_path}/mine.py:Namespace.model", axes="YX", patch_size=8
    )
    assert (plan.view[...] == 1).all()
    assert daskpatch.plan(VALUES, "numpy:negative", axes="YX", patch_size=8).model_name == (
        "numpy:negative"
    )
    assert "mine" not in sys.modules


def test_a_tile_that_does_not_fit_is_refused_before_it_is_read():
    class Refuses:
        shape, dtype = (10**4,) * 3, np.dtype("u1")

        def __getitem__(self, key):
            raise AssertionError("read")

    whole = WholeSamplePatching([(1, 1, *Refuses.shape)])
    with pytest.raises(MemoryError, match="smaller patch_size"):
        daskpatch.plan(Refuses(), double, axes="ZYX", patching=whole, memory_limit="1 GB")


def test_memory_is_that_of_the_image_that_needs_most():
    flat, square = np.zeros((1, 9_100_000), "u1"), np.zeros((3000, 3000), "u1")
    options = {
        "axes": "YX",
        "patch_size": 1024,
        "overlaps": 256,
        "chunks": 1024,
        "block_shape": 3072,
        "threads": 1,
        "io": "zarr",
    }
    alone = daskpatch.plan([square], double, **options).memory
    together = daskpatch.plan([flat, square], double, **options).memory
    assert together.block >= alone.block
    assert together.box >= alone.box


def test_a_patch_size_of_any_size_is_planned():
    assert daskpatch.plan(VALUES, double, axes="YX", patch_size=10**20, min_size=1).n_tiles == 1


def test_an_opened_image_takes_no_options_for_opening():
    image = daskpatch.open_image(VALUES, axes="YX")
    for options in ({"axes": "XY"}, {"channels": [0]}, {"padding": "edge"}):
        with pytest.raises(ValueError, match="open_image"):
            daskpatch.plan(image, double, patch_size=8, **options)
    with pytest.raises(ValueError, match="Give 2 sizes"):
        daskpatch.plan(image, double, patch_size=(8, 8, 8))


@pytest.mark.parametrize("patching", ["tiled", TiledPatching, 3])
def test_what_is_no_strategy_is_refused(patching):
    with pytest.raises(TypeError, match="needed is a strategy"):
        daskpatch.plan(VALUES, double, axes="YX", patching=patching)


def test_integers_given_to_the_model_do_not_wrap_around():
    values = np.array([[300, -5], [2, 7]], "i4")
    plan = daskpatch.plan(values, identity, axes="YX", patch_size=2, input_dtype="u1")
    assert plan.view[...].tolist() == [[255, 0], [2, 7]]


def test_models_of_another_byte_order_are_taken():
    plan = daskpatch.plan(VALUES + 1, lambda b: b.astype(">f4"), axes="YX", patch_size=16)
    assert plan.dtype == np.float32
    assert (plan.view[...] == 1).all()


def test_two_models_at_once_are_each_loaded_once(tmp_path):
    plans = []
    for name in "ab":
        (tmp_path / f"{name}.py").write_text(
            f"with open({str(tmp_path / name)!r}, 'a') as file:\n    file.write('.')\n"
            "def model(batch): return batch\n"
        )
        plans.append(
            daskpatch.plan(
                VALUES,
                f"{tmp_path}/{name}.py:model",
                axes="YX",
                patch_size=8,
                chunks=8,
                block_shape=8,
            )
        )
    (plans[0].array - plans[1].array).compute(scheduler="synchronous")
    assert [(tmp_path / name).read_text() for name in "ab"] == [".", "."]


def test_a_file_may_hold_dataclasses_and_plans_of_its_own(tmp_path):
    (tmp_path / "net.py").write_text(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "import numpy as np, daskpatch\n"
        "@dataclass\n"
        "class Net:\n"
        "    factor: float = 2\n"
        "    def __call__(self, batch): return batch * self.factor\n"
        "model = Net()\n"
        "daskpatch.plan(np.ones((9, 9)), model, axes='YX', patch_size=4)\n"
    )
    plan = daskpatch.plan(VALUES + 1, f"{tmp_path}/net.py:model", axes="YX", patch_size=16)
    assert (plan.view[...] == 2).all()


def test_the_options_of_a_run_are_checked(tmp_path, stored):
    plan = daskpatch.plan(stored, double, tmp_path / "out.zarr", patch_size=16)
    for threads in ("2", 1.5, 0):
        with pytest.raises(ValueError, match="threads"):
            plan.run(threads=threads, progress=False)
    with pytest.raises(TypeError, match=r"Client\(address\)"):
        plan.run(client="tcp://127.0.0.1:1", progress=False)
    with pytest.raises(ValueError, match="region"):
        plan.run(region=slice(0.5, 3), progress=False)
    assert not (tmp_path / "out.zarr").exists()
    assert plan.run(region=(np.int64(3),), progress=False).blocks >= 1


def test_the_work_of_a_plan_grows_with_the_number_of_images(rng):
    """Not with its square: plates have thousands of fields."""
    image = rng.random((20, 24)).astype("f4")

    def calls_for(n_images):
        calls = Counter()
        sys.setprofile(lambda frame, event, argument: calls.update([event]))
        try:
            daskpatch.plan([image] * n_images, double, axes="YX", ome=True, patch_size=16)
        finally:
            sys.setprofile(None)
        return calls["call"]

    few, some, many = (calls_for(n) for n in (40, 80, 160))
    assert many - some < 2.2 * (some - few)


def test_every_public_attribute_of_a_plan_is_documented():
    told = " ".join(inspect.getdoc(kind) or "" for kind in daskpatch.Plan.__mro__)
    listed = {word for line in re.findall(r"^[a-z_, ]+$", told, re.M) for word in line.split(", ")}
    attributes = dict(inspect.getmembers_static(daskpatch.Plan, lambda _: True))
    names = [name for name in attributes if not name.startswith("_")]
    assert {"run", "to", "threads", "n_tiles"} < set(names)
    undocumented = [n for n in names if n not in listed and not attributes[n].__doc__]
    assert undocumented == []
    made = daskpatch.plan(np.zeros((64, 64)), np.negative, axes="YX", patch_size=32)
    assert [name for name in vars(made) if not name.startswith("_")] == []


def paced(plan, reading, filling, encoding, seconds):
    """The plan, had its trial shown another pace: seconds of a byte or voxel, and of the call."""
    decided = plan._decided
    pace = Pace(reading, filling, encoding)
    trial = dataclasses.replace(decided.tiling.trial, pace=pace, seconds=seconds)
    tiling = dataclasses.replace(decided.tiling, trial=trial)
    return daskpatch.Plan(dataclasses.replace(decided, tiling=tiling))


def test_a_plan_says_what_will_take_the_time(tmp_path, rng):
    source = save(tmp_path / "in.zarr", rng.integers(0, 9, (64, 64)).astype("u2"), chunks=(16, 16))
    options = {"axes": "YX", "patch_size": 32, "overlaps": 16, "threads": 2, "chunks": 16}
    plan = daskpatch.plan(source, double, tmp_path / "out.zarr", **options)
    assert all(seconds > 0 for seconds in (plan.reading_seconds, plan.writing_seconds))
    computed = plan.compute_ratio * 64 * 64
    nbytes = plan.bytes_in * plan.fetches_per_chunk

    told = paced(plan, reading=1.0, filling=0.0, encoding=0.0, seconds=0.0)
    assert told.reading_seconds == pytest.approx(nbytes)
    assert (told.bound_by, told.model_seconds, told.writing_seconds) == ("reading", 0, 0)
    told = paced(plan, reading=0.0, filling=1.0, encoding=0.0, seconds=0.0)
    assert told.reading_seconds == pytest.approx(computed / 2)
    told = paced(plan, reading=0.0, filling=0.0, encoding=3.0, seconds=1.0)
    assert told.writing_seconds == pytest.approx(3 * plan.bytes_out / 2)
    assert told.model_seconds == pytest.approx(computed / 32**2 / 2)
    assert told.bound_by == "writing"
    assert "in encoding, with 2 threads" in str(told)
    assert "encoding takes most of it" in str(told)
    assert told.to_dict()["bound_by"] == "writing"


def test_what_is_kept_before_a_run_fits_beside_its_statistics(tmp_path, rng):
    source = save(tmp_path / "in.zarr", rng.random((300, 300)), chunks=(50, 50))
    options = {"axes": "YX", "patch_size": 64, "overlaps": 16, "normalize": "percentile"}
    memory = daskpatch.plan(source, double, tmp_path / "out.zarr", **options).memory
    assert memory.statistics > 0
    assert memory.beside_statistics + memory.statistics <= memory.peak
    alone = dataclasses.replace(memory, statistics=0)
    assert alone.beside_statistics > memory.beside_statistics


def test_without_an_output_nothing_is_encoded(rng):
    plan = daskpatch.plan(rng.random((64, 64)), double, axes="YX", patch_size=32)
    assert plan.writing_seconds == 0
    assert "encoding" not in str(plan)


def test_a_slow_source_bounds_a_run(rng):
    class Slow:
        shape, dtype = (64, 64), np.dtype("f4")

        def __getitem__(self, key):
            time.sleep(0.5)
            return np.ones([s.stop - s.start for s in key], "f4")

    plan = daskpatch.plan(Slow(), double, axes="YX", patch_size=32, model_id="double")
    assert plan.bound_by == "reading"
    assert plan.reading_seconds >= 4 * 0.5


@pytest.mark.parametrize("dtype", ["uint32", "int64", "uint64"])
def test_integers_that_the_models_dtype_has_not_are_warned_of(dtype):
    ids = np.arange(4096, dtype=dtype).reshape(64, 64) + 2**24
    options = {"axes": "YX", "patch_size": 32, "dtype": "int64"}
    with pytest.warns(UserWarning, match=r"16,7[78].*others in float32.*input_dtype"):
        daskpatch.plan(ids, double, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        daskpatch.plan(ids, double, input_dtype="float64", **options)
        daskpatch.plan(ids, double, input_dtype=dtype, **options)
        daskpatch.plan(np.full_like(ids, 2**25), double, **options)  # which float32 has
        daskpatch.plan(ids.astype("u2"), double, input_dtype="float16", **options)
