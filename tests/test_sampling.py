"""Random patches: values that are pinned, the same for everybody who asks."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from daskpatch import FixedRandomPatching, RandomPatching
from daskpatch.patching.sampling import mixed

SHAPES = [(2, 1, 100, 70), (1, 1, 20, 300)]


def coords(patching):
    return [specs["coords"] for specs in patching]


def test_the_hash_is_splitmix64():
    # The first outputs of SplitMix64 seeded with 1234567, as its reference code gives them.
    golden, state = 0x9E3779B97F4A7C15, 1234567
    outputs = [mixed((state + i * golden) % 2**64) for i in range(3)]
    assert outputs == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_draws_are_pinned():
    patching = RandomPatching(SHAPES, (32, 64), seed=42, epoch=3)
    assert coords(patching)[:4] == PINNED
    assert RandomPatching([(1, 1, 50, 60, 70)], 16, seed=0)[5]["coords"] == PINNED_3D


PINNED = [(5, 6), (40, 0), (26, 6), (46, 2)]
PINNED_3D = (13, 32, 34)


def test_draws_do_not_depend_on_the_order_of_asking():
    patching = RandomPatching(SHAPES, 16, seed=7)
    forwards = coords(patching)
    assert [patching[i]["coords"] for i in reversed(range(len(patching)))] == forwards[::-1]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda i: patching[i]["coords"], range(len(patching)))) == forwards


def test_draws_are_the_same_in_another_process():
    patching = RandomPatching(SHAPES, 16, seed=7, epoch=1)
    code = f"import daskpatch; print([s['coords'] for s in daskpatch.{patching!r}])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == str(coords(patching))


def test_epochs_and_seeds_differ_and_come_back():
    patching = RandomPatching(SHAPES, 16, seed=7)
    other = patching.with_epoch(1)
    assert coords(other) != coords(patching)
    assert coords(RandomPatching(SHAPES, 16, seed=8)) != coords(patching)
    assert other.with_epoch(0) == patching


def test_fixed_random_draws_never_change():
    assert coords(FixedRandomPatching(SHAPES, 16, seed=7)) == coords(
        FixedRandomPatching(SHAPES, 16, seed=7)
    )


@pytest.mark.parametrize("make", [RandomPatching, FixedRandomPatching])
def test_a_seed_is_drawn_once_and_shown(make):
    patching = make(SHAPES, 16)
    assert f"seed={patching.seed}" in repr(patching)
    assert coords(patching) == coords(eval(repr(patching)))
    assert make(SHAPES, 16).seed != patching.seed


@pytest.mark.parametrize("make", [RandomPatching, FixedRandomPatching])
def test_a_sample_has_as_many_patches_as_would_tile_it(make):
    patching = make(SHAPES, (32, 64), seed=0)
    assert patching.n_patches == 2 * (4 * 2) + 1 * (1 * 5)
    samples = [(s["data_idx"], s["sample_idx"]) for s in patching]
    assert samples == [(0, 0)] * 8 + [(0, 1)] * 8 + [(1, 0)] * 5


def test_patches_lie_inside_or_start_at_0():
    for specs in RandomPatching(SHAPES, (32, 64), seed=0):
        shape = SHAPES[specs["data_idx"]][2:]
        for coord, patch, size in zip(specs["coords"], specs["patch_size"], shape, strict=True):
            assert 0 <= coord <= max(size - patch, 0)


def test_places_are_uniform():
    patching = RandomPatching([(40_000, 1, 19, 10)], 10, seed=1)
    drawn = np.array([specs["coords"][0] for specs in patching])
    counts = np.bincount(drawn, minlength=10)
    expected = len(drawn) / 10
    chi_squared = ((counts - expected) ** 2 / expected).sum()
    assert chi_squared < 27.9  # 9 degrees of freedom, p = 0.001
