"""Options, each declared once: what a declaration says is what happens, wherever it is given."""

import functools
import inspect
import math
import re
import shutil
import sys
import traceback
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, get_type_hints

import dask.array as da
import numpy as np
import pytest
import zarr
from folders import contents
from ome_images import dataset
from volumes import read, save

import daskpatch
from daskpatch import (
    AlignedPatching,
    Limits,
    Model,
    Normalize,
    Output,
    Run,
    Source,
    TiledPatching,
    Tiles,
    WholeSamplePatching,
)
from daskpatch.deciding import PlanWords
from daskpatch.planning.plans import ToWords
from daskpatch.planning.verbs import PredictWords
from daskpatch.support import declarations, words_of

KINDS = (Source, Model, Output, Tiles, Normalize, Limits, Run)

OPTIONS = {
    f"{kind.__name__}.{name}": (kind, declared)
    for kind in KINDS
    for name, declared in declarations(kind).items()
}


class Uneven:
    """A model that knows all of its tile and each voxel's place in it.

    It may stop for good after some calls; that is no part of what it is.
    """

    left = math.inf
    calls = 0

    def __init__(self, left=math.inf):
        self.left = left

    def __getstate__(self):
        return {}

    def __call__(self, batch):
        self.calls += 1
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("no more")
        ramp = np.arange(batch.shape[-1], dtype=batch.dtype)
        return batch - batch.mean((-2, -1), keepdims=True) + ramp


uneven = Uneven()


def finer(batch):
    return uneven(batch).repeat(2, -1).repeat(2, -2)


def without_edge(batch):
    return uneven(batch)[..., 2:-2, 2:-2]


def tiles_of_16(data_shapes):
    return TiledPatching(data_shapes, 16, 4)


BASE = {
    "source": "in.zarr",
    "model": uneven,
    "normalize": "zscore",
    "patch_size": 16,
    "overlaps": 4,
    "chunks": 12,
    "block_shape": 12,
}


@dataclass(frozen=True)
class Fixture:
    """What a fixture makes."""

    name: str


@dataclass(frozen=True)
class Case:
    """What an option takes to be tried, beyond its declaration.

    `base` is given to both runs, `beside` to the one that has the example; `before` is run at the
    same place, `then` ends what the example leaves open.
    """

    example: object = None
    base: dict[str, Any] = field(default_factory=dict)
    beside: dict[str, Any] = field(default_factory=dict)
    before: dict[str, Any] | None = None
    then: dict[str, Any] | None = None


CASES = {
    "Source.place": Case("other.zarr"),
    "Source.level": Case(base={"source": "pair.zarr", "image": 0}),
    "Source.image": Case(base={"source": "pair.zarr", "image": 0}),
    "Source.fields": Case(base={"source": "plate.zarr"}),
    "Source.padding": Case(base={"align": 4, "overlaps": 8}),  # tiles reach beyond the image
    "Model.scale": Case(base={"model_id": "one"}, beside={"model": finer}),
    "Model.margin": Case(base={"model_id": "one"}, beside={"model": without_edge}),
    "Output.place": Case("elsewhere.zarr"),
    "Output.chunks": Case(base={"block_shape": 24}),
    "Output.shards": Case(base={"block_shape": 24}),
    "Output.post_id": Case(base={"post": np.negative, "post_id": "one"}),
    "Output.channel_names": Case(base={"ome": True}),
    "Output.label_image": Case(base={"channels": [0], "dtype": "uint16"}),
    "Output.pyramid": Case(base={"ome": True}),
    "Output.downsample": Case(base={"ome": True, "pyramid": 1}),
    "Output.factors": Case(base={"ome": True}),
    "Output.fill": Case(base={"mask": "mask.zarr"}),
    "Output.overwrite": Case(before={"model": np.square}),
    "Tiles.patching": Case(
        functools.partial(TiledPatching, patch_size=16, overlaps=4),
        beside={"patch_size": None, "overlaps": None},
    ),
    "Tiles.probe": Case("probe.json"),
    "Normalize.over": Case(base={"source": ["in.zarr", "other.zarr"]}),
    "Run.client": Case(Fixture("with_gpu")),
    "Run.region": Case(np.s_[:, :24], then={"region": None, "resume": True}),
    "Run.resources": Case({"GPU": 1}, beside={"client": Fixture("with_gpu")}),
    "Run.patience": Case(beside={"client": Fixture("with_gpu")}),
}


