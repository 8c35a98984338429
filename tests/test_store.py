"""One contract for both back ends, and where arrays lie."""

import asyncio
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import crc32c
import numcodecs
import numpy as np
import pytest
import zarr
import zarr.codecs.numcodecs
from children import Child
from volumes import save
from zarr.codecs import BloscCodec, GzipCodec, ZstdCodec
from zarr.storage import LocalStore, StorePath, WrapperStore

import daskpatch
from daskpatch.geometry import Region, RegularGrid
from daskpatch.store import (
    BACK_ENDS,
    ChangedError,
    Objects,
    StoredArray,
    check_io,
    existing_array,
    locate,
)
from daskpatch.store.backends import zarr_python

BACKENDS = list(BACK_ENDS)
LAYOUTS = {
    "v3": {},
    "v2": {"zarr_format": 2},
    "sharded": {"shards": (16, 16, 16)},
    "uncompressed": {"compressors": None},
}


@pytest.fixture(params=BACKENDS)
def io(request):
    return request.param


@pytest.fixture(params=LAYOUTS)
def array(request, tmp_path, volume):
    return save(tmp_path / "a.zarr", volume, chunks=(8, 8, 8), **LAYOUTS[request.param])


def test_boxes_are_read(array, io, volume):
    stored = StoredArray(array, io=io)
    assert stored.back_end.name == io
    for box in (np.s_[0:37, 0:61, 0:53], np.s_[3:4, 10:31, 50:53]):
        values = stored.read(box)
        assert values.dtype == volume.dtype
        assert np.array_equal(values, volume[box])


def test_chunks_are_read_many_at_a_time(array, io, volume, rng):
    stored, grid = StoredArray(array, io=io), RegularGrid.clipped(array.shape, array.chunks)
    unit = RegularGrid.clipped(array.shape, stored.shards or stored.chunks)
    absent = {0, 3, unit.n_cells - 1}
    for index in absent:
        (key,) = stored.keys(unit.cell(index).slices)
        (stored.location.local_path / key).unlink()
    for count in (1, 7, grid.n_cells):
        indices = rng.permutation(grid.n_cells)[:count]
        boxes = [grid.cell(int(i)).slices for i in indices]
        for box, values in zip(boxes, stored.read_chunks(boxes), strict=True):
            region = Region(tuple(s.start for s in box), tuple(s.stop for s in box))
            (first,) = unit.indices(unit.ranges(region), order=(0, 1, 2))
            if first in absent:
                assert values is None
            else:
                np.testing.assert_array_equal(values, volume[box])


BIG, SWAPPED = zarr.codecs.BytesCodec(endian="big"), zarr.codecs.TransposeCodec(order=(2, 0, 1))

CODECS = {
    "zstd": {"compressors": zarr.codecs.ZstdCodec(level=3)},
    "gzip": {"compressors": zarr.codecs.GzipCodec()},
    "blosc": {"compressors": zarr.codecs.BloscCodec(cname="lz4", shuffle="shuffle")},
    "blosc of another size": {
        "compressors": zarr.codecs.BloscCodec(cname="lz4", shuffle="shuffle", typesize=4)
    },
    "a checksum alone": {"compressors": zarr.codecs.Crc32cCodec()},
    "blosc of a checksum": {
        "compressors": [zarr.codecs.Crc32cCodec(), zarr.codecs.BloscCodec(typesize=2)]
    },
    "a checksum": {"compressors": [zarr.codecs.ZstdCodec(), zarr.codecs.Crc32cCodec()]},
    "transposed": {"filters": [SWAPPED], "compressors": None},
    "transposed twice": {"filters": [SWAPPED, SWAPPED]},
    "big-endian": {"serializer": BIG, "compressors": None},
    "all of them": {
        "filters": [SWAPPED],
        "serializer": BIG,
        "compressors": [zarr.codecs.BloscCodec(), zarr.codecs.Crc32cCodec()],
    },
    "v2, F": {"zarr_format": 2, "order": "F"},
    "v2, F, uncompressed": {"zarr_format": 2, "order": "F", "compressors": None},
    "v2, zlib": {"zarr_format": 2, "compressors": numcodecs.Zlib()},
    "v2, lz4": {"zarr_format": 2, "compressors": numcodecs.LZ4()},
    "v2, bz2": {"zarr_format": 2, "compressors": numcodecs.BZ2()},
    "v2, a filter": {"zarr_format": 2, "filters": [numcodecs.Delta(dtype="uint16")]},
    "v2, big-endian": {"zarr_format": 2, "dtype": ">u2"},
}


