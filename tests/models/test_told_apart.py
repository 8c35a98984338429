"""Models of many kinds, each made twice with one number changed: told apart, and the same again."""

import argparse
import collections
import copy
import dataclasses
import enum
import functools
import sys
import threading
import types
import typing

import attrs
import dask.array
import msgspec
import numpy as np
import pytest
import scipy.ndimage
import torch
import zarr

from daskpatch.model import Look, NoIdentityError
from daskpatch.model.walk import contents_of


def parts(model):
    return contents_of(model).parts()


def plain(batch):
    return batch


def delegating(k):
    class Wrapper:
        def __init__(self, net):
            self.net, self.k = net, k

        def __getattr__(self, name):
            return getattr(self.__dict__["net"], name)

        def __call__(self, batch):
            return self.net(batch) * self.k

    return Wrapper(torch.nn.Identity())


def dressed(k):
    class Scaled:
        def __init__(self, function):
            functools.update_wrapper(self, function)
            self.function, self.k = function, k

        def __call__(self, batch):
            return self.function(batch) * self.k

    return Scaled(plain)


def wrapping_a_library(k):
    @functools.wraps(scipy.ndimage.gaussian_filter)
    def model(batch):
        return scipy.ndimage.gaussian_filter(batch, 2) * k

    return model


def called_partially(k):
    class Model:
        def run(self, batch, k):
            return batch * k

        __call__ = functools.partialmethod(run, k=k)

    return Model()


def of_a_metaclass(k):
    class Meta(type):
        @property
        def gain(cls):
            return k

    class Model(metaclass=Meta):
        def __call__(self, batch):
            return batch * type(self).gain

    return Model()


def subclass(base, *args):
    def make(k):
        class Model(base):
            def __call__(self, batch):
                return batch * k

        return Model(*args)

    return make


def subclass_with_attribute(k):
    class Steps(list):
        pass

    model = Steps([1])
    model.k = k
    return model


def enumerated(k):
    class Mode(enum.IntEnum):
        ONE = 1

        def __call__(self, batch):
            return batch * k

    return Mode.ONE


def named_tuple(k):
    class Model(typing.NamedTuple):
        a: int = 1

        def __call__(self, batch):
            return batch * k

    return Model()


def viewed(k):
    class Array(np.ndarray):
        def __call__(self, batch):
            return batch * k

    return np.zeros(2).view(Array)


def masked(k):
    return np.ma.array([1, 2], mask=[k == 2, False])


def with_default(k):
    return collections.defaultdict(lambda: k)


def module_in_memory(k):
    settings = types.ModuleType("settings_in_memory")
    settings.GAIN = k
    names = {"settings": settings, "__name__": "__main__"}
    exec("def model(batch): return batch * settings.GAIN", names)
    return names["model"]


def typed_in(k):
    names = {"__name__": "__main__"}
    code = (
        "from dataclasses import dataclass\n@dataclass\nclass Model:\n  gain: float = 1.0\n"
        f"  def __call__(self, batch): return batch * {k}"
    )
    exec(code, names)
    return names["Model"]()


def shared(k):
    torch.manual_seed(0)
    one, other = torch.nn.Conv2d(1, 1, 3), torch.nn.Conv2d(1, 1, 3)
    return torch.nn.Sequential(one, other, one if k == 2 else other)


def tied(k):
    torch.manual_seed(0)
    model = torch.nn.Sequential(*[torch.nn.Conv2d(1, 1, 3, bias=False) for _ in range(3)])
    model[2].weight = model[k - 2].weight
    return model


class Helped(torch.nn.Module):
    def __init__(self, k):
        super().__init__()
        self.k, self.layers = k, torch.nn.ModuleList([torch.nn.ReLU()])

    def scaled(self, batch):
        return batch * self.k

    def forward(self, batch):
        for layer in self.layers:
            batch = layer(batch)
        return self.scaled(batch)


def of_an_edited_class(k):
    names = {"__name__": "lab", "torch": torch}
    code = (
        "class Inner(torch.nn.Module):\n"
        f"  def forward(self, batch): return batch * {k}\n"
        "class Net(torch.nn.Module):\n"
        "  def __init__(self):\n    super().__init__()\n    self.inner = Inner()\n"
        "  def forward(self, batch): return self.inner(batch)\n"
    )
    exec(code, names)
    return names["Net"]()


def scripted(k):
    return torch.jit.script(Helped(float(k)))


class WithANumber(torch.nn.Module):
    def __init__(self, k):
        super().__init__()
        self.k = k

    def forward(self, batch):
        return batch


class UsingIts(torch.nn.Module):
    def __init__(self, k):
        super().__init__()
        self.inner = WithANumber(k)

    def forward(self, batch):
        return self.inner(batch) * self.inner.k