def is_harmless(name):
    _, declared = OPTIONS[name]
    return not (declared.guard or declared.shows_in)


def example_of(name):
    case = CASES.get(name, Case())
    return OPTIONS[name][1].example if case.example is None else case.example


def argument_of(name):
    """What an option is called where a verb takes it."""
    kind, declared = OPTIONS[name]
    plain = "normalize" if declared.name == "kind" else kind.__name__.lower()
    return declared.word or plain


FURTHER = [
    ("Source.channels", [1, 0]),
    ("Source.padding", 7),
    ("Source.padding", np.float32(7)),
    ("Model.scale", np.float32(2)),
    ("Model.margin", np.array([[2, 2], [2, 2]])),
    ("Model.augment", ["rot90", "flips"]),
    ("Output.stitch", "gaussian"),
    ("Output.chunks", (1, 24, 12)),
    ("Output.dtype", "uint8"),
    ("Output.skip_empty", True),
    ("Tiles.patch_size", (24, 16)),
    ("Tiles.patching", WholeSamplePatching),
    ("Normalize.kind", None),
    ("Normalize.kind", ("percentile", 5, 95)),
    ("Normalize.kind", {"mean": [3e4, 2e4], "std": [2e4, 3e4]}),
    ("Limits.io", "tensorstore"),
    ("Tiles.batch_size", "auto"),
]
"""More than one example each, where options have several forms."""

TRIED = [(name, example_of(name)) for name in OPTIONS] + FURTHER


def tried(*, harmless, but=()):
    """Every option that voxels depend on, or don't, with its examples."""
    chosen = [(n, value) for n, value in TRIED if is_harmless(n) is harmless and n not in but]
    ids = [f"{name}={repr(value)[:16]}" for name, value in chosen]
    return pytest.mark.parametrize(("name", "example"), chosen, ids=ids)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two sources of two channels, a mask, and a probe."""
    folder = tmp_path_factory.mktemp("options")
    rng = np.random.default_rng(20)
    for name, shape in (("in", (2, 61, 53)), ("other", (2, 31, 40))):
        values = rng.integers(0, 60_000, shape).astype("uint16")
        save(f"{folder}/{name}.zarr", values, chunks=(1, 16, 16), dimension_names=["c", "y", "x"])

    mask = np.zeros((31, 27), bool)
    mask[:16] = True
    save(f"{folder}/mask.zarr", mask, chunks=(8, 8), dimension_names=["y", "x"])

    values = rng.integers(0, 60_000, (2, 61, 53)).astype("uint16")
    save_pair(folder / "pair.zarr", values)
    save_plate(folder / "plate.zarr", values)

    def in_cells_of_two(batch):
        n, c, y, x = batch.shape
        return batch.reshape(n, c, y // 2, 2, x // 2, 2).mean((3, 5)).repeat(2, -1).repeat(2, -2)

    daskpatch.probe(in_cells_of_two, ndim=2, channels=2, seconds=0).save(folder / "probe.json")
    return folder


def save_pair(path, values, images=2):
    """An OME-Zarr group of two images, one of which has two levels; or of the first."""
    group = zarr.create_group(str(path))
    for name, level in (("0", values), ("1", values[:, ::2, ::2]), ("2", values[::-1])):
        group.create_array(name, data=np.ascontiguousarray(level), chunks=(1, 16, 16))
    axes = [{"name": "c"}, {"name": "y"}, {"name": "x"}]
    levels = {"first": ["0", "1"], "second": ["2"]}
    group.attrs["ome"] = {
        "version": "0.5",
        "multiscales": [
            {"name": name, "axes": axes, "datasets": [dataset(path, 1, 1, 1) for path in paths]}
            for name, paths in list(levels.items())[:images]
        ],
    }


def save_plate(path, values):
    """A plate of two wells of one field each, one above the other."""
    wells = [{"path": "A/1"}, {"path": "A/2"}]
    zarr.create_group(str(path), attributes={"ome": {"version": "0.5", "plate": {"wells": wells}}})
    well = {"ome": {"version": "0.5", "well": {"images": [{"path": "0"}]}}}
    for number, inside in enumerate(("A/1", "A/2")):
        zarr.create_group(str(path / inside), attributes=well)
        save_pair(path / inside / "0", values[:, ::-1] if number else values, images=1)


@pytest.fixture(autouse=True)
def inside(folder, monkeypatch):
    """Sources and probe go by short names."""
    monkeypatch.chdir(folder)


@pytest.fixture(scope="module")
def with_gpu():
    """A client of one worker in this process that offers a GPU."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=1,
            threads_per_worker=2,
            processes=False,
            dashboard_address=":0",
            resources={"GPU": 1},
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