@pytest.mark.parametrize("layout", CODECS.values(), ids=CODECS)
@pytest.mark.parametrize("is_in_memory", [False, True])
def test_chunks_of_all_codecs_are_what_zarr_reads(tmp_path, volume, layout, is_in_memory):
    array = zarr.create_array(
        {} if is_in_memory else str(tmp_path / "a.zarr"),
        shape=volume.shape,
        chunks=(8, 16, 10),
        **{"dtype": volume.dtype, **layout},
    )
    array[...] = volume
    grid = RegularGrid.clipped(array.shape, array.chunks)
    boxes = [grid.cell(index).slices for index in range(grid.n_cells)]
    found = StoredArray(array, io="zarr").read_chunks(boxes)
    for box, values in zip(boxes, found, strict=True):
        assert values.dtype == volume.dtype
        assert values.flags.c_contiguous
        np.testing.assert_array_equal(values, array[box])
        # A view of more would keep that in memory.
        assert values.base is None or len(memoryview(values.base).cast("B")) <= values.nbytes
    array[...] = 0
    for box, values in zip(boxes, found, strict=True):
        np.testing.assert_array_equal(values, volume[box])  # not the store's own memory


@pytest.mark.parametrize("layout", CODECS.values(), ids=CODECS)
@pytest.mark.parametrize("is_in_memory", [False, True])
def test_chunks_of_all_codecs_are_stored_as_zarr_stores_them(
    tmp_path, volume, layout, is_in_memory
):
    values = volume.copy()
    values[:16, :20] = 0  # chunks that are all fill value, and one that begins with it
    folders = [{}, {}] if is_in_memory else [str(tmp_path / "zarr"), str(tmp_path / "ours")]
    theirs, ours = (
        zarr.create_array(
            folder, shape=volume.shape, chunks=(8, 16, 10), **{"dtype": volume.dtype, **layout}
        )
        for folder in folders
    )
    theirs[...] = values
    stored = StoredArray(ours, io="zarr")
    stored.write(np.s_[0:37, 0:61, 0:53], volume)  # what is empty then is deleted
    stored.write(np.s_[0:16, 0:61, 0:53], values[:16])
    stored.write(np.s_[16:37, 0:61, 0:53], values[16:])
    np.testing.assert_array_equal(ours[...], values)
    assert objects_of(ours) == objects_of(theirs)


def objects_of(array):
    """All that is in an array's store, by key, but for the time in what gzip writes."""
    objects = Objects(locate(array))
    found = {name: objects.read(name) for name in objects.names()}
    return {
        name: content[:4] + content[8:] if content.startswith(b"\x1f\x8b") else content
        for name, content in found.items()
    }


EMPTY = {
    "0": (0.0, 0.0, False),
    "-0": (0.0, -0.0, True),
    "NaN": (np.nan, np.nan, False),
    "another": (3.5, 3.5, False),
    "none": (None, 0.0, False),
}


@pytest.mark.parametrize(("fill_value", "value", "is_stored"), EMPTY.values(), ids=EMPTY)
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_empty_chunks_are_those_of_zarr(tmp_path, fill_value, value, is_stored, zarr_format):
    values = np.full((10, 10), value, "f4")
    values[8:] = 1
    ours, theirs = (
        zarr.create_array(
            str(tmp_path / name),
            shape=values.shape,
            chunks=(4, 4),
            dtype="f4",
            fill_value=fill_value,
            zarr_format=zarr_format,
        )
        for name in ("ours", "theirs")
    )
    theirs[...] = values
    StoredArray(ours, io="zarr").write(np.s_[0:10, 0:10], values)
    assert objects_of(ours) == objects_of(theirs)
    assert len([name for name in objects_of(ours) if "json" not in name and name[:1] != "."]) == (
        9 if is_stored else 3
    )


