"""Outputs read back: what is named, what is not, and what a repair mends."""

import json
import re
import shutil
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import zarr
from command_line import exit_code
from damage import flip, verified
from example_models import double, gaussian
from volumes import read, save

import daskpatch

TILES = {"patch_size": 16, "overlaps": 4, "chunks": 12, "block_shape": 24}


def predict(source, output, model=gaussian, **options):
    return daskpatch.predict(source, model, output, progress=False, **{**TILES, **options})


@pytest.fixture
def output(stored, tmp_path):
    predict(stored, tmp_path / "out.zarr")
    return tmp_path / "out.zarr"


def chunk_of(output, position):
    return Path(output, "c", *map(str, position))


def block_of(output, position):
    """The block of a chunk: blocks are two chunks wide, the last one may hold more."""
    counts = daskpatch.status(output).block_map().shape
    at = [min(p // 2, n - 1) for p, n in zip(position, counts, strict=True)]
    return int(np.ravel_multi_index(at, counts))


def test_a_good_output_is_good(output):
    found = verified(output)
    assert found.ok
    assert found.bad == ()
    assert found.total == daskpatch.status(output).total
    assert "all" in str(found)


@pytest.mark.parametrize("layout", [{}, {"shards": 24}])
def test_a_flipped_byte_and_a_missing_file_are_named_and_mended(stored, tmp_path, layout):
    output = tmp_path / "out.zarr"
    predict(stored, output, **layout)
    values = read(output)
    unit = 2 if layout else 1
    flipped, removed = (2 // unit, 2 // unit, 0), (0, 0, 2 // unit)
    flip(chunk_of(output, flipped))
    chunk_of(output, removed).unlink()
    bad = [block_of(output, [unit * p for p in place]) for place in (flipped, removed)]
    found = verified(output)
    assert not found.ok
    assert found.bad == tuple(sorted(bad))
    assert found.reasons[bad[0]] in ("corrupt", "changed")
    assert found.reasons[bad[1]] == "missing"
    mended = verified(output, repair=True, model=gaussian)
    assert mended.repaired.done == 2
    assert verified(output).ok
    np.testing.assert_array_equal(read(output), values)


def test_a_repair_of_what_is_opened_for_reading_says_so(output):
    store = zarr.storage.LocalStore(output, read_only=True)
    with pytest.raises(ValueError, match=r"^The output .*out\.zarr is opened read-only"):
        verified(store, repair=True, model=gaussian)
    assert verified(store).ok
    with pytest.raises(ValueError, match="repair is array"):
        verified(output, repair=np.ones(2), model=gaussian)


def test_voxels_that_somebody_changed_are_named(output):
    array = zarr.open_array(str(output), mode="r+")
    array[30, 30, 30] += 1
    found = verified(output)
    assert found.reasons == {block_of(output, (2, 2, 2)): "changed"}


@pytest.mark.parametrize("value", [0.0, -0.0])
@pytest.mark.parametrize("io", ["zarr", "tensorstore"])
def test_blocks_of_fill_value_are_not_missing(stored, tmp_path, value, io):
    output = tmp_path / "out.zarr"

    def model(batch):
        return np.full_like(batch, value)

    predict(stored, output, model, io=io)
    assert verified(output).ok


@pytest.mark.parametrize("fill_value", ["", "zz", "00", "0" * 400])
def test_a_fill_value_in_a_record_that_is_none_is_told_of(output, fill_value):
    path = output / ".daskpatch" / "run.json"
    document = json.loads(path.read_text())
    (placed,) = document["arrays"].values()
    placed["fill_value"] = fill_value
    path.write_text(json.dumps(document))
    with pytest.raises(
        ValueError, match=r"out\.zarr is broken: the fill value in it is '"
    ) as error:
        verified(output)
    assert len(str(error.value)) < 500


def test_blocks_never_written_are_told_from_those_of_fill_value(stored, tmp_path):
    output = tmp_path / "out.zarr"

    def model(batch):
        return 0 * batch

    predict(stored, output, model, region=np.s_[:24, :24, :24])
    found = verified(output)
    assert set(found.reasons.values()) == {"never written"}
    assert found.bad == tuple(range(1, found.total))
    mended = verified(output, repair=True, model=model)
    assert mended.repaired.done == found.total - 1
    assert verified(output).ok


@pytest.mark.parametrize("model", [double, lambda batch: batch])
def test_a_repair_with_another_model_is_refused_before_a_receipt_is_dropped(output, model):
    chunk_of(output, (0, 0, 0)).unlink()
    bad = verified(output).reasons
    with pytest.raises(ValueError, match="model.code changed"):
        verified(output, repair=True, model=model)
    assert verified(output).reasons == bad


def test_a_repair_needs_the_model(output):
    with pytest.raises(ValueError, match="needs the model"):
        verified(output, repair=True)


@pytest.mark.parametrize("opened", [False, True])
def test_a_repair_of_a_source_that_is_in_no_store(volume, tmp_path, opened):
    output = tmp_path / "out.zarr"
    predict(volume, output, axes="ZYX")
    chunk_of(output, (0, 0, 0)).unlink()
    with pytest.raises(ValueError, match="source=…"):
        verified(output, repair=True, model=gaussian)
    source = daskpatch.open_image(volume, axes="ZYX") if opened else volume
    assert verified(output, repair=True, model=gaussian, source=source).repaired.done == 1
    assert verified(output).ok


@pytest.mark.parametrize(
    "options",
    [
        {"axes": "ZYX", "padding": 7.0, "dtype": "uint16"},
        {"axes": "CYX", "channels": [3, 1], "patch_size": (16, 16), "chunks": None},
        {"axes": "TYX", "patch_size": (16, 16), "chunks": (1, 12, 12), "input_dtype": "f8"},
    ],
)
def test_the_record_knows_how_the_source_was_opened(volume, tmp_path, options):
    source, output = tmp_path / "in.zarr", tmp_path / "out.zarr"
    save(source, volume, chunks=(16, 16, 16))
    predict(source, output, **{"block_shape": None, **options})
    values = read(output)
    first = next(path for path in Path(output, "c").rglob("*") if path.is_file())
    first.unlink()
    assert verified(output, repair=True, model=gaussian).repaired.done == 1
    np.testing.assert_array_equal(read(output), values)


def test_a_strategy_of_the_users_own_is_passed_to_the_repair(stored, tmp_path, volume):
    output = tmp_path / "out.zarr"
    tiling = daskpatch.TiledPatching([(1, 1, *volume.shape)], 16, 4)

    class Mine:
        n_patches = tiling.n_patches
        get_patch_spec = staticmethod(tiling.get_patch_spec)
        get_patch_indices = staticmethod(tiling.get_patch_indices)

    predict(stored, output, patching=Mine(), patch_size=None, overlaps=0)
    chunk_of(output, (0, 0, 0)).unlink()
    with pytest.raises(ValueError, match="patching=…"):
        verified(output, repair=True, model=gaussian)
    assert verified(output, repair=True, model=gaussian, patching=Mine()).repaired.done == 1


def test_a_series_is_verified_whole(stored, tmp_path, rng):
    other = rng.integers(0, 999, (20, 30, 40)).astype("uint16")
    save(tmp_path / "b.zarr", other, chunks=(16, 16, 16), dimension_names=["z", "y", "x"])
    output = tmp_path / "out.zarr"
    predict([stored, tmp_path / "b.zarr"], output)
    assert verified(output).ok
    flip(chunk_of(output / "1", (0, 0, 0)))
    found = verified(output)
    first = daskpatch.status(output).block_map(0).size
    assert found.bad == (first,)
    assert verified(output, repair=True, model=gaussian).repaired.done == 1
    assert verified(output).ok
    assert verified(output / "1").ok


@pytest.mark.parametrize("lost", ["0", "0/.daskpatch", "1"])
def test_a_series_goes_on_without_a_member_that_is_lost(stored, tmp_path, lost):
    output = tmp_path / "out.zarr"
    predict([stored, stored], output)
    shutil.rmtree(output / lost)
    with pytest.raises(
        FileNotFoundError, match=f"no record of their own: {lost[0]}.*resume=True computes"
    ):
        daskpatch.status(output)
    if lost.endswith("daskpatch"):
        shutil.rmtree(output / "0")
    kept = "1" if lost[0] == "0" else "0"
    before = chunk_of(output / kept, (0, 0, 0)).stat().st_mtime_ns
    report = predict([stored, stored], output, resume=True)
    assert report.done == report.skipped > 0
    assert chunk_of(output / kept, (0, 0, 0)).stat().st_mtime_ns == before
    assert verified(output).ok


def test_a_member_that_is_a_copy_of_another_is_missing(stored, tmp_path):
    output = tmp_path / "out.zarr"
    predict([stored, stored], output)
    shutil.rmtree(output / "1")
    shutil.copytree(output / "0", output / "1")
    for verb in (daskpatch.status, verified):
        with pytest.raises(FileNotFoundError, match="no record of their own: 1"):
            verb(output)


def test_what_has_no_record_is_refused(stored, tmp_path):
    for verb in (daskpatch.status, daskpatch.verify):
        with pytest.raises(FileNotFoundError, match="no record"):
            verb(stored)


class Armed:
    """A source that, once armed, waits to be let go, and then cannot be read by compute threads."""

    shape, dtype, ndim = (16, 16), np.dtype("f4"), 2

    def __init__(self):
        self.is_armed, self.may_go = False, threading.Event()

    def __getitem__(self, box):
        if self.is_armed and re.match(r"daskpatch-\d", threading.current_thread().name):
            self.may_go.wait(30)
            raise ValueError("a bad plane")
        return np.ones(self.shape, self.dtype)[box]


def two_arrays(batch):
    return {"mean": batch, "spread": batch + 1}


@pytest.mark.parametrize(
    ("options", "is_series"),
    [({}, False), ({"ome": "0.5"}, True), ({"model": two_arrays, "ome": False}, False)],
)
def test_a_run_whose_statistics_are_measured_is_told_of(tmp_path, options, is_series):
    source, out = Armed(), tmp_path / "out.zarr"
    plan = daskpatch.plan(
        [source, source] if is_series else source,
        **{"model": np.negative, "output": out, "normalize": "zscore", **options},
        axes="YX",
        patch_size=16,
        model_id="m",
    )
    source.is_armed = True
    failure = []

    def run():
        with pytest.raises(daskpatch.RunFailed) as failed:
            plan.run(progress=False, retries=0, pacing=daskpatch.Pacing(heartbeat=0.05))
        failure.append(failed)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        found = until(lambda: daskpatch.status(out), lambda status: status.working)
    finally:
        source.may_go.set()
        thread.join()
    assert (found.done, found.total, found.has_begun) == (0, 1, False)
    assert str(found).startswith("the prediction has not begun\nstatistics: 0 of ")
    assert found.working[0].of == "statistics"
    assert found.drivers
    assert failure
    found = daskpatch.status(out)
    assert "nobody works on it" in str(found)
    assert "statistics: block 0 failed: " in str(found)
    assert "a bad plane" in found.to_dict()["failed_of_passes"]["statistics"][0]["error"]
    assert not daskpatch.verify(out, progress=False).ok
    with pytest.raises(ValueError, match="its prediction has not begun.*resume=True"):
        daskpatch.verify(out, progress=False, repair=True, model=np.negative)


def until(look, is_so):
    """What is seen once it is so."""
    for _ in range(300):
        with suppress(FileNotFoundError):
            found = look()
            if is_so(found):
                return found
        time.sleep(0.02)
    raise AssertionError("it never came")


def test_threads_of_a_verification_are_at_least_one(output):
    with pytest.raises(ValueError, match="threads is 0"):
        verified(output, threads=0)


# On the command line


def test_the_commands(stored, tmp_path, capfd):
    output = tmp_path / "out.zarr"
    here = Path(__file__).parent / "example_models.py"
    common = ("--model", f"{here}:gaussian", "--patch-size", 16, "--overlaps", 4, "--chunks", 12)
    assert exit_code("predict", stored, output, *common, "--block-shape", 24, "--part", "1/2") == 0
    assert exit_code("status", output) == 0
    out = capfd.readouterr().out
    assert "remaining" in out
    assert exit_code("status", output, "--json") == 0
    facts = json.loads(capfd.readouterr().out)
    assert facts["done"] + facts["remaining"] == facts["total"]
    assert exit_code("verify", output, "--no-progress") == 1
    assert "never written" in capfd.readouterr().out
    assert exit_code("verify", output, "--repair") == 2
    assert "needs the model" in capfd.readouterr().err
    assert exit_code("verify", output, "--repair", "--model", f"{here}:gaussian") == 0
    assert exit_code("verify", output, "--json") == 0
    assert json.loads(capfd.readouterr().out.splitlines()[-1])["ok"] is True
    assert exit_code("predict", stored, output, *common, "--block-shape", 24, "--resume") == 0
    assert exit_code("predict", stored, output, *common, "--resume", "--overwrite") == 2
    assert exit_code("predict", stored, output, *common, "--part", "3/2") == 2
    assert exit_code("predict", stored, output, *common, "--part", "three") == 2
    assert exit_code("status", stored) == 2
    assert exit_code("status", output, "--watch") == 0


def test_workers_of_its_own(stored, tmp_path, capfd):
    output = tmp_path / "out.zarr"
    here = Path(__file__).parent / "example_models.py"
    common = ("--model", f"{here}:double", "--patch-size", 16, "--chunks", 16)
    assert exit_code("predict", stored, output, *common, "--workers", 2, "--threads", 1) == 0
    err = capfd.readouterr().err
    assert err.count("dashboard at http") == 1
    np.testing.assert_array_equal(read(output), read(stored) * np.float32(2))


@pytest.mark.parametrize("document", ["run.json", "passes/statistics/end.json"])
def test_one_flipped_bit_in_a_document_is_never_silent(tmp_path, stored, document):
    """What it says (a mean, an offset) would go into the voxels of the other blocks."""
    out = tmp_path / "out.zarr"
    options = {"patch_size": 16, "normalize": "zscore", "progress": False, "model_id": "m"}
    daskpatch.predict(stored, np.positive, out, part=(1, 2), **options)
    path = out / ".daskpatch" / document
    content = path.read_bytes()
    expected = tmp_path / "expected.zarr"
    daskpatch.predict(stored, np.positive, expected, **options)
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(content), 25):
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)
        copy = shutil.copytree(out, tmp_path / "copy.zarr")
        with suppress(ValueError):
            daskpatch.predict(stored, np.positive, copy, resume=True, **options)
            # Else it was a bit of the checksum's own name.
            np.testing.assert_array_equal(read(copy), read(expected))
        shutil.rmtree(copy)


def two(batch):
    return {"a": batch * 2, "b": batch + 1}


@pytest.fixture
def images_of_two(tmp_path, stored):
    out = tmp_path / "two.zarr"
    options = {"patch_size": 16, "chunks": 16, "ome": True, "factors": [2], "progress": False}
    daskpatch.predict(stored, two, out, **options)
    return out, lambda: daskpatch.predict(stored, two, out, resume=True, **options)


def test_groups_whose_metadata_are_gone_are_told_and_written_again(images_of_two):
    out, resumed = images_of_two
    assert daskpatch.verify(out, progress=False).ok
    for group in (out / "a", out / "b"):
        (group / "zarr.json").unlink()
        found = daskpatch.verify(out, progress=False)
        assert not found.ok
        assert not found.bad
        assert found.groups == {str(group): "its metadata are gone: resume=True writes them anew"}
        assert str(group) in str(found)
        assert str(group) in found._repr_html_()
        resumed()
        assert daskpatch.verify(out, progress=False).ok


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "are broken"), (bytes(500), "are broken"), (None, "those of an array")],
)
def test_groups_whose_metadata_are_none_are_told(images_of_two, content, reason):
    out, resumed = images_of_two
    document = out / "b" / "zarr.json"
    of_array = (out / "b" / "0" / "zarr.json").read_bytes()
    document.write_bytes(of_array if content is None else content)
    (told,) = daskpatch.verify(out, progress=False).groups.items()
    assert told[0] == str(out / "b")
    assert reason in told[1]
    document.unlink()  # as it says
    resumed()
    assert daskpatch.verify(out, progress=False).ok


