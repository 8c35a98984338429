"""Receipts as bytes, parts as shares, objects in stores of every kind, patience."""

import asyncio
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Annotated

import google_crc32c
import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from daskpatch.geometry import RegularGrid
from daskpatch.receipts import (
    BlocksRecord,
    FailedBlock,
    Journal,
    Part,
    PassDocument,
    Receipt,
    Record,
    digest_of,
    digests_of,
)
from daskpatch.receipts.fingerprint import differences
from daskpatch.receipts.segments import FULL, as_rows, decode, encode, latest, layouts_of
from daskpatch.running.ledger import without
from daskpatch.store import BACK_ENDS, Objects, locate, with_backoff, with_backoff_async


def receipt(index, finished=0.0, digest=7):
    return Receipt(index, digest, 1, 0, 10, 20, 30, 0.5, finished)


@given(st.lists(st.integers(0, 2**63), max_size=50))
def test_segments_come_back_as_they_were(indices):
    rows = as_rows([receipt(i) for i in indices])
    for is_former in (False, True):
        found, n_lost = decode(encode(rows, is_former=is_former))
        np.testing.assert_array_equal(found, rows)
        assert n_lost == 0


@given(st.integers(1, 5), st.data())
def test_a_flipped_bit_costs_one_receipt(count, data):
    rows = as_rows([receipt(i) for i in range(count)])
    content = bytearray(encode(rows))
    at = data.draw(st.integers(0, len(content) - 5))
    content[at] ^= data.draw(st.integers(1, 255))
    hit = at // (len(content[:-4]) // count)
    if count == 1:
        with pytest.raises(ValueError, match="torn"):
            decode(bytes(content))
        return
    found, n_lost = decode(bytes(content))
    assert n_lost == 1
    np.testing.assert_array_equal(found, np.delete(rows, hit))


@given(st.integers(1, 5), st.data())
def test_of_a_segment_that_is_cut_whole_receipts_are_left(count, data):
    rows = as_rows([receipt(i) for i in range(count)])
    content = encode(rows)
    end = data.draw(st.integers(0, len(content) - 1))
    n_whole = min(end // (len(content[:-4]) // count), count)
    if n_whole:
        found, n_lost = decode(content[:end])
        np.testing.assert_array_equal(found, rows[:n_whole])
        assert n_lost == 1
    else:
        with pytest.raises(ValueError, match="torn"):
            decode(content[:end])


@given(st.integers(1, 5), st.data())
def test_torn_segments_of_format_1_are_lost_whole(count, data):
    content = encode(as_rows([receipt(i) for i in range(count)]), is_former=True)
    end = data.draw(st.integers(0, len(content) - 1))
    with pytest.raises(ValueError, match="torn"):
        decode(content[:end])
    at = data.draw(st.integers(0, len(content) - 1))
    flipped = bytearray(content)
    flipped[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ValueError, match="torn"):
        decode(bytes(flipped))


@dataclass(frozen=True, slots=True)
class WiderReceipt(Receipt):
    """With a field that was added; 23 of today's rows are as long as 22 of these."""

    retries: Annotated[int, "<u4"] = 3


def test_receipts_from_before_a_field_was_added_are_read():
    rows = as_rows([receipt(i) for i in range(23)])
    assert len(encode(rows)[:-4]) % (layouts_of(WiderReceipt)[0].itemsize + 4) == 0
    for is_former in (False, True):
        wide, _ = decode(encode(rows, is_former=is_former), WiderReceipt)
        assert wide["index"].tolist() == list(range(23))
        assert wide["retries"].tolist() == [3] * 23
    np.testing.assert_array_equal(decode(encode(wide), WiderReceipt)[0], wide)
    with pytest.raises(ValueError, match="later version"):  # for whoever lacks the field
        decode(encode(wide[:22]))


@given(st.integers(2, 5), st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=20), st.data())
def test_receipts_of_several_arrays_hold_a_digest_of_each(n_arrays, indices, data):
    def digests():
        return tuple(data.draw(st.integers(0, 2**32 - 1)) for _ in range(n_arrays - 1))

    rows = as_rows([replace(receipt(index), partial=digests()) for index in indices])
    content = encode(rows)
    np.testing.assert_array_equal(decode(content, n_arrays=n_arrays)[0], rows)
    flipped = bytearray(content)
    flipped[data.draw(st.integers(0, len(content) - 5))] ^= data.draw(st.integers(1, 255))
    if len(indices) > 1:
        found, n_lost = decode(bytes(flipped), n_arrays=n_arrays)
        assert n_lost == 1
        assert len(found) == len(rows) - 1


