"""What models are made of: each kind of change shows in its part, and nothing else does."""

import dataclasses
import enum
import functools
import operator
import random
import types
import typing

import numpy as np
import pytest
import scipy.interpolate
import torch

import daskpatch
from daskpatch.model import Look, NoIdentityError
from daskpatch.model.walk import contents_of

PARTS = ("bytecode", "trees", "weights", "attributes", "versions")

CODE = {"bytecode", "trees"}


def parts_of(value):
    return contents_of(value).parts()


def differing(one, other):
    one, other = parts_of(one), parts_of(other)
    return {part for part in PARTS if getattr(one, part) != getattr(other, part)}


# Functions


def test_lambdas_on_one_line_are_two():
    twice, thrice = lambda b: b * 2, lambda b: b * 3
    assert differing(twice, thrice) == CODE


def test_a_lambda_is_the_same_in_another_call():
    def given(function, **options):
        return function

    one = given(lambda b: b * 2, part=(1, 2))
    other = given(
        lambda b: b * 2,
        part=(2, 2),
    )
    assert not differing(one, other)


def plain(batch):
    return batch.clip(0, 1) * 2


def annotated(batch: np.ndarray) -> np.ndarray:
    """A docstring, and other lines."""

    # and a comment
    return batch.clip(
        0,
        1,
    ) * 2  # fmt: skip


def test_how_a_function_is_laid_out_does_not_matter():
    assert not differing(plain, annotated)


def test_what_try_covers_is_code():
    def narrow(batch):
        try:
            found = batch.get()
        except KeyError:
            found = 0
        return found

    def wide(batch):
        try:
            found = batch.get()
        except ValueError:
            found = 0
        return found

    assert differing(narrow, wide) == CODE


def with_gain(gain):
    def decorate(function):
        @functools.wraps(function)
        def scaled(batch):
            return function(batch) * gain

        return scaled

    return decorate


def squared(function):
    @functools.wraps(function)
    def called(batch):
        return function(batch) ** 2

    return called


def cubed(function):
    @functools.wraps(function)
    def called(batch):
        return function(batch) ** 3

    return called


def test_decorators():
    assert differing(with_gain(2)(plain), with_gain(3)(plain)) == {"attributes"}
    assert not differing(with_gain(2)(plain), with_gain(2)(annotated))
    assert differing(squared(plain), cubed(plain)) == CODE
    assert differing(functools.lru_cache(plain), functools.lru_cache(squared(plain)))


@pytest.mark.parametrize(
    "decorate",
    [torch.no_grad(), torch.inference_mode(), np.vectorize, functools.partial, torch.func.vmap],
)
def test_functions_that_libraries_decorate(decorate):
    assert differing(decorate(plain), decorate(with_gain(2)(plain))) >= CODE
    assert differing(decorate(with_gain(2)(plain)), decorate(with_gain(3)(plain)))
    assert not differing(decorate(plain), decorate(plain))


def test_functions_that_libraries_make():
    make = operator.attrgetter
    assert differing(make("real"), make("imag")) == {"attributes"}
    smooth = scipy.interpolate.make_interp_spline
    x = np.arange(8)
    assert differing(smooth(x, x**2), smooth(x, x**3)) == {"weights"}
    spectrum = torch.nn.utils.rnn.pad_sequence
    assert differing(functools.partial(spectrum, padding_value=1), functools.partial(spectrum))


def test_attributes_of_functions():
    def model(batch):
        return batch * model.gain

    model.gain = 2
    before = parts_of(model)
    model.gain = 3
    assert parts_of(model).attributes != before.attributes


def test_methods_of_library_objects_have_what_they_are_of():
    assert differing({0: 1}.__getitem__, {0: 2}.__getitem__) == {"attributes"}


# Objects and classes


class Counting:
    gain = 2.0

    def __init__(self):
        self.calls, self.table = 0, {"a": np.arange(3)}

    def __call__(self, batch):
        self.calls += 1
        return batch * self.gain


def test_attributes_of_objects_and_classes(monkeypatch):
    before, after = Counting(), Counting()
    assert not differing(before, after)
    after(np.zeros(1))
    assert differing(before, after) == {"attributes"}
    parts = parts_of(before)
    monkeypatch.setattr(Counting, "gain", 3.0)
    assert parts_of(before).attributes != parts.attributes


def test_what_a_call_changes_is_left_out():
    model = Counting()
    before = contents_of(model)
    model(np.zeros(1))
    after = contents_of(model)
    assert after.changed_since(before) == ("model.calls",)
    without_calls = Look(left_out=("model.calls",))
    before = contents_of(model, without_calls).parts()
    model(np.zeros(1))
    assert contents_of(model, without_calls).parts() == before
    model.table["a"][0] = 5
    assert contents_of(model, without_calls).parts() != before