def scripted_with_a_number_of_an_inner_one(k):
    return torch.jit.script(UsingIts(float(k)))


def scripted_with_a_tensor_of_an_inner_one(k):
    return torch.jit.script(UsingIts(torch.tensor(float(k))))


def scripted_and_then_set(k):
    module = torch.jit.script(UsingIts(1.0))
    module.inner.k = float(k)
    return module


def traced(k):
    return torch.jit.trace(Helped(float(k)), torch.zeros(1, 1, 4, 4))


def drawn(k):
    def helper(batch):
        return batch * k

    graph = torch.fx.Graph()
    batch = graph.placeholder("batch")
    graph.output(graph.call_function(helper, (batch,)))
    return torch.fx.GraphModule(torch.nn.Module(), graph)


class Holding(torch.nn.Module):
    def __init__(self, held):
        super().__init__()
        self.held = held


def quantised(k):
    values = torch.tensor([1.0, 1.0]) * k / 10
    return Holding(torch.quantize_per_tensor(values, k / 10, 0, torch.qint8))


def tensor_subclass(k):
    class Own(torch.Tensor):
        def scaled(self):
            return self * k

    return Holding(torch.zeros(2).as_subclass(Own))


def sparse(k):
    return Holding((torch.eye(3) * k).to_sparse())


def structured(k):
    names = ("low", "high") if k == 2 else ("high", "low")
    return np.array([(1, 2)], [(name, "i4") for name in names])


def of_objects(k):
    return np.array([{"a": k}, None], dtype=object)


def ordered(k):
    steps = {"a": np.negative, "b": np.exp}
    return steps if k == 2 else dict(reversed(steps.items()))


def argued(k):
    arguments = argparse.Namespace(gain=k)
    return lambda batch: batch * arguments.gain


def dispatched(k):
    @functools.singledispatch
    def model(batch):
        return batch * k

    return model


def keyed_by_functions(k):
    return {plain: k, np.sin: 1}


def of_frozensets(k):
    return {frozenset("ad"), frozenset("bc"), frozenset(str(k))}


def made_by_a_factory(k):
    @dataclasses.dataclass
    class Settings:
        sizes: list = dataclasses.field(default_factory=lambda: [k])

    return lambda batch: batch * Settings().sizes[0]


def in_slots(k):
    @dataclasses.dataclass(slots=True)
    class Settings:
        size: int = k

    return lambda batch: batch * Settings().size


def defined_by_attrs(k):
    @attrs.define
    class Settings:
        size: int = k
        sizes: list = attrs.Factory(lambda: [k])

    return lambda batch: batch * Settings().size


def a_struct(k):
    settings = msgspec.defstruct("Settings", [("size", int, k)], module=__name__)
    return lambda batch: batch * settings().size


class Dropping:
    """Leaves its attributes out of its pickle."""

    def __init__(self, k):
        self.k, self.lock = np.array([k]), threading.Lock()

    def __getstate__(self):
        return {}

    def __call__(self, batch):
        return batch * self.k


def hooked_with_words(k):
    net = torch.nn.Identity()
    net.register_forward_hook(lambda *given: given[-1] * len(given), with_kwargs=k == 3)
    return net


def with_an_empty_text(k):
    source = "lambda batch: batch * (2 if {'a': %r, 'b': %r}['a'] else 3)"
    return eval(source % (("", "y") if k == 2 else ("y", "")))


def of_a_module_that_was_set(k):
    import example_settings

    example_settings.GAIN = k
    held = {"settings": example_settings}
    return lambda batch: batch * held["settings"].GAIN


def helper_in_torchscript(k):
    return torch.jit.CompilationUnit(f"def helper(batch):\n  return batch * {k}\n").helper


class Calling(torch.nn.Module):
    def __init__(self, helper):
        super().__init__()
        self.helper = helper

    def forward(self, batch):
        return self.helper(batch)


def scripted_with_a_function(k):
    return torch.jit.script(Calling(helper_in_torchscript(k)))


def traced_with_a_function(k):
    return torch.jit.trace(Calling(helper_in_torchscript(k)), torch.zeros(1, 1, 4, 4))


def traced_function(k):
    weights = torch.ones(3) * k
    function = torch.jit.trace(lambda batch: batch * weights.sum(), torch.zeros(2))
    return lambda batch: function(batch)


def compiled_inside(k):
    return torch.nn.Sequential(torch.compile(torch.nn.LeakyReLU(k)))


def recurrent(k):
    torch.manual_seed(k)
    return torch.nn.LSTM(2, 2)


