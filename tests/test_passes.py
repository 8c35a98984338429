"""Passes: run in order on threads and clusters, in parts, killed and resumed; statistics as one."""

import json
import shutil

import numpy as np
import pytest
from children import Child
from damage import flip
from doubling import Doubled, DoubledBlockwise, doubled
from example_models import gaussian
from volumes import read, save

import daskpatch
from daskpatch import Run
from daskpatch.engine import Interruption
from daskpatch.planning import passes_of
from daskpatch.running import Crew, carry_out

TILES = {"patch_size": 16, "overlaps": 4, "chunks": 12, "block_shape": 12, "model_id": "gaussian"}


def planned(source, out, model=gaussian, **options):
    return daskpatch.plan(source, model, out, **TILES, **options)


def run_both(plan, out, *, client=None, kind=Doubled, seconds=0.0, **options):
    """The prediction, then twice of it."""
    crew = Crew(client, 2, is_here=client is None)
    passes = [*passes_of(plan, 2), doubled(plan, out, kind, seconds=seconds)]
    return carry_out(passes, Run(client, progress=False, **options), crew)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out.zarr"


@pytest.fixture
def whole(stored, tmp_path):
    planned(stored, tmp_path / "whole.zarr").run(progress=False)
    return read(tmp_path / "whole.zarr")


def assert_doubled(out, whole):
    np.testing.assert_array_equal(read(out), whole)
    np.testing.assert_array_equal(read(f"{out}-twice"), 2 * whole)


def test_a_second_pass_works_on_what_the_first_wrote(stored, out, whole):
    plan = planned(stored, out)
    report = run_both(plan, out)
    assert_doubled(out, whole)
    assert report.done == 2 * plan.n_blocks
    assert report.unfinished == ""


def test_worker_processes_carry_out_every_pass(stored, out, whole, processes):
    run_both(planned(stored, out), out, client=processes)
    assert_doubled(out, whole)


def test_each_pass_is_resumed_by_itself(stored, out, whole):
    plan, interruption = planned(stored, out), Interruption(grace=60)
    total = plan.n_blocks

    class Stops(Doubled):
        def job(self, ends, pacing):
            job = super().job(ends, pacing)

            def call(index):
                if index >= total // 2:
                    interruption.request()
                return job(index)

            return call

    with pytest.raises(KeyboardInterrupt, match="blocks of the doubled are written"):
        run_both(plan, out, kind=Stops, interruption=interruption)
    found = daskpatch.status(out)
    assert (found.done, found.remaining) == (total, 0)
    done, of = found.passes["doubled"]
    assert 0 < done < of == total
    report = run_both(planned(stored, out), out, resume=True)
    assert (report.skipped, report.done) == (total + done, total - done)
    assert_doubled(out, whole)


def test_status_and_verify_know_every_pass(stored, out):
    plan = planned(stored, out)
    run_both(plan, out)
    assert daskpatch.status(out).passes == {"doubled": (plan.n_blocks, plan.n_blocks)}
    assert daskpatch.verify(out, progress=False).ok
    next((out.parent / "out.zarr-twice" / "c").rglob("1/1/1")).unlink()
    found = daskpatch.verify(out, progress=False)
    assert not found.ok
    assert found.bad == ()
    assert list(found.passes["doubled"].reasons.values()) == ["missing"]
    assert "doubled" in str(found)


