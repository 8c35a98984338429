"""Buffers that are lent, and lent again."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from daskpatch.block import BufferPool


def test_what_comes_back_is_lent_again():
    pool = BufferPool()
    with pool.lend((4, 8), np.dtype("f4")) as first:
        first[:] = 1
    with pool.lend((2, 8), np.dtype("f8")) as second:
        assert np.shares_memory(first, second)
        assert (second.shape, second.dtype) == ((2, 8), np.float64)


def test_what_is_lent_at_one_time_is_apart():
    pool = BufferPool()
    with pool.lend((4,), np.dtype("u1")) as a, pool.lend((4,), np.dtype("u1")) as b:
        assert not np.shares_memory(a, b)


def test_a_buffer_that_is_too_small_makes_room():
    pool = BufferPool()
    with pool.lend((4,), np.dtype("u1")):
        pass
    with pool.lend((400,), np.dtype("u1")):
        pass
    assert len(pool._free) == 1


def test_threads_never_share_a_buffer():
    pool = BufferPool()

    def use(i):
        with pool.lend((1000 + i % 3,), np.dtype("i8")) as buffer:
            buffer[:] = i
            return bool((buffer == i).all())

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(use, range(2000)))


def test_a_pool_pickles_empty():
    pool = BufferPool()
    with pool.lend((10**6,), np.dtype("u1")):
        pass
    assert len(pickle.dumps(pool)) < 200