class SlottedDropping:
    __slots__ = ("k",)

    def __init__(self, k):
        self.k = k

    def __getstate__(self):
        return {}

    def __call__(self, batch):
        return batch * self.k


def filled(k):
    return np.ma.array([1, 2], mask=[True, False], fill_value=k)


def of_own_wrappers(k):
    class Held(property):
        def __get__(self, held_by, kind=None):
            return self.k

    class Model:
        gain = Held()

        def __call__(self, batch):
            return batch * self.gain

    vars(Model)["gain"].k = k
    return Model()


def of_own_static_methods(k):
    class Scaled(staticmethod):
        def __call__(self, batch):
            return super().__call__(batch) * k

    return Scaled(plain)


def enumeration_set_later(k):
    class Mode(enum.Enum):
        ONE = 1

    Mode.ONE.gain = k
    return lambda batch: batch * Mode.ONE.gain


def of_a_stored_array(k):
    weights = zarr.create_array(zarr.storage.MemoryStore(), data=np.array([k]), name="w")
    return lambda batch: batch * weights[0]


def of_a_lazy_array_of_a_stored_one(k):
    weights = zarr.create_array(zarr.storage.MemoryStore(), data=np.array([k]), name="w")
    lazy = dask.array.from_zarr(weights, name="w")
    return lambda batch: batch * lazy[0].compute()


def matched(k):
    class Pair:
        __match_args__ = ("one", "other") if k == 2 else ("other", "one")

    def model(batch):
        match Pair():
            case Pair(one, _):
                return batch * one

    return model


def of_a_fields_metadata(k):
    @dataclasses.dataclass
    class Settings:
        gain: int = dataclasses.field(default=1, metadata={"gain": k})

    return lambda batch: batch * dataclasses.fields(Settings)[0].metadata["gain"]


def setting_through(k):
    """Fields of attrs whose hook changes what is set."""

    @attrs.define
    class Settings:
        gain: int = attrs.field(default=1, on_setattr=lambda one, field, value: value * k)

    def model(batch):
        settings = Settings()
        settings.gain = 1
        return batch * settings.gain

    return model


def of_a_dtypes_metadata(k):
    dtype = np.dtype("f4", metadata={"gain": k})
    return lambda batch: batch * dtype.metadata["gain"]


def of_an_arrays_dtypes_metadata(k):
    weights = np.zeros(1, np.dtype("f4", metadata={"gain": k}))
    return lambda batch: batch * weights.dtype.metadata["gain"]


def of_arrays_in_slices(k):
    part = slice(np.zeros(2000), np.arange(2000) * k)
    return lambda batch: batch * part.stop[1]


def enumeration_class_set_later(k):
    class Mode(enum.Enum):
        ONE = 1

    Mode._gain = k
    return lambda batch: batch * Mode._gain


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")  # torch.ao moves
@pytest.mark.parametrize(
    "make",
    [
        delegating, dressed, wrapping_a_library, called_partially, of_a_metaclass,
        subclass(list, [1]), subclass(dict, {"a": 1}), subclass(float, 1.0), subclass(str, "a"),
        subclass_with_attribute, enumerated, named_tuple, viewed, masked, with_default,
        module_in_memory, typed_in, shared, tied, of_an_edited_class, scripted, traced, drawn,
        quantised, tensor_subclass, sparse, structured, of_objects, ordered, argued, dispatched,
        keyed_by_functions, of_frozensets, made_by_a_factory, in_slots, defined_by_attrs, a_struct,
        Dropping, hooked_with_words, with_an_empty_text, of_a_module_that_was_set,
        helper_in_torchscript, scripted_with_a_function, traced_with_a_function, traced_function,
        compiled_inside, recurrent, SlottedDropping, filled, of_own_wrappers, of_own_static_methods,
        enumeration_set_later, enumeration_class_set_later, scripted_and_then_set,
        of_a_stored_array, of_a_lazy_array_of_a_stored_one, matched, of_a_fields_metadata,
        setting_through, of_a_dtypes_metadata, of_an_arrays_dtypes_metadata, of_arrays_in_slices,
        scripted_with_a_number_of_an_inner_one, scripted_with_a_tensor_of_an_inner_one,
    ],
)  # fmt: skip
def test_one_number_tells_models_apart(make):
    assert parts(make(2)) != parts(make(3))
    assert parts(make(2)) == parts(make(2))


def called_once(model):
    """The parts as they are recorded: after a call, without what it changed."""
    before = contents_of(model, Look(weights=False))
    model(np.zeros((1, 1, 2)))
    left_out = contents_of(model, Look(before=before)).changed_since(before)
    return left_out, contents_of(model, Look(left_out=left_out)).parts(left_out)