@given(st.integers(2, 5), st.booleans())
def test_receipts_from_before_each_array_had_a_digest_have_none(n_arrays, is_former):
    before = next(each for each in layouts_of(Receipt) if each.names[-1] == "empty")
    rows = as_rows([receipt(i) for i in range(18)])[list(before.names)].astype(before)
    wide, _ = decode(encode(rows, is_former=is_former), n_arrays=n_arrays)
    assert wide["index"].tolist() == list(range(18))
    assert not wide["partial"].any()
    assert not wide["reading"].any()


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 99)), max_size=30))
def test_of_several_receipts_for_a_block_the_last_one_counts(pairs):
    rows = latest(as_rows([receipt(i, finished=t, digest=t) for i, t in pairs]))
    wanted = {}
    for i, t in pairs:
        wanted[i] = max(t, wanted.get(i, 0))
    assert dict(zip(rows["index"].tolist(), rows["digest"].tolist(), strict=True)) == wanted
    assert rows["index"].tolist() == sorted(wanted)


@given(st.integers(0, 1000), st.integers(1, 40))
def test_parts_share_out_all_blocks(total, of):
    shares = [Part(number, of).share(total) for number in range(1, of + 1)]
    assert [i for share in shares for i in share] == list(range(total))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@given(st.lists(st.integers(0, 10_000), max_size=9000), st.sets(st.integers(0, 10_000)))
def test_without_leaves_out_what_is_done(indices, done):
    ascending = np.array(sorted(done), np.uint64)
    assert list(without(iter(indices), ascending)) == [i for i in indices if i not in done]


@given(
    st.lists(
        st.tuples(st.integers(1, 12), st.integers(1, 6), st.booleans()), min_size=1, max_size=3
    )
)
def test_voxels_before_a_cell_are_those_of_the_cells_in_front_of_it(axes):
    grid = RegularGrid(*map(tuple, zip(*axes, strict=True)))
    before = 0
    for index in range(grid.n_cells):
        assert grid.n_voxels_before(index) == before
        before += grid.cell(index).n_voxels
    assert grid.n_voxels_before(grid.n_cells) == before == math.prod(grid.shape)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["u1", "<f4", ">i2", "?"])
def test_a_digest_is_of_the_bytes_in_c_order(rng, order, dtype):
    values = np.asarray(rng.integers(0, 2, (3, 4, 5)), dtype, order=order)
    assert digest_of(values) == google_crc32c.value(values.tobytes("C"))
    both = google_crc32c.value(2 * values.tobytes("C"))
    assert digests_of([values, values]) == (digest_of(values), both)


def test_differences_are_the_innermost_fields():
    one = {"a": {"b": [1, 2], "c": None}, "d": 1}
    other = {"a": {"b": (1, 2), "c": 3}, "e": 2}
    assert list(differences(one, other)) == [("a.c", None, 3), ("d", 1, None), ("e", None, 2)]


# Stores

STORES = {
    "local": lambda path: zarr.storage.LocalStore(path),
    "memory": lambda path: zarr.storage.MemoryStore(),
    "obstore": lambda path: _obstore(),
    "wrapped": lambda path: zarr.storage.LoggingStore(
        zarr.storage.LocalStore(path), log_level="CRITICAL"
    ),
    "fsspec": lambda path: zarr.storage.FsspecStore.from_url(f"memory://{path}"),
}


def _obstore():
    from obstore.store import MemoryStore

    return zarr.storage.ObjectStore(MemoryStore())


@pytest.fixture(params=STORES)
def objects(request, tmp_path):
    store = STORES[request.param](tmp_path / "store")
    return Objects(locate(zarr.storage.StorePath(store, "out.zarr")))