def predict(output, /, **options):
    options = {**BASE, **options}
    source, model = options.pop("source"), options.pop("model")
    return daskpatch.predict(source, model, options.pop("output", output), **options)


def plan(**options):
    options = {**BASE, **options}
    return daskpatch.plan(options.pop("source"), options.pop("model"), **options)


@pytest.fixture(scope="module")
def whole(folder):
    """The place of a run that was not interrupted, with these options; each is run once."""
    places = {}

    def place(**options):
        key = repr(options)
        if key not in places:
            places[key] = folder / f"whole-{len(places)}.zarr"
            predict(places[key], **options)
        return places[key]

    return place


@pytest.fixture(scope="module")
def begun(folder):
    """Copies of a run that was interrupted half way, with these options; each is run once."""
    places = {}

    def copy_to(output, **options):
        key = repr(options)
        if key not in places:
            places[key] = folder / f"begun-{len(places)}.zarr"
            with pytest.raises(daskpatch.RunFailed) as failure:
                predict(places[key], retries=0, threads=1, **{**options, "model": Uneven(13)})
            assert failure.value.report.done > 0
            assert failure.value.report.failed > 0
        shutil.copytree(places[key], output)

    return copy_to


@pytest.fixture
def resolved(request):
    """Options, with what fixtures make."""

    def resolve(options):
        return {
            word: request.getfixturevalue(value.name) if isinstance(value, Fixture) else value
            for word, value in options.items()
        }

    return resolve


def values_of(output):
    there = zarr.open(str(output), mode="r")
    return [array[...] for array in arrays_in(there)]


def arrays_in(node):
    """The arrays of a group, and of those in it."""
    if isinstance(node, zarr.Array):
        return [node]
    return [array for name in sorted(node) for array in arrays_in(node[name])]


def assert_same(values, others):
    for one, other in zip(values, others, strict=True):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert one.tobytes() == other.tobytes()


# Declarations


@pytest.mark.parametrize("kind", KINDS)
def test_the_words_for_type_checkers_are_those_declared(kind):
    words = vars(sys.modules[kind.__module__])[f"{kind.__name__}Words"]
    types = get_type_hints(kind)
    assert get_type_hints(words) == {
        word: types[declared.name] for word, declared in words_of(kind).items()
    }
    assert words.__required_keys__ == frozenset()


@pytest.mark.parametrize(("words", "kinds"), [(PlanWords, KINDS[:-1]), (PredictWords, KINDS)])
def test_verbs_take_the_words_of_their_values(words, kinds):
    assert get_type_hints(words).keys() == {word for kind in kinds for word in words_of(kind)}


def test_the_documentation_of_plan_has_every_word():
    told = set(re.findall(r"`(\w+)`", inspect.getdoc(daskpatch.plan)))
    assert {word for kind in KINDS[:-1] for word in words_of(kind)} <= told


def test_the_words_of_to_are_some_of_those_of_a_plan():
    types = get_type_hints(PlanWords)
    assert get_type_hints(ToWords).items() <= types.items()


def test_no_word_has_two_meanings():
    words = [word for kind in KINDS for word in words_of(kind)]
    assert len(words) == len(set(words))


