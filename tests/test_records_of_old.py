"""Runs that daskpatch 0.1.0 left half done: seen, finished, verified and mended by this version.

What they are, and how they were made: `records/make.py`.
"""

import functools
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr
from damage import flip, verified
from folders import contents
from records.make import CASES, PLACEHOLDER, plan, source_names
from records.models import dimmed, smooth

import daskpatch
from daskpatch.model.former import identity_of_value

RECORDS = Path(__file__).parent / "records"

BLOCKS = {
    "array": (8, 16),
    "series": (8, 18),
    "outputs": (8, 16),
    "normalised": (8, 16),
    "treated": (6, 12),
    "existing": (8, 16),
    "finished": (16, 16),
}
"""How many were done, of how many."""

every_case = pytest.mark.parametrize("case", CASES)
look = pytest.mark.parametrize(
    "look",
    [daskpatch.status, lambda output: daskpatch.verify(output, progress=False)],
    ids=["status", "verify"],
)


def copied(case, tmp_path):
    """The folder of a case, whose records say that it is where it is."""
    folder = tmp_path / case
    shutil.copytree(RECORDS / case, folder)
    for path in folder.rglob("*.json"):
        path.write_text(path.read_text().replace(PLACEHOLDER, tmp_path.as_posix()))
    return folder


def documents(output):
    """The run documents of an output, byte by byte."""
    found = {path: path.read_bytes() for path in output.rglob(".daskpatch/run.json")}
    assert found
    return found


def values(output):
    """Dtype and bytes of an array, or of those of a group, by name."""
    node = zarr.open(store=str(output), mode="r")
    arrays = [("", node)] if isinstance(node, zarr.Array) else node.members(max_depth=None)
    return {
        name: (array.dtype, array[...].tobytes())
        for name, array in arrays
        if isinstance(array, zarr.Array)
    }


def run(planned, **options):
    return planned.run(progress=False, **options)


# What they say


@every_case
def test_records_name_no_place_on_the_machine_that_made_them(case):
    urls = [
        url
        for path in (RECORDS / case).rglob("*.json")
        for url in re.findall(r"file://[^\"]*", path.read_text())
    ]
    assert urls
    assert all(url.startswith(f"file://{PLACEHOLDER}/{case}/source") for url in urls)


@every_case
def test_nobody_claims_them(case):
    assert not list((RECORDS / case).rglob("claims/*"))


@every_case
def test_status_counts_what_was_done(case, tmp_path):
    found = daskpatch.status(copied(case, tmp_path) / "output.zarr")
    done, total = BLOCKS[case]
    assert (found.done, found.failed, found.remaining) == (done, 0, total - done)
    assert found.drivers == ()
    assert found.voxels_per_second > 0
    maps = [found.block_map(i) for i in range(len(source_names(case)))]
    assert sum(int((states == 1).sum()) for states in maps) == done
    assert sum(states.size for states in maps) == total


@every_case
def test_verify_names_only_what_was_never_written(case, tmp_path):
    found = verified(copied(case, tmp_path) / "output.zarr")
    done, total = BLOCKS[case]
    assert len(found.bad) == total - done
    assert set(found.reasons.values()) <= {"never written"}


@look
@every_case
def test_looking_changes_nothing(case, look, tmp_path):
    folder = copied(case, tmp_path)
    before = contents(folder)
    look(folder / "output.zarr")
    assert contents(folder) == before


# Going on


@every_case
def test_a_resumed_run_goes_on_and_gives_what_a_new_one_gives(case, tmp_path):
    folder = copied(case, tmp_path)
    output, (done, total) = folder / "output.zarr", BLOCKS[case]
    before = documents(output)
    report = run(plan(case, folder), resume=True)
    assert (report.skipped, report.done) == (done, total - done)
    run(plan(case, folder, output="new.zarr"))
    assert values(output) == values(folder / "new.zarr")
    assert documents(output) == before
    assert all(json.loads(document)["format"] == 1 for document in before.values())
    assert verified(output).ok
    assert run(plan(case, folder), resume=True).skipped == total


