"""Chunks of the source: each fetched once for all who need it, and kept no longer than that."""

import asyncio
import pickle
import re
import shutil
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import zarr
from example_models import gaussian
from hypothesis import example, given, settings
from hypothesis import strategies as st
from volumes import read, save
from zarr.storage import LocalStore, MemoryStore, WrapperStore

import daskpatch
from daskpatch.block import ChunkNeeds
from daskpatch.deciding import Selection
from daskpatch.image import chunk_nbytes_of, identity_of_image
from daskpatch.planning import passes_of
from daskpatch.reading import (
    AT_A_TIME,
    ChunkCache,
    SampledChunks,
    chunk_region,
    read_box,
    reading_ahead,
)
from daskpatch.store import ChangedError

SAMPLE = 64
"""Chunks that are read before and after a run, to tell whether the source is still the same."""


# The cache


def chunk_of(chunk):
    return np.full(10, chunk[1][0], "u1")


def fetched(chunks):
    return [chunk_of(chunk) for chunk in chunks]


def keys(*numbers):
    return [(0, (n,)) for n in numbers]


def test_a_chunk_is_fetched_once_for_all_who_ask_for_it_at_a_time():
    cache, begun, may_end, calls = ChunkCache(), threading.Event(), threading.Event(), []

    def fetch(chunks):
        calls.append(list(chunks))
        begun.set()
        may_end.wait()
        return fetched(chunks)

    def values():
        with cache.hold(keys(1, 2), fetch) as found:
            return [int(each[0]) for each in found]

    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(values)
        begun.wait()
        others = [pool.submit(values) for _ in range(7)]
        may_end.set()
        assert [each.result() for each in [first, *others]] == [[1, 2]] * 8
    assert calls == [keys(1, 2)]
    assert (cache.fetches.n_all, cache.nbytes) == (2, 20)


def test_the_error_of_a_fetch_reaches_those_who_wait_for_it_and_the_next_fetches_again():
    cache, begun, may_end = ChunkCache(), threading.Event(), threading.Event()

    def fails(chunks):
        begun.set()
        may_end.wait()
        raise OSError("no answer")

    def ask(fetch, *numbers):
        with cache.hold(keys(*numbers), fetch) as found:
            return [int(each[0]) for each in found]

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ask, fails, 1)
        begun.wait()
        waits = pool.submit(ask, fetched, 2, 1)
        may_end.set()
        for each in (first, waits):
            with pytest.raises(OSError, match="no answer"):
                each.result()
    assert ask(fetched, 1, 2) == [1, 2]
    assert cache.fetches.n_all == 2  # what the one that waited had fetched itself is kept


def test_a_thread_that_was_stopped_in_a_fetch_says_nothing_of_the_chunk():
    cache, begun, may_end = ChunkCache(), threading.Event(), threading.Event()

    def stopped(chunks):
        begun.set()
        may_end.wait()
        raise KeyboardInterrupt

    def ask(fetch):
        with cache.hold(keys(1), fetch) as (found,):
            return int(found[0])

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ask, stopped)
        begun.wait()
        waits = pool.submit(ask, fetched)
        may_end.set()
        assert waits.result() == 1
        assert isinstance(first.exception(), KeyboardInterrupt)


def test_what_is_held_stays_and_the_rest_goes_where_memory_is_short():
    cache = ChunkCache(limit=30)
    with cache.hold(keys(1, 2, 3, 4), fetched):
        assert cache.nbytes == 40
        with cache.hold(keys(5), fetched):
            assert len(cache) == 5
    assert cache.nbytes == 30
    with cache.hold(keys(2), fetched), cache.hold(keys(6), fetched):
        pass
    n_before = cache.fetches.n_all
    with cache.hold(keys(2, 6), fetched):  # those that were asked for last
        assert cache.fetches.n_all == n_before


def test_absent_chunks_take_no_memory():
    cache = ChunkCache(limit=0)
    with cache.hold(keys(1, 2), lambda chunks: [None] * len(chunks)) as found:
        assert found == [None, None]
    assert cache.nbytes == 0


def test_a_cache_travels_empty():
    cache = ChunkCache(limit=70)
    with cache.hold(keys(1), fetched):
        copy = pickle.loads(pickle.dumps(cache))
    assert (copy.limit, len(copy), len(pickle.dumps(cache)) < 200) == (70, 0, True)


# Which blocks need which chunks