@pytest.mark.parametrize("name", OPTIONS)
def test_a_declaration_has_help_and_an_example(name):
    _, declared = OPTIONS[name]
    assert re.search(r"(\.|\])$", declared.help)
    example = example_of(name)
    assert example is not None, "give one in CASES"
    if declared.check is not None and not isinstance(example, Fixture):
        normal = declared.check(declared.name, example)
        assert declared.is_required or repr(normal) != repr(declared.default)


def test_a_case_is_of_an_option():
    assert CASES.keys() <= OPTIONS.keys()


# What voxels depend on, and what they don't


def given(name, example):
    return {argument_of(name): example, **CASES.get(name, Case()).beside}


@pytest.mark.filterwarnings("ignore:axes is 'TYX'")
@tried(harmless=False, but=("Output.label_image",))  # it starts anew, at a place of its own
def test_what_voxels_depend_on_is_named_and_refused(name, example, tmp_path, begun, resolved):
    output, base = tmp_path / "out.zarr", CASES.get(name, Case()).base
    begun(output, **base)
    before = contents(output)
    with pytest.raises(ValueError, match="cannot be resumed") as refusal:
        predict(output, **{**base, **resolved(given(name, example))}, resume=True)
    declared = OPTIONS[name][1]
    path = re.escape(declared.guard or declared.shows_in)
    assert re.search(rf"[:;] {path}(\.\S+)? (was|changed)", str(refusal.value))
    assert contents(output) == before


@tried(harmless=True)
def test_no_voxel_depends_on_the_others(name, example, tmp_path, whole, resolved):
    output, case = tmp_path / "out.zarr", CASES.get(name, Case())
    options = {**case.base, **resolved(given(name, example))}
    if case.before is not None:
        predict(output, **case.base, **case.before)
    predict(output, **options)
    if case.then is not None:
        predict(output, **{**options, **case.then})
    output = options.get("output", output)
    assert_same(values_of(output), values_of(whole(**case.base)))


@tried(harmless=True, but=("Output.place", "Output.overwrite", "Output.ome"))  # these start anew
def test_the_others_may_change_when_a_run_is_resumed(
    name, example, tmp_path, begun, whole, resolved
):
    output, case = tmp_path / "out.zarr", CASES.get(name, Case())
    begun(output, **case.base)
    options = {**case.base, **resolved(given(name, example)), "resume": True}
    assert predict(output, **options).skipped > 0
    if case.then is not None:
        predict(output, **{**options, **case.then})
    assert_same(values_of(output), values_of(whole(**case.base)))


@pytest.mark.filterwarnings("ignore:axes is 'TYX'")
@tried(harmless=False)
def test_a_repair_knows_what_voxels_depend_on(name, example, tmp_path, resolved):
    output, base = tmp_path / "out.zarr", CASES.get(name, Case()).base
    options = {**BASE, **base, **resolved(given(name, example))}
    predict(output, **options)
    values = values_of(output)
    min(path for path in output.glob("**/c/**/*") if path.is_file()).unlink()
    words = ("model_id", "post", "post_id")
    not_recorded = {word: options[word] for word in words if word in options}
    found = daskpatch.verify(
        output, repair=True, model=options["model"], progress=False, **not_recorded
    )
    # What levels were computed of the block is computed again, too.
    levels = [name for name in found.passes if name.startswith("level-")]
    assert len(found.bad) == 1
    assert found.repaired.done == 1 + len(levels)
    assert_same(values_of(output), values)


# Values beside words

FIELDS = [
    (Source, {"place": "in.zarr", "axes": "CYX", "channels": [1], "padding": "edge"}),
    (Model, {"call": uneven, "input_dtype": "float64", "augment": "flips", "id": "one"}),
    (
        Output,
        {
            "place": "unwritten.zarr",
            "dtype": "float64",
            "chunks": 6,
            "shards": 12,
            "block_shape": 24,
            "stitch": "linear",
            "post": np.negative,
        },
    ),
    (Tiles, {"patch_size": 24, "overlaps": 8, "align": 2, "min_size": 8, "batch_size": 2}),
    (Normalize, {"kind": "minmax", "per_channel": False, "fraction": 0.5, "undo": True}),
    (Limits, {"memory": "4 GB", "threads": 1, "io": "zarr"}),
]
OF_EACH_KIND = pytest.mark.parametrize(("kind", "fields"), FIELDS)


