"""Chunks in shards: where their bytes are, how many requests fetch them, what is written."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from volumes import save
from zarr.codecs import (
    BloscCodec,
    BytesCodec,
    Crc32cCodec,
    GzipCodec,
    ShardingCodec,
    TransposeCodec,
    ZstdCodec,
)
from zarr.storage import LocalStore, WrapperStore

from daskpatch.geometry import RegularGrid
from daskpatch.store import BACK_ENDS, StoredArray
from daskpatch.store.backends import shard_reading, zarr_python
from daskpatch.store.backends.shard_codec import shard_codec_of

SHAPE, CHUNKS, SHARDS = (37, 45, 29), (4, 5, 8), (16, 20, 16)

WHOLE = tuple(slice(0, n) for n in SHAPE)

SERIALIZERS = {
    "as it is": {},
    "index in front": {"index_location": "start"},
    "index unchecked": {"index_codecs": [BytesCodec()]},
    "index in big endian": {"index_codecs": [BytesCodec(endian="big"), Crc32cCodec()]},
    "uncompressed": {"codecs": [BytesCodec()]},
    "big endian": {"codecs": [BytesCodec(endian="big"), GzipCodec(level=1)]},
    "blosc": {"codecs": [BytesCodec(), BloscCodec(typesize=2, cname="lz4", shuffle="shuffle")]},
    "checked": {"codecs": [BytesCodec(), ZstdCodec(level=1), Crc32cCodec()]},
    "turned": {"codecs": [TransposeCodec(order=(2, 0, 1)), BytesCodec(), ZstdCodec(level=1)]},
}


def sharded(path, **options):
    return zarr.create_array(
        path,
        shape=SHAPE,
        chunks=SHARDS,
        dtype="uint16",
        fill_value=7,
        serializer=ShardingCodec(chunk_shape=CHUNKS, **options),
        compressors=None,
    )


@pytest.fixture
def values(rng):
    """Noise; in some chunks, and in a whole shard, nothing but fill value."""
    found = rng.integers(0, 300, SHAPE).astype("uint16")
    found[:8, :10] = 7
    found[16:32, 20:40, 16:] = 7
    return found


def boxes_of(shape, chunks):
    grid = RegularGrid.clipped(shape, chunks)
    return [grid.cell(index).slices for index in range(grid.n_cells)]


@pytest.mark.parametrize("name", SERIALIZERS)
def test_chunks_are_read_as_zarr_reads_them(tmp_path, values, name, rng):
    array = sharded(tmp_path / "a.zarr", **SERIALIZERS[name])
    array[:] = values
    assert shard_codec_of(array) is not None
    boxes = boxes_of(SHAPE, CHUNKS)
    for count in (1, 5, len(boxes)):
        stored = StoredArray(array, io="zarr")  # without what it knows
        chosen = [boxes[i] for i in rng.permutation(len(boxes))[:count]]
        for box, found in zip(chosen, stored.read_chunks(chosen), strict=True):
            absent = found is None
            assert np.array_equal(np.full(1, 7) if absent else found, values[box]) or absent
            assert not absent or (values[box] == 7).all()


@pytest.mark.parametrize("name", SERIALIZERS)
def test_what_is_written_is_read_by_others(tmp_path, values, name):
    array = sharded(tmp_path / "a.zarr", **SERIALIZERS[name])
    stored = StoredArray(array, io="zarr")
    for box in boxes_of(SHAPE, SHARDS):
        stored.write(box, values[box])
    assert np.array_equal(zarr.open_array(tmp_path / "a.zarr", mode="r")[:], values)
    for io in BACK_ENDS:
        whole = StoredArray(zarr.open_array(tmp_path / "a.zarr", mode="r"), io=io)
        assert np.array_equal(whole.read(WHOLE), values)
    assert not (tmp_path / "a.zarr" / "c" / "1" / "1" / "1").exists()  # full of fill value


@pytest.mark.filterwarnings("ignore:Combining a `sharding_indexed` codec")
@pytest.mark.parametrize(
    "codecs",
    [
        {"filters": [TransposeCodec(order=(1, 0, 2))]},
        {"compressors": [Crc32cCodec()]},
    ],
    ids=["turned shards", "checked shards"],
)
def test_what_lies_around_shards_is_left_to_zarr(tmp_path, values, codecs):
    serializer = ShardingCodec(chunk_shape=(5, 4, 8) if "filters" in codecs else CHUNKS)
    options = {"shape": SHAPE, "chunks": (20, 20, 16), "dtype": "uint16", "compressors": None}
    array = zarr.create_array(tmp_path / "a.zarr", serializer=serializer, **{**options, **codecs})
    array[:] = values
    assert shard_codec_of(array) is None
    whole = StoredArray(array, io="zarr").read(WHOLE)
    assert np.array_equal(whole, values)


class Counted(WrapperStore):
    """Says what is asked of a store."""

    def __init__(self, store):
        super().__init__(store)
        self.ranges, self.writes = [], 0

    def _with_store(self, store):
        return self

    async def get(self, key, prototype, byte_range=None):
        if "/c/" in f"/{key}":
            self.ranges.append((key, byte_range))
            await asyncio.sleep(0.01)  # others come meanwhile
        return await self._store.get(key, prototype, byte_range)

    async def set(self, key, value):
        self.writes += 1
        await self._store.set(key, value)


@pytest.fixture
def counted(tmp_path, monkeypatch, rng):
    """A sharded array, 4 shards of 64 chunks, behind a store that counts."""
    monkeypatch.setattr(zarr_python, "_ON_ANY_LOOP", {Counted})
    values = rng.integers(0, 60_000, (32, 64, 64)).astype("uint16")
    save(tmp_path / "a.zarr", values, chunks=(8, 8, 8), shards=(32, 32, 32))
    store = Counted(LocalStore(tmp_path / "a.zarr"))
    return store, StoredArray(zarr.open_array(store, mode="r+")), values


def read(stored, values, boxes):
    for box, found in zip(boxes, stored.read_chunks(boxes), strict=True):
        assert np.array_equal(found, values[box])


def test_most_of_a_shard_comes_by_one_request(counted):
    store, stored, values = counted
    read(stored, values, boxes_of((32, 32, 32), (8, 8, 8))[:40])
    assert [byte_range for _, byte_range in store.ranges] == [None]


def test_an_index_is_read_once_however_many_ask(counted):
    store, stored, values = counted
    boxes = boxes_of((32, 32, 32), (8, 8, 8))
    with ThreadPoolExecutor(3) as pool:
        groups = (boxes[:3], boxes[3:6], boxes[20:22])
        list(pool.map(lambda some: read(stored, values, some), groups))
    read(stored, values, boxes[40:41])
    indices = [each for _, each in store.ranges if hasattr(each, "suffix")]
    assert len(indices) == 1
    assert len(store.ranges) <= 1 + 3 * 2 + 1  # neighbours come together


def test_shards_are_written_without_being_read(counted):
    store, stored, values = counted
    for box in boxes_of(values.shape, (32, 32, 32)):
        stored.write(box, values[box] + 1)
    assert not store.ranges
    assert store.writes == 4
    assert np.array_equal(stored.read(np.s_[0:32, 0:64, 0:64]), values + 1)


def test_a_shard_that_was_replaced_is_looked_up_anew(counted, tmp_path):
    """By somebody else, and with other chunks at other places."""
    _, stored, values = counted
    boxes = boxes_of((32, 32, 32), (8, 8, 8))
    read(stored, values, boxes[:3])
    other = values.copy()
    other[:16, :32, :32] = 3  # compressed to next to nothing
    zarr.open_array(tmp_path / "a.zarr", mode="r+")[:32, :32, :32] = other[:32, :32, :32]
    read(stored, other, boxes)


@pytest.mark.parametrize("codecs", [[BytesCodec()], [BytesCodec(), Crc32cCodec()]])
def test_chunks_at_other_places_in_a_replaced_shard_are_the_same(tmp_path, rng, codecs):
    """Each of them whole, and of one size: nothing tells that it is another one."""
    values = rng.integers(0, 300, SHAPE).astype("uint16")
    array = sharded(tmp_path / "a.zarr", codecs=codecs)
    array[:] = values
    stored = StoredArray(zarr.open_array(tmp_path / "a.zarr", mode="r"), io="zarr")
    inside = [box for box in boxes_of(SHAPE, CHUNKS) if all(s.stop <= 16 for s in box)]
    read(stored, values, inside[:3])
    # In another order, as it is written here.
    StoredArray(array, io="zarr").write(np.s_[0:16, 0:20, 0:16], values[:16, :20, :16])
    read(stored, values, inside[1:9])


@pytest.mark.parametrize("waits", [0.0, 0.3])
def test_an_index_that_was_asked_for_before_a_write_is_not_kept(counted, monkeypatch, waits):
    store, stored, values = counted
    boxes = boxes_of((32, 32, 32), (8, 8, 8))
    get, begun = store.get, threading.Event()

    async def slow(key, prototype, byte_range=None):
        found = await get(key, prototype, byte_range)
        if hasattr(byte_range, "suffix"):
            begun.set()
            await asyncio.sleep(waits)
        return found

    monkeypatch.setattr(store, "get", slow)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(stored.read_chunks, boxes[:1])
        begun.wait(20)
        stored.write(np.s_[0:32, 0:32, 0:32], values[:32, :32, :32])
        first.result()
    read(stored, values, boxes[1:9])


def test_a_chunk_that_came_since_is_found(tmp_path):
    values = np.zeros((16, 16), "uint16")
    array = save(tmp_path / "a.zarr", values, chunks=(4, 4), shards=(16, 16))
    array[:4, :4] = 5
    stored = StoredArray(zarr.open_array(tmp_path / "a.zarr", mode="r"), io="zarr")
    boxes = [np.s_[0:4, 0:4], np.s_[8:12, 8:12]]
    assert [each.max() for each in stored.read_chunks(boxes)] == [5, 0]
    array[8:12, 8:12] = 6
    assert [each.max() for each in stored.read_chunks(boxes)] == [5, 6]


@pytest.mark.parametrize("how", ["cut", "index"])
def test_a_damaged_shard_is_told_as_zarr_tells_it(tmp_path, values, how):
    codecs = [BytesCodec(), ZstdCodec(level=1)]
    array = sharded(tmp_path / "a.zarr", codecs=codecs, index_codecs=[BytesCodec()])
    array[:] = values
    shard = tmp_path / "a.zarr" / "c" / "0" / "0" / "0"
    content = bytearray(shard.read_bytes())
    if how == "cut":
        content = content[100:]
    else:
        content[-16 * 5 :] = b"\x01" * 16 * 5
    shard.write_bytes(content)
    stored = StoredArray(array, io="zarr", delays=())
    boxes = [b for b in boxes_of(SHAPE, CHUNKS) if all(s.stop <= 16 for s in b)]
    with pytest.raises((RuntimeError, ValueError, OSError)):
        list(map(stored.read_chunks, zip(boxes)))
    sound = [b for b in boxes_of(SHAPE, CHUNKS) if b[0].start >= 32]
    read(stored, values, sound)


@given(
    st.lists(
        st.tuples(st.integers(0, 3 * shard_reading.GAP), st.integers(1, shard_reading.GAP)),
        max_size=30,
    )
)
@settings(deadline=None, max_examples=300)
def test_runs_hold_each_chunk_once_and_fetch_little_else(gaps):
    places, begin = {}, 0
    for number, (gap, size) in enumerate(gaps):
        begin += gap
        places[number] = range(begin, begin + size)
        begin += size
    runs = shard_reading._runs(places)
    assert sorted(n for run in runs for n in run.chunks) == sorted(places)
    for run in runs:
        assert all(run.begin <= places[n].start <= places[n].stop <= run.end for n in run.chunks)
        used = sum(len(places[n]) for n in run.chunks)
        free = shard_reading.FREE * (len(run.chunks) - 1)
        assert 2 * used >= run.end - run.begin - free
        assert run.end - run.begin <= shard_reading._RUN
    assert all(a.end <= b.begin for a, b in pairwise(runs))


def test_more_than_a_chunk_can_have_is_no_index():
    store = {}
    array = sharded(store)
    codec = shard_codec_of(array)
    index = np.full((*codec.counts, 2), np.iinfo("u8").max, "u8")
    index[0, 0, 0] = 0, 2**50
    codec = replace(codec, index_is_checked=False)
    with pytest.raises(ValueError, match="bytes that no chunk of it can have"):
        codec.decode_index(np.frombuffer(index.tobytes(), "u1"))