@pytest.mark.parametrize("multiscales", [None, [], [{}]])
def test_levels_that_are_listed_nowhere_are_told_and_listed_again(images_of_two, multiscales):
    out, resumed = images_of_two
    group = zarr.open_group(out / "a")
    told = dict(group.attrs["ome"])
    del told["multiscales"]
    group.attrs["ome"] = told if multiscales is None else {**told, "multiscales": multiscales}
    found = daskpatch.verify(out, progress=False)
    assert found.groups.keys() == {str(out / "a")}
    assert "no multiscales" in found.groups[str(out / "a")]
    group.attrs["ome"] = told  # as it says
    resumed()
    assert daskpatch.verify(out, progress=False).ok


@pytest.mark.parametrize("content", ["{}", '{"zarr_format": 3}', '{"zarr_fprmat": 2}'])
@pytest.mark.parametrize("group", ["", "b"])
def test_groups_of_zarr_v2_that_say_none_are_told(tmp_path, stored, content, group):
    """zarr takes them for groups of v3, in which there is nothing."""
    out = tmp_path / "two.zarr"
    options = {"patch_size": 16, "chunks": 16, "ome": "0.4", "factors": [2], "progress": False}
    daskpatch.predict(stored, two, out, **options)
    document = out / group / ".zgroup"
    document.write_text(content)
    (told,) = daskpatch.verify(out, progress=False).groups.items()
    assert told[0] == str(out / group)
    assert "none of Zarr v2" in told[1]
    document.unlink()  # as it says
    daskpatch.predict(stored, two, out, resume=True, **options)
    assert daskpatch.verify(out, progress=False).ok
    assert np.array_equal(zarr.open_group(out, mode="r")["b/0"][:], read(stored) + 1.0)


