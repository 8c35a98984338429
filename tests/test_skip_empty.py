"""What is empty is not given to the model, and the output is the same."""

import os
import shutil
from collections import Counter

import numpy as np
import pytest
import zarr
from command_line import exit_code
from example_models import double, gaussian
from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper
from fsspec.implementations.local import LocalFileSystem
from hypothesis import given, settings
from hypothesis import strategies as st
from serving import served
from volumes import read, save
from zarr.storage import FsspecStore, LocalStore, MemoryStore, WrapperStore

import daskpatch
from daskpatch.store import ChangedError, StoredArray, occupancy_of
from daskpatch.verification import overview

TILES = {"patch_size": 16, "overlaps": 4, "chunks": 12, "block_shape": 24}


def uneven(batch):
    """No zero of nothing, and another one at each place of a tile."""
    place = np.arange(batch.shape[-1], dtype="f4") % 4
    return 2 * batch + np.roll(batch, 1, -1) + place + 1


def finer(batch):
    return uneven(batch).repeat(2, -1).repeat(2, -2)


def without_margin(batch):
    return uneven(batch)[..., 2:-2, 2:-2]


def zero_padded(batch):
    """A convolution that sees zeros around its tile, as networks do."""
    padded = np.pad(batch, [(0, 0), (0, 0)] + [(1, 1)] * (batch.ndim - 2))
    inner = (slice(None),) * (batch.ndim - 1)
    return padded[(*inner[:-1], slice(1, -1), slice(2, None))] + 1 if batch.ndim == 4 else batch + 1


def integers(batch):
    return (batch > 3).astype("uint8") + 1


def even(batch):
    """One value of nothing, another in each channel: blocks are filled at once."""
    return np.concatenate([2.5 * batch[:, :1] - 3, batch[:, :1] + 300], axis=1)


def nothing_in(voxels):
    return not voxels.any()


def sparse(shape, n_boxes, rng, empty, dtype):
    values = np.full(shape, empty, dtype)
    for _ in range(n_boxes):
        start = [int(rng.integers(0, n)) for n in shape]
        box = tuple(slice(a, a + int(rng.integers(1, 20))) for a in start)
        values[box] = rng.integers(1, 200, values[box].shape)
    return values


def _halved(values):
    return values / 2


MODELS = {
    uneven: {},
    finer: {"align": 2},
    without_margin: {"scale": 1, "margin": (2, 2)},
    zero_padded: {},
    integers: {"dtype": "uint8"},
    even: {"dtype": "uint8", "post": _halved},
}


@settings(max_examples=15, deadline=None)
@given(
    axes=st.sampled_from(["YX", "ZYX", "TYX", "CYX", "XTY"]),
    model=st.sampled_from(list(MODELS)),
    padding=st.sampled_from(["reflect", "edge", 0, 9]),
    stitch=st.sampled_from(["crop", "gaussian"]),
    normalize=st.sampled_from([None, "zscore", {"low": 1, "high": 90}]),
    skip=st.sampled_from([True, "value", nothing_in]),
    empty=st.sampled_from([0, 7]),
    fill_value=st.sampled_from([0, 7]),
    zarr_format=st.sampled_from([2, 3]),
    n_boxes=st.integers(0, 3),
    seed=st.integers(0, 2**16),
)
def test_the_output_is_the_same(
    axes, model, padding, stitch, normalize, skip, empty, fill_value, zarr_format, n_boxes, seed
):
    rng = np.random.default_rng(seed)
    sizes = {"T": 3, "C": 2, "Z": 9}
    shape = tuple(sizes.get(axis) or int(rng.integers(20, 70)) for axis in axes)
    values = sparse(shape, n_boxes, rng, empty, "uint8")
    if skip is nothing_in and fill_value:
        values[values == 0] = 1  # what it calls empty is what nothing is stored of
        skip = _is_seven
    store = MemoryStore()
    array = zarr.create_array(
        store,
        shape=shape,
        chunks=tuple(min(n, 10) for n in shape),
        dtype="uint8",
        fill_value=fill_value,
        zarr_format=zarr_format,
    )
    array[...] = values
    options = {
        "axes": axes,
        "patch_size": (16, 16),
        "overlaps": 4,
        "align": 2,
        "padding": padding,
        "stitch": stitch,
        "normalize": normalize,
        "progress": False,
        **MODELS[model],
    }
    if "C" in axes and normalize == {"low": 1, "high": 90}:
        options["normalize"] = None
    results = []
    for chosen in (None, empty if skip == "value" else skip):
        out = MemoryStore()
        report = daskpatch.predict(array, model, out, skip_empty=chosen, **options)
        results.append((zarr.open_array(out)[...], report))
    (whole, plain), (skipped, report) = results
    np.testing.assert_array_equal(skipped, whole)
    assert report.blocks == plain.blocks
    assert report.tiles <= plain.tiles
    if n_boxes == 0 and (skip == "value" or empty == fill_value):
        assert report.empty == report.blocks
        assert report.tiles == 0