def base_without(kind):
    return {word: value for word, value in BASE.items() if word not in words_of(kind)}


MEASURED = ("reading_seconds", "model_seconds", "writing_seconds", "bound_by", "peak_memory")
"""Figures that differ between two plans of the same."""


def figures(planned):
    return {k: v for k, v in planned.to_dict().items() if k not in MEASURED}


def plan_with(kind, **options):
    options = {**base_without(kind), **options}
    return daskpatch.plan(options.pop("source"), options.pop("model"), **options)


@OF_EACH_KIND
def test_a_value_says_the_same_as_words(kind, fields):
    words = {argument_of(f"{kind.__name__}.{name}"): value for name, value in fields.items()}
    by_words = plan_with(kind, **words)
    by_value = plan_with(kind, **{kind.__name__.lower(): kind(**fields)})
    assert figures(by_value) == figures(by_words)
    assert_same([by_value.view[..., :20, :20]], [by_words.view[..., :20, :20]])


def test_a_run_says_the_same_as_words(tmp_path, whole):
    fields = {"region": np.s_[:, :24], "progress": False, "retries": 0}
    by_words = predict(tmp_path / "a.zarr", **fields)
    by_value = predict(tmp_path / "b.zarr", run=Run(**fields))
    by_plan = plan(output=tmp_path / "c.zarr").run(Run(**fields))
    assert by_words.done == by_value.done == by_plan.done > 0
    assert daskpatch.status(tmp_path / "a.zarr").remaining > 0
    for other in ("b.zarr", "c.zarr"):
        assert_same(values_of(tmp_path / "a.zarr"), values_of(tmp_path / other))


@OF_EACH_KIND
def test_a_value_beside_a_word_of_it_is_refused(kind, fields):
    value = {kind.__name__.lower(): kind(**fields)}
    for word, declared in words_of(kind).items():
        for said in (declared.example, None):
            with pytest.raises(TypeError, match=rf"is a {kind.__name__}, and {word} was given"):
                plan_with(kind, **value, **{word: said})


def test_a_run_beside_a_word_of_it_is_refused(tmp_path):
    planned = plan(output=tmp_path / "out.zarr")
    for word in words_of(Run):
        with pytest.raises(TypeError, match=rf"is a Run, and {word} was given"):
            planned.run(Run(), **{word: None})
        with pytest.raises(TypeError, match=rf"is a Run, and {word} was given"):
            predict(tmp_path / "out.zarr", run=Run(), **{word: None})
    assert list(tmp_path.iterdir()) == []


def test_a_plain_thing_goes_with_words(folder):
    image = np.zeros((61, 53))
    planned = daskpatch.plan(image, np.negative, axes="YX", tiles=tiles_of_16, batch_size=2)
    assert planned.to_dict()["batch_size"] == 2
    assert planned.patching == TiledPatching([(1, 1, 61, 53)], 16, 4)
    both = {"tiles": tiles_of_16, "patching": tiles_of_16}
    with pytest.raises(TypeError, match="tiles is .* and patching is .*; give one of them"):
        daskpatch.plan(image, np.negative, axes="YX", **both)


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("patch_sise", r"Did you mean 'patch_size'\?"),
        ("overlap", r"Did you mean 'overlaps'\?"),
        ("memory", r"Did you mean 'memory_limit'\?"),
        ("tile_size", r"Did you mean 'patch_size'\?"),
        ("halo", r"Did you mean 'overlaps'\? It is twice the halo"),
        ("num_workers", "Give threads="),
        ("device", "TorchModel"),
    ],
)
def test_an_unknown_word_suggests_the_similar_one(tmp_path, word, hint):
    for verb in (plan, functools.partial(predict, tmp_path / "out.zarr")):
        with pytest.raises(TypeError, match=rf"argument '{word}'\..*{hint}"):
            verb(**{word: 16})
    assert list(tmp_path.iterdir()) == []