def remembering(k):
    class Model:
        def __init__(self):
            self.weights, self.last, self.state = np.array([k]), None, {"gain": k, "calls": 0}

        def __call__(self, batch):
            self.last = self.weights
            self.state["calls"] += 1
            return batch * self.weights[0]

    return Model()


@pytest.mark.parametrize("make", [remembering, dispatched])
def test_what_a_call_leaves_behind_hides_nothing_else(make):
    left_out, told = called_once(make(2))
    assert not {"model.weights", "model.state", "model.registry"} & {*left_out}
    assert told != called_once(make(3))[1]
    model = make(2)
    assert called_once(model)[1] == told
    assert contents_of(model, Look(left_out=left_out)).parts(left_out) == told


class Counter(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, batch):
        self.calls += 1
        return batch


def test_a_buffer_that_a_call_changes_is_left_out():
    assert called_once(Counter())[0] == ("model.calls",)


def test_other_arguments_of_a_script_are_no_part_of_a_model():
    def given(part):
        arguments = argparse.Namespace(gain=2, part=part)
        return lambda batch: batch * arguments.gain

    assert parts(given("1/2")) == parts(given("2/2"))


def test_where_a_file_lies_is_no_part_of_it():
    def at(place):
        names = {"__name__": "lab", "__file__": place}
        exec("def model(batch): return open(__file__) and batch", names)
        return names["model"]

    assert parts(at("/a/model.py")) == parts(at("/b/model.py"))


def test_long_chains_of_functions(tmp_path, monkeypatch):
    calls = [f"def f{i}(x): return f{i + 1}(x)" for i in range(2000)]
    (tmp_path / "long_chain.py").write_text("\n".join([*calls, "def f2000(x): return x\n"]))
    monkeypatch.syspath_prepend(tmp_path)
    import long_chain

    assert len(contents_of(long_chain.f0).leaves) > 2000
    del sys.modules["long_chain"]


def test_nothing_is_imported_that_the_model_does_not_import(tmp_path):
    from daskpatch.model import shared_model

    (tmp_path / "boom").mkdir()
    (tmp_path / "boom" / "__init__.py").write_text("raise RuntimeError('no licence')\n")
    (tmp_path / "boom" / "sub.py").touch()
    model = tmp_path / "net.py"
    model.write_text("def model(x): return x\ndef train():\n    from boom.sub import fit\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        shared_model(f"{model}:model").handle.contents()
    assert "boom" not in sys.modules


def test_odd_values():
    for value in ({"\udcff.npy": 1}, [10**5000], 10**5000, "\udcff", np.float16(1), 1j, b"\0"):
        assert parts(value) == parts(copy.deepcopy(value))


def test_classes_that_answer_whatever_is_asked():
    class Settings:
        def __init__(self, **values):
            self.__dict__["values"] = values

        def __getattr__(self, name):
            return self.values[name]  # a KeyError

    settings = Settings(k=2)
    assert parts(lambda batch: batch * settings.k)


def test_what_has_no_identity_is_told_with_its_place():
    lock = threading.Lock()
    helper = {"lock": lock}
    with pytest.raises(NoIdentityError, match=r"model\.helper\[lock\] is a _thread\.lock"):
        contents_of(lambda batch: helper and batch)
    group = zarr.open_group(zarr.storage.MemoryStore())
    large = zarr.create_array(zarr.storage.MemoryStore(), shape=10**9, chunks=10**6, dtype="u1")
    with pytest.raises(NoIdentityError, match=r"model\.group is a zarr Group, which may change"):
        contents_of(lambda batch: group["w"][0] * batch)
    with pytest.raises(NoIdentityError, match=r"model\.large is a zarr Array of 1000 MB"):
        contents_of(lambda batch: large[0] * batch)
    with pytest.raises(NoIdentityError, match=r"model\.held"):
        contents_of(Holding(torch.empty(3, device="meta")))


class _Called(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2


class _Ignoring(torch.nn.Module):
    def forward(self, x):
        return self.scaled(x)

    @torch.jit.ignore
    def scaled(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2


class _Calling(torch.nn.Module):
    def forward(self, x):
        return _Called.apply(x)


@pytest.mark.filterwarnings("ignore:.*torch.jit.* is deprecated:DeprecationWarning")
@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.jit.script(_Ignoring()),
        lambda: torch.jit.trace(_Calling(), torch.zeros(1, 1, 4, 4)),
        lambda: torch.jit.script(torch.nn.Sequential(_Ignoring())),
    ],
)
def test_a_script_that_calls_python_cannot_be_told(make):
    with pytest.raises(NoIdentityError, match="calls Python"):
        contents_of(make())