def test_chunks_are_stored_though_they_are_empty_where_zarr_is_told_so(tmp_path):
    options = {"shape": (8, 9), "chunks": (4, 4), "dtype": "u1", "fill_value": 7}
    values = np.full((8, 9), 7, "u1")
    with zarr.config.set({"array.write_empty_chunks": True}):
        ours, theirs = (
            zarr.create_array(str(tmp_path / name), **options) for name in ("ours", "theirs")
        )
        theirs[...] = values
        StoredArray(ours, io="zarr").write(np.s_[0:8, 0:9], values)
    assert objects_of(ours) == objects_of(theirs)
    assert sum(name.startswith("c/") for name in objects_of(ours)) == 6


def test_boxes_that_cut_chunks_leave_the_rest_of_them(tmp_path, volume, io):
    array = save(tmp_path / "a.zarr", volume, chunks=(8, 16, 10))
    box, expected = np.s_[3:20, 16:32, 0:53], volume.copy()
    expected[box] = 7
    StoredArray(array, io=io).write(box, expected[box])
    np.testing.assert_array_equal(array[...], expected)


@pytest.mark.parametrize(
    "damage", [lambda content: b"", lambda content: content[:-9], lambda content: b"x" * 40]
)
@pytest.mark.parametrize("compressors", ["auto", None])
def test_a_damaged_chunk_is_an_error_and_the_others_are_read(
    tmp_path, volume, io, damage, compressors
):
    array = save(tmp_path / "a.zarr", volume, chunks=(16, 16, 16), compressors=compressors)
    stored, box = StoredArray(array, io=io, delays=()), np.s_[16:32, 16:32, 16:32]
    (key,) = stored.keys(box)
    file = tmp_path / "a.zarr" / key
    file.write_bytes(damage(file.read_bytes()))
    others = [np.s_[0:16, 0:16, 0:16], np.s_[0:16, 16:32, 0:16]]
    with pytest.raises((OSError, ValueError, RuntimeError)):
        stored.read_chunks([others[0], box])
    for other, values in zip(others, stored.read_chunks(others), strict=True):
        np.testing.assert_array_equal(values, volume[other])


class Away(WrapperStore):
    """Counts what it is asked for while it is away."""

    is_away, asked = False, 0

    async def get(self, key, prototype, byte_range=None):
        if Away.is_away:
            Away.asked += 1
            raise OSError("the network is down")
        return await self._store.get(key, prototype, byte_range)


class Bound(WrapperStore):
    """A store of somebody's own, which may keep what is bound to an event loop."""

    loops: ClassVar[set] = set()

    async def get(self, key, prototype, byte_range=None):
        if key.startswith("c/"):
            Bound.loops.add(asyncio.get_running_loop())
        return await self._store.get(key, prototype, byte_range)


def test_chunks_of_a_store_that_is_not_known_are_asked_for_on_zarrs_own_loop(
    tmp_path, volume, monkeypatch
):
    monkeypatch.setattr(Bound, "loops", set())
    save(tmp_path / "a.zarr", volume, chunks=(16, 16, 16))
    array = zarr.open_array(Bound(LocalStore(tmp_path / "a.zarr")), mode="r")
    box = np.s_[0:16, 16:32, 0:16]
    np.testing.assert_array_equal(array[box], volume[box])
    (values,) = StoredArray(array).read_chunks([box])
    np.testing.assert_array_equal(values, volume[box])
    assert len(Bound.loops) == 1


def test_codecs_that_somebody_registered_are_used(tmp_path, volume, monkeypatch):
    calls = []

    class Counting(zarr.codecs.ZstdCodec):
        async def _decode_single(self, chunk_data, chunk_spec):
            calls.append(1)
            return await super()._decode_single(chunk_data, chunk_spec)

    save(tmp_path / "a.zarr", volume, chunks=(16, 16, 16), compressors=zarr.codecs.ZstdCodec())
    zarr.registry.register_codec("zstd", Counting)
    name = f"{Counting.__module__}.{Counting.__qualname__}"
    with zarr.config.set({"codecs.zstd": name}):
        array = zarr.open_array(str(tmp_path / "a.zarr"), mode="r")
        box = np.s_[0:16, 16:32, 0:16]
        (values,) = StoredArray(array, io="zarr").read_chunks([box])
    np.testing.assert_array_equal(values, volume[box])
    assert calls


