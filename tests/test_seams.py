"""Seams: those that were planted are found, where there are none none are reported."""

import json

import numpy as np
import pytest
from command_line import exit_code
from example_models import gaussian, standardised
from scipy import ndimage
from volumes import save

import daskpatch
from daskpatch import TiledPatching


def pooled(batch):
    """Cells of 8 by 8: their maximum, smoothed over two cells around. Reach 23, grid 8."""
    n, c, y, x = batch.shape
    if y % 8 or x % 8:
        raise ValueError("sizes of multiples of 8")
    cells = batch.reshape(n, c, y // 8, 8, x // 8, 8).max((3, 5))
    smooth = ndimage.uniform_filter(cells, (0, 0, 5, 5), mode="nearest")
    return smooth.repeat(8, -1).repeat(8, -2) + batch


@pytest.fixture
def values(rng):
    """Bright on one side, with structure in the middle."""
    noise = ndimage.gaussian_filter(rng.normal(size=(403, 389)), 1)
    noise[150:250] *= 10
    return (noise + np.linspace(0, 1, 389)).astype("f4")


def check(values, model, **options):
    plan = daskpatch.plan(values, model, axes="ZYX"[-values.ndim :], **options)
    return daskpatch.check_seams(plan, progress=False)


PLANTED = {
    "no overlap": (gaussian, {"patch_size": 64, "overlaps": 0}, "halo"),
    "too small an overlap": (gaussian, {"patch_size": 64, "overlaps": 4}, "halo"),
    "too small for the pooling": (pooled, {"patch_size": 64, "overlaps": 16, "align": 8}, "halo"),
    "normalised per tile": (standardised, {"patch_size": 64, "overlaps": 16}, "global"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_planted_defects_are_found(values, name):
    model, options, cause = PLANTED[name]
    report = check(values, model, **options)
    assert not report.ok
    assert report.cause == cause
    assert report.difference > 1e-3
    assert report.verdict.startswith("Seams:")
    assert report.jump > report.jump_inside


def test_tiles_off_the_pooling_grid_are_found(values):
    """The last tile of such a tiling begins wherever the image lets it: here 7 off the grid."""
    values = values[:400, :384]
    tiling = TiledPatching([(1, 1, 399, 383)], 64, 32)
    report = check(values[:399, :383], pooled, patching=tiling)
    assert not report.ok
    assert report.cause == "grid"
    assert "align" in report.verdict


CLEAN = {
    "gaussian": (gaussian, {"patch_size": 64, "overlaps": 8}),
    "as large as needed": (gaussian, {"patch_size": 40, "overlaps": 32}),
    "on the grid": (pooled, {"patch_size": 64, "overlaps": 32, "align": 8}),
    "a multiple of the grid": (pooled, {"patch_size": 96, "overlaps": 32, "align": 16}),
    "normalised as a whole": (gaussian, {"patch_size": 64, "overlaps": 8, "normalize": "zscore"}),
    "one voxel at a time": (np.tanh, {"patch_size": 32, "overlaps": 0}),
    "augmented": (gaussian, {"patch_size": 64, "overlaps": 16, "augment": "flips"}),
    "then thresholded": (
        gaussian, {"patch_size": 64, "overlaps": 8, "post": lambda b: b > 1, "dtype": "uint8"}
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CLEAN)
def test_clean_tilings_pass(values, name):
    model, options = CLEAN[name]
    report = check(values, model, **options)
    assert report.ok, report
    assert report.cause is None
    assert report.difference < 1e-5
    assert report.places == 8
    assert report.verdict.startswith("No seams")
    assert ("what post is given" in report.verdict) == ("post" in options)


def test_fifty_random_clean_runs_raise_no_alarm():
    rng = np.random.default_rng(50)
    for number in range(50):
        ndim = int(rng.choice([2, 2, 3]))
        shape = tuple(rng.integers(40, 260 if ndim == 2 else 60, ndim))
        values = ndimage.gaussian_filter(rng.normal(size=shape), rng.uniform(0, 2)).astype("f4")
        align = int(rng.choice([1, 2, 8])) if ndim == 2 else 1
        model, halo = (pooled, 16) if align == 8 else (gaussian, 4)
        step = align * int(rng.integers(-(-8 // align), -(-64 // align)))
        overlap = 2 * align * int(-(-halo // align) + rng.integers(0, 3))
        report = check(
            values * 10 ** rng.uniform(-3, 3),
            model,
            patch_size=step + overlap,
            overlaps=overlap,
            align=align,
            min_size=min(8, step + overlap),
            batch_size=int(rng.integers(1, 4)),
        )
        assert report.ok, (number, shape, step, overlap, align, str(report))


def test_a_blend_of_an_exact_model_is_told_by_its_weights(values):
    """What tiles give near their edges is wrong, and weighs little, but it does weigh."""
    report = check(values, gaussian, patch_size=64, overlaps=32, stitch="gaussian")
    assert 1e-5 < report.difference < 0.2
    assert report.ok or report.cause == "blend"
    assert check(
        values, gaussian, patch_size=64, overlaps=32, stitch="gaussian", chunks=16, block_shape=32
    ).difference == pytest.approx(report.difference)


def test_three_dimensions_and_other_sizes(rng):
    values = rng.normal(size=(40, 90, 70)).astype("f4")
    assert check(values, gaussian, patch_size=(24, 32, 32), overlaps=8).ok
    assert not check(values, gaussian, patch_size=(24, 32, 32), overlaps=(8, 0, 8)).ok

    def finer(batch):
        return gaussian(batch).repeat(2, -1)

    assert check(values, finer, patch_size=(24, 32, 32), overlaps=8).ok
    assert not check(values, finer, patch_size=(24, 32, 32), overlaps=(8, 8, 2)).ok

    def valid(batch):
        return gaussian(batch)[..., 4:-4]

    assert check(values, valid, patch_size=(24, 32, 32), overlaps=(8, 8, 8)).ok
    coarse = check(
        values[:, :, :64],
        lambda b: b.reshape(*b.shape[:-1], -1, 4).mean(-1),
        patch_size=(24, 32, 32),
    )
    assert coarse.ok


def test_the_worst_of_several_arrays_counts(values):
    def two(batch):
        return {"exact": batch * 1000, "not": gaussian(batch)}

    report = check(values, two, patch_size=64, overlaps=2)
    assert not report.ok
    assert report.difference == pytest.approx(
        check(values, gaussian, patch_size=64, overlaps=2).difference, rel=1e-3
    )


@pytest.mark.parametrize("factor", [10, 1000])
def test_channels_are_measured_by_their_own_deviations(values, factor):
    def two(batch):
        return np.concatenate([batch * factor, gaussian(batch)], 1)

    report = check(values, two, patch_size=64, overlaps=2)
    assert report.cause == "halo"
    alone = check(values, gaussian, patch_size=64, overlaps=2)
    if factor == 10:
        assert report.difference == pytest.approx(alone.difference, rel=1e-3)


def test_what_is_rounded_in_a_channel_of_nothing_is_no_seam(values):
    def with_a_residue(batch):
        there_and_back = np.fft.irfft2(np.fft.rfft2(batch), batch.shape[-2:]).astype("f4")
        return np.concatenate([batch, there_and_back - batch], 1)

    assert check(values, with_a_residue, patch_size=64, overlaps=12).ok


def test_a_model_of_one_size(values):
    def fixed(batch):
        assert batch.shape[2:] == (64, 64)
        return gaussian(batch)

    options = {"patch_size": 64, "min_size": 64}
    assert check(values, fixed, overlaps=16, **options).ok
    assert not check(values, fixed, overlaps=2, **options).ok


def test_one_tile_has_no_seam(values):
    report = check(values, gaussian, patch_size=(403, 389))
    assert report.ok
    assert report.places == 0
    assert "one tile" in report.verdict


def test_a_model_that_is_not_deterministic_is_told(values):
    noise = np.random.default_rng(1)
    report = check(
        values, lambda b: b + noise.normal(0, 0.1, b.shape).astype("f4"), patch_size=64, overlaps=8
    )
    assert not report.ok
    assert report.cause == "random"
    assert "not deterministic" in report.verdict


def test_it_is_cheap_next_to_the_run(rng):
    calls = []

    def counted(batch):
        calls.append(batch.size)
        return gaussian(batch)

    values = rng.normal(size=(1500, 1500)).astype("f4")
    plan = daskpatch.plan(values, counted, axes="YX", patch_size=64, overlaps=8)
    calls.clear()
    report = daskpatch.check_seams(plan, progress=False)
    computed = sum(calls)
    assert computed < 0.15 * plan.compute_ratio * values.size
    assert report.tiles == pytest.approx(computed / 64**2, rel=0.3)


def test_it_looks_where_there_is_structure(rng):
    values = np.zeros((400, 400), "f4")
    values[100:140, 100:300] = rng.normal(size=(40, 200))
    report = check(values, gaussian, patch_size=64, overlaps=0)
    assert not report.ok


def test_the_report(tmp_path, values):
    report = check(values, gaussian, patch_size=64, overlaps=2)
    assert report.by_distance[0] == max(report.by_distance)
    assert report.inside < report.by_distance[0] / 100
    assert "standard deviations" in str(report)
    assert "<table>" in report._repr_html_()
    curve, picture, *_ = report.plot().axes
    assert len(curve.get_lines()) >= 2
    assert picture.get_images()
    report.save(tmp_path / "report.json")
    facts = json.loads((tmp_path / "report.json").read_text())
    assert facts == json.loads(json.dumps(report.to_dict()))
    assert facts["ok"] is False
    good = check(values, np.tanh, patch_size=64)
    assert good.plot().axes


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"places": 0}, "places"),
        ({"tolerance": -1}, "tolerance"),
        ({"tolerance": "x"}, "tolerance"),
    ],
)
def test_options_out_of_range(values, options, words):
    plan = daskpatch.plan(values, gaussian, axes="YX", patch_size=64)
    with pytest.raises(ValueError, match=words):
        daskpatch.check_seams(plan, progress=False, **options)


@pytest.mark.parametrize(("overlaps", "code"), [(8, 0), (2, 1)])
def test_on_the_command_line(tmp_path, values, capsys, monkeypatch, overlaps, code):
    save(tmp_path / "in.zarr", values, chunks=(64, 64), dimension_names=["y", "x"])
    monkeypatch.chdir(tmp_path)
    arguments = ["check", "in.zarr", "--model", "example_models:gaussian", "--patch-size", "64"]
    arguments += ["--overlaps", str(overlaps), "--json", "--plot", "seams.png", "--no-progress"]
    assert exit_code(*arguments) == code
    assert json.loads(capsys.readouterr().out)["ok"] is (code == 0)
    assert (tmp_path / "seams.png").stat().st_size > 10_000