def _is_seven(voxels):
    return bool((voxels == 7).all())


class Requests(WrapperStore):
    """Counts requests by key; copies of it count together."""

    keys = Counter()

    async def get(self, key, *args, **kwargs):
        self.keys[key] += 1
        return await super().get(key, *args, **kwargs)


@pytest.fixture
def source(tmp_path):
    """96 x 96, something in the first chunk and in one in the middle."""
    values = np.zeros((96, 96), "uint16")
    values[:5, :5] = 50
    values[50:60, 40:52] = np.arange(120).reshape(10, 12) + 1
    save(tmp_path / "in.zarr", values, chunks=(12, 12), dimension_names=["y", "x"])
    return tmp_path / "in.zarr"


class Counted:
    """Counts its calls; as a handle, not told by the count."""

    def __init__(self):
        self.tiles = 0

    def __call__(self, batch):
        self.tiles += len(batch)
        return batch + 1


def test_what_is_not_stored_is_neither_read_nor_computed(source, tmp_path):
    Requests.keys.clear()
    store = Requests(LocalStore(tmp_path / "empty.zarr"))
    array = zarr.create_array(store, shape=(96, 96), chunks=(12, 12), dtype="uint16")
    calls = Counted()
    plan = daskpatch.plan(
        array, calls, tmp_path / "out.zarr", axes="YX", skip_empty=True, model_id="one", **TILES
    )
    before, planned = calls.tiles, Requests.keys.copy()
    report = plan.run(progress=False, threads=1)
    chunks = {key for key in Requests.keys - planned if "zarr.json" not in key}
    # But those that tell the source from others, once before and once after, and those of the tile
    # that the plan saw; absent ones twice.
    assert sum(Requests.keys[key] - planned[key] for key in chunks) <= 2 * (2 * 64 + 9)
    assert report.bytes_read == report.absent_chunks == report.tiles == 0
    assert report.empty == report.blocks == 16
    assert calls.tiles == before + 1  # what stands for all
    assert (read(tmp_path / "out.zarr") == 1).all()


class Writes(WrapperStore):
    """Keeps the keys of chunks in the order in which they are written."""

    keys: list[str] = []

    async def set(self, key, *args, **kwargs):
        self.keys.append(key)
        await super().set(key, *args, **kwargs)


@pytest.mark.parametrize("kind", ["not stored", "masked"])
def test_blocks_in_which_something_is_are_computed_first(tmp_path, kind):
    """The last one that takes long would run alone, after all that take no time."""
    values = np.zeros((96, 96), "uint16")
    values[86:90, 86:90] = 1
    array = save(tmp_path / "in.zarr", values, chunks=(12, 12))
    options = {"skip_empty": True} if kind == "not stored" else {"mask": values, "fill": 3}
    Writes.keys.clear()
    out = zarr.create_array(
        Writes(MemoryStore()), shape=(96, 96), chunks=(24, 24), dtype="float32", fill_value=7
    )
    tiles = {"patch_size": 16, "overlaps": 4, "block_shape": 24}
    plan = daskpatch.plan(array, double, out, axes="YX", **tiles, **options)
    report = plan.run(progress=False, threads=1)
    assert (report.blocks, report.empty) == (16, 15)
    written = [key for key in Writes.keys if key.startswith("c/")]
    assert written[0] == "c/3/3"
    assert len(written) == 16


def test_receipts_status_and_report_tell_what_was_empty(source, tmp_path):
    out = tmp_path / "out.zarr"
    report = daskpatch.predict(source, double, out, skip_empty=True, progress=False, **TILES)
    assert (report.blocks, report.empty, report.skipped) == (16, 13, 0)
    assert "13 blocks were empty" in str(report)
    status = daskpatch.status(out)
    assert (status.done, status.empty) == (16, 13)
    assert "16 of 16 blocks done (13 empty)" in str(status)
    states = status.block_map()
    assert np.count_nonzero(states == overview.EMPTY) == 13
    assert states[0, 0] == states[2, 1] == overview.DONE
    assert status.to_dict()["empty"] == 13
    again = daskpatch.predict(
        source, double, out, skip_empty=True, resume=True, progress=False, **TILES
    )
    assert (again.blocks, again.empty, again.skipped) == (0, 0, 16)


