"""Strategies: the field's cases, the contract that each keeps, and what they refuse."""

import json
import pickle
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tracing import traced_peak

import daskpatch
from daskpatch import (
    AlignedPatching,
    FixedPatching,
    FixedRandomPatching,
    RandomPatching,
    SequentialPatching,
    TiledPatching,
    WholeSamplePatching,
    is_tile_specs,
)
from daskpatch.testing import check_patching, check_tiling

CASES = json.loads((Path(__file__).parent / "tile_specs.json").read_text())

SERIES_2D = [(2, 1, 31, 45), (1, 3, 13, 12), (3, 1, 5, 60)]
SERIES_3D = [(1, 1, 7, 18, 21), (2, 2, 13, 8, 9)]


def all_strategies(shapes):
    n = len(shapes[0]) - 2
    patch, overlap = (12, 8, 9)[-n:], (3, 4, 2)[-n:]
    sequential = SequentialPatching(shapes, patch, overlap)
    return [
        TiledPatching(shapes, patch, overlap),
        AlignedPatching(shapes, patch, overlap),
        AlignedPatching(shapes, 16, 8, align=4, min_size=12),
        sequential,
        WholeSamplePatching(shapes),
        FixedPatching([*sequential][::-1]),
        FixedPatching(TiledPatching(shapes, patch, overlap)),
        RandomPatching(shapes, patch, seed=3, epoch=2),
        FixedRandomPatching(shapes, patch, seed=3),
    ]


STRATEGIES = [
    pytest.param(shapes, strategy, id=f"{len(shapes[0]) - 2}d-{i}-{type(strategy).__name__}")
    for shapes in (SERIES_2D, SERIES_3D)
    for i, strategy in enumerate(all_strategies(shapes))
]
TILINGS = [p for p in STRATEGIES if hasattr(p.values[1], "tile_specs")]


def as_lists(specs):
    return {k: list(v) if isinstance(v, tuple) else v for k, v in specs.items()}


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c['strategy']}-{c['n_patches']}")
def test_specs_agree_with_the_fields_own_index_for_index(case):
    make = getattr(daskpatch, case["strategy"])
    patching = make(case["data_shapes"], case["patch_size"], case["overlaps"])
    assert patching.n_patches == case["n_patches"]
    assert [as_lists(specs) for specs in patching] == case["specs"]
    indices = [patching.get_patch_indices(i) for i in range(len(case["data_shapes"]))]
    assert [[r.start, r.stop, len(r)] for r in indices] == case["patch_indices"]


@pytest.mark.parametrize(("shapes", "patching"), STRATEGIES)
def test_the_contract_of_patching(shapes, patching):
    check_patching(patching, shapes)


@pytest.mark.parametrize(("shapes", "patching"), TILINGS)
def test_the_contract_of_tiling(shapes, patching):
    check_tiling(patching, shapes)


@pytest.mark.parametrize(("shapes", "patching"), STRATEGIES)
def test_a_strategy_is_a_sequence(shapes, patching):
    n = patching.n_patches
    specs = list(patching)
    assert len(patching) == len(specs) == n
    assert [patching[i] for i in range(n)] == specs
    assert [patching[i - n] for i in range(n)] == specs
    assert list(patching[1:4]) == specs[1:4]
    assert list(patching[::-1]) == specs[::-1]
    for index in (n, -n - 1):
        with pytest.raises(IndexError):
            patching[index]


@pytest.mark.parametrize(("shapes", "patching"), STRATEGIES)
def test_get_patch_spec_and_indices_refuse_what_is_out_of_range(shapes, patching):
    for index in (-1, patching.n_patches):
        with pytest.raises(IndexError, match="out of range"):
            patching.get_patch_spec(index)
    if not isinstance(patching, FixedPatching):
        with pytest.raises(IndexError, match="data_idx"):
            patching.get_patch_indices(len(shapes))


@pytest.mark.parametrize(("shapes", "patching"), STRATEGIES)
def test_a_strategy_is_a_value(shapes, patching):
    again = eval(repr(patching), vars(daskpatch))
    copy = pickle.loads(pickle.dumps(patching))
    assert patching == again == copy
    assert hash(patching) == hash(again) == hash(copy)
    assert list(patching) == list(again) == list(copy)
    with pytest.raises(AttributeError):
        patching.patch_size = 3


@pytest.mark.parametrize(("shapes", "patching"), TILINGS)
def test_tile_specs_are_a_lazy_sequence_of_all_tiles(shapes, patching):
    assert list(patching.tile_specs) == list(patching)
    assert patching.tile_specs[-1] == patching[-1]
    assert all(is_tile_specs(specs) for specs in patching)


def test_patch_specs_are_a_lazy_sequence_of_all_patches():
    patching = SequentialPatching(SERIES_2D, 8)
    assert list(patching.patch_specs) == list(patching)
    assert not is_tile_specs(patching[0])
    assert repr(patching.patch_specs).startswith("<0 … ")


def test_a_changed_spec_does_not_change_the_strategy():
    for patching in all_strategies(SERIES_2D):
        patching[0]["data_idx"] = 99
        assert patching[0]["data_idx"] != 99