def test_a_store_that_is_away_is_asked_for_no_further_chunks(tmp_path, volume, monkeypatch):
    monkeypatch.setattr(Away, "is_away", False)
    monkeypatch.setattr(Away, "asked", 0)
    array = save(tmp_path / "a.zarr", volume, chunks=(4, 4, 4))
    monkeypatch.setattr(zarr_python, "_ON_ANY_LOOP", {Away})
    stored = StoredArray(
        zarr.open_array(Away(LocalStore(tmp_path / "a.zarr")), mode="r"), delays=(0.01,)
    )
    grid = RegularGrid.clipped(array.shape, array.chunks)
    boxes = [grid.cell(index).slices for index in range(grid.n_cells)]
    stored.read_chunks(boxes[:1])
    Away.is_away = True
    with pytest.raises(OSError, match="the network is down"):
        stored.read_chunks(boxes)
    assert 2 <= Away.asked <= 2 * 40 < len(boxes)


def test_whole_units_are_written_and_read_by_the_other_back_end(array, io, rng):
    stored = StoredArray(array, io=io)
    values = rng.integers(0, 60_000, array.shape).astype("uint16")
    values[:16] = 0  # fill value: chunks that are not stored
    grid = RegularGrid.clipped(array.shape, stored.shards or stored.chunks)
    with ThreadPoolExecutor(4) as pool:
        list(
            pool.map(
                lambda i: stored.write(grid.cell(i).slices, values[grid.cell(i).slices]),
                range(grid.n_cells),
            )
        )
    for other in BACKENDS:
        whole = StoredArray(zarr.open_array(store=array.store, mode="r"), io=other)
        assert np.array_equal(whole.read(np.s_[0:37, 0:61, 0:53]), values)


HOLDING = """
import fcntl, sys, time
from pathlib import Path

held = []
for name in sys.argv[2:]:
    path = Path(name + ".__lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    held.append(open(path, "w"))
    fcntl.lockf(held[-1], fcntl.LOCK_EX)
Path(sys.argv[1]).touch()
time.sleep(600)
"""


def test_locks_of_a_process_that_sleeps_hold_up_nobody(array, io, tmp_path):
    """As tensorstore had them, before its driver's laptop was closed."""
    stored, said = StoredArray(array, io=io), tmp_path / "locked"
    box = np.s_[0:16, 0:16, 0:16]
    keys = [stored.location.local_path / key for key in stored.keys(box)]
    Child(HOLDING, said, *keys).kill_when(lambda: said.exists() and written(stored, box))
    assert np.array_equal(stored.read(box), np.ones((16, 16, 16)))


def written(stored, box):
    """Whether a write ended; one that waits for a lock never does."""
    writing = threading.Thread(
        target=stored.write, args=(box, np.ones((16, 16, 16), stored.dtype)), daemon=True
    )
    writing.start()
    writing.join(30)
    return not writing.is_alive()


def test_strided_values_are_written(array, io, rng):
    values = rng.integers(0, 9, array.shape[::-1]).astype("uint16").T
    stored = StoredArray(array, io=io)
    stored.write(np.s_[0:37, 0:61, 0:53], values)
    assert np.array_equal(array[...], values)


def test_chunks_and_shards_are_the_arrays(array):
    stored = StoredArray(array)
    assert (stored.chunks, stored.shards) == (array.chunks, array.shards)


def test_a_stored_array_pickles_small_and_reopens(array, io, volume):
    stored = StoredArray(array, io=io)
    stored.read(np.s_[0:1, 0:1, 0:1])
    pickled = pickle.dumps(stored)
    assert len(pickled) < 3000
    assert np.array_equal(pickle.loads(pickled).read(np.s_[0:37, 0:61, 0:53]), volume)


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint64", "float16", "float64"])
def test_dtypes_survive(tmp_path, io, dtype, rng):
    values = rng.integers(0, 2, (6, 7)).astype(dtype)
    array = save(tmp_path / "d.zarr", np.zeros_like(values), chunks=(6, 7))
    stored = StoredArray(array, io=io)
    stored.write(np.s_[0:6, 0:7], values)
    again = stored.read(np.s_[0:6, 0:7])
    assert again.dtype == values.dtype
    assert np.array_equal(again, values)