@pytest.mark.parametrize(("skip", "made"), [(7, 8), (_is_seven, 1)])
def test_blocks_that_are_empty_by_their_voxels_are_not_computed(tmp_path, skip, made):
    """By a function they are what the model makes of nothing."""
    values = np.full((96, 96), 7, "uint8")
    values[50, 50] = 9
    calls = Counted()
    options = {"axes": "YX", "model_id": "one", **TILES}
    plan = daskpatch.plan(values, calls, tmp_path / "out.zarr", skip_empty=skip, **options)
    before = calls.tiles
    report = plan.run(progress=False, threads=1)
    assert report.empty == 15
    assert calls.tiles - before == report.tiles + 1 == 5  # and what stands for all
    expected = np.full((96, 96), made, "f4")
    expected[48:72, 48:72] = values[48:72, 48:72] + 1
    np.testing.assert_array_equal(read(tmp_path / "out.zarr"), expected)


def test_a_damaged_empty_block_is_found_and_written_again(source, tmp_path):
    out = tmp_path / "out.zarr"
    for skip in (True, 0, nothing_in):
        daskpatch.predict(
            source, uneven, out, skip_empty=skip, overwrite=True, progress=False, **TILES
        )
        before = read(out)
        zarr.open_array(out)[80:90, 80:90] = 77
        found = daskpatch.verify(out, progress=False)
        assert found.bad == (15,)
        fixed = daskpatch.verify(
            out,
            repair=True,
            model=uneven,
            skip_empty=skip if skip is nothing_in else None,
            progress=False,
        )
        assert fixed.repaired.empty == 1
        np.testing.assert_array_equal(read(out), before)


def test_a_repair_needs_the_function(source, tmp_path):
    out = tmp_path / "out.zarr"
    daskpatch.predict(source, double, out, skip_empty=nothing_in, progress=False, **TILES)
    with pytest.raises(ValueError, match="skip_empty"):
        daskpatch.verify(out, repair=True, model=double, progress=False)


@pytest.mark.parametrize("other", [None, True, 3, _is_seven])
def test_another_skip_empty_is_no_resume(source, tmp_path, other):
    out = tmp_path / "out.zarr"
    daskpatch.predict(source, double, out, skip_empty=nothing_in, progress=False, **TILES)
    with pytest.raises(ValueError, match="skip_empty"):
        daskpatch.predict(
            source, double, out, skip_empty=other, resume=True, progress=False, **TILES
        )


def test_the_same_skip_empty_is_resumed(source, tmp_path):
    out = tmp_path / "out.zarr"
    for skip in (True, 0, nothing_in):
        plan = daskpatch.plan(source, double, out, skip_empty=skip, overwrite=True, **TILES)
        plan.run(progress=False, region=(slice(0, 30), slice(0, 30)))
        report = daskpatch.predict(
            source, double, out, skip_empty=skip, resume=True, progress=False, **TILES
        )
        assert report.skipped == 4
        assert (read(out) == 2 * read(source)).all()


def test_parts_share_what_was_listed(source, tmp_path):
    out = tmp_path / "out.zarr"
    reports = [
        daskpatch.predict(
            source, double, out, skip_empty=True, part=(i, 3), progress=False, **TILES
        )
        for i in (1, 2, 3)
    ]
    assert sum(report.empty for report in reports) == 13
    assert (read(out) == 2 * read(source)).all()


def test_a_chunk_that_goes_away_is_not_taken_for_empty(source, tmp_path):
    def spiteful(batch):
        if (tmp_path / "out.zarr").exists():
            (source / "c" / "4" / "4").unlink(missing_ok=True)
        return batch

    plan = daskpatch.plan(source, spiteful, tmp_path / "out.zarr", skip_empty=True, **TILES)
    with pytest.raises(daskpatch.RunFailed, match="no chunk c/4/4 any more"):
        plan.run(progress=False, threads=1)