@st.composite
def jobs(draw):
    """A plan over an array of any geometry, and how its blocks are cut."""
    is_flat = draw(st.booleans())
    axes = draw(st.sampled_from(["YX", "TYX", "CYX", "ZYX"] if is_flat else ["ZYX", "TZYX"]))
    sizes = {name: draw(st.integers(1, 24)) for name in axes}
    chunks = tuple(draw(st.integers(1, 12)) for _ in axes)
    if "T" in axes or (is_flat and "Z" in axes):
        sizes["T" if "T" in axes else "Z"] = draw(st.integers(1, 4))
    shape = tuple(sizes[name] for name in axes)
    ndim = 2 if is_flat else 3
    align = draw(st.sampled_from([1, 2, 4]))
    patch = tuple(align * draw(st.integers(1, 4)) for _ in range(ndim))
    overlaps = tuple(2 * align * draw(st.integers(0, (p - 1) // (2 * align))) for p in patch)
    options = {
        "axes": axes,
        "patch_size": patch,
        "overlaps": overlaps,
        "chunks": tuple(draw(st.integers(1, 9)) for _ in axes),
        "padding": draw(st.sampled_from(["reflect", "edge", 0])),
        "stitch": draw(st.sampled_from(["crop", "gaussian"])),
        "align": align,
    }
    return shape, chunks, options


def plan_of(job, model=np.negative, store=None, out=None):
    shape, chunks, options = job
    array = zarr.create_array(
        MemoryStore() if store is None else store, shape=shape, chunks=chunks, dtype="i4"
    )
    array[...] = np.arange(array.size).reshape(shape)
    return daskpatch.plan(array, model, out, model_id="negative", threads=2, **options)


def needs_of(plan, is_left=lambda index: True):
    decided = passes_of(plan, 2)[0].decided
    return ChunkNeeds(decided.recipe, decided.layout.block_shape, is_left)


@given(jobs())
@settings(max_examples=40)
def test_blocks_and_chunks_need_each_other(job):
    plan = plan_of(job)
    needs = needs_of(plan)
    pairs = {
        (chunk, index, sample_idx)
        for index in range(plan.n_blocks)
        for sample_idx in needs.samples_of(index)
        for chunk in needs.chunks_of(index, sample_idx)
    }
    inverse = {
        (chunk, index, sample_idx)
        for chunk in {chunk for chunk, _, _ in pairs}
        for index, samples in needs.blocks_of(chunk)
        for sample_idx in samples
    }
    assert pairs == inverse


@given(jobs(), st.data())
@settings(max_examples=30)
def test_counts_end_at_zero_whatever_happens(job, data):
    plan = plan_of(job)
    indices = data.draw(st.permutations(range(plan.n_blocks)), label="order")
    left = set(indices[data.draw(st.integers(0, len(indices) // 2), label="done") :])
    needs = needs_of(plan, left.__contains__)
    limit = data.draw(st.sampled_from([0, 40, 10**9]), label="limit")
    cache, asked = ChunkCache(limit), set()
    cache.count(needs)
    fails = data.draw(st.sampled_from([0, 3]), label="one in so many fetches fails")
    calls = Counter()

    def fetch(chunks):
        calls["all"] += 1
        # Not for ever: where nothing is kept, a block of three fetches would never come through.
        if fails and calls["all"] % fails == 0 and calls["all"] < 30:
            raise OSError
        return [np.zeros(4, "u1") for _ in chunks]

    def compute(index):
        try:
            for sample_idx in needs.samples_of(index):
                chunks = needs.chunks_of(index, sample_idx)
                try:
                    with cache.hold(chunks, fetch):
                        asked.update(chunks)
                finally:
                    cache.use(index, sample_idx)
        finally:
            cache.finish(index)

    # Drawn once: how many rounds there are depends on which thread meets the failing call.
    threads = data.draw(st.integers(1, 3), label="threads")
    again = [index for index in indices if index in left]
    while again:  # blocks that fail once more behind the others
        with ThreadPoolExecutor(threads) as pool:
            ends = [(index, pool.submit(compute, index)) for index in again]
        again = [index for index, end in ends if end.exception() is not None]
    assert (len(cache), cache.nbytes) == (0, 0)
    if limit > 40 and not fails:
        assert cache.fetches.n_all == len(asked)


ROWS_THAT_SELDOM_SHARE = {
    "axes": "YX",
    "patch_size": (2, 2),
    "overlaps": (0, 0),
    "chunks": (1, 5),
    "padding": "reflect",
    "stitch": "crop",
    "align": 2,
}

CHUNKS_OF_TWO_SAMPLES = ROWS_THAT_SELDOM_SHARE | {
    "axes": "TYX",
    "patch_size": (2, 4),
    "chunks": (2, 1, 1),
}


@given(jobs())
@example(((17, 6), (4, 1), ROWS_THAT_SELDOM_SHARE))
@settings(max_examples=40)
def test_the_plan_knows_how_much_is_kept(job):
    plan = plan_of(job)
    decided = passes_of(plan, 1)[0].decided
    needs, cache, most = needs_of(plan), ChunkCache(10**9), 0
    cache.count(needs)
    nbytes = chunk_nbytes_of(plan.images[0])
    for index in Selection.everything(decided.recipe, decided.layout.block_shape):
        for sample_idx in needs.samples_of(index):
            with cache.hold(
                needs.chunks_of(index, sample_idx),
                lambda chunks: [np.zeros(nbytes, "u1") for _ in chunks],
            ):
                most = max(most, cache.nbytes)
            cache.use(index, sample_idx)
        cache.finish(index)
    assert most <= plan.memory.chunks


@given(jobs(), st.integers(1, 20))
@example(((17, 6), (4, 1), ROWS_THAT_SELDOM_SHARE), 4)
@example(((2, 2, 4), (2, 1, 1), CHUNKS_OF_TWO_SAMPLES), 1)
@settings(max_examples=60)
def test_the_plan_knows_how_often_chunks_are_fetched_at_most(job, tenths):
    whole = plan_of(job).to(threads=1)
    plan = whole.to(cache=max(whole.memory.chunks * tenths // 10, 1))
    decided = passes_of(plan, 1)[0].decided
    nbytes = chunk_nbytes_of(plan.images[0])
    needs, cache, distinct = needs_of(plan), ChunkCache(plan.memory.chunks), set()
    cache.count(needs)
    for index in Selection.everything(decided.recipe, decided.layout.block_shape):
        for sample_idx in needs.samples_of(index):
            chunks = needs.chunks_of(index, sample_idx)
            distinct.update(chunks)
            with cache.hold(chunks, lambda chunks: [np.zeros(nbytes, "u1") for _ in chunks]):
                pass
            cache.use(index, sample_idx)
        cache.finish(index)
    assert cache.fetches.n_all <= 1.001 * plan.fetches_per_chunk * len(distinct)
    assert cache.fetches.n_again == cache.fetches.n_all - len(distinct)
    if tenths >= 10:
        assert plan.fetches_per_chunk == 1


# Whole runs


class Counted(WrapperStore):
    """A store that counts how often each key is read."""

    def __init__(self, store):
        super().__init__(store)
        self.reads = Counter()

    async def get(self, key, prototype, byte_range=None):
        self.reads[key] += 1
        return await self._store.get(key, prototype, byte_range)

    def chunks(self):
        return {key: n for key, n in self.reads.items() if key.startswith("c/")}


@pytest.fixture
def source(tmp_path, rng):
    values = rng.integers(0, 60_000, (60, 70, 80)).astype("u2")
    store = Counted(LocalStore(tmp_path / "in.zarr"))
    array = zarr.create_array(store, data=values, chunks=(8, 8, 8))
    store.reads.clear()
    return array, store


OPTIONS = {"axes": "ZYX", "patch_size": 20, "overlaps": 8, "model_id": "gaussian"}


@pytest.mark.parametrize("threads", [1, 2, 8])
@pytest.mark.parametrize("block_shape", [12, (20, 24, 36)])
def test_a_run_fetches_each_chunk_once(source, tmp_path, threads, block_shape):
    array, store = source
    options = OPTIONS | {"threads": threads, "block_shape": block_shape, "cache": "1 GB"}
    chunks = 12 if block_shape == 12 else (10, 12, 12)
    plan = daskpatch.plan(array, gaussian, tmp_path / "out.zarr", chunks=chunks, **options)
    store.reads.clear()
    report = plan.run(progress=False)
    assert plan.fetches_per_chunk == 1
    assert (report.chunks_fetched, report.fetched_again) == (8 * 9 * 10, 0)
    reads = store.chunks()
    assert len(reads) == 8 * 9 * 10
    # The sample that tells the source serves the blocks; it is read once more in the end.
    assert sum(reads.values()) == len(reads) + SAMPLE
    assert max(reads.values()) == 2
    whole = plan_whole(array, tmp_path)
    np.testing.assert_array_equal(read(tmp_path / "out.zarr"), whole)


def test_what_is_sampled_gives_way_to_what_is_read_ahead():
    def voxels():
        return np.zeros(10, "u1")

    class All:
        def blocks_of(self, chunk):
            return [(0, [0])]

        def is_left(self, index):
            return True

        def is_stored(self, index, sample_idx):
            return True

    spare = {(0, (i,)): voxels() for i in range(5)}
    cache = ChunkCache(40, spare)
    assert len(cache) == 0
    cache.count(All())
    assert [at for _, (at,) in cache._entries] == [0, 1, 2, 3]  # the fifth has no room
    with cache.hold([(0, (3,))], lambda _: pytest.fail("it is there")):
        assert cache.reserve([(0, (7,))], 10)
    assert [at for _, (at,) in cache._entries] == [0, 1, 3]  # the last that nobody asked for
    assert cache.reserve([(0, (8,)), (0, (9,))], 10)
    assert [at for _, (at,) in cache._entries] == [3]
    assert not cache.reserve([(0, (5,))], 10)  # what was asked for is no spare any more


def test_what_is_sampled_stays_where_its_room_would_not_do():
    class All:
        def blocks_of(self, chunk):
            return [(0, [0])]

        def is_left(self, index):
            return True

        def is_stored(self, index, sample_idx):
            return True

    cache = ChunkCache(40, {(0, (i,)): np.zeros(10, "u1") for i in range(4)})
    cache.count(All())
    assert not cache.reserve([(0, (i,)) for i in range(5, 10)], 10)
    assert len(cache) == 4
    assert cache.reserve([(0, (5,))], 10, beside=[(0, (3,))])
    assert [at for _, (at,) in cache._entries] == [0, 1, 3]


def test_a_sample_that_nobody_needs_is_not_kept():
    class Nobody:
        def blocks_of(self, chunk):
            return []

    cache = ChunkCache(100, {(0, (0,)): np.zeros(10, "u1")})
    cache.count(Nobody())
    assert len(cache) == cache.nbytes == 0


@pytest.mark.parametrize("io", ["zarr", "tensorstore"])
@pytest.mark.parametrize("dtype", [">u2", "<f4", ">f4"])
@pytest.mark.parametrize("axes", ["ZYX", "CYX", "TYXC"])
def test_a_sample_is_the_same_whoever_reads_it(tmp_path, rng, io, dtype, axes):
    lengths = dict(zip("TCZYX", (3, 3, 9, 20, 21), strict=True))
    shape = tuple(lengths[axis] for axis in axes)
    array = zarr.create_array(
        tmp_path / "in.zarr",
        shape=shape,
        chunks=tuple(n // 2 for n in shape),
        dtype=dtype,
        zarr_format=2,
        fill_value=7,
    )
    values = (rng.random(shape) * 200).astype(dtype)
    array[:2, :15] = values[:2, :15]  # some chunks stay absent
    channels = (0, 2) if "C" in axes else None
    image = daskpatch.open_image(tmp_path / "in.zarr", axes=axes, channels=channels)
    told = identity_of_image(image)
    sampled = SampledChunks(10**6)
    read = partial(sampled.read, image.with_io(io), 0)
    assert identity_of_image(image.with_io(io), read=read) == told
    assert identity_of_image(image.with_io(io)) == told
    assert sampled.take()
    assert not sampled.take()


def plan_whole(array, tmp_path):
    """The same from an array in memory, which has no chunks."""
    out = tmp_path / "whole.zarr"
    daskpatch.predict(array[...], gaussian, out, chunks=12, threads=1, progress=False, **OPTIONS)
    return read(out)


def test_chunks_are_fetched_while_the_model_works(source, tmp_path):
    array, store = source
    options = OPTIONS | {"threads": 1, "cache": "1 GB", "chunks": 12, "block_shape": 12}

    runs = []

    def waits(batch):
        # In the first block, which needs 64: only those who read ahead can fetch more.
        for _ in range(6000):
            if not runs or len(store.chunks()) >= 300:
                return batch
            time.sleep(0.01)
        raise AssertionError("nothing is read ahead")

    plan = daskpatch.plan(array, waits, tmp_path / "out.zarr", **options)
    store.reads.clear()
    runs.append(True)
    plan.run(progress=False)
    assert "daskpatch-ahead" not in {t.name.rpartition("-")[0] for t in threading.enumerate()}
    np.testing.assert_array_equal(read(tmp_path / "out.zarr"), array[...].astype("f4"))


def test_of_sparse_sources_what_is_stored_is_read_ahead(tmp_path, rng):
    # More chunks than are looked at when the run begins, which its blocks take.
    values = rng.integers(1, 99, (8, 8, 2048)).astype("u2")
    values[..., 256:1280] = 0
    store = Counted(LocalStore(tmp_path / "in.zarr"))
    array = zarr.create_array(store, data=values, chunks=(8, 8, 8))
    runs, asked = [], []

    def waits(batch):
        # In the first block, which needs 2 chunks: only those who read ahead fetch more.
        end = time.monotonic() + 60
        while runs and len(asked) < 64 + 20 and time.monotonic() < end:
            asked[:] = store.chunks()
            time.sleep(0.01)
        runs.clear()
        return batch * 2

    plan = daskpatch.plan(
        array,
        waits,
        tmp_path / "out.zarr",
        axes="ZYX",
        cache="1 GB",
        patch_size=(8, 8, 16),
        overlaps=0,
        chunks=(8, 8, 16),
        block_shape=(8, 8, 16),
        threads=1,
        skip_empty=True,
        model_id="waits",
    )
    assert plan.blocks_ahead
    store.reads.clear()
    runs.append(True)
    plan.run(progress=False)
    # By which the image is told from others, and for the tile that the plan tried.
    looked_at = {i * 255 // 63 for i in range(64)} | {128, 129}
    ahead = {int(key.rpartition("/")[2]) for key in asked} - looked_at
    assert len(ahead) >= 10, "nothing is read ahead"
    assert ahead <= {*range(32), *range(160, 256)}
    np.testing.assert_array_equal(read(tmp_path / "out.zarr"), values * np.uint16(2))


def test_of_a_source_nearby_no_block_is_looked_at_ahead(tmp_path, rng):
    zarr.create_array(tmp_path / "in.zarr", data=rng.random((8, 8)), chunks=(4, 4))
    image = daskpatch.open_image(tmp_path / "in.zarr", axes="YX")
    coming = iter(range(10))
    with reading_ahead(ChunkCache(), [image], None, coming):
        assert next(coming) == 0
    assert next(coming) == 1


class FailsOnce(Counted):
    """A store whose first answer for each chunk is an error."""

    async def get(self, key, prototype, byte_range=None):
        self.reads[key] += 1
        if key.startswith("c/") and self.reads[key] == 1:
            raise OSError(f"no answer for {key}")
        return await self._store.get(key, prototype, byte_range)


def test_errors_of_reading_ahead_are_left_to_the_blocks(tmp_path, rng):
    values = rng.integers(0, 60_000, (30, 40, 40)).astype("u2")
    zarr.create_array(tmp_path / "in.zarr", data=values, chunks=(8, 8, 8))
    store = Counted(LocalStore(tmp_path / "in.zarr"))
    plan = daskpatch.plan(
        zarr.open_array(store, mode="r"), np.negative, tmp_path / "out.zarr", chunks=12, **OPTIONS
    )
    plan.images[0].array.array.store.__class__ = FailsOnce
    plan.run(progress=False, retries=9, pacing=daskpatch.Pacing(delays=()))
    np.testing.assert_array_equal(read(tmp_path / "out.zarr"), -values.astype("f4"))


@given(jobs(), st.data())
@settings(max_examples=30)
def test_what_is_read_ahead_fits_and_is_read_once(job, data):
    with TemporaryDirectory() as folder:
        plan = plan_of(job, store=WrapperStore(LocalStore(folder)))
        image = plan.images[0]
        needs, fetched = needs_of(plan), Counter()
        room = data.draw(st.sampled_from([1, 3, 10**6]), label="chunks that there is room for")
        cache = ChunkCache(room * image.chunk_nbytes)
        cache.count(needs)
        pairs = [(i, s) for i in range(plan.n_blocks) for s in needs.samples_of(i)]
        threads = data.draw(st.integers(1, 3), label="threads")
        most_held = max(len(needs.chunks_of(*pair)) for pair in pairs)

        def fetch(chunks):
            fetched.update(chunks)
            return image.read_chunks([chunk_region(image, at).slices for _, at in chunks])

        def compute(pair):
            with cache.hold(needs.chunks_of(*pair), fetch) as found:
                most = cache.nbytes
                for (_, at), voxels in zip(needs.chunks_of(*pair), found, strict=True):
                    box = chunk_region(image, at).slices
                    there = 0 if voxels is None else voxels
                    np.testing.assert_array_equal(there, image.array.array[box])
            cache.use(*pair)
            if pair[1] == max(needs.samples_of(pair[0])):
                cache.finish(pair[0])
            return most

        with (
            reading_ahead(cache, plan.images, needs, range(plan.n_blocks)),
            ThreadPoolExecutor(threads) as pool,
        ):
            most = max(pool.map(compute, pairs))
        n_most = room + (threads + AT_A_TIME) * most_held
        assert most <= n_most * image.chunk_nbytes
        assert (len(cache), cache.nbytes, cache.reserve([(0, (0,))], cache.limit)) == (0, 0, True)
        distinct = {chunk for pair in pairs for chunk in needs.chunks_of(*pair)}
        if room == 10**6:
            assert cache.fetches.n_all == len(distinct)
            assert max(fetched.values(), default=0) <= 1


def test_a_run_over_a_region_fetches_what_that_needs(source, tmp_path):
    array, store = source
    options = OPTIONS | {"chunks": 12, "block_shape": 12}
    plan = daskpatch.plan(array, gaussian, tmp_path / "out.zarr", **options)
    store.reads.clear()
    plan.run(progress=False, region=np.s_[12:24, 12:36, 12:24])
    reads = store.chunks()
    # A block more on each side: tiles of 20 around what is kept.
    assert 27 <= sum(reads.values()) - 2 * SAMPLE <= 4 * 6 * 4


def test_blocks_that_a_mask_leaves_out_keep_no_chunks(tmp_path, rng):
    """They are done last, and were counted as readers until then."""
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in (16, 128, 128)), indexing="ij")
    inside = (z / 0.8) ** 2 + (y / 0.35) ** 2 + (x / 0.6) ** 2 < 1
    save(tmp_path / "in.zarr", rng.random(inside.shape), chunks=(8, 16, 16))
    save(tmp_path / "mask.zarr", inside, chunks=(8, 16, 16))
    plan = daskpatch.plan(
        tmp_path / "in.zarr",
        np.negative,
        tmp_path / "out.zarr",
        axes="ZYX",
        mask=daskpatch.open_image(tmp_path / "mask.zarr", axes="ZYX"),
        patch_size=(10, 20, 20),
        overlaps=4,
        chunks=8,
        block_shape=16,
        threads=1,
    )
    report = plan.run(progress=False)
    assert plan.fetches_per_chunk == 1
    assert report.empty > 0
    assert report.fetched_again == 0
    assert "each chunk is fetched once;" in str(plan)


class Slow(Counted):
    """A store whose answers take their time, from when it is told so."""

    delay = 0.0

    async def get(self, key, prototype, byte_range=None):
        await asyncio.sleep(self.delay if key.startswith("c/") else 0)
        return await super().get(key, prototype, byte_range)

    async def set(self, key, value):
        await asyncio.sleep(self.delay if key.startswith("c/") else 0)
        await super().set(key, value)


@pytest.mark.parametrize("slow", ["reading", "the model", "writing"])
def test_a_report_says_what_took_the_time(tmp_path, rng, slow):
    ins, outs = (Slow(LocalStore(tmp_path / name)) for name in ("in.zarr", "out.zarr"))
    array = zarr.create_array(ins, data=rng.random((144, 144)), chunks=(16, 16))

    def model(batch):
        time.sleep(0.2 if slow == "the model" and plans else 0)
        return -batch

    plans = []
    plan = daskpatch.plan(array, model, outs, axes="YX", patch_size=48, chunks=48, model_id="slow")
    plans.append(plan)
    ins.delay = 0.2 if slow == "reading" else 0
    outs.delay = 0.2 if slow == "writing" else 0
    report = plan.run(progress=False)
    spent = {
        "reading": report.reading_seconds,
        "the model": report.model_seconds,
        "writing": report.writing_seconds,
    }
    assert spent[slow] >= 0.2
    assert spent[slow] == max(spent.values())
    assert re.search(rf"\d+% of the time in {slow}, ", str(report))


def test_workers_tell_what_they_fetched(source, tmp_path, processes):
    array, _ = source
    options = OPTIONS | {"chunks": 12, "block_shape": (24, 24, 24)}
    source_path = tmp_path / "in.zarr"
    plan = daskpatch.plan(source_path, gaussian, tmp_path / "out.zarr", **options)
    report = plan.run(progress=False, client=processes)
    # Each of the two fetches what its own blocks need.
    assert array.nchunks <= report.chunks_fetched - report.fetched_again <= 2 * array.nchunks
    assert report.model_seconds > 0


def test_with_little_memory_chunks_are_fetched_again_and_nothing_is_lost(source, tmp_path):
    array, store = source
    options = OPTIONS | {"chunks": 12, "block_shape": 12, "threads": 1}
    plan = daskpatch.plan(array, gaussian, tmp_path / "out.zarr", memory_limit="700 kB", **options)
    assert plan.memory.chunks == 175_000
    store.reads.clear()
    report = plan.run(progress=False)
    assert sum(store.chunks().values()) > 8 * 9 * 10 + 2 * SAMPLE
    assert report.chunks_fetched == 8 * 9 * 10 + report.fetched_again
    assert 1 < report.chunks_fetched / (8 * 9 * 10) <= plan.fetches_per_chunk
    assert f"{report.fetched_again:,} of them again" in str(report)
    assert f"up to {plan.fetches_per_chunk:.2f} times" in str(plan)
    np.testing.assert_array_equal(read(tmp_path / "out.zarr"), plan_whole(array, tmp_path))


def test_the_pieces_of_a_slice_share_chunks(source):
    array, store = source
    plan = daskpatch.plan(array, gaussian, chunks=12, block_shape=12, **OPTIONS)
    store.reads.clear()
    values = plan.view[10:50, 20:60, 30:70]
    assert max(store.chunks().values()) == 1
    whole = daskpatch.plan(array[...], gaussian, **OPTIONS)
    np.testing.assert_array_equal(values, whole.view[10:50, 20:60, 30:70])


def test_boxes_of_a_mask_are_read_from_chunks_that_are_kept(source, rng):
    array, store = source
    image, cache = daskpatch.open_image(array, axes="ZYX"), ChunkCache()
    store.reads.clear()
    for _ in range(20):
        start = [int(rng.integers(n)) for n in array.shape]
        box = tuple(
            slice(a, int(rng.integers(a, n)) + 1) for a, n in zip(start, array.shape, strict=True)
        )
        np.testing.assert_array_equal(read_box(cache, image, -1, box), array[box])
    # Twenty boxes, and what they are compared with.
    assert cache.fetches.n_all == len(store.chunks())


def test_absent_chunks_of_a_source_that_went_away_meanwhile_are_not_believed(tmp_path):
    place, box, cache = tmp_path / "in.zarr", np.s_[0:4, 0:4], ChunkCache()
    zarr.create_array(place, shape=(8, 8), chunks=(4, 4), dtype="u1")
    image = daskpatch.open_image(place, axes="YX").with_delays(())
    assert not read_box(cache, image, 0, box).any()
    shutil.rmtree(place)
    with pytest.raises(ChangedError, match="is gone"):
        read_box(cache, image, 0, box)


@pytest.mark.parametrize("normalize", ["zscore", None])
def test_channels_in_chunks_of_their_own_are_normalised_by_their_own(tmp_path, rng, normalize):
    values = (rng.random((3, 40, 50)) * [[[1]], [[50]], [[900]]]).astype("f4")
    outs = []
    for name, chunks in (("whole", (3, 40, 50)), ("split", (2, 7, 9))):
        save(tmp_path / name, values, chunks=chunks, dimension_names=["c", "y", "x"])
        out = tmp_path / f"{name}-out"
        options = {"patch_size": 16, "overlaps": 4, "channels": [0, 2], "normalize": normalize}
        daskpatch.predict(tmp_path / name, np.negative, out, progress=False, **options)
        outs.append(read(out))
    np.testing.assert_allclose(*outs, rtol=1e-6)
    assert outs[0].shape == (2, 40, 50)


def test_nothing_is_kept_for_blocks_that_do_not_come():
    cache = ChunkCache()
    with cache.hold([(0, (0,))], lambda chunks: [np.zeros(10) for _ in chunks]):
        cache.clear()
        assert cache.nbytes == 80  # somebody reads of it
    with cache.hold([(0, (1,))], lambda chunks: [np.zeros(10) for _ in chunks]):
        pass
    cache.clear()
    assert not len(cache)
    assert cache.nbytes == 0