def test_what_is_written_elsewhere_is_seen(array, io):
    stored = StoredArray(array, io=io)
    stored.read(np.s_[0:37, 0:61, 0:53])
    array[...] = 7
    assert (stored.read(np.s_[0:37, 0:61, 0:53]) == 7).all()


def test_auto_takes_tensorstore_for_folders_and_zarr_elsewhere(array):
    assert StoredArray(array).back_end.name == "tensorstore"
    memory = zarr.create_array(
        store=zarr.storage.MemoryStore(), shape=(4,), dtype="u1", chunks=(4,)
    )
    assert StoredArray(memory).back_end.name == "zarr"
    with pytest.raises(ValueError, match="local folders"):
        StoredArray(memory, io="tensorstore").back_end  # noqa: B018


def test_auto_takes_zarr_for_what_tensorstore_does_not_know(tmp_path):
    values = np.arange(12, dtype="u2").reshape(3, 4)
    from numcodecs import Delta

    array = save(tmp_path / "d.zarr", values, chunks=(3, 4), zarr_format=2, filters=[Delta("u2")])
    assert StoredArray(array).back_end.name == "zarr"
    assert np.array_equal(StoredArray(array).read(np.s_[0:3, 0:4]), values)


def test_an_unknown_back_end_is_refused():
    with pytest.raises(ValueError, match="'auto', 'zarr' or 'tensorstore'"):
        check_io("h5py")


def test_one_place_has_the_same_parts_through_every_store(tmp_path, volume):
    save(tmp_path / "g.zarr" / "raw", volume, chunks=(8, 8, 8))
    (tmp_path / "link").symlink_to(tmp_path / "g.zarr")
    import obstore

    places = [
        locate(tmp_path / "g.zarr" / "raw"),
        locate(f"file://{tmp_path}/g.zarr/raw"),
        locate(tmp_path / "link" / "raw"),
        locate(zarr.open_array(store=str(tmp_path / "g.zarr"), path="raw", mode="r")),
        locate(zarr.storage.LocalStore(tmp_path / "g.zarr" / "raw")),
        locate(zarr.storage.StorePath(zarr.storage.LocalStore(tmp_path / "g.zarr"), "raw")),
        locate(zarr.storage.ObjectStore(obstore.store.LocalStore(tmp_path / "g.zarr" / "raw"))),
    ]
    assert len({place.parts for place in places}) == 1
    assert locate(tmp_path / "g.zarr").contains(places[0])
    assert not places[0].contains(locate(tmp_path / "g.zarr"))
    assert not locate(tmp_path / "g").contains(places[0])


def test_stores_in_memory_are_their_own_places():
    a, b = zarr.storage.MemoryStore(), zarr.storage.MemoryStore()
    assert locate(a).parts != locate(b).parts
    assert locate(a).lives_in_this_process


def test_what_is_no_place_is_refused():
    with pytest.raises(TypeError, match="list"):
        locate([1, 2])


@pytest.mark.parametrize("where", ["folder", "memory"])
@pytest.mark.parametrize("compressors", [None, "auto"])
def test_values_may_change_after_they_were_written(tmp_path, io, where, compressors):
    """The caller lends its buffer: neither store nor cache may keep a reference to it."""
    if (where, io) == ("memory", "tensorstore"):
        io = "auto"
    store = zarr.storage.MemoryStore() if where == "memory" else str(tmp_path / "a.zarr")
    array = zarr.create_array(
        store=store, shape=(64, 64), chunks=(32, 32), dtype="f4", compressors=compressors
    )
    stored = StoredArray(array, io=io)
    buffer = np.ones((32, 64), "f4")
    stored.write(np.s_[0:32, 0:64], buffer)
    buffer[:] = 2
    stored.write(np.s_[32:64, 0:64], buffer)
    buffer[:] = 3
    expected = np.repeat([1, 2], 32)
    for reader in (stored, StoredArray(zarr.open_array(store=store, mode="r"))):
        assert (reader.read(np.s_[0:64, 0:64]) == expected[:, None]).all()


def test_every_view_of_a_store_in_memory_is_one_place():
    store = zarr.storage.MemoryStore()
    array = zarr.create_array(store=store, shape=(4,), dtype="u1", chunks=(4,))
    again = zarr.open_array(store=store, mode="r")
    logged = zarr.storage.LoggingStore(store)
    assert locate(array).parts == locate(again).parts == locate(store).parts == locate(logged).parts