def test_objects_are_written_read_listed_and_deleted(objects):
    assert objects.read("a/x") is None
    assert objects.names() == []
    objects.write("a/x", b"1")
    objects.write("a/y", b"")
    objects.write("b", b"3")
    assert objects.read("a/x") == b"1"
    assert objects.names() == ["a/x", "a/y", "b"]
    assert objects.names("a/") == ["a/x", "a/y"]
    assert objects.exists("b")
    objects.delete("b")
    objects.delete("b")
    assert not objects.exists("b")
    objects.write("c", b"4")
    objects.delete_many(["c", "a/x"])
    assert objects.names() == ["a/y"]


def test_an_object_is_created_once(objects):
    assert objects.create("claim", b"mine")
    assert not objects.create("claim", b"yours")
    assert objects.read("claim") == b"mine"


def test_of_many_who_create_at_once_one_wins(objects):
    if not objects.creates_atomically:
        assert "Fsspec" in type(objects.location.store).__name__
        return
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda i: objects.create("claim", f"{i}".encode()), range(8)))
    assert won.count(True) == 1


def test_a_log_grows_by_segments_that_are_not_written_again(tmp_path):
    record = Record(locate(str(tmp_path / "out.zarr")))
    record.begin(PassDocument("p", 0.0, {}, {}, (9,), BlocksRecord(0, (1,), (False,)), run_id="r"))
    journal, total = Journal(record, Part(), "one"), 2 * FULL + 5
    for index in range(total):
        journal.add(receipt(index))
        if index % 1000 == 0:
            journal.flush()
    journal.flush()
    names = record.documents.names("receipts/r/")
    assert [len(decode(record.documents.read(name))[0]) for name in names] == [FULL, FULL, 5]
    assert names[0] == "receipts/r/part-1-of-1/one-00000000"
    later = Journal(record, Part(), "another")
    later.add(receipt(99_999))
    later.flush()
    assert len(record.documents.names("receipts/")) == 4
    assert record.receipts()["index"].tolist() == [*range(total), 99_999]
    record.drop([3, 99_999])
    assert record.receipts()["index"].tolist() == [i for i in range(total) if i != 3]


def test_failures_are_forgotten_when_the_block_is_done(tmp_path):
    record = Record(locate(str(tmp_path / "out.zarr")))
    journal = Journal(record, Part(1, 2), "one")
    journal.set_aside(FailedBlock(4, {"coords": (1, 2)}, "no"))
    journal.set_aside(FailedBlock(5, None, "no"))
    journal.flush()
    assert sorted(record.failures(record.receipts())) == [4, 5]
    other = Journal(record, Part(), "another")
    other.add(receipt(4))
    other.flush()
    assert sorted(record.failures(record.receipts())) == [5]


# Patience


class Failing:
    def __init__(self, times, error):
        self.times, self.error, self.calls = times, error, 0

    def __call__(self):
        self.calls += 1
        if self.calls <= self.times:
            raise self.error
        return "at last"

    async def later(self):
        return self()


@pytest.mark.parametrize(
    ("times", "error", "calls"),
    [
        (2, OSError("away"), 3),
        (3, OSError("away"), None),
        (1, PermissionError("no"), None),
        (1, ValueError("DATA_LOSS: broken"), None),
        (1, ValueError("UNAVAILABLE: away"), 2),
    ],
)
def test_a_call_is_tried_again_while_that_may_help(times, error, calls):
    delays, lasts = (0.0, 0.0), BACK_ENDS["tensorstore"].lasts
    for attempt in (
        lambda failing: with_backoff(failing, "Trying", delays, lasts),
        lambda failing: asyncio.run(with_backoff_async(failing.later, "Trying", delays, lasts)),
    ):
        failing = Failing(times, error)
        if calls is None:
            with pytest.raises(type(error)):
                attempt(failing)
        else:
            assert attempt(failing) == "at last"
            assert failing.calls == calls


@pytest.mark.parametrize("tile", [None, {}, {"coorts": [1, 2]}, {"coords": 3}, {"coords": [1, 2]}])
def test_a_failure_is_told_whatever_became_of_its_place(tile):
    told = str(FailedBlock(3, tile, "no  luck"))
    assert told.startswith("block 3 failed")
    assert told.endswith(": no luck")
    assert ("(1, 2)" in told) == (tile == {"coords": [1, 2]})