calls = 0
log = []


def counted(batch):
    global calls
    calls += 1
    log.append(batch.shape)
    return batch


def test_globals_and_closures_that_a_call_changes():
    seen = {}

    def model(batch):
        seen[batch.shape] = counted(batch)
        return batch

    before = contents_of(model)
    model(np.zeros(1))
    assert set(contents_of(model).changed_since(before)) == {
        "model.seen",
        "model.counted.calls",
        "model.counted.log",
    }


gain = 2.0


def of_its_name(batch):
    of_its_name.gain = batch.shape
    return batch * gain


def of_its_default(batch, factor=2.0):
    of_its_default.defaults = batch.shape
    return batch * factor


def closed_over(gain):
    def model(batch):
        model.gain = batch.shape
        return batch * gain

    return model


def with_keys(gain):
    table = {5: gain, "0": 0}

    def model(batch):
        table["0"] += 1
        return batch * table[5]

    return model


class Listed(list):
    """Its items are told beside its attributes."""

    items = ()

    def __call__(self, batch):
        self.items = batch.shape
        return batch * self[0]


class Above:
    factor = [2.0]


class Below(Above):
    factor = 0

    def __call__(self, batch):
        type(self).factor += 1
        return batch * Above.factor[0]


@pytest.mark.parametrize("kind", ["global", "default", "closure", "keys", "items", "bases"])
def test_what_a_call_changes_hides_nothing_of_the_same_name(monkeypatch, kind):
    models = {
        "global": lambda k: of_its_name,
        "default": lambda k: of_its_default,
        "closure": closed_over,
        "keys": with_keys,
        "items": lambda k: Listed([k]),
        "bases": lambda k: Below(),
    }

    def look(k):
        vars(of_its_name).clear()
        vars(of_its_default).clear()
        monkeypatch.setitem(globals(), "gain", k)
        monkeypatch.setattr(of_its_default, "__defaults__", (k,))
        monkeypatch.setattr(Above, "factor", [k])
        model = models[kind](k)
        before = contents_of(model)
        model(np.zeros(1))
        left_out = contents_of(model).changed_since(before)
        assert left_out
        return contents_of(model, Look(left_out=left_out)).parts(left_out)

    assert look(2.0).attributes != look(3.0).attributes
    assert look(2.0).attributes == look(2.0).attributes


def scaled(factor):
    return lambda batch: batch * factor


def with_locals(batch):
    factor = 2
    return [batch * factor for _ in range(factor)]


def with_shared_locals(batch):
    factor = 2
    return (lambda: batch * factor)()


@pytest.mark.parametrize(
    "make", [lambda: scaled(2), lambda: with_locals, lambda: with_shared_locals]
)
def test_globals_that_are_not_read_are_no_part(monkeypatch, tmp_path, make):
    before = parts_of(make())
    monkeypatch.setitem(globals(), "factor", 7)
    assert parts_of(make()) == before
    with (tmp_path / "a").open("w") as file:
        monkeypatch.setitem(globals(), "factor", file)
        assert parts_of(make()) == before


@pytest.mark.parametrize("draw", [np.random.random, random.random])
def test_the_process_own_random_numbers_are_no_part(draw):
    held = types.SimpleNamespace(
        of_numpy=np.random.random.__self__, of_python=random.random.__self__
    )
    before = parts_of(held)
    draw()
    assert parts_of(held) == before
    assert differing(np.random.RandomState(1), np.random.RandomState(2))


@pytest.mark.parametrize(
    "strided",
    [
        lambda k: torch.full((3,), float(k))[1::2],
        lambda k: torch.full((4, 3), float(k))[:1, 1],
        lambda k: torch.full((3, 2, 2), k, dtype=torch.bfloat16).permute(2, 0, 1)[:, ::2],
    ],
)
def test_tensors_that_are_views(strided):
    assert parts_of(strided(1)) == parts_of(strided(1))
    assert differing(strided(1), strided(2)) == {"weights"}


class Mode(enum.Enum):
    MEAN = 1
    MAX = 2


class Level(enum.IntEnum):
    LOW = 1


@dataclasses.dataclass
class Settings:
    gain: float = 2.0
    mode: Mode = Mode.MEAN
    names: list = dataclasses.field(default_factory=list)

    def __call__(self, batch):
        return batch * self.gain


class Sides(typing.NamedTuple):
    before: int
    after: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Slotted:
    gain: float = 2.0

    def __call__(self, batch):
        return batch * self.gain


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Settings(), Settings(gain=3.0)),
        (Settings(), Settings(mode=Mode.MAX)),
        (Sides(1), Sides(1, 2)),
        (Slotted(), Slotted(3.0)),
        (torch.float32, torch.float64),
        (torch.device("cpu"), torch.device("meta")),
        (Mode.MEAN, Mode.MAX),
    ],
)
def test_values_that_libraries_make(one, other):
    assert differing(one, other) == {"attributes"}
    assert parts_of(one).trees is not None
    assert not differing(one, one)