def test_fsspec_stores_are_compared_with_folders(tmp_path):
    store = zarr.storage.FsspecStore.from_url(f"file://{tmp_path}/a.zarr")
    assert locate(store).parts == locate(tmp_path / "a.zarr").parts
    assert not locate(store).lives_in_this_process
    assert locate(zarr.storage.FsspecStore.from_url("memory://a")).lives_in_this_process


def test_names_of_stores_hold_no_secrets():
    store = zarr.storage.FsspecStore.from_url("http://me:secret@localhost:1/a.zarr?token=secret")
    assert "secret" not in locate(store).name


@pytest.mark.parametrize("url", ["foo://me:secret@x/y?token=secret", "file://host/a.zarr"])
def test_urls_that_cannot_be_are_refused_without_their_secrets(url):
    with pytest.raises(ValueError, match="scheme|host") as caught:
        locate(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("place", "url"),
    [
        (Path("s3://bucket/out.zarr"), "s3://bucket/out.zarr"),
        (Path("https://host/a.zarr"), "https://host/a.zarr"),
        ("gs:/bucket/a.zarr", "gs://bucket/a.zarr"),
        ("s3:\\bucket\\a.zarr", "s3://bucket/a.zarr"),
        ("s3//bucket/a.zarr", "s3://bucket/a.zarr"),
        ("file:/data/a.zarr", "file:///data/a.zarr"),
    ],
)
def test_a_path_that_was_a_url_names_no_new_folder(place, url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=f"looks like the URL {url}"):
        locate(place)
    Path(place).mkdir(parents=True)
    assert locate(place).local_path == tmp_path / place


def test_file_urls_are_unquoted(tmp_path):
    assert locate(f"file://{tmp_path}/a%20b.zarr").parts == locate(tmp_path / "a b.zarr").parts


@pytest.mark.parametrize("io", ["zarr", "tensorstore"])
@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("ndim", [2, 3, 4, 5])
def test_boxes_of_many_chunks_along_every_axis_are_stored(tmp_path, rng, io, sharded, ndim):
    """Chunks whose voxels are contiguous along no axis: with several channels of a volume."""
    shape, chunks = (4, 2, 20, 30, 20)[-ndim:], (2, 2, 5, 10, 10)[-ndim:]
    array = zarr.create_array(
        store=str(tmp_path / "a.zarr"),
        shape=shape,
        chunks=chunks,
        shards=tuple(min(2 * c, n) for c, n in zip(chunks, shape, strict=True))
        if sharded
        else None,
        dtype="uint8",
    )
    values = rng.integers(1, 255, shape).astype("uint8")
    StoredArray(array, io=io).write(tuple(map(slice, shape)), values)
    assert np.array_equal(zarr.open_array(store=str(tmp_path / "a.zarr"))[...], values)


def test_an_array_created_while_it_is_looked_for_is_found():
    looks = []

    class Late(zarr.storage.WrapperStore):
        async def get(self, key, prototype, byte_range=None):
            looks.append(key)
            is_first = len(looks) == 1
            return None if is_first else await super().get(key, prototype, byte_range)

    memory = zarr.storage.MemoryStore()
    zarr.create_array(memory, shape=(4, 4), dtype="u1")
    array = existing_array(locate(Late(memory)))
    assert looks.count("zarr.json") > 1
    assert array.shape == (4, 4)


@pytest.mark.parametrize("kind", ["array", "group"])
def test_a_store_that_cannot_be_seen_read_only(volume, kind):
    """As a ZIP file that was just written, or a store of the user's own."""

    class Plain(zarr.storage.WrapperStore):
        def with_read_only(self, read_only=False):
            raise NotImplementedError

    source, output = Plain(zarr.storage.MemoryStore()), Plain(zarr.storage.MemoryStore())
    group = {"name": "raw"} if kind == "group" else {}
    zarr.create_array(source, data=volume, chunks=(16, 32, 32), **group)
    given = zarr.open_group(source)["raw"] if kind == "group" else source
    daskpatch.predict(
        given, np.negative, output, axes="ZYX", patch_size=32, overlaps=4, progress=False
    )
    assert daskpatch.verify(output, progress=False).ok
    assert np.array_equal(zarr.open_array(output)[...], np.negative(volume.astype("f4")))