@pytest.mark.parametrize("case", ["array", "series", "outputs", "normalised", "treated"])
def test_a_resumed_run_takes_the_layout_of_the_old_one(case, tmp_path):
    folder = copied(case, tmp_path)
    free = {"chunks": None, "shards": None, "block_shape": None}
    report = run(plan(case, folder, **free), resume=True)
    assert report.skipped == BLOCKS[case][0]
    assert verified(folder / "output.zarr").ok


def test_the_parts_of_a_new_run_skip_what_was_done(tmp_path):
    folder = copied("array", tmp_path)
    reports = [run(plan("array", folder), part=(i, 3)) for i in (1, 2, 3)]
    done, total = BLOCKS["array"]
    assert sum(report.skipped for report in reports) == done
    assert sum(report.done for report in reports) == total - done
    assert verified(folder / "output.zarr").ok


def test_an_old_run_is_overwritten_if_that_is_said(tmp_path):
    folder = copied("series", tmp_path)
    report = run(plan("series", folder, overwrite=True))
    assert (report.skipped, report.done) == (0, BLOCKS["series"][1])
    assert verified(folder / "output.zarr").ok


# Models that were told by one digest, of what they held before their first call


class FillsItself:
    """Counts its calls, and makes a table when it is needed first."""

    def __init__(self):
        self.n_calls = 0

    @functools.cached_property
    def table(self):
        return np.zeros(3, "float32")

    def __call__(self, batch):
        self.n_calls += 1
        return smooth(batch) + self.table[0]

    def in_a_lambda(self):
        return lambda batch: self(batch)


@pytest.mark.parametrize("way", [FillsItself.__call__, FillsItself.in_a_lambda, functools.partial])
def test_objects_that_a_call_changes_are_known_by_what_they_held_before_it(way, tmp_path):
    def model():
        made = FillsItself()
        if way is FillsItself.__call__:
            return made
        return way(made)

    folder = copied("array", tmp_path)
    ((path, document),) = documents(folder / "output.zarr").items()
    recorded = json.loads(document)
    recorded["fingerprint"]["model"] = identity_of_value(model())
    path.write_text(json.dumps(recorded))
    other = model()
    other(np.ones((1, 1, 8, 8, 8)))
    with pytest.raises(ValueError, match="model changed"):
        run(plan("array", folder, model=other, model_id=None), resume=True)
    report = run(plan("array", folder, model=model(), model_id=None), resume=True)
    assert report.skipped == BLOCKS["array"][0]


# Statistics


def test_statistics_are_those_of_the_record(tmp_path):
    folder = copied("normalised", tmp_path)
    (document,) = documents(folder / "output.zarr").values()
    planned = plan("normalised", folder)
    run(planned, resume=True)
    (statistics,) = planned.statistics
    assert json.loads(json.dumps(statistics.to_dict())) == json.loads(document)["statistics"]


def test_statistics_are_not_measured_again(tmp_path):
    folder = copied("normalised", tmp_path)
    ((path, document),) = documents(folder / "output.zarr").items()
    recorded = json.loads(document)
    recorded["statistics"]["offset"] = [20.25]  # no measurement would give it
    path.write_text(json.dumps(recorded))
    planned = plan("normalised", folder)
    run(planned, resume=True)
    assert planned.statistics[0].offset == (20.25,)


# What must not be resumed


def other_voxels(folder):
    array = zarr.open_array(store=str(folder / "source.zarr"), mode="r+")
    array[20, 20, 20] += 1
    return {}


def other_place(folder):
    shutil.copytree(folder / "source.zarr", folder / "other.zarr")
    return {"source": folder / "other.zarr"}


def brighter(block):
    return block * 2