def test_all_passes_of_a_plan_go_on_with_their_grids_on_another_machine(tmp_path, out):
    """Fewer threads have larger blocks, and less memory smaller ones: the record decides."""
    values = np.random.default_rng(0).random((8, 320, 320)).astype("f4")
    mask = np.zeros(values.shape, bool)
    mask[:, 40:300, 20:280] = True
    save(tmp_path / "in.zarr", values, chunks=(8, 64, 64), dimension_names=["z", "y", "x"])
    options = {"patch_size": (8, 64, 64), "overlaps": (0, 16, 16), "normalize": "zscore"}
    options |= {"mask": mask, "skip_empty": True, "ome": True, "pyramid": 2, "model_id": "g"}

    def planned_on(threads, memory, output):
        limits = {"threads": threads, "memory_limit": memory}
        return daskpatch.plan(tmp_path / "in.zarr", gaussian, output, **options, **limits)

    begun, other = planned_on(8, "1 GB", out), planned_on(1, "700 MB", out)
    assert other.block_shape != begun.block_shape
    region = (slice(None), slice(0, 100), slice(None))
    begun.run(region=region, progress=False)
    before = {path: path.read_bytes() for path in out.rglob("run.json")}
    assert {path.parent.name for path in before} >= {".daskpatch", "statistics", "stored", "mask"}
    report = other.run(resume=True, progress=False)
    assert report.skipped > 0
    assert before == {path: path.read_bytes() for path in before}
    planned_on(1, "700 MB", tmp_path / "whole.zarr").run(progress=False)
    for level in ("0", "1", "2"):
        whole = read(tmp_path / "whole.zarr" / level)
        np.testing.assert_array_equal(read(out / level), whole)
    assert daskpatch.verify(out, progress=False).ok


def test_a_pass_takes_its_grid_from_the_record(stored, out, whole):
    plan = planned(stored, out)
    run_both(plan, out)
    document = out / ".daskpatch" / "passes" / "doubled" / "run.json"
    before = document.read_bytes()
    assert json.loads(before)["format"] == 2
    coarse = daskpatch.plan(stored, gaussian, out, **{**TILES, "block_shape": None, "chunks": None})
    assert coarse.block_shape != plan.block_shape
    passes = [*passes_of(coarse, 2), doubled(coarse, out)]
    report = carry_out(passes, Run(progress=False, resume=True), Crew(None, 2, is_here=True))
    assert (report.done, report.skipped) == (0, 2 * plan.n_blocks)
    assert document.read_bytes() == before


def test_a_pass_that_begins_later_follows_the_grid_of_the_one_before(stored, out, whole):
    plan = planned(stored, out)
    plan.run(progress=False)
    coarse = daskpatch.plan(stored, gaussian, out, **{**TILES, "block_shape": None, "chunks": None})
    passes = [*passes_of(coarse, 2), doubled(coarse, out)]
    report = carry_out(passes, Run(progress=False, resume=True), Crew(None, 2, is_here=True))
    assert (report.done, report.skipped) == (plan.n_blocks, plan.n_blocks)
    assert daskpatch.status(out).passes == {"doubled": (plan.n_blocks, plan.n_blocks)}
    assert_doubled(out, whole)


def test_a_new_run_forgets_every_pass(stored, out, whole):
    run_both(planned(stored, out), out)
    report = run_both(planned(stored, out, overwrite=True), out)
    assert report.skipped == 0
    planned(stored, out, overwrite=True).run(progress=False)
    assert daskpatch.status(out).passes == {}


def test_two_passes_never_write_one_array(stored, out):
    plan = planned(stored, out)

    class Again(Doubled):
        name = "again"

    passes = [*passes_of(plan, 2), doubled(plan, out), doubled(plan, out, Again)]
    with pytest.raises(ValueError, match="doubled and again both write"):
        carry_out(passes, Run(progress=False), Crew(None, 2, is_here=True))
    assert not out.exists()


# Parts


def test_a_part_ends_normally_where_the_pass_before_is_incomplete(stored, out, whole):
    plan = planned(stored, out)
    first = run_both(plan, out, part=(1, 2))
    assert f"doubled waits for {plan.n_blocks - first.done} of {plan.n_blocks} blocks" in str(first)
    second = run_both(plan, out, part=(2, 2))
    assert second.unfinished == ""
    assert daskpatch.status(out).passes["doubled"][0] == plan.n_blocks - plan.n_blocks // 2
    again = run_both(plan, out, part=(1, 2))
    assert (again.unfinished, again.skipped) == ("", first.done)
    assert_doubled(out, whole)