BLOSCS = {
    "v3": {"compressors": BloscCodec(cname="lz4", clevel=1)},
    "twice": {"compressors": [BloscCodec(cname="lz4"), BloscCodec(cname="lz4", typesize=1)]},
    "v2": {"zarr_format": 2, "compressors": numcodecs.Blosc("lz4")},
    "v2, filtered": {
        "zarr_format": 2,
        "compressors": numcodecs.Blosc("lz4"),
        "filters": [numcodecs.Delta("<u2")],
    },
    "v2, a filter": {
        "zarr_format": 2,
        "compressors": None,
        "filters": [numcodecs.Blosc("lz4", shuffle=0)],
    },
    "shards": {"compressors": BloscCodec(cname="lz4", clevel=1), "shards": (32, 32)},
}


@pytest.mark.parametrize("layout", BLOSCS)
@pytest.mark.parametrize("left", [0.0, 0.1, 0.5, 0.99])
def test_what_is_cut_off_of_blosc_is_an_error(tmp_path, rng, layout, left):
    # By itself it reads on behind the end, and gives other voxels each time, or a crash.
    values = rng.integers(0, 4000, (64, 64)).astype("<u2")
    array = zarr.create_array(tmp_path / "a.zarr", data=values, chunks=(16, 16), **BLOSCS[layout])
    stored = StoredArray(array, io="zarr", delays=())
    chunk = (slice(32, 48), slice(32, 48))
    (key,) = stored.keys(chunk)
    place = tmp_path / "a.zarr" / key
    content = place.read_bytes()
    if layout == "shards":  # of the inner chunks one is cut off, and the index says so
        index = np.frombuffer(content[-(16 * 4 + 4) : -4], "<u8").copy()
        index[1] = int(index[1] * left)
        told = index.tobytes()
        place.write_bytes(
            content[: -len(told) - 4] + told + crc32c.crc32c(told).to_bytes(4, "little")
        )
    else:
        place.write_bytes(content[: int(len(content) * left)])
    with pytest.raises(Exception, match=r"cut off|buffer|empty|negative|range|bytes"):
        stored.read(chunk)
    with pytest.raises(Exception, match=r"cut off|buffer|empty|negative|range|bytes"):
        stored.read_chunks([chunk])
    np.testing.assert_array_equal(stored.read((slice(0, 16), slice(0, 16))), values[:16, :16])


@pytest.mark.filterwarnings("ignore:Numcodecs codecs are not in:zarr.errors.ZarrUserWarning")
def test_numcodecs_own_blosc_of_v3_is_checked_too(tmp_path, rng):
    values = rng.integers(0, 4000, (32, 32)).astype("<u2")
    blosc = zarr.codecs.numcodecs.Blosc(cname="lz4")
    array = zarr.create_array(tmp_path / "a.zarr", data=values, chunks=(16, 16), compressors=blosc)
    stored = StoredArray(array, io="zarr", delays=())
    np.testing.assert_array_equal(stored.read((slice(0, 32), slice(0, 32))), values)
    place = tmp_path / "a.zarr/c/1/1"
    place.write_bytes(place.read_bytes()[:-20])
    with pytest.raises(ValueError, match="cut off"):
        stored.read((slice(16, 32), slice(16, 32)))


class Flaky(WrapperStore):
    """A store that fails when a key is asked for the first time."""

    asked: ClassVar = set()

    async def get(self, key, prototype, byte_range=None):
        if key not in self.asked:
            self.asked.add(key)
            raise OSError("not now")
        return await self._store.get(key, prototype, byte_range)