def with_attribute(value, gain):
    value.gain = gain
    return value


@pytest.mark.parametrize(
    "make", [lambda: functools.partial(abs), lambda: torch.ones(2), lambda: lambda batch: batch]
)
def test_attributes_of_what_is_called_and_of_tensors(make):
    assert differing(with_attribute(make(), 2.0), with_attribute(make(), 3.0)) == {"attributes"}
    assert not differing(with_attribute(make(), 2.0), with_attribute(make(), 2.0))
    named = functools.update_wrapper(functools.partial(abs), len)
    assert not differing(named, functools.update_wrapper(functools.partial(abs), max))


def test_what_cannot_be_told_says_what_it_is(tmp_path):
    with open(tmp_path / "log.txt", "w") as file, pytest.raises(NoIdentityError, match="TextIO"):
        contents_of(lambda batch: file.write("") or batch)


# Modules of torch


class Scale(torch.nn.Module):
    def __init__(self, kind, k):
        super().__init__()
        if kind == "unsaved buffer":
            self.register_buffer("k", torch.tensor(k), persistent=False)
        elif kind == "function":
            self.f = {2.0: torch.square, 3.0: torch.negative}[k]
        else:
            self.k = torch.tensor(k) if kind == "tensor" else k

    def forward(self, x):
        return self.f(x) if hasattr(self, "f") else x * self.k


def hooked(k):
    module = torch.nn.Identity()
    module.register_forward_hook(lambda module, given, made: made * k)
    return module


def hooked_twice(k):
    module = torch.nn.Identity()
    hooks = [lambda module, given: given[0] * 2, lambda module, given: given[0] + 1]
    for hook in hooks if k == 2 else hooks[::-1]:
        module.register_forward_pre_hook(hook)
    return module


def traced(k):
    return torch.jit.trace(Scale("attribute", k), torch.zeros(1, 1, 4, 4))


def scripted(k):
    return torch.jit.script(Scale("attribute", k))


def exported(k):
    return torch.export.export(Scale("attribute", k), (torch.zeros(1, 1, 4, 4),)).module()


def symbolic(k):
    return torch.fx.symbolic_trace(Scale("attribute", k))


def nested(k):
    return torch.nn.Sequential(torch.nn.Identity(), Scale("attribute", k))


def convolution(k):
    torch.manual_seed(int(k))
    return torch.nn.Conv2d(1, 4, 3)


def parametrized(k):
    return torch.nn.utils.parametrizations.weight_norm(convolution(k))


def compiled(k):
    return torch.compile(Scale("attribute", k))


def dilated(k):
    torch.manual_seed(0)
    return torch.nn.Conv2d(1, 4, 3, dilation=int(k))


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # torch.compile uses it
@pytest.mark.parametrize(
    ("make", "parts"),
    [
        (functools.partial(Scale, "attribute"), {"attributes"}),
        (functools.partial(Scale, "tensor"), {"weights"}),
        (functools.partial(Scale, "unsaved buffer"), {"weights"}),
        (functools.partial(Scale, "function"), CODE),
        (nested, {"attributes"}),
        (hooked, {"attributes"}),
        (hooked_twice, CODE),
        (convolution, {"weights"}),
        (dilated, {"attributes"}),
        (parametrized, {"weights"}),
        (compiled, {"attributes"}),
        (symbolic, CODE),
        (exported, {"bytecode"}),  # torch writes some of its functions without source
    ],
)
def test_modules_that_differ_in_one_thing(make, parts):
    assert differing(make(2.0), make(3.0)) == parts
    assert not differing(make(2.0), make(2.0))


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("make", [traced, scripted])
def test_constants_of_script_modules(make):
    assert differing(make(2.0), make(3.0))  # in the code or beside it
    assert not differing(make(2.0), make(2.0))


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_a_frozen_script_is_a_model_and_one_that_hides_its_weights_needs_a_name():
    frozen = torch.jit.freeze(torch.jit.script(torch.nn.Conv2d(1, 4, 3, padding=1).eval()))
    image = np.ones((32, 32), "f4")
    plan = daskpatch.plan(image, frozen, axes="YX", patch_size=16, overlaps=4)
    assert plan.view[:, :4].shape == (4, 4, 32)
    hidden = torch.jit.optimize_for_inference(torch.jit.script(convolution(1).eval()))
    with pytest.raises(NoIdentityError, match="optimize_for_inference"):
        contents_of(lambda batch: hidden(batch))


def test_training_is_no_difference():
    assert not differing(convolution(1).eval(), convolution(1).train())