def test_blocks_that_need_only_those_below_do_not_wait_for_others(stored, out, whole):
    plan = planned(stored, out)
    first = run_both(plan, out, part=(1, 2), kind=DoubledBlockwise)
    assert first.done == 2 * (plan.n_blocks // 2)
    assert "waits" in first.unfinished
    second = run_both(plan, out, part=(2, 2), kind=DoubledBlockwise)
    assert second.unfinished == ""
    assert_doubled(out, whole)


PART = """
import sys
from example_models import slowly
from test_passes import daskpatch, gaussian, planned, run_both
source, out, number, seconds, model = sys.argv[1:]
plan = planned(source, out, globals()[model])
report = run_both(plan, out, part=(int(number), 2), seconds=float(seconds),
                  pacing=daskpatch.Pacing(flush=0.0))
print(report.unfinished or "all")
"""


def start_part(source, out, number, seconds=0.0, model="gaussian"):
    return Child(PART, source, out, number, seconds, model)


def said(part):
    return part.said().splitlines()[-1]


def kill_after(part, receipts):
    """Kill a part as soon as there are receipts."""
    part.kill_when(lambda: any(receipts.rglob("*0[0-9]")))


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_two_parts_in_two_processes_end_in_both_orders(stored, out, whole, order):
    first, second = order
    assert "waits" in said(start_part(stored, out, first))
    assert said(start_part(stored, out, second)) == "all"
    assert said(start_part(stored, out, first)) == "all"
    assert_doubled(out, whole)


def test_two_parts_at_once_never_wait_for_each_other(stored, out, whole):
    parts = [start_part(stored, out, number) for number in (1, 2)]
    answers = [said(part) for part in parts]
    assert all(answer == "all" or "waits" in answer for answer in answers)
    for number in (1, 2):
        assert said(start_part(stored, out, number)) == "all"
    assert_doubled(out, whole)


def test_a_part_killed_in_its_first_pass_goes_on(stored, out, whole):
    killed = start_part(stored, out, 1, model="slowly")
    kill_after(killed, out / ".daskpatch" / "receipts")
    assert 0 < daskpatch.status(out).done < daskpatch.status(out).total // 2
    assert "waits" in said(start_part(stored, out, 2))
    assert said(start_part(stored, out, 1)) == "all"
    assert said(start_part(stored, out, 2)) == "all"
    assert_doubled(out, whole)


def test_a_driver_killed_in_the_second_pass_goes_on(stored, out, whole):
    planned(stored, out).run(progress=False)
    killed = start_part(stored, out, 1, seconds=0.02)
    kill_after(killed, out / ".daskpatch" / "passes" / "doubled" / "receipts")
    done, total = daskpatch.status(out).passes["doubled"]
    assert 0 < done < total
    report = run_both(planned(stored, out), out, resume=True)
    assert report.done == total - done
    assert_doubled(out, whole)


# Statistics


def test_statistics_are_resumed_where_they_were_interrupted(tmp_path, out, stored):
    interruption = Interruption()

    class Slow:
        """An array that asks for the end of the run while it is read for statistics."""

        shape, dtype = (40, 400, 40), np.dtype("f4")
        reads = 0

        def __getitem__(self, key):
            Slow.reads += 1
            if Slow.stop is not None and Slow.reads > Slow.stop:
                interruption.request()
            grid = np.indices(self.shape, "f4").sum(0)
            return grid[key]

    Slow.stop = None
    options = {
        "patch_size": 40, "axes": "ZYX", "normalize": "zscore", "normalize_fraction": 0.99,
        "model_id": "m", "threads": 1,
    }  # fmt: skip
    plan = daskpatch.plan(Slow(), np.positive, out, **options)
    whole = daskpatch.plan(Slow(), np.positive, **options).statistics
    Slow.reads, Slow.stop = 0, 10
    with pytest.raises(KeyboardInterrupt, match="blocks of the statistics are written"):
        plan.run(progress=False, interruption=interruption)
    left = len(list((out / ".daskpatch/passes/statistics/left").iterdir()))
    assert left > 0
    Slow.stop = None
    again = daskpatch.plan(Slow(), np.positive, out, **options)
    again.run(progress=False, resume=True)
    assert again.statistics == whole
    assert daskpatch.verify(out, progress=False).passes["statistics"].ok


@pytest.mark.parametrize("count", [1, 2])
def test_a_bit_flipped_in_receipts_of_what_has_ended_costs_nothing(stored, out, count, caplog):
    """What its blocks left is used up: nothing would compute them again."""
    sources = [stored] * count
    words = {"normalize": "zscore", "mask": [np.ones((37, 61, 53), "u1")] * count}
    plan = planned(sources, out, **words)
    plan.run(progress=False)
    for segment in out.rglob("passes/*/receipts/*/*/*"):
        content = bytearray(segment.read_bytes())
        content[len(content) // 2] ^= 1
        segment.write_bytes(content)
    assert daskpatch.verify(out, progress=False).ok
    assert "torn" in caplog.text or "damaged" in caplog.text
    passes = daskpatch.status(out).passes
    assert "statistics" in passes
    assert all(done == total for done, total in passes.values())
    assert not planned(sources, out, **words).run(progress=False, resume=True).blocks


def ended_after_statistics(stored, out):
    """What a run leaves that ended before its prediction began."""
    planned(stored, out, normalize="zscore").run(progress=False)
    folder = out / ".daskpatch"
    (folder / "run.json").unlink()
    for path in [*out.rglob("c"), *out.rglob("zarr.json"), folder / "receipts"]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def test_statistics_of_another_kind_are_refused_where_the_run_went_no_further(out, stored):
    ended_after_statistics(stored, out)
    with pytest.raises(ValueError, match=r"normalize.kind was .zscore. and is .minmax."):
        planned(stored, out, normalize="minmax").run(progress=False, resume=True)
    assert planned(stored, out, normalize="zscore").run(progress=False, resume=True).skipped == 0
    assert daskpatch.verify(out, progress=False).ok


def test_a_broken_end_of_a_pass_is_named(out, stored):
    ended_after_statistics(stored, out)
    end = out / ".daskpatch" / "passes" / "statistics" / "end.json"
    (statistics,) = json.loads(end.read_text())["found"]
    end.write_text(json.dumps([{**statistics, "offset": "low"}]))
    with pytest.raises(ValueError, match=r"end\.json of its statistics.*\$\[0\]\.offset"):
        planned(stored, out, normalize="zscore").run(progress=False, resume=True)


def test_what_blocks_of_an_ended_pass_left_is_not_missed(out, stored):
    """Its end is known, and nothing reads them again: a flipped bit there harms nobody."""
    planned(stored, out, normalize="zscore").run(progress=False)
    (left, *_) = (out / ".daskpatch").rglob("passes/statistics/left/*")
    flip(left)
    assert daskpatch.verify(out, progress=False).ok


@pytest.mark.parametrize("file", ["run.json", "end.json"])
def test_a_folder_in_place_of_a_record_of_a_pass_is_told(out, stored, file):
    ended_after_statistics(stored, out)
    place = out / ".daskpatch/passes/statistics" / file
    place.unlink()
    place.mkdir()
    with pytest.raises(OSError, match=f"cannot hold {file}"):
        planned(stored, out, normalize="zscore").run(progress=False, resume=True)


@pytest.mark.parametrize("file", ["run.json", "end.json"])
def test_records_of_passes_that_are_gone_beyond_need_not_be_whole(tmp_path, out, stored, file):
    words = {"normalize": "zscore", "progress": False}
    options = {**TILES, **words, "denormalize": True}
    daskpatch.predict(stored, gaussian, out, region=np.s_[:12], **options)
    flip(out / ".daskpatch/passes/statistics" / file)
    assert daskpatch.status(out).remaining
    assert daskpatch.predict(stored, gaussian, out, resume=True, **options).skipped
    assert daskpatch.verify(out, progress=False).ok
    assert daskpatch.status(out).remaining == 0
    daskpatch.predict(stored, gaussian, tmp_path / "whole.zarr", **options)
    np.testing.assert_array_equal(read(out), read(tmp_path / "whole.zarr"))
