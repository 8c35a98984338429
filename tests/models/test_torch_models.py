"""PyTorch modules: equal to the whole image, on every way there is to name one."""

import io
import json
import math
import os
import pickle
import re
import struct
import sys
import threading
import warnings
import zipfile
from typing import NamedTuple

import numpy as np
import pytest
import torch
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import DeepUNet, all_of, unet, whole

import daskpatch
from daskpatch import TorchModel
from daskpatch.model.exported_json import check_json

settings.register_profile("models", deadline=None, max_examples=25)
settings.load_profile("models")

RNG = np.random.default_rng(5)
# Odd, prime, just over a tile, smaller than a tile.
SIZES_2D = [(101, 97), (65, 64), (64, 129), (30, 200), (13, 7), (5, 150)]
SIZES_3D = [(41, 43, 37), (33, 32, 65), (9, 70, 31), (11, 13, 5)]


def close(result, expected):
    return np.abs(result - expected).max() <= 1e-5 * max(expected.std(), 1e-6)


@pytest.mark.parametrize("shape", SIZES_2D + SIZES_3D, ids=str)
def test_a_unet_tiled_equals_the_whole_image(shape):
    ndim = len(shape)
    values = RNG.normal(size=shape).astype("f4")
    model = unet(ndim)
    patch, overlap = {2: (64, 48), 3: (64, 48)}[ndim]
    plan = daskpatch.plan(
        values, model, axes="ZYX"[-ndim:], patch_size=patch, overlaps=overlap, align=4
    )
    assert close(plan.view[...], whole(model, values))


@given(st.tuples(st.integers(1, 150), st.integers(1, 150)), st.integers(1, 4))
def test_a_unet_equals_the_whole_image_at_any_size(shape, batch_size):
    values = np.random.default_rng(shape).normal(size=shape).astype("f4")
    model = unet(2)
    plan = daskpatch.plan(
        values, model, axes="YX", patch_size=64, overlaps=48, align=4, batch_size=batch_size
    )
    assert close(plan.view[...], whole(model, values))