def test_an_array_that_came_from_another_process_is_waited_for_and_seen_as_it_is(tmp_path):
    Flaky.asked.clear()
    place = tmp_path / "a.zarr"
    save(place, np.arange(64.0).reshape(8, 8), chunks=(4, 4))
    array = zarr.open_array(LocalStore(place), mode="r")
    shown = zarr.AsyncArray(array.metadata, StorePath(Flaky(array.store), ""))
    sent = pickle.dumps(StoredArray(zarr.Array(shown), delays=(0.01,) * 4))
    whole = (slice(0, 8), slice(0, 8))
    np.testing.assert_array_equal(pickle.loads(sent).read(whole), np.arange(64.0).reshape(8, 8))
    assert {"zarr.json", "c/1/1"} <= Flaky.asked
    Flaky.asked.clear()
    zarr.create_array(place, data=np.ones((8, 8)), chunks=(2, 2), compressors=None, overwrite=True)
    np.testing.assert_array_equal(pickle.loads(sent).read(whole), np.ones((8, 8)))


@pytest.mark.parametrize("io", ["zarr", "tensorstore"])
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_empty_chunks_are_written_where_the_array_says_so(tmp_path, io, zarr_format):
    options = {"shape": (32, 32), "chunks": (16, 16), "dtype": "f4", "fill_value": 5}
    full = np.full((32, 32), 5, "f4")
    for stores_empty in (False, True):
        place = tmp_path / str(stores_empty)
        array = zarr.create_array(
            place,
            **options,
            zarr_format=zarr_format,
            config={"write_empty_chunks": stores_empty},
        )
        stored = StoredArray(array, io=io)
        stored.write((slice(0, 32), slice(0, 32)), full)
        assert [(place / key).exists() for key in stored.keys((slice(0, 32), slice(0, 32)))] == [
            stores_empty
        ] * 4


def test_whoever_resizes_an_array_that_is_read_is_found_out(tmp_path):
    save(tmp_path / "a.zarr", np.zeros((8, 8)), chunks=(4, 4))
    array = zarr.open_array(str(tmp_path / "a.zarr"), mode="r+")
    stored = StoredArray(array)
    array.resize((4, 8))
    assert stored.shape == (8, 8)
    with pytest.raises(ChangedError, match=r"shape was \[8, 8\], is \[4, 8\]"):
        stored.look()


@pytest.mark.parametrize("io", ["zarr", "tensorstore"])
@pytest.mark.parametrize("before", ["gzip", "zstd", "blosc"])
def test_chunks_of_other_codecs_are_those_of_another_array(tmp_path, io, before):
    codec = {"gzip": GzipCodec, "zstd": ZstdCodec, "blosc": BloscCodec}[before]()
    data = np.arange(64.0).reshape(8, 8)
    zarr.create_array(tmp_path / "a.zarr", data=data, chunks=(4, 4), compressors=codec)
    stored = StoredArray(zarr.open_array(str(tmp_path / "a.zarr"), mode="r"), io=io, delays=())
    whole = (slice(0, 8), slice(0, 8))
    stored.read(whole)
    options = {"chunks": (4, 4), "compressors": None, "overwrite": True}
    zarr.create_array(tmp_path / "a.zarr", data=np.ones((8, 8)), **options)
    with pytest.raises(ChangedError, match="made anew"):
        stored.read(whole)
    with pytest.raises(ChangedError, match="made anew"):
        stored.read_chunks([(slice(0, 4), slice(0, 4))])


class Inverted(numcodecs.Blosc):
    """Blosc of bytes that are turned over: a codec of somebody's own."""

    codec_id = "inverted"

    def encode(self, buf):
        return super().encode(~np.ascontiguousarray(buf).reshape(-1).view("u1"))

    def decode(self, buf, out=None):
        values = ~np.frombuffer(super().decode(buf), "u1")
        return values if out is None else numcodecs.compat.ndarray_copy(values, out)


def test_a_kind_of_blosc_that_somebody_wrote_is_used_as_it_is(tmp_path):
    numcodecs.register_codec(Inverted)
    values = np.arange(64, dtype="u2").reshape(8, 8)
    options = {"chunks": (4, 4), "zarr_format": 2, "compressors": Inverted()}
    array = zarr.create_array(tmp_path / "a.zarr", data=values, **options)
    stored = StoredArray(array, io="zarr")
    whole = (slice(0, 8), slice(0, 8))
    np.testing.assert_array_equal(stored.read(whole), values)
    np.testing.assert_array_equal(stored.read_chunks([(slice(0, 4),) * 2])[0], values[:4, :4])
    stored.write(whole, values[::-1].copy())
    np.testing.assert_array_equal(array[...], values[::-1])