@settings(max_examples=200)
@given(st.data())
def test_tilings_are_exact_partitions(data):
    n_axes = data.draw(st.sampled_from([2, 3]))
    size = st.integers(1, 14)
    shape = st.tuples(st.integers(1, 2), st.just(1), *[size] * n_axes)
    shapes = data.draw(st.lists(shape, min_size=1, max_size=2))
    align = data.draw(st.sampled_from([1, 2, 3]))
    patch, overlap, least = [], [], []
    for _ in range(n_axes):
        p = align * data.draw(st.integers(1, 4))
        unit = 1 if align == 1 else 2 * align
        patch.append(p)
        overlap.append(unit * data.draw(st.integers(0, (p - 1) // unit)))
        least.append(data.draw(st.integers(1, p)))
    check_tiling(AlignedPatching(shapes, patch, overlap, align, least), shapes)
    check_tiling(TiledPatching(shapes, patch, overlap), shapes)


def test_whole_samples_are_tiles():
    patching = WholeSamplePatching([(2, 3, 30, 20), (1, 3, 8, 9)])
    assert patching[1] == {
        "data_idx": 0,
        "sample_idx": 1,
        "coords": (0, 0),
        "patch_size": (30, 20),
        "crop_coords": (0, 0),
        "crop_size": (30, 20),
        "stitch_coords": (0, 0),
        "total_tiles": 2,
    }
    assert patching[2]["patch_size"] == (8, 9)


def test_aligned_specs_say_the_real_size_of_a_small_tile():
    patching = AlignedPatching([(1, 1, 50, 10)], 64, 16, align=8, min_size=(8, 24))
    assert patching[0]["patch_size"] == (56, 24)
    assert patching[0]["crop_size"] == (50, 10)


def test_fixed_patching_keeps_any_order_and_gives_indices_as_a_tuple():
    specs = [
        {"data_idx": i, "sample_idx": 0, "coords": (i, 0), "patch_size": [4, 4]} for i in (1, 0, 1)
    ]
    patching = FixedPatching(specs)
    assert patching.get_patch_indices(1) == (0, 2)
    assert patching.get_patch_indices(5) == ()
    assert patching[0]["patch_size"] == (4, 4)
    specs[0]["coords"] = (7, 7)
    assert patching[0]["coords"] == (1, 0)


@pytest.mark.parametrize(
    "make",
    [
        lambda shapes: TiledPatching(shapes, 80, 16),
        lambda shapes: AlignedPatching(shapes, 80, 16, align=8),
        lambda shapes: SequentialPatching(shapes, 80, 16),
        lambda shapes: RandomPatching(shapes, 64, seed=1),
        lambda shapes: FixedRandomPatching(shapes, 64, seed=1),
        WholeSamplePatching,
    ],
)
def test_a_strategy_of_10_12_patches_takes_no_memory(make):
    shapes = [(1, 1, 640_000, 640_000, 640_000)]

    def made_once():
        make(shapes)
        return lambda: make(shapes)

    assert traced_peak(made_once) < 100_000
    patching = make(shapes)
    assert patching.n_patches == 1 or patching.n_patches >= 10**12
    assert len(pickle.dumps(patching)) < 1000
    assert list(islice(patching, 2)) == [patching[i] for i in range(min(2, patching.n_patches))]
    assert patching[-1]["data_idx"] == 0


SHAPES = [(1, 1, 64, 64)]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: TiledPatching(SHAPES, 16, 16), ["(16, 16)", "smaller", "larger patch"]),
        (lambda: TiledPatching(SHAPES, (16, 16), (4, 20)), ["(4, 20)", "(16, 16)"]),
        (lambda: TiledPatching(SHAPES, 0, 0), ["patch_size", "at least 1"]),
        (lambda: TiledPatching(SHAPES, 8, -1), ["overlaps", "at least 0"]),
        (lambda: TiledPatching(SHAPES, (8, 8, 8), 0), ["3 numbers", "2 spatial axes"]),
        (lambda: TiledPatching(SHAPES, 8.5, 0), ["patch_size", "8.5"]),
        (lambda: TiledPatching([], 8, 0), ["empty"]),
        (lambda: TiledPatching([(64, 64)], 8, 0), ["(64, 64)", "SCYX"]),
        (lambda: TiledPatching([64], 8, 0), ["data_shapes", "[64]"]),
        (lambda: TiledPatching([(1, 1, 0, 8)], 8, 0), ["(1, 1, 0, 8)", "at least 1"]),
        (lambda: TiledPatching([*SHAPES, (1, 1, 4, 4, 4)], 8, 0), ["2-D and 3-D"]),
        (lambda: SequentialPatching(SHAPES, 16, 16), ["smaller"]),
        (lambda: AlignedPatching(SHAPES, 20, 0, align=8), ["(16, 16) or (24, 24)"]),
        (lambda: AlignedPatching(SHAPES, 4, 0, align=8), ["are (8, 8)"]),
        (lambda: AlignedPatching(SHAPES, 32, 8, align=8), ["(0, 0) or (16, 16)"]),
        (lambda: AlignedPatching(SHAPES, 32, 0, min_size=40), ["min_size (40, 40)", "raise"]),
        (lambda: AlignedPatching(SHAPES, 32, 0, align=0), ["align", "at least 1"]),
        (lambda: WholeSamplePatching([]), ["empty"]),
        (lambda: RandomPatching(SHAPES, 8, seed=-1), ["seed", "-1", "2**64"]),
        (lambda: RandomPatching(SHAPES, 8, seed="a"), ["seed", "'a'"]),
        (lambda: RandomPatching(SHAPES, 8, seed=1, epoch=2**64), ["epoch"]),
        (lambda: FixedPatching([{"data_idx": 0}]), ["[0]", "coords", "patch_size"]),
    ],
)
def test_what_does_not_fit_is_refused_in_words(make, words):
    with pytest.raises(ValueError) as caught:
        make()
    for word in words:
        assert word in str(caught.value)


def test_odd_overlaps_without_align_are_legal():
    check_tiling(AlignedPatching(SHAPES, 15, 7), SHAPES)
    check_tiling(TiledPatching(SHAPES, 15, 7), SHAPES)