@pytest.mark.parametrize(
    ("case", "changes", "field"),
    [
        ("array", other_voxels, "source.content changed"),
        ("array", other_place, "source.where was"),
        pytest.param(
            "array",
            {"axes": "YZX"},
            "source.axes was",
            marks=pytest.mark.filterwarnings("ignore:axes is 'YZX'"),
        ),
        ("array", {"padding": "edge"}, "source.padding was"),
        ("array", {"patch_size": 20}, "tiling.patch_size was (16, 16, 16) and is (20, 20, 20)"),
        ("array", {"overlaps": 8}, "tiling.overlaps was (4, 4, 4) and is (8, 8, 8)"),
        ("array", {"align": 1}, "tiling.align was (2, 2, 2) and is (1, 1, 1)"),
        ("array", {"model_id": "2"}, "model was 'model_id 1' and is 'model_id 2'"),
        ("array", {"input_dtype": "float64"}, "input_dtype was"),
        ("array", {"dtype": "float64"}, "output.dtype was"),
        ("array", {"chunks": 6}, "layout.chunks was (12, 12, 12) and is (6, 6, 6)"),
        ("array", {"block_shape": 24}, "layout.block_shape was"),
        ("array", {"normalize": "zscore"}, "treatment.normalize was not given"),
        ("series", {"patch_size": 20}, "tiling.patch_size was (16, 16) and is (20, 20)"),
        ("series", {"model_id": "2"}, "model was"),
        ("outputs", {"patch_size": 20}, "tiling.patch_size was"),
        ("outputs", {"dtype": {"mask": "uint16"}}, "output.mask.dtype was"),
        ("normalised", {"normalize": "minmax"}, "treatment.normalize.kind was"),
        ("normalised", {"denormalize": False}, "treatment.denormalize was True"),
        ("normalised", {"shards": 24, "block_shape": 24}, "layout.shards was"),
        ("treated", {"stitch": "linear"}, "treatment.stitch was 'gaussian' and is 'linear'"),
        ("treated", {"augment": "rot90"}, "treatment.augment was"),
        ("treated", {"post": brighter}, "treatment.post was"),
        ("treated", {"dtype": "int16"}, "output.dtype was"),
        ("existing", {"model_id": "2"}, "model was"),
        ("finished", {"model_id": "2"}, "model was"),
    ],
)
def test_what_changed_is_named_and_refused(case, changes, field, tmp_path):
    folder = copied(case, tmp_path)
    changes = changes(folder) if callable(changes) else changes
    output = folder / "output.zarr"
    before, voxels = documents(output), values(output)
    with pytest.raises(ValueError, match="cannot be resumed") as refusal:
        run(plan(case, folder, **changes), resume=True)
    assert field in str(refusal.value)
    assert documents(output) == before
    assert values(output) == voxels


# Repairs


@every_case
def test_a_repair_needs_nothing_but_the_record_and_the_code(case, tmp_path):
    folder = copied(case, tmp_path)
    output, (done, total) = folder / "output.zarr", BLOCKS[case]
    run(plan(case, folder, output="new.zarr"))
    post = dimmed if case == "treated" else None
    found = verified(output, repair=True, model=CASES[case][0], model_id="1", post=post)
    assert len(found.bad) == total - done
    assert verified(output).ok
    assert values(output) == values(folder / "new.zarr")


@pytest.mark.parametrize("damage", [flip, Path.unlink])
def test_damage_is_found_and_mended(damage, tmp_path):
    output = copied("finished", tmp_path) / "output.zarr"
    assert verified(output).ok
    voxels = values(output)
    damage(output / "c" / "0" / "0" / "0")
    assert verified(output).bad == (0,)
    mended = verified(output, repair=True, model=smooth, model_id="1")
    assert (mended.repaired.done, mended.repaired.skipped) == (1, 15)
    assert verified(output).ok
    assert values(output) == voxels


@pytest.mark.parametrize("options", [{"model_id": "2"}, {}])
def test_a_repair_with_another_model_is_refused(options, tmp_path):
    output = copied("finished", tmp_path) / "output.zarr"
    (output / "c" / "0" / "0" / "0").unlink()
    with pytest.raises(ValueError, match="model (was|changed)"):
        verified(output, repair=True, model=smooth, **options)
    assert verified(output).bad == (0,)