def test_a_misspelt_size_is_not_taken_for_a_missing_one():
    with pytest.raises(TypeError, match=r"Did you mean 'patch_size'\?"):
        daskpatch.plan(np.zeros((61, 53)), np.negative, axes="YX", patch_sise=16)


@pytest.mark.parametrize(
    ("kind", "word", "hint"),
    [
        (Tiles, "patch_sise", "Did you mean 'patch_size'"),
        (Tiles, "roi_size", "Did you mean 'patch_size'"),
        (Model, "device", "It is the model's: daskpatch.TorchModel"),
        (Limits, "chunks", "plan and predict take it"),
        (Output, "client", "run and predict take it"),
        (Run, "xyz", "It has client, region, "),
    ],
)
def test_a_value_suggests_what_was_meant(kind, word, hint):
    with pytest.raises(TypeError, match=rf"{kind.__name__}\(\) .* '{word}'\. {hint}"):
        kind(**{word: 16})


def test_words_of_a_run_are_none_of_a_plan(tmp_path):
    with pytest.raises(TypeError, match=r"plan\(\) got an unexpected keyword argument 'resume'"):
        plan(resume=True)
    with pytest.raises(TypeError, match=r"run\(\) got an unexpected keyword argument 'chunks'"):
        plan(output=tmp_path / "out.zarr").run(chunks=8)
    with pytest.raises(TypeError, match=r"Did you mean 'resume'\?"):
        plan(output=tmp_path / "out.zarr").run(resumes=True)


@pytest.mark.parametrize(
    "wrong",
    [
        *({"limits": wrong} for wrong in (3, "4 GB", Run())),
        *({"tiles": wrong} for wrong in (3, Limits())),
        *({"source": wrong} for wrong in (3, Tiles(16))),
        *({"model": wrong} for wrong in (3, Tiles(16))),
        *({"output": wrong} for wrong in (3, Tiles(16))),
    ],
    ids=str,
)
def test_another_kind_of_value_is_refused(wrong):
    with pytest.raises(TypeError, match=r"\b(is|not|needed)\b"):
        plan(**wrong)


@pytest.mark.parametrize("wrong", [3, Limits()], ids=str)
def test_another_kind_of_run_is_refused(tmp_path, wrong):
    with pytest.raises(TypeError, match=r"needed is a daskpatch\.Run"):
        predict(tmp_path / "out.zarr", run=wrong)
    with pytest.raises(TypeError, match=r"needed is a dask\.distributed client"):
        plan(output=tmp_path / "out.zarr").run(wrong)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", [3, Tiles(16)], ids=str)
def test_what_normalises_nothing_is_refused(wrong):
    with pytest.raises(ValueError, match="normalize is"):
        plan(normalize=wrong)


# Strategies without their shapes

SHAPES = [(1, 2, 61, 53)]
NO_SIZES = {"patch_size": None, "overlaps": None}


@pytest.mark.parametrize("word", ["tiles", "patching"])
@pytest.mark.parametrize(
    ("unbound", "bound"),
    [
        (
            functools.partial(TiledPatching, patch_size=16, overlaps=4),
            TiledPatching(SHAPES, 16, 4),
        ),
        (
            functools.partial(AlignedPatching, patch_size=(16, 24), overlaps=4, align=2),
            AlignedPatching(SHAPES, (16, 24), 4, 2),
        ),
        (tiles_of_16, TiledPatching(SHAPES, 16, 4)),
        (f"{__name__}:tiles_of_16", TiledPatching(SHAPES, 16, 4)),
        (WholeSamplePatching, WholeSamplePatching(SHAPES)),
        (TiledPatching(SHAPES, 16, 4), TiledPatching(SHAPES, 16, 4)),
    ],
    ids=["partial", "aligned", "function", "name", "class", "bound"],
)
def test_a_strategy_waits_for_its_shapes(word, unbound, bound):
    assert plan(**NO_SIZES, **{word: unbound}).patching == bound
    assert Tiles(patching=unbound).bound(SHAPES) == bound


def test_a_strategy_of_a_name(volume):
    planned = daskpatch.plan(volume, np.negative, axes="ZYX", patching="example_models:patching")
    assert planned.patching == TiledPatching([(1, 1, *volume.shape)], 24, 7)