def test_chunks_on_another_disk_are_there(source, tmp_path):
    expected = 2 * read(source)
    shutil.move(source / "c" / "0", tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", source / "c" / "0")
    out = tmp_path / "out.zarr"
    daskpatch.predict(source, double, out, skip_empty=True, progress=False, **TILES)
    assert (read(out) == expected).all()
    shutil.move(tmp_path / "elsewhere", tmp_path / "unmounted")
    with pytest.raises(OSError, match="which is not there"):
        daskpatch.predict(
            source, double, tmp_path / "b.zarr", skip_empty=True, progress=False, **TILES,
            pacing=daskpatch.Pacing(delays=()),
        )  # fmt: skip


def test_a_source_that_goes_away_before_it_is_listed_is_missed(source, tmp_path):
    plan = daskpatch.plan(source, double, tmp_path / "out.zarr", skip_empty=True, **TILES)
    shutil.rmtree(source)
    with pytest.raises(ChangedError):
        plan.run(progress=False, pacing=daskpatch.Pacing(delays=()))
    assert not (tmp_path / "out.zarr" / "zarr.json").exists()


def test_a_web_server_lists_nothing_and_reading_shows_it(source, tmp_path):
    with served(tmp_path) as address:
        url = f"http://{address}/in.zarr"
        plan = daskpatch.plan(url, uneven, tmp_path / "out.zarr", skip_empty=True, **TILES)
        report = plan.run(progress=False)
    assert report.empty == 13
    assert report.absent_chunks > 0
    assert f"found as they are read: {url} cannot be listed" in str(plan)
    daskpatch.predict(source, uneven, tmp_path / "whole.zarr", progress=False, **TILES)
    np.testing.assert_array_equal(read(tmp_path / "out.zarr"), read(tmp_path / "whole.zarr"))


class KeepsListings(LocalFileSystem):
    """Lists once, as file systems of servers do."""

    protocol = "far"
    listed = None

    def find(self, path, *args, **kwargs):
        if self.listed is None:
            self.listed = super().find(path, *args, **kwargs)
        return self.listed

    def invalidate_cache(self, path=None):
        self.listed = None


def test_what_was_stored_since_the_last_listing_is_seen(tmp_path):
    store = FsspecStore(
        AsyncFileSystemWrapper(KeepsListings(auto_mkdir=True), asynchronous=True),
        path=str(tmp_path / "in.zarr"),
    )
    array = zarr.create_array(store, shape=(48, 48), chunks=(12, 12), dtype="u1")
    for filled in ((0, 0), (40, 40)):
        zarr.open_array(tmp_path / "in.zarr")[filled] = 9  # as another process would
        found = occupancy_of(StoredArray(array))
        assert found.cells[tuple(i // 12 for i in filled)]


def test_worker_processes_skip_alike(source, tmp_path, processes):
    out = tmp_path / "out.zarr"
    report = daskpatch.predict(
        source, double, out, skip_empty=True, client=processes, progress=False, **TILES
    )
    assert report.empty == 13
    assert (read(out) == 2 * read(source)).all()


def test_levels_shards_series_and_several_arrays(tmp_path, source):
    def two(batch):
        return {"one": batch + 1, "two": batch.repeat(2, 1)}

    sharded = tmp_path / "sharded.zarr"
    array = zarr.create_array(sharded, shape=(96, 96), chunks=(6, 6), shards=(12, 12), dtype="u2")
    array[...] = read(source)
    options = {"axes": "YX", "ome": True, "pyramid": 2, "progress": False, **TILES}
    for name, skip in (("a.zarr", None), ("b.zarr", True)):
        daskpatch.predict([source, sharded], two, tmp_path / name, skip_empty=skip, **options)
    for place in ("0/one/0", "0/one/2", "0/two/1", "1/one/1", "1/two/2"):
        np.testing.assert_array_equal(
            read(tmp_path / "a.zarr" / place), read(tmp_path / "b.zarr" / place)
        )
    assert daskpatch.status(tmp_path / "b.zarr").empty == 26
    assert daskpatch.verify(tmp_path / "b.zarr", progress=False).ok


def test_what_comes_after_the_model_is_applied(source, tmp_path):
    options = {"post": lambda block: block + 0.5, "normalize": "zscore", "denormalize": True}
    results = []
    for skip in (None, 0):
        out = MemoryStore()
        daskpatch.predict(
            source, gaussian, out, skip_empty=skip, progress=False, **TILES, **options
        )
        results.append(zarr.open_array(out)[...])
    np.testing.assert_array_equal(*results)


def test_the_lazy_array_is_the_same(source):
    plan = daskpatch.plan(source, uneven, skip_empty=0, **TILES)
    whole = daskpatch.plan(source, uneven, **TILES)
    np.testing.assert_array_equal(plan.array.compute(), whole.array.compute())
    assert "not for blocks that are empty" in str(plan)


@pytest.mark.parametrize(
    ("skip", "words"),
    [
        (300_000, "holds no such value"),
        (0.5, "holds no such value"),
        (-1, "holds no such value"),
        ("no_such.py:it", "no_such.py"),
        ({"a": 1}, "skip_empty"),
    ],
)
def test_what_is_no_emptiness_is_refused(source, tmp_path, skip, words):
    with pytest.raises((ValueError, TypeError, FileNotFoundError), match=words):
        daskpatch.plan(source, double, tmp_path / "out.zarr", skip_empty=skip, **TILES)
    assert not (tmp_path / "out.zarr").exists()


@pytest.mark.parametrize("said", [lambda v: v > 3, lambda v: "no", lambda v: 1 / 0])
def test_a_function_that_gives_no_truth_is_refused(source, tmp_path, said):
    with pytest.raises(ValueError, match="skip_empty, .*lambda"):
        daskpatch.plan(source, double, tmp_path / "out.zarr", skip_empty=said, **TILES)
    assert not (tmp_path / "out.zarr").exists()


def test_a_function_may_not_change_what_it_is_shown(source, tmp_path):
    def spoils(voxels):
        voxels[...] = 0
        return False

    with pytest.raises(ValueError, match="read-only"):
        daskpatch.plan(source, double, tmp_path / "out.zarr", skip_empty=spoils, **TILES)


def test_a_source_that_lacks_nothing_is_warned_of(tmp_path):
    with pytest.warns(UserWarning, match="nothing of it is skipped"):
        daskpatch.plan(np.zeros((48, 48)), double, axes="YX", skip_empty=True, patch_size=16)


def test_nan_is_a_value_and_one_and_true_are_two():
    values = np.full((48, 48), np.nan, "f4")
    values[:16, :16] = 1
    for skip, n_empty in ((np.nan, 3), (1, 0)):
        report = daskpatch.predict(
            values, double, MemoryStore(), axes="YX", patch_size=16, block_shape=24, chunks=24,
            skip_empty=skip, progress=False,
        )  # fmt: skip
        assert report.empty == n_empty
    assert daskpatch.Output(skip_empty=1).skip_empty is not True
    assert daskpatch.Output(skip_empty=np.bool_(True)).skip_empty is True
    assert daskpatch.Output(skip_empty=False) == daskpatch.Output()


def test_floats_have_integers_of_any_length_that_floats_reach():
    values = np.zeros((48, 48), "f4")
    values[:24] = 2.0**70
    words = {"axes": "YX", "patch_size": 24, "block_shape": 24, "chunks": 24, "progress": False}
    report = daskpatch.predict(values, double, MemoryStore(), skip_empty=2**70, **words)
    assert report.empty == 2
    with pytest.raises(ValueError, match=r"skip_empty is 1000.*holds no such value"):
        daskpatch.predict(values, double, MemoryStore(), skip_empty=10**400, **words)


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (["--skip-empty"], 0, "13 blocks were empty"),
        (["--skip-empty", "0"], 0, "13 blocks were empty"),
        (["--skip-empty", "dark"], 2, "'dark' is no number"),
    ],
)
def test_from_the_command_line(source, tmp_path, capsys, flags, code, words):
    tiles = ["--patch-size", "16", "--overlaps", "4", "--chunks", "12", "--block-shape", "24"]
    places = [str(source), str(tmp_path / "out.zarr"), "--model", "example_models:double"]
    assert exit_code("predict", *places, *tiles, "--no-progress", *flags) == code
    told = capsys.readouterr()
    assert words in told.out + told.err


@settings(max_examples=80, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 40)] * 2),
    chunks=st.tuples(*[st.integers(1, 9)] * 2),
    most=st.integers(1, 40),
    n_stored=st.integers(0, 6),
    seed=st.integers(0, 2**16),
)
def test_a_listing_of_any_size_never_misses_a_chunk(shape, chunks, most, n_stored, seed):
    rng = np.random.default_rng(seed)
    array = zarr.create_array({}, shape=shape, chunks=chunks, dtype="u1")
    there = np.zeros(shape, bool)
    for _ in range(n_stored):
        at = tuple(int(rng.integers(0, n)) for n in shape)
        array[at] = 1
        unit = tuple(slice(i // c * c, (i // c + 1) * c) for i, c in zip(at, chunks, strict=True))
        there[unit] = True
    occupancy = occupancy_of(StoredArray(array), most)
    occupancy = type(occupancy).of_bytes(occupancy.encoded())
    assert occupancy.cells.size <= most or occupancy.cells.size == 1
    for _ in range(20):
        start = tuple(int(rng.integers(0, n)) for n in shape)
        box = tuple(
            slice(a, int(rng.integers(a, n)) + 1) for a, n in zip(start, shape, strict=True)
        )
        if most >= 40 * 40 or all(n == 1 for n in occupancy.units_per_cell):
            rounded = tuple(
                slice(s.start // c * c, -(-s.stop // c) * c)
                for s, c in zip(box, chunks, strict=True)
            )
            assert occupancy.is_any_in(box) == there[rounded].any()
        elif there[box].any():
            assert occupancy.is_any_in(box)