# Broken records


@pytest.mark.parametrize("case", ["array", "series", "outputs"])
@pytest.mark.parametrize(
    "breaks",
    [
        lambda record: record.pop("format"),
        lambda record: record.update(format=99),
        lambda record: record.pop("blocks"),
        lambda record: record["blocks"].update(shape=[0, 0, 0]),
        lambda record: record.update(fingerprint=[]),
        lambda record: record["fingerprint"].pop("source"),
        lambda record: record["fingerprint"].update(output=[]),
        lambda record: record.update(is_series="yes"),
        lambda record: record["fingerprint"].update(tiling={}),
    ],
    ids=[
        "no format",
        "another format",
        "no blocks",
        "empty blocks",
        "fingerprint is a list",
        "no source",
        "outputs are a list",
        "is_series is a text",
        "no strategy",
    ],
)
def test_a_broken_record_is_refused_in_words(case, breaks, tmp_path):
    folder = copied(case, tmp_path)
    output = folder / "output.zarr"
    for path, document in documents(output).items():
        record = json.loads(document)
        breaks(record)
        path.write_text(json.dumps(record))
    broken, planned = documents(output), plan(case, folder)
    for verb in (
        lambda: daskpatch.status(output),
        lambda: verified(output),
        lambda: run(planned, resume=True),
    ):
        with pytest.raises(ValueError, match="run.json"):
            verb()
    assert documents(output) == broken


def test_a_broken_option_of_a_record_is_named_before_a_repair(tmp_path):
    output = copied("normalised", tmp_path) / "output.zarr"
    run(plan("normalised", output.parent), resume=True)
    for path, document in documents(output).items():
        record = json.loads(document)
        record["fingerprint"]["treatment"]["normalize"] = {"kind": "percentile"}
        path.write_text(json.dumps(record))
    with pytest.raises(ValueError, match=r"run.json.*treatment.normalize"):
        daskpatch.verify(output, repair=True, model=smooth, progress=False)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("treatment.stitch", 3),
        ("treatment.augment", "upside down"),
        ("treatment.scale", "fine"),
        ("treatment.box", 3),
        ("treatment.mask", {"where": 3}),
        ("treatment.factors", [1]),
        ("treatment.downsample", "median"),
        ("input_dtype", "float33"),
        ("tiling", {"strategy": "AlignedPatching", "overlaps": "many"}),
        ("tiling", {"strategy": "AlignedPatching", "patch_size": 8, "overlaps": 0, "lap": 1}),
    ],
)
def test_a_broken_field_is_named_by_its_path_before_a_repair(field, value, tmp_path):
    output = copied("finished", tmp_path) / "output.zarr"
    (output / "c" / "0" / "0" / "0").unlink()
    for path, document in documents(output).items():
        record = inside = json.loads(document)
        *folders, name = ["fingerprint", *field.split(".")]
        for folder in folders:
            inside = inside[folder]
        inside[name] = value
        path.write_text(json.dumps(record))
    broken = documents(output)
    with pytest.raises(ValueError, match=rf"run\.json.* fingerprint\.{field}"):
        verified(output, repair=True, model=smooth, model_id="1")
    assert documents(output) == broken


def test_levels_of_other_axes_are_a_broken_record(tmp_path):
    source, output = copied("array", tmp_path) / "source.zarr", tmp_path / "new.zarr"
    options = {"patch_size": 16, "ome": True, "pyramid": 1, "progress": False}
    daskpatch.predict(source, smooth, output, **options)
    document = output / "0" / ".daskpatch" / "run.json"
    record = json.loads(document.read_text())
    assert record["format"] == 3
    assert len(record["levels"]) == 1
    document.write_text(json.dumps({**record, "levels": [[]]}))
    for verb in (daskpatch.status, verified):
        with pytest.raises(ValueError, match=r"run\.json.*\$\.levels"):
            verb(output)
