"""A process gives freed memory back before it holds more than it should."""

import pickle
import threading

import numpy as np
import pytest

import daskpatch
from daskpatch.support import Heap, give_back_freed, heap, resident_bytes

MB = 1_000_000


@pytest.fixture
def trims(monkeypatch):
    """How much was resident when memory was given back."""
    seen, trim = [], heap.trim

    def counted():
        seen.append(resident_bytes())
        trim()

    monkeypatch.setattr(heap, "trim", counted)
    return seen


def in_pieces(nbytes):
    """Freed memory that lies between what is kept, so that no allocator gives it back by itself."""
    pieces = [bytearray(50_000) for _ in range(nbytes // 50_000)]
    pieces[:-1:2] = [None] * len(pieces[:-1:2])
    return pieces


def test_what_was_freed_is_given_back_when_there_is_much(trims):
    give_back_freed()
    room = Heap(30 * MB)
    room.begin()
    begin = resident_bytes()
    room.make_room()
    assert not trims
    pieces = in_pieces(80 * MB)
    before = resident_bytes()
    room.make_room()
    assert len(trims) == 1
    assert resident_bytes() < before - 20 * MB
    del pieces
    room.make_room()
    assert resident_bytes() < begin + 40 * MB


def test_what_is_in_use_is_not_asked_for_again_and_again(trims):
    room = Heap(16 * MB)
    room.begin()
    used = np.ones(8 * MB)
    for _ in range(5):
        room.make_room()
    assert len(trims) == 1
    more = np.ones(2 * MB)
    room.make_room()
    assert len(trims) == 2
    del used, more
    room.make_room()
    again = np.ones(8 * MB)
    room.make_room()
    assert len(trims) == 3
    del again


def test_without_a_limit_nothing_is_given_back(trims):
    room = Heap()
    room.begin()
    used = np.ones(8 * MB)
    room.make_room()
    assert not trims
    del used


def test_it_begins_anew_in_another_process(trims):
    room = Heap(16 * MB)
    room.begin()
    used = np.ones(8 * MB)
    there = pickle.loads(pickle.dumps(room))
    there.make_room()
    assert not trims
    room.make_room()
    assert len(trims) == 1
    del used


def test_a_run_gives_back_what_calls_left_in_pieces(tmp_path, trims):
    """Each call leaves ten times what a plan knows of: it is freed when the next one comes."""
    alone, kept = threading.Lock(), []

    def model(batch):
        with alone:
            kept.clear()
            used = np.ones(3 * MB)
            kept.extend(in_pieces(300 * MB) if plan_is_made else ())
            del used
        return batch * 2

    plan_is_made = False
    image = np.ones((96, 96), "f4")
    options = {"axes": "YX", "patch_size": 32, "threads": 1, "block_shape": 32, "chunks": 32}
    plan = daskpatch.plan(image, model, tmp_path / "out.zarr", model_id="m", **options)
    assert 20 * MB < plan.memory.working < 60 * MB
    plan_is_made = True
    plan.run(progress=False)
    kept.clear()
    assert len(trims) >= 2


def test_a_model_that_takes_little_is_not_looked_after():
    plan = daskpatch.plan(np.ones((64, 64), "f4"), lambda b: b, axes="YX", patch_size=32)
    assert plan.memory.before_a_call == float("inf")