def test_a_repair_without_its_groups_says_what_is_needed(stored, tmp_path):
    out = tmp_path / "out.zarr"
    predict(stored, out, ome=True, factors=[2])
    (out / "zarr.json").unlink()
    with pytest.raises(ValueError, match="its metadata are gone: resume=True writes them anew"):
        daskpatch.verify(out, repair=True, model=gaussian, progress=False)
    predict(stored, out, ome=True, factors=[2], resume=True)
    assert daskpatch.verify(out, repair=True, model=gaussian, progress=False).ok


@pytest.mark.parametrize("name", ["zarr.json", "0/zarr.json"])
def test_a_folder_in_the_place_of_metadata_is_told(stored, tmp_path, name):
    out = tmp_path / "out.zarr"
    predict(stored, out, ome=True)
    (out / name).unlink()
    (out / name).mkdir()
    with pytest.raises(FileExistsError, match=f"{name} is a folder, where that file has its"):
        predict(stored, out, ome=True, resume=True)
    (out / name).rmdir()  # as it says
    predict(stored, out, ome=True, resume=True)
    assert daskpatch.verify(out, progress=False).ok


def test_a_chunk_that_links_to_itself_is_bad_at_once(output):
    chunk = chunk_of(output, (0, 0, 0))
    chunk.unlink()
    chunk.symlink_to(chunk)
    begin = time.monotonic()
    assert daskpatch.verify(output, progress=False).bad == (0,)
    assert time.monotonic() - begin < 20  # what fails for a while is waited for


def test_levels_that_are_named_and_not_there_are_told(images_of_two):
    out, _ = images_of_two
    document = out / "a" / "zarr.json"
    document.write_text(document.read_text().replace('"path": "1"', '"path": "7"'))
    found = daskpatch.verify(out, progress=False)
    assert found.groups == {str(out / "a"): "its multiscales name 7, which is not there"}