def test_one_function_tiles_every_image_of_a_series():
    planned = plan(source=["in.zarr", "other.zarr"], **NO_SIZES, tiles=tiles_of_16)
    assert planned.patching == TiledPatching([(1, 2, 61, 53), (1, 2, 31, 40)], 16, 4)


@pytest.mark.parametrize("word", ["tiles", "patching"])
@pytest.mark.parametrize(
    "unbound",
    [
        TiledPatching,
        AlignedPatching,
        functools.partial(TiledPatching, patch_size=16),
        lambda: TiledPatching(SHAPES, 16, 4),
        16,
    ],
)
def test_what_needs_more_than_shapes_is_refused(word, unbound):
    with pytest.raises(TypeError, match=r"patching is .*needed is a strategy"):
        plan(**NO_SIZES, **{word: unbound})


def test_what_makes_no_strategy_is_refused():
    with pytest.raises(TypeError, match="patching made 3 of"):
        plan(**NO_SIZES, patching=lambda data_shapes: 3)


@pytest.mark.parametrize("words", [{"patch_size": 16}, {"overlaps": 4}, {"align": 2}])
def test_a_strategy_beside_sizes_is_refused(words):
    with pytest.raises(
        ValueError, match="Give patching= or {}={}, not both".format(*next(iter(words.items())))
    ):
        plan(**{**NO_SIZES, **words}, tiles=tiles_of_16)


def test_tiles_are_bound_to_images():
    assert Tiles(64, 16).bound(SHAPES) == AlignedPatching(SHAPES, 64, 16)
    assert Tiles((64, 32), 16, align=4).bound(SHAPES) == AlignedPatching(SHAPES, (64, 32), 16, 4)


# Signatures


@pytest.mark.parametrize(
    ("verb", "kinds"),
    [(daskpatch.plan, KINDS[:-1]), (daskpatch.predict, KINDS), (daskpatch.Plan.run, (Run,))],
)
def test_a_signature_lists_every_word(verb, kinds):
    signature = inspect.signature(verb)
    for kind in kinds:
        types = get_type_hints(kind)
        for word, declared in words_of(kind).items():
            parameter = signature.parameters[word]
            assert parameter.kind is inspect.Parameter.KEYWORD_ONLY
            assert parameter.default is declared.default
            assert parameter.annotation == types[declared.name]
    annotations = [p.annotation for n, p in signature.parameters.items() if n != "self"]
    for annotation in (*annotations, signature.return_annotation):
        assert not isinstance(annotation, str)
        assert annotation is not inspect.Parameter.empty
        assert "ForwardRef" not in repr(annotation)
    variadic = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    assert not [p for p in signature.parameters.values() if p.kind in variadic]


# The same plan for another output


class Counted:
    """An array that counts how often it is read."""

    def __init__(self, values):
        self.values, self.reads = values, 0
        self.shape, self.dtype = values.shape, values.dtype

    def __getitem__(self, key):
        self.reads += 1
        return self.values[key]


def test_another_output_takes_neither_the_model_nor_statistics_again(tmp_path):
    source, model = Counted(read("in.zarr")), Uneven()
    options = {"source": source, "model": model, "axes": "CYX", "threads": 1}
    planned = plan(output=tmp_path / "a.zarr", **options)
    with_trial = model.calls
    planned.run(progress=False)
    tiles = model.calls - with_trial
    there = model.calls, source.reads

    other = planned.to(tmp_path / "b.zarr", chunks=6, io="zarr")
    assert (model.calls, source.reads) == there
    assert other.chunks == (2, 6, 6)
    assert other.statistics == planned.statistics
    assert (model.calls, source.reads) == there

    other.run(progress=False)
    assert model.calls == there[0] + tiles
    assert zarr.open_array(tmp_path / "b.zarr").chunks == (2, 6, 6)
    assert_same(values_of(tmp_path / "b.zarr"), values_of(tmp_path / "a.zarr"))


def test_a_first_output_takes_the_trial_tile_once_more(tmp_path):
    source, model = Counted(read("in.zarr")), Uneven()
    planned = plan(source=source, model=model, axes="CYX")
    with_trial = model.calls
    first = planned.to(tmp_path / "a.zarr")
    assert model.calls <= 2 * with_trial
    known = model.calls
    first.to(tmp_path / "b.zarr")
    assert model.calls == known