@pytest.mark.parametrize("shape", [(101, 97), (30, 200), (41, 43, 37)], ids=str)
def test_each_level_of_a_deeply_supervised_unet_equals_the_whole_image(tmp_path, shape):
    values, model = RNG.normal(size=shape).astype("f4"), unet(len(shape), DeepUNet)
    words = {"patch_size": 64, "overlaps": 48, "align": 4, "min_size": 4}
    daskpatch.predict(
        values, model, tmp_path / "o.zarr", axes="ZYX"[-len(shape) :], **words, progress=False
    )
    group = zarr.open_group(tmp_path / "o.zarr", mode="r")
    for name, cell, expected in zip(sorted(group), [1, 2, 4], all_of(model, values), strict=True):
        inside = tuple(slice(-(-n // cell)) for n in shape)
        expected = expected[(slice(None), *inside)]
        assert close(group[name][...].reshape(expected.shape), expected)


def test_a_tile_grid_off_the_networks_grid_shows():
    values = RNG.normal(size=(101, 97)).astype("f4")
    model = unet(2)
    patching = daskpatch.TiledPatching([(1, 1, 101, 97)], 64, 48)
    plan = daskpatch.plan(values, model, axes="YX", patching=patching)
    assert not close(plan.view[...], whole(model, values))


def test_min_size_serves_models_of_one_size():
    seen = set()

    def fixed(batch):
        seen.add(batch.shape[2:])
        return batch

    values = RNG.normal(size=(30, 100)).astype("f4")
    plan = daskpatch.plan(
        values, fixed, axes="YX", patch_size=64, overlaps=16, align=8, min_size=64
    )
    assert np.array_equal(plan.view[...], values)
    assert seen == {(64, 64)}


@pytest.fixture(scope="module")
def values():
    return RNG.normal(size=(90, 70)).astype("f4")


def exported(path):
    program = torch.export.export(
        unet(2),
        (torch.zeros(2, 1, 64, 64),),
        dynamic_shapes=({0: torch.export.Dim("n", min=1, max=64)},),
    )
    torch.export.save(program, path)


def script(path):
    with pytest.warns(DeprecationWarning, match="torch.jit"):
        torch.jit.script(unet(2)).save(path)


@pytest.fixture(params=["module", "handle", "training", "file.py", "TorchScript", "exported"])
def model(request, tmp_path, monkeypatch):
    """The same network, named in every way."""
    if request.param == "module":
        return unet(2)
    if request.param == "handle":
        return TorchModel(unet(2), device="cpu")
    if request.param == "training":
        return unet(2).train()
    if request.param == "file.py":
        monkeypatch.syspath_prepend(str(__import__("pathlib").Path(__file__).parent))
        (tmp_path / "net.py").write_text("from nets import unet\nnet = unet(2)\n")
        return f"{tmp_path}/net.py:net"
    if request.param == "TorchScript":
        script(tmp_path / "net.pt")
        return TorchModel(tmp_path / "net.pt")
    exported(tmp_path / "net.pt2")
    return TorchModel(tmp_path / "net.pt2")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.jit still loads what users have
def test_every_way_to_name_a_module(model, values, tmp_path):
    daskpatch.predict(
        values,
        model,
        tmp_path / "out.zarr",
        axes="YX",
        patch_size=64,
        overlaps=48,
        align=4,
        min_size=64,
        batch_size=2,
        progress=False,
    )
    out = zarr.open_array(store=str(tmp_path / "out.zarr"))
    padded_whole = whole(unet(2), values)
    assert close(out[...], padded_whole)


def test_the_users_module_stays_as_it_is(values):
    module = unet(2).train()
    plan = daskpatch.plan(values, module, axes="YX", patch_size=64)
    plan.view[0]
    assert module.training


def test_no_gradient_is_kept(values):
    modes = []

    class Watches(torch.nn.Module):
        def forward(self, x):
            modes.append((torch.is_inference_mode_enabled(), self.training))
            return x

    daskpatch.plan(values, Watches(), axes="YX", patch_size=64)
    assert modes == [(True, False)]


@pytest.mark.parametrize("autocast", ["bfloat16", "float16"])
def test_autocast_gives_float32(values, autocast):
    plan = daskpatch.plan(
        values,
        TorchModel(unet(2), device="cpu", autocast=autocast),
        axes="YX",
        patch_size=64,
        overlaps=48,
        align=4,
    )
    assert plan.dtype == np.float32
    expected = whole(unet(2), values)
    result = plan.view[...]
    assert not np.array_equal(result, expected)
    assert np.abs(result - expected).max() < 0.1 * expected.std()


def test_bfloat16_models_are_stored_as_float32(values):
    plan = daskpatch.plan(values, torch.nn.Identity().to(torch.bfloat16), axes="YX", patch_size=64)
    assert plan.dtype == np.float32


def test_worker_processes_load_the_module(values, tmp_path):
    from distributed import Client, LocalCluster
    from volumes import save

    save(tmp_path / "in.zarr", values, chunks=(32, 32), dimension_names=["y", "x"])
    with (
        LocalCluster(n_workers=2, threads_per_worker=2, dashboard_address=":0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        client.run(sys.path.append, str(__import__("pathlib").Path(__file__).parent))
        daskpatch.predict(
            tmp_path / "in.zarr",
            unet(2),
            tmp_path / "out.zarr",
            patch_size=64,
            overlaps=48,
            align=4,
            chunks=16,
            block_shape=16,
            client=client,
            progress=False,
        )
    assert close(zarr.open_array(store=str(tmp_path / "out.zarr"))[...], whole(unet(2), values))


def test_blocks_compute_with_one_thread_each_and_leave_torch_as_it_was(values, tmp_path):
    torch.set_num_threads(2)
    seen = {}

    class Counts(torch.nn.Module):
        def forward(self, x):
            seen.setdefault(threading.get_ident(), set()).add(torch.get_num_threads())
            return x

    plan = daskpatch.plan(
        values,
        Counts(),
        tmp_path / "out.zarr",
        axes="YX",
        patch_size=16,
        chunks=16,
        block_shape=16,
        threads=2,
    )
    plan.run(progress=False)
    assert set().union(*seen.values()) == {1}
    assert torch.get_num_threads() == 2


def test_one_thread_leaves_the_processors_to_the_model(values):
    torch.set_num_threads(2)
    seen = []

    class Counts(torch.nn.Module):
        def forward(self, x):
            seen.append(torch.get_num_threads())
            return x

    daskpatch.plan(values, Counts(), axes="YX", patch_size=64, threads=1)
    assert seen == [2]


def test_weights_count_as_memory(values):
    class Heavy(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("weights", torch.zeros(5_000_000))

        def forward(self, x):
            return x

    plan = daskpatch.plan(values, Heavy(), axes="YX", patch_size=64)
    assert plan.memory.model == 20_000_000
    assert plan.peak_memory > 20_000_000


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda p: TorchModel(p / "no.pt"), FileNotFoundError, "no.pt"),
        (lambda p: TorchModel(3), TypeError, "3"),
        (lambda p: TorchModel(torch.nn.Identity(), autocast="int8"), ValueError, "int8"),
    ],
)
def test_what_is_no_module_is_refused(tmp_path, make, error, words):
    with pytest.raises(error, match=words):
        make(tmp_path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_pickled_modules_are_refused(tmp_path, values):
    torch.save(unet(2), tmp_path / "net.pt")
    with pytest.raises(ValueError, match=r"file\.py:attribute"):
        daskpatch.plan(values, TorchModel(tmp_path / "net.pt"), axes="YX", patch_size=64)


def test_a_module_that_gives_no_tensor_is_named(values):
    class Words(torch.nn.Module):
        def forward(self, x):
            return "a cat"

    with pytest.raises(daskpatch.ModelError, match="gives a str; needed is a tensor, or a tuple"):
        daskpatch.plan(values, Words(), axes="YX", patch_size=64)


@pytest.mark.parametrize("kind", [tuple, list, dict])
def test_a_module_may_give_several_tensors(values, kind):
    class Several(torch.nn.Module):
        def forward(self, x):
            made = {"output0": x * 2, "output1": (x > 0).to(torch.bfloat16)}
            return made if kind is dict else kind(made.values())

    plan = daskpatch.plan(values, Several(), axes="YX", patch_size=64)
    assert plan.output_names == ("output0", "output1")
    assert np.array_equal(plan.views[0][...], values * 2)
    assert np.array_equal(plan.views[1][...], values > 0)


def test_a_module_that_works_in_place_is_given_copies(values):
    class InPlace(torch.nn.Module):
        def forward(self, x):
            return x.mul_(2)

    plan = daskpatch.plan(values, InPlace(), axes="YX", patch_size=32, augment="flips")
    assert np.allclose(plan.view[...], values * 2)


class Evil:
    """Runs code when it is unpickled."""

    def __init__(self, mark):
        self.mark = str(mark)

    def code(self):
        return f"open({self.mark!r}, 'w').close()"

    def __reduce__(self):
        return (eval, (self.code(),))


def as_saved(value):
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def cut_short(value):
    """Runs before it is found to be none: what follows the code is no opcode."""
    return b"cbuiltins\neval\n(S" + repr(value["sample_inputs"].code()).encode() + b"\ntR\xff"


def as_pickled(name, content, where):
    """A table of weights or constants that says that they are pickled."""
    if where in name and name.endswith("_config.json"):
        return content.replace(b'"use_pickle": false', b'"use_pickle": true')
    return content


@pytest.mark.parametrize("dump", [as_saved, pickle.dumps, cut_short])
@pytest.mark.parametrize("where", ["model.pt", "weight"])
def test_an_exported_program_that_would_run_code_is_not_loaded(tmp_path, dump, where):
    exported(tmp_path / "good.pt2")
    planned(tmp_path / "good.pt2")
    evil = dump({"sample_inputs": Evil(tmp_path / "mark")})
    with (
        zipfile.ZipFile(tmp_path / "good.pt2") as good,
        zipfile.ZipFile(tmp_path / "evil.pt2", "w") as bad,
    ):
        for name in good.namelist():
            is_chosen = where in name and not name.endswith(".json")
            bad.writestr(name, evil if is_chosen else as_pickled(name, good.read(name), where))
    with pytest.raises(ValueError, match="would run code") as refusal:
        planned(tmp_path / "evil.pt2")
    assert "weights_only" not in str(refusal.value)  # torch tells how to load it all the same
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("mark", ["version", "byteorder", "archive_format"])
def test_a_pickle_with_the_name_of_a_mark_is_looked_at(tmp_path, mark):
    exported(tmp_path / "good.pt2")
    folder = tmp_path / "made"
    evil = b"cos\nmkdir\n(V" + os.fsencode(folder)[-40:] + b"\ntR."
    with (
        zipfile.ZipFile(tmp_path / "good.pt2") as good,
        zipfile.ZipFile(tmp_path / "evil.pt2", "w") as bad,
    ):
        for name in good.namelist():
            content = good.read(name)
            if name.endswith("weights_config.json"):
                named = b'"path_name": "%b"' % mark.encode()
                content = re.sub(rb'"path_name": "[^"]*"', named, content)
                content = content.replace(b'"use_pickle": false', b'"use_pickle": true')
                bad.writestr(f"{name.rpartition('/')[0]}/{mark}", evil)
            bad.writestr(name, content)
    with pytest.raises(ValueError, match="would run code"):
        planned(tmp_path / "evil.pt2")


TABLES = {
    "an object by its name": ("data/constants/opaque_obj_0", "model_constants_config.json"),
    "an object in a folder": ("data/constants/opaque_obj_x/y", "model_constants_config.json"),
    "a script in a folder": ("data/constants/custom_obj_x/y", "model_constants_config.json"),
    "a mark in an object": ("data/constants/opaque_obj_x/version", "model_constants_config.json"),
    "inputs": ("data/sample_inputs/model.pt", "x_config.json"),
    "weights of old": ("data/weights/model.pt", "x_config.json"),
    "constants of old": ("data/constants/model.pt", "x_config.json"),
    "a way around": ("data/constants/opaque_obj_x/../tensor_0", "model_constants_config.json"),
}


@pytest.mark.parametrize("case", TABLES)
@pytest.mark.parametrize("dump", [as_saved, pickle.dumps])
def test_what_a_table_calls_raw_may_be_unpickled_all_the_same(tmp_path, case, dump):
    """torch goes by names where its own table does not say otherwise, and reads no other tables."""
    target, named = TABLES[case]
    exported(tmp_path / "good.pt2")
    good = dict(entries(tmp_path / "good.pt2"))
    (constants,) = (name for name in good if name.endswith("model_constants_config.json"))
    root, folder = constants.partition("data/")[0], target.split("/")[1]
    weights = json.loads(good[constants.replace("constants", "weights")])["config"]
    meta = dict(next(iter(weights.values())), use_pickle=False, is_param=False)
    meta["path_name"] = target.split("/", 2)[2]
    table = f"{root}data/{folder}/{named}"
    before = json.loads(good[table])["config"] if table in good else {}
    evil = dump({"sample_inputs": Evil(tmp_path / "mark")})
    changed = {
        table: json.dumps({"config": {**before, "evil": meta}}).encode(),
        f"{root}{target}": evil,
    }
    zipped(tmp_path / "evil.pt2", ({**good, **changed}).items())
    with pytest.raises(ValueError, match="would run code"):
        planned(tmp_path / "evil.pt2")
    assert not (tmp_path / "mark").exists()


def with_json(path, change):
    """An exported program whose graph's JSON is changed."""
    exported(path)
    good = dict(entries(path))
    (name,) = (each for each in good if each.endswith("models/model.json"))
    said = json.loads(good[name])
    change(said)
    zipped(path, ({**good, name: json.dumps(said).encode()}).items())
    return path


def each_of(said, key):
    """The documents in one that have a key."""
    inside = said.values() if isinstance(said, dict) else said if isinstance(said, list) else ()
    own = [said] if isinstance(said, dict) and key in said else []
    return own + [found for each in inside for found in each_of(each, key)]


def tree(kind, context):
    """Arguments as torch writes them: a text of JSON in JSON."""
    told = {"type": kind, "context": json.dumps(context), "children_spec": []}
    return json.dumps([1, told])


IN_JSON = {
    "size": lambda code: (
        lambda said: [each.update(expr_str=code) for each in each_of(said, "expr_str")]
    ),
    "size in a function": lambda code: (
        lambda said: [each.update(expr_str=f"Max(1, {code})") for each in each_of(said, "expr_str")]
    ),
    "guard": lambda code: lambda said: said.update(guards_code=[f"L['x'] is {code}"]),
    "method in a guard": lambda code: (
        lambda said: said.update(guards_code=[f"L['x'].__class__.__init__({code})"])
    ),
    "enum": lambda code: (
        lambda said: [
            each.update(in_spec=tree("builtins.dict", {"__enum__": True, "fqn": code, "name": "x"}))
            for each in each_of(said, "in_spec")
        ]
    ),
    "factory": lambda code: (
        lambda said: [
            each.update(
                in_spec=tree(
                    "collections.defaultdict",
                    {
                        "default_factory_module": code,
                        "default_factory_name": "x",
                        "dict_context": [],
                    },
                )
            )
            for each in each_of(said, "in_spec")
        ]
    ),
}


@pytest.mark.parametrize("where", IN_JSON)
def test_what_torch_makes_code_of_is_looked_at(tmp_path, where):
    code = f"__import__('os').mkdir('{tmp_path / 'mark'}')"
    with pytest.raises(ValueError, match="would run code"):
        planned(with_json(tmp_path / "evil.pt2", IN_JSON[where](code)))
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize(
    "text",
    [
        "exec(chr(120))",
        "Symbol('x', positive=exec(1))",
        "().__class__",
        "Max.__globals__",
        "[1 for _ in (1,)]",
        "(lambda: 1)()",
        "Integer('a b')",
        "f'{1}'",
        "Max(1,\n2)",
    ],
)
def test_sizes_that_torch_does_not_write_are_refused(text):
    with pytest.raises((ValueError, SyntaxError)):
        check_json(json.dumps({"expr_str": text}).encode())


@pytest.mark.parametrize(
    "said",
    [
        {"expr_str": "Mul(Integer(2), Symbol('s39', positive=True, integer=True))"},
        {"expr_str": "2*s0 + Mod(s1, 8)"},
        {"expr_str": "-int_oo"},
        {"guards_code": ["L['x'].size()[2] % 8 == 0", "2 <= L['x'].size()[0] <= 64"]},
        {"guards_code": ["not (L['args'][0].size()[1] != math.floor(3 / 2))"]},
        {"guards_code": ["math.trunc(0.5*torch.sym_float(L['x'].size()[2])) == 32"]},
        {"in_spec": tree("builtins.dict", ["a", "b"])},
        {"range_constraints": {"8*s39": {"min_val": 64, "max_val": 512}}},
        {"target": "torch.ops.aten.conv2d.default"},
        {"target": "_operator.getitem"},
    ],
)
def test_what_torch_writes_is_taken(said):
    check_json(json.dumps({"graph": [said]}).encode())


def test_a_key_that_is_there_twice_is_refused():
    with pytest.raises(ValueError, match="twice"):
        check_json(b'{"expr_str": "exec(1)", "expr_str": "s0"}')


@pytest.mark.parametrize(
    "name",
    [
        "data/aotinductor/model/a.wrapper.cpp",
        "models/a/b.json",
        "/version",
        "data/weights/weight_0/",
        "notes.bin",
    ],
)
def test_entries_that_torch_does_not_write_are_refused(tmp_path, name):
    exported(tmp_path / "good.pt2")
    good = entries(tmp_path / "good.pt2")
    root = good[0][0].partition("/")[0]
    zipped(tmp_path / "evil.pt2", [*good, (f"{root}/{name}", as_saved(torch.zeros(1)))])
    with pytest.raises(ValueError, match="no entry that torch.export.save writes"):
        planned(tmp_path / "evil.pt2")


def test_keys_of_example_inputs_are_words(tmp_path):
    exported(tmp_path / "good.pt2")
    good = dict(entries(tmp_path / "good.pt2"))
    (name,) = (each for each in good if "sample_inputs" in each)
    key = 'a" + str(1) + "'
    zipped(tmp_path / "evil.pt2", ({**good, name: as_saved((({key: 1},), {}))}).items())
    with pytest.raises(ValueError, match="nothing that torch writes there"):
        planned(tmp_path / "evil.pt2")


def test_an_exported_program_may_have_any_name_and_texts_of_ones_own(tmp_path):
    program = torch.export.export(unet(2), (torch.zeros(1, 1, 64, 64),))
    path = tmp_path / "custom_obj_net.pt2"
    torch.export.save(program, path, extra_files={"note.txt": "trained in May"})
    assert planned(path).n_tiles


def entries(path):
    with zipfile.ZipFile(path) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


def zipped(path, entries):
    with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile's, of one name twice
        for name, content in entries:
            archive.writestr(zipfile.ZipInfo(name), content)


@pytest.mark.parametrize("twice", [str, str.upper], ids=["same", "other case"])
@pytest.mark.parametrize("order", [1, -1])
def test_two_entries_of_one_name_are_refused(tmp_path, twice, order):
    """zipfile takes the last of them, torch's reader another, in any case of letters."""
    exported(tmp_path / "good.pt2")
    good = entries(tmp_path / "good.pt2")
    (name, content), *_ = [each for each in good if "sample_inputs" in each[0]]
    pair = [(twice(name), as_saved((Evil(tmp_path / "mark"),))), (name, content)]
    zipped(tmp_path / "evil.pt2", [e for e in good if e[0] != name] + [*pair, pair[-1]][::order])
    with pytest.raises(ValueError, match="would run code"):
        planned(tmp_path / "evil.pt2")
    assert not (tmp_path / "mark").exists()


def parted(content):
    """Entries, table of contents and end of a ZIP archive."""
    end = content.rfind(b"PK\5\6")
    size, start = struct.unpack("<II", content[end + 12 : end + 20])
    return content[:start], bytearray(content[start : start + size]), content[end:]


def test_what_was_looked_at_is_what_torch_reads(tmp_path):
    """Of two tables zipfile takes the one before the end, torch the one where the end says."""
    exported(tmp_path / "good.pt2")
    good = entries(tmp_path / "good.pt2")
    evil = as_saved((Evil(tmp_path / "mark"), "x" * 50_000))  # longer than the other
    zipped(tmp_path / "a", good)
    zipped(tmp_path / "b", [(n, evil if "sample_inputs" in n else c) for n, c in good])
    ours, table, _ = parted((tmp_path / "a").read_bytes())
    theirs, own_table, end = parted((tmp_path / "b").read_bytes())
    at = 0
    while at < len(table):  # both are behind the other's entries now
        lengths = struct.unpack("<HHH", table[at + 28 : at + 34])
        (place,) = struct.unpack("<I", table[at + 42 : at + 46])
        table[at + 42 : at + 46] = struct.pack("<I", place + len(theirs) - len(ours))
        at += 46 + sum(lengths)
    (tmp_path / "evil.pt2").write_bytes(theirs + own_table + ours + table + end)
    planned(tmp_path / "evil.pt2")
    assert not (tmp_path / "mark").exists()


class Named(NamedTuple):
    mask: object
    score: object


class Naming(torch.nn.Module):
    def forward(self, batch):
        return Named(batch, batch * 2)


def test_fields_of_a_modules_result_are_names(values):
    plan = daskpatch.plan(values, Naming(), axes="YX", patch_size=32)
    assert plan.output_names == ("mask", "score")


class Largest(torch.nn.Module):
    def forward(self, batch):
        return batch.max(dim=1, keepdim=True)


def test_fields_of_torchs_own_tuples_are_names(values):
    networks = (Largest(), lambda batch: torch.from_numpy(batch).max(dim=1, keepdim=True))
    for network in networks:
        plan = daskpatch.plan(values, network, axes="YX", patch_size=32)
        assert plan.output_names == ("values", "indices")


def test_a_program_whose_weights_are_damaged_names_its_file(tmp_path):
    exported(tmp_path / "good.pt2")
    damaged = [
        (name, content[:-3] if "/weights/weight_" in name else content)
        for name, content in entries(tmp_path / "good.pt2")
    ]
    zipped(tmp_path / "net.pt2", damaged)
    with pytest.raises(
        ValueError, match=r"net\.pt2 could not be loaded: .*export the network again"
    ):
        planned(tmp_path / "net.pt2")


def test_a_program_of_another_name_is_told_of(tmp_path):
    exported(tmp_path / "good.pt2")
    (tmp_path / "good.pt2").rename(tmp_path / "net.pt")
    with pytest.raises(ValueError, match=r"exported program: give it a name that ends in \.pt2"):
        planned(tmp_path / "net.pt")


def test_what_is_no_archive_is_told_of(tmp_path):
    (tmp_path / "text.pt2").write_text("not a program")
    with pytest.raises(ValueError, match="no exported program"):
        planned(tmp_path / "text.pt2")


def planned(path):
    image = np.zeros((64, 64), "f4")
    return daskpatch.plan(image, TorchModel(path), axes="YX", patch_size=64)


class Versioned(torch.nn.Module):
    """Its state holds more than tensors."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(1, 1, 1)

    def get_extra_state(self):
        return {"version": 1, "table": [torch.zeros(3)]}

    def set_extra_state(self, state):
        pass

    def forward(self, batch):
        return self.conv(batch)


def quantised():
    linear = torch.nn.Sequential(torch.nn.Linear(40, 40))
    return torch.ao.quantization.quantize_dynamic(linear, {torch.nn.Linear}, dtype=torch.qint8)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("made", [Versioned, quantised])
def test_modules_whose_state_holds_more_than_tensors(tmp_path, made):
    module = made().eval()
    image = RNG.random((40, 40)).astype("f4")
    with torch.inference_mode():
        want = module(torch.from_numpy(image)[None, None])[0, 0].numpy()
    out = tmp_path / "out.zarr"
    daskpatch.predict(image, module, out, axes="YX", patch_size=40, progress=False)
    np.testing.assert_allclose(zarr.open(out)[...], want, atol=1e-5)


class Twice(torch.nn.Module):
    def forward(self, batch):
        return batch * 2


@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize("batch_size", [1, 3, 4, 6])
def test_an_exported_program_of_one_fixed_batch(tmp_path, size, batch_size):
    program = torch.export.export(Twice().eval(), (torch.zeros(size, 1, 24, 24),))
    torch.export.save(program, tmp_path / "net.pt2")
    image = RNG.random((90, 70)).astype("f4")
    words = {"axes": "YX", "patch_size": 24, "overlaps": 8, "min_size": 24}
    handle = TorchModel(tmp_path / "net.pt2")
    view = daskpatch.plan(image, handle, batch_size=batch_size, **words).view
    np.testing.assert_array_equal(view[...], 2 * image)


def listed(batch):
    return [torch.from_numpy(batch) * 2]


def with_gradient(batch):
    return torch.from_numpy(batch).requires_grad_() * 2


def in_bfloat16(batch):
    return (torch.from_numpy(batch) * 2).to(torch.bfloat16)


def in_eight_bits(batch):
    return (torch.from_numpy(batch) * 2).to(torch.float8_e5m2)


def test_a_function_of_torch_is_told_what_it_is_given():
    with pytest.raises(daskpatch.ModelError, match=r"calls torch.from_numpy\(batch\) first"):
        daskpatch.plan(np.ones((8, 8), "f4"), torch.relu, axes="YX", patch_size=8)


@pytest.mark.parametrize("function", [listed, with_gradient, in_bfloat16, in_eight_bits])
def test_functions_give_tensors_as_modules_do(function):
    image = RNG.integers(0, 5, (40, 36)).astype("f4")  # eight bits hold no more
    view = daskpatch.plan(image, function, axes="YX", patch_size=16).view
    np.testing.assert_array_equal(view[...], 2 * image)


def test_an_exported_program_with_a_compiled_library_is_not_loaded(tmp_path):
    exported(tmp_path / "net.pt2")
    with zipfile.ZipFile(tmp_path / "net.pt2", "a") as archive:
        root = archive.namelist()[0].partition("/")[0]
        archive.writestr(f"{root}/data/aotinductor/model/e.wrapper.so", b"\x7fELF")
    with pytest.raises(ValueError, match="would run code"):
        planned(tmp_path / "net.pt2")


def test_weights_of_any_bytes_are_loaded(tmp_path):
    # These bits begin with what ends a pickle, and with what begins one.
    bits = np.array([0x3F80102E, 0x3F800280, 0x3F804B50], "u4").view("f4")
    module = torch.nn.Conv2d(1, 3, 1, bias=False).eval()
    module.weight.data[:, 0, 0, 0] = torch.from_numpy(bits)
    program = torch.export.export(module, (torch.zeros(1, 1, 64, 64),))
    torch.export.save(program, tmp_path / "net.pt2")
    assert planned(tmp_path / "net.pt2").view[0, 0, 0] == 0


@pytest.mark.parametrize(
    ("device", "words"),
    [
        ("gpu", "needed is 'auto', 'cpu', 'cuda'"),
        ("hpu", "cannot use here"),
        ("cuda:99", "device="),
    ],
)
def test_a_device_that_is_not_there(device, words):
    model = TorchModel(torch.nn.Identity(), device=device)
    with pytest.raises(ValueError, match=f"device is '{device}'.*{words}"):
        daskpatch.plan(np.zeros((32, 32), "f4"), model, axes="YX", patch_size=16)


def test_a_network_of_three_axes_is_not_given_tiles_of_two():
    """torch takes them for a tile without a batch, and channels for planes."""
    colours = RNG.random((3, 32, 32)).astype("f4")
    with pytest.raises(daskpatch.ModelError, match=r"batch of two tiles.*The network is 3-D"):
        daskpatch.plan(colours, torch.nn.Conv3d(1, 1, 3, padding=1), axes="CYX", patch_size=16)

    class OfPlanes(torch.nn.Module):
        """Layers of three axes in a network of two."""

        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Conv3d(3, 1, (1, 3, 3), padding=(0, 1, 1))

        def forward(self, x):
            return self.layer(x[:, :, None])[:, :, 0]

    assert daskpatch.plan(colours, OfPlanes(), axes="CYX", patch_size=16).array.shape == (1, 32, 32)


def test_a_module_that_has_no_copies_is_evaluated_by_its_owner():
    module = torch.nn.Conv2d(1, 1, 1)
    module.library = math
    options = {"axes": "YX", "patch_size": 16}
    with pytest.raises(ValueError, match=r"Conv2d cannot be copied .*pass module\.eval\(\)"):
        daskpatch.plan(np.zeros((32, 32), "f4"), module, **options)
    daskpatch.plan(np.zeros((32, 32), "f4"), module.eval(), **options)


def test_a_tensor_of_a_dtype_that_numpy_has_not():
    with pytest.raises(TypeError, match=r"source\.detach\(\)\.float\(\)\.numpy\(\)"):
        daskpatch.open_image(torch.zeros(8, 8, dtype=torch.bfloat16), axes="YX")


def _times_five(module, given, result):
    return result * 5


def _compiled():
    return torch.compile(torch.nn.Conv2d(1, 1, 1), backend="eager")


def _traced():
    return torch.jit.trace(torch.nn.Conv2d(1, 1, 1), torch.zeros(1, 1, 8, 8))


@pytest.mark.filterwarnings("ignore:`torch.jit.trace:DeprecationWarning")
@pytest.mark.parametrize("make", [_compiled, _traced])
@pytest.mark.parametrize("is_inside", [True, False])
def test_what_a_copy_of_a_module_loses_is_told(values, make, is_inside):
    """torch's copies of such modules have no hooks: in training mode they would be left out."""
    module = make()
    module.register_forward_hook(_times_five)
    module = torch.nn.Sequential(module) if is_inside else module
    with pytest.raises(ValueError, match="loses the hooks"):
        daskpatch.plan(values, module, axes="YX", patch_size=16)


def test_a_forward_that_was_set_on_a_compiled_module_is_told(values):
    module = _compiled()
    module.forward = lambda batch: batch * 7
    with pytest.raises(ValueError, match="loses the forward that was set"):
        daskpatch.plan(values, module, axes="YX", patch_size=16)


def test_a_hook_inside_a_compiled_module_is_kept(values):
    inside = torch.nn.Conv2d(1, 1, 1)
    expected = inside(torch.as_tensor(values)[None, None])[0, 0].detach() * 5
    inside.register_forward_hook(_times_five)
    compiled = torch.compile(inside, backend="eager")
    found = daskpatch.plan(values, compiled, axes="YX", patch_size=16).view[...]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_module_that_would_lose_its_hooks_on_the_way_is_not_sent():
    module = _compiled().eval()
    module.register_forward_hook(_times_five)
    with pytest.raises(ValueError, match="loses the hooks when it is sent to workers"):
        pickle.dumps(TorchModel(module))


class Holding:
    """A model that has something."""

    def __init__(self, held):
        self.held = held

    def __call__(self, batch):
        return batch * np.float32(2)


def a_layer(tensor):
    layer = torch.nn.Linear(1, 1)
    layer.table = tensor
    return layer


@pytest.mark.parametrize("wrapped", [lambda tensor: tensor, a_layer, torch.Tensor.numpy])
def test_a_tensor_that_shows_a_file_of_the_output_is_found(tmp_path, wrapped):
    image, out = np.ones((32, 32), "f4"), tmp_path / "out.zarr"
    options = {"axes": "YX", "patch_size": 16, "chunks": 16, "progress": False}
    daskpatch.predict(image, Holding(1), out, **options)
    chunk = out / "c/0/0"
    before = chunk.read_bytes()
    shown = torch.from_file(str(chunk), size=8, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"and the model .* holds .*out\.zarr"):
        daskpatch.predict(image, Holding(wrapped(shown)), out, overwrite=True, **options)
    assert chunk.read_bytes() == before


def test_an_output_whose_file_a_tensor_shows_is_not_written_into(tmp_path):
    place = tmp_path / "out.zarr"
    values = np.arange(4096, dtype="u1").reshape(64, 64)
    array = zarr.create_array(place, data=values, chunks=(64, 64), compressors=None)
    shown = torch.from_file(str(place / "c/0/0"), size=4096, dtype=torch.uint8)
    with pytest.raises(ValueError, match="may read from it: it reads from"):
        daskpatch.predict(
            shown.numpy().reshape(64, 64), Holding(1), array, axes="YX", patch_size=32
        )
    np.testing.assert_array_equal(array[...], values)