@pytest.mark.parametrize("words", [{"patch_size": 32}, {"normalize": None}, {"resume": True}])
def test_another_output_changes_nothing_else(words):
    with pytest.raises(TypeError, match=rf"{next(iter(words))}.*daskpatch\.plan"):
        plan().to("elsewhere.zarr", **words)


@pytest.mark.parametrize("value", [Output("elsewhere.zarr"), Limits(threads=1)], ids=repr)
def test_another_output_is_no_value(value):
    with pytest.raises(TypeError, match=rf"{type(value).__name__}\(.*daskpatch\.plan"):
        plan().to(value)


@pytest.mark.parametrize("ome", [None, True])
@pytest.mark.parametrize("source", ["in.zarr", ["in.zarr", "other.zarr"]], ids=["one", "series"])
def test_each_word_of_to_takes_no_second_trial(tmp_path, source, ome):
    model = Uneven()
    planned = plan(source=source, model=model, output=tmp_path / "a.zarr", ome=ome)
    statistics, calls = planned.statistics, model.calls
    words = {
        "chunks": 6,
        "shards": 12,
        "block_shape": 24,
        "overwrite": True,
        "memory_limit": "3 GB",
        "threads": 1,
        "io": "zarr",
        "cache": "1 kB",
        "durable": False,
    }
    assert words.keys() == get_type_hints(ToWords).keys()
    unseen = ("overwrite", "io", "memory_limit", "cache", "durable")
    for word, value in words.items():
        other = planned.to(**{word: value})
        assert other.statistics is statistics
        assert repr(other) != repr(planned) or word in unseen
    assert model.calls == calls


class Unspeakable:
    def __repr__(self):
        raise RuntimeError("no words")


class Incomparable:
    __hash__ = None

    def __eq__(self, other):
        raise RuntimeError("no comparison")


ODD_VALUES = {
    "a long number": "9" * 5000,
    "dask": da.ones(2, chunks=1),
    "masked": np.ma.masked,
    "text": np.array(["a"]),
    "unspeakable": Unspeakable(),
    "incomparable": Incomparable(),
}


@pytest.mark.parametrize("value", ODD_VALUES)
@pytest.mark.parametrize(
    "word",
    ["dtype", "input_dtype", "pyramid", "probe", "level", "image", "ome", "box", "io", "downsample",
     "normalize_over", "cache", "memory_limit", "factors", "axes", "align"],
)  # fmt: skip
def test_what_no_option_takes_is_told_with_its_name(word, value):
    given = {"axes": "YX", "patch_size": 8, word: ODD_VALUES[value]}
    with pytest.raises((ValueError, TypeError)) as told:
        daskpatch.plan(np.zeros((20, 24)), np.negative, "unwritten.zarr", **given)
    frames = traceback.extract_tb(told.value.__traceback__)
    assert Path(daskpatch.__file__).parent in Path(frames[-1].filename).parents
    assert re.search(rf"\b{word}\b", str(told.value))
    assert len(str(told.value)) <= 500


@pytest.mark.parametrize("word", ["retries", "region", "timeout", "patience"])
def test_what_no_option_of_a_run_takes_is_told_with_its_name(tmp_path, word):
    given = {"axes": "YX", "patch_size": 8, "progress": False}
    for value in (np.array(["a"]), da.ones(2, chunks=1), Incomparable()):
        with pytest.raises(ValueError, match=word):
            daskpatch.predict(
                np.zeros((20, 24)), np.negative, tmp_path / "o.zarr", **given, **{word: value}
            )
    assert not (tmp_path / "o.zarr").exists()


def test_a_fraction_is_a_number():
    plan = daskpatch.plan(
        np.zeros((20, 24), "u1"), lambda b: b.astype("u1"), "unwritten.zarr", axes="YX",
        patch_size=8, skip_empty=Fraction(4), input_dtype="uint8", dtype="uint8",
    )  # fmt: skip
    assert plan.n_tiles
