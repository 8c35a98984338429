"""Only where a mask is: at any resolution, never a voxel too few, `fill` elsewhere."""

import random
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import xarray as xr
import zarr
from command_line import exit_code
from example_models import double, finer, gaussian
from hypothesis import given, settings
from hypothesis import strategies as st
from test_box import IMAGES, MODELS
from volumes import read, save
from zarr.storage import LocalStore, MemoryStore, WrapperStore

import daskpatch
from daskpatch.geometry import Overlay, Region
from daskpatch.image import mask_of
from daskpatch.running.mask_pass import MaskBoxes

RNG = np.random.default_rng(7)
TILES = {"patch_size": 16, "overlaps": 4, "chunks": 12, "block_shape": 24}


def touched_by_brute_force(i, per_voxel, size, other):
    """Of two images of one extent: voxels of the other that share some of it with one."""
    start, stop = i * per_voxel, (i + 1) * per_voxel
    edges = [(Fraction(j * size, other), Fraction((j + 1) * size, other)) for j in range(other)]
    return [j for j, (a, b) in enumerate(edges) if a < stop and b > start]


def test_ten_thousand_geometries_lose_no_voxel():
    chosen = random.Random(3)
    for _ in range(10_000):
        size, other = chosen.randint(1, 60), chosen.randint(1, 40)
        per_voxel = Fraction(chosen.choice([1, 2, 4]), chosen.choice([1, 2, 3]))
        n = max(int(size / per_voxel), 1)
        i = chosen.randrange(n)
        ((low, high),) = Overlay.of_sizes(size, other).touched(i, i + 1, per_voxel, other)
        assert list(range(low, high)) == touched_by_brute_force(i, per_voxel, size, other)


@settings(max_examples=300, deadline=None)
@given(
    scale=st.sampled_from([0.1, 0.65, 1.0, 0.108333]),
    factor=st.integers(1, 7),
    offset=st.integers(-3, 9),
    n=st.integers(1, 30),
)
def test_places_as_writers_round_them_meet_at_edges(scale, factor, offset, n):
    """A level of a factor, cropped by whole voxels of it: each voxel touches one, exactly."""
    coarse = scale * factor
    translation = 1.3 + (factor - 1) / 2 * scale + offset * coarse
    overlay = Overlay.of_places(scale, 1.3, coarse, translation)
    for i, window in enumerate(overlay.touched(0, n, Fraction(1), 50)):
        j = i // factor - offset
        assert window == ((j, j + 1) if 0 <= j < 50 else (0, 0))


def blown_up(mask, axes, shape, of_axes):
    """A mask of other sizes on each voxel of an image: whether any of what it touches is set."""
    for axis, (name, other) in enumerate(zip(axes, mask.shape, strict=True)):
        size = shape[of_axes.index(name)]
        found = [touched_by_brute_force(i, Fraction(1), size, other) for i in range(size)]
        mask = np.stack([mask.take(at, axis).any(axis) for at in found], axis)
    order = [axes.index(a) for a in of_axes if a in axes]
    whole = mask.transpose(order)
    missing = tuple(i for i, a in enumerate(of_axes) if a not in axes)
    return np.broadcast_to(np.expand_dims(whole, missing), shape)


@settings(max_examples=15, deadline=None)
@given(
    axes=st.sampled_from(["YX", "XTY", "ZYX", "TCZYX"]),
    lacks=st.sampled_from(["", "Z", "T", "TZ"]),
    finer=st.sampled_from([Fraction(1), Fraction(1, 3), Fraction(2), Fraction(3, 7)]),
    model=st.sampled_from(
        [m for m, options in MODELS.items() if "margin" in options or not options]
    ),
    stitch=st.sampled_from(["crop", "gaussian"]),
    fill=st.sampled_from([0, -3.5, np.nan]),
    seed=st.integers(0, 2**16),
)
def test_outside_is_fill_and_inside_the_prediction(axes, lacks, finer, model, stitch, fill, seed):
    rng = np.random.default_rng(seed)
    source = IMAGES[axes]
    kept = [a for a in axes if a != "C" and a not in lacks]
    sizes = [source.shape[axes.index(a)] for a in kept]
    # Along Y and X the same ratio, as that of any camera.
    shape = [max(int(n * finer), 1) if a in "YX" else n for a, n in zip(kept, sizes, strict=True)]
    mask = rng.random(shape) > rng.choice([0.9, 0.99, 0.5])
    mask[tuple(slice(0, n // 2) for n in shape)] = 0
    stored = zarr.create_array(
        MemoryStore(), data=mask, chunks=tuple(min(n, 7) for n in shape), dimension_names=kept
    )
    if any(finer.denominator > 1 and n * finer % 1 for n in sizes):
        # Sizes of no whole ratio: said to be of one extent by their places.
        spaced = [n / m for n, m in zip(sizes, shape, strict=True)]
        coords = {
            a: (np.arange(m) + 0.5) * s - 0.5 for a, m, s in zip(kept, shape, spaced, strict=True)
        }
        stored = xr.DataArray(mask, dims=kept, coords=coords)
        source = xr.DataArray(
            source,
            dims=list(axes),
            coords={a: np.arange(n) for a, n in zip(axes, source.shape, strict=True)},
        )
    options = {"patch_size": (16, 16), "overlaps": 4, "align": 2, "stitch": stitch, "axes": axes}
    options |= {"progress": False, **MODELS[model]}
    whole, out = MemoryStore(), MemoryStore()
    plain = daskpatch.predict(source, model, whole, **options)
    report = daskpatch.predict(source, model, out, mask=stored, fill=fill, **options)
    full = zarr.open_array(whole)[...]
    inside = blown_up(mask, kept, full.shape, axes)
    np.testing.assert_array_equal(zarr.open_array(out)[...], np.where(inside, full, fill))
    assert report.tiles <= plain.tiles
    if not mask.any():
        assert report.tiles == 0
        assert report.empty == report.blocks


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 40)] * 2),
    chunk=st.integers(1, 9),
    ratio=st.integers(1, 3),
    most_cells=st.integers(1, 60),
    at_a_time=st.sampled_from([1, 40, 200, 2**22]),
    seed=st.integers(0, 2**16),
)
def test_a_mask_known_in_cells_needs_what_it_needs_when_read(
    shape, chunk, ratio, most_cells, at_a_time, seed
):
    rng = np.random.default_rng(seed)
    image = daskpatch.open_image(np.zeros([n * ratio for n in shape], "u1"), axes="YX")
    values = rng.random(shape) > rng.choice([0.9, 0.99])
    stored = zarr.create_array(MemoryStore(), data=values, chunks=(chunk, chunk))
    read_again = replace(mask_of(stored, image), most_cells=most_cells)
    boxes = MaskBoxes((read_again,), at_a_time)
    (cells,) = boxes.together(map(boxes, range(boxes.firsts[-1])))
    assert cells.cells.size <= most_cells
    known = replace(read_again, cells=cells)
    for _ in range(5):
        start = [int(rng.integers(n)) for n in image.data_shape[2:]]
        stop = [
            int(rng.integers(a, n)) + 1 for a, n in zip(start, image.data_shape[2:], strict=True)
        ]
        place = (0, Region(tuple(start), tuple(stop)), (Fraction(1),) * 2)
        needed = read_again.needed(*place)
        np.testing.assert_array_equal(known.needed(*place), needed)
        assert known.may_touch(*place) or not needed.any()


@pytest.fixture
def source(tmp_path):
    values = RNG.integers(1, 1000, (96, 96)).astype("uint16")
    save(tmp_path / "in.zarr", values, chunks=(12, 12), dimension_names=["y", "x"])
    return tmp_path / "in.zarr"


@pytest.fixture
def mask():
    """A quarter of the size, something in one corner."""
    mask = np.zeros((24, 24), bool)
    mask[1:4, 2:5] = True
    return mask


def test_tiles_outside_are_neither_read_nor_computed(source, mask, tmp_path):
    report = daskpatch.predict(
        source, double, tmp_path / "out.zarr", mask=mask, fill=7, progress=False, **TILES
    )
    assert (report.blocks, report.empty) == (16, 15)
    assert report.tiles == 4  # of 12 x 12, where the mask is 4 to 16 and 8 to 20
    assert report.bytes_read == 9 * 12 * 12 * 2
    whole = blown_up(mask, "YX", (96, 96), "YX")
    assert (read(tmp_path / "out.zarr") == np.where(whole, 2 * read(source), 7)).all()
    status = daskpatch.status(tmp_path / "out.zarr")
    assert (status.done, status.empty) == (16, 15)
    assert daskpatch.verify(tmp_path / "out.zarr", progress=False).ok


def placed(path, values, scale, translation, unit="micrometer"):
    """An OME-Zarr image of one level, at a place."""
    group = zarr.create_group(str(path))
    group.create_array("0", data=values, chunks=(4,) * values.ndim)
    transformations = [
        {"type": "scale", "scale": scale},
        {"type": "translation", "translation": translation},
    ]
    axes = [{"name": a, "type": "space", "unit": unit} for a in "zyx"[-values.ndim :]]
    level = {"path": "0", "coordinateTransformations": transformations}
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": [level]}]}
    return path


def test_resolution_and_place_are_those_of_the_metadata(tmp_path):
    """A label image of every second voxel, that begins somewhere in the middle."""
    values = RNG.random((8, 40, 40)).astype("f4")
    source = placed(tmp_path / "in.zarr", values, [2.0, 0.5, 0.5], [0.0, 0.0, 0.0])
    labels = np.zeros((8, 10, 10), "u2")
    labels[2:4, 3:6, :4] = 5
    mask = placed(tmp_path / "mask.zarr", labels, [2.0, 1.0, 1.0], [0.0, 10.25, 5.25])
    daskpatch.predict(
        source, double, tmp_path / "out.zarr", mask=mask, progress=False,
        patch_size=(8, 16, 16), overlaps=4,
    )  # fmt: skip
    inside = np.zeros(values.shape, bool)
    inside[2:4, 20 + 6 : 20 + 12, 10:18] = True
    assert (read(tmp_path / "out.zarr" / "0") == np.where(inside, 2 * values, 0)).all()


def test_a_label_image_becomes_the_mask_of_the_next_run(source, tmp_path):
    options = {"ome": True, "progress": False, **TILES}
    daskpatch.predict(
        source, lambda batch: (batch > 900).astype("u1"), tmp_path / "out.zarr",
        label_image="bright", **options,
    )  # fmt: skip
    for place in ("labels/bright", "labels/bright/0"):
        daskpatch.predict(
            source, double, tmp_path / "next.zarr", mask=tmp_path / "out.zarr" / place,
            overwrite=True, **options,
        )  # fmt: skip
        values = read(source)
        assert (read(tmp_path / "next.zarr" / "0") == np.where(values > 900, 2 * values, 0)).all()


def test_scales_boxes_levels_and_what_comes_after_the_model(source, mask, tmp_path):
    def grown(block):
        return block + 1

    options = {"align": 2, "post": grown, "ome": True, "pyramid": 1, "progress": False, **TILES}
    options |= {"box": (slice(6, 70), slice(11, 61))}
    daskpatch.predict(source, finer, tmp_path / "a.zarr", **options)
    daskpatch.predict(source, finer, tmp_path / "b.zarr", mask=mask, fill=-1, **options)
    whole = blown_up(mask, "YX", (192, 192), "YX")[12:140, 22:122]
    expected = np.where(whole, read(tmp_path / "a.zarr" / "0"), -1)
    assert (read(tmp_path / "b.zarr" / "0") == expected).all()
    halved = expected.reshape(64, 2, 50, 2).mean((1, 3))
    np.testing.assert_allclose(read(tmp_path / "b.zarr" / "1"), halved, rtol=1e-6)


def test_together_with_what_is_empty(source, mask, tmp_path):
    array = zarr.open_array(source)
    array[:48] = 0
    mask[:] = True
    mask[:, 18:] = False
    report = daskpatch.predict(
        source, lambda b: b + 1, tmp_path / "out.zarr", mask=mask, fill=9, skip_empty=0,
        progress=False, **TILES,
    )  # fmt: skip
    expected = read(source) + 1.0
    expected[:, 72:] = 9
    assert (read(tmp_path / "out.zarr") == expected).all()
    assert report.empty == 4 + 3


def test_parts_workers_and_resumes_take_what_was_read_once(source, mask, tmp_path, processes):
    save(tmp_path / "mask.zarr", mask, chunks=(5, 5), dimension_names=["y", "x"])
    expected = np.where(blown_up(mask, "YX", (96, 96), "YX"), 2 * read(source), 0)
    options = {"mask": tmp_path / "mask.zarr", "progress": False, **TILES}
    for out, runs in (
        ("parts.zarr", [{"part": (i, 3)} for i in (2, 3, 1)]),
        ("workers.zarr", [{"client": processes}]),
        ("resumed.zarr", [{"region": (slice(0, 24), slice(0, 24))}, {"resume": True}]),
    ):
        for run in runs:
            daskpatch.predict(source, double, tmp_path / out, **options, **run)
        assert (read(tmp_path / out) == expected).all()
        assert daskpatch.status(tmp_path / out).empty == 15


def test_a_series_has_a_mask_for_each(source, mask, tmp_path):
    masks = [mask, ~mask]
    out = tmp_path / "out.zarr"
    daskpatch.predict([source, source], double, out, mask=masks, progress=False, **TILES)
    for name, one in zip("01", masks, strict=True):
        inside = blown_up(one, "YX", (96, 96), "YX")
        assert (read(out / name) == np.where(inside, 2 * read(source), 0)).all()
    zarr.open_array(out / "1")[60:70, 60:70] = 3
    fixed = daskpatch.verify(out, repair=True, model=double, mask=masks, progress=False)
    assert fixed.repaired.blocks == 1
    assert daskpatch.verify(out, progress=False).ok


def test_another_mask_is_no_resume(source, mask, tmp_path):
    out = tmp_path / "out.zarr"
    daskpatch.predict(source, double, out, mask=mask, progress=False, **TILES)
    other = mask.copy()
    other[20, 20] = True
    for options in ({"mask": other}, {}, {"mask": mask, "fill": 1}):
        with pytest.raises(ValueError, match=r"mask|fill"):
            daskpatch.predict(source, double, out, resume=True, progress=False, **options, **TILES)
    with pytest.raises(ValueError, match="mask=…"):
        daskpatch.verify(out, repair=True, model=double, progress=False)


class Changing(WrapperStore):
    """Deletes a chunk when it is asked for another one for the second time."""

    asked = 0

    async def get(self, key, *args, **kwargs):
        Changing.asked += key == "c/0/0"
        if Changing.asked == 2:
            await self.delete("c/1/1")
        return await super().get(key, *args, **kwargs)


def test_a_mask_that_changes_while_a_pass_reads_it_ends_the_run(source, tmp_path):
    store = Changing(LocalStore(tmp_path / "mask.zarr"))
    mask = zarr.create_array(
        store, data=np.ones((24, 24), bool), chunks=(5, 5), dimension_names=["y", "x"]
    )
    plan = daskpatch.plan(source, double, tmp_path / "out.zarr", mask=mask, **TILES)
    Changing.asked = 0  # once to tell it from others, then by the pass
    with pytest.raises(daskpatch.RunFailed, match=r"The mask .* made anew .* does not count"):
        plan.run(progress=False)
    assert daskpatch.status(tmp_path / "out.zarr").done == 0


def test_a_mask_that_changes_while_blocks_read_it_ends_the_run(source, tmp_path):
    """They do where it has more voxels than a record holds, 2^24."""
    size, running = 4104, []
    mask = zarr.create_array(
        tmp_path / "mask.zarr", shape=(size, size), chunks=(513, 513), dtype=bool,
        dimension_names=["y", "x"],
    )  # fmt: skip
    mask[:600, :600] = True

    def model(batch):
        mask[10, 10] = not running
        return batch * 2

    options = {"mask": tmp_path / "mask.zarr", "model_id": "m", **TILES}
    plan = daskpatch.plan(source, model, tmp_path / "out.zarr", **options)
    running.append(True)
    with pytest.raises(daskpatch.RunFailed, match=r"The mask .* made anew .* does not count"):
        plan.run(progress=False)
    assert daskpatch.status(tmp_path / "out.zarr").done == 0


def test_a_mask_that_was_read_may_change(source, mask, tmp_path):
    save(tmp_path / "mask.zarr", mask, chunks=(5, 5), dimension_names=["y", "x"])
    stored, running = zarr.open_array(tmp_path / "mask.zarr"), []

    def model(batch):
        stored[10, 10] = bool(running)
        return batch * 2

    options = {"mask": tmp_path / "mask.zarr", "model_id": "m", **TILES}
    plan = daskpatch.plan(source, model, tmp_path / "out.zarr", **options)
    running.append(True)
    plan.run(progress=False)
    inside = blown_up(mask, "YX", (96, 96), "YX")
    assert (read(tmp_path / "out.zarr") == np.where(inside, 2 * read(source), 0)).all()


def test_the_lazy_array_is_masked_too(source, mask):
    plan = daskpatch.plan(source, gaussian, mask=mask, fill=4, **TILES)
    whole = daskpatch.plan(source, gaussian, **TILES).view[...]
    expected = np.where(blown_up(mask, "YX", (96, 96), "YX"), whole, 4)
    np.testing.assert_array_equal(plan.view[...], expected)
    np.testing.assert_array_equal(plan.view[3:9, 5:50:3], expected[3:9, 5:50:3])
    assert "only where the mask is, else 4" in str(plan)


BAD = {
    "another size": (np.ones((50, 70)), "no whole factor"),
    "planes": (np.ones((2, 24, 24)), r"one without Z: choose a part \(in Python the array's"),
    "channels": (
        xr.DataArray(np.ones((2, 24, 24)), dims=["c", "y", "x"]),
        r"one without C: choose a part \(in Python open_image\(mask, channels=\[0\]\)\)",
    ),
    "no image": (np.ones(24), "axes"),
    "several": ([np.ones((24, 24))] * 2, "2 images, the source 1 image"),
    "nowhere": ("no-such-mask.zarr", "no-such-mask.zarr"),
    "text": (np.full((24, 24), "a"), "dtype"),
    "beside it": (
        xr.DataArray(np.ones((2, 2)), {"y": [500.0, 501.0], "x": [0.0, 1.0]}, ["y", "x"]),
        "lies beside",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("given_mask", "words"), BAD.values(), ids=BAD)
def test_what_is_no_mask_of_the_source_is_refused(source, tmp_path, given_mask, words):
    at_places = xr.DataArray(read(source), {"y": np.arange(96), "x": np.arange(96)}, ["y", "x"])
    with pytest.raises((ValueError, TypeError, FileNotFoundError), match=words):
        daskpatch.plan(at_places, double, tmp_path / "out.zarr", mask=given_mask, **TILES)
    assert not (tmp_path / "out.zarr").exists()


@pytest.mark.parametrize("told", [[], [{"type": "translation", "translation": [3.0, 3.0]}]])
def test_a_mask_without_a_scale_has_the_sources_extent(tmp_path, told):
    values = RNG.random((40, 40)).astype("f4")
    source = placed(tmp_path / "in.zarr", values, [0.65, 0.65], [0.0, 0.0])
    labels = np.zeros((20, 20), "u1")
    labels[5:10, 6:9] = 1
    mask = placed(tmp_path / "mask.zarr", labels, [1.3, 1.3], [0.325, 0.325])
    group = zarr.open_group(str(mask))
    attributes = group.attrs["ome"]
    (level,) = attributes["multiscales"][0]["datasets"]
    level["coordinateTransformations"] = told
    group.attrs["ome"] = attributes
    with pytest.warns(UserWarning, match=r"scale of .*mask\.zarr .*left out: 0 has no scale"):
        plan = daskpatch.plan(source, double, tmp_path / "o.zarr", mask=mask, patch_size=16)
    plan.run(progress=False)
    inside = np.zeros(values.shape, bool)
    inside[10:20, 12:18] = True
    assert (read(tmp_path / "o.zarr" / "0") == np.where(inside, 2 * values, 0)).all()


@pytest.mark.parametrize("unit", ["um", "µm"])
def test_a_short_name_of_a_unit_is_the_same_unit(tmp_path, unit):
    values = np.ones((32, 32), "f4")
    source = placed(tmp_path / "in.zarr", values, [1.0, 1.0], [0.0, 0.0])
    mask = placed(tmp_path / "mask.zarr", values[::2, ::2], [2.0, 2.0], [0.5, 0.5], unit)
    out = tmp_path / "out.zarr"
    daskpatch.predict(source, double, out, mask=mask, patch_size=16, progress=False)
    np.testing.assert_array_equal(read(out / "0"), 2 * values)


@pytest.mark.parametrize("scales", [(0.0, 1.0), (1.0, 0.0)])
def test_a_scale_of_0_is_left_out(tmp_path, scales):
    values = np.ones((32, 32), "f4")
    mask = np.tri(32, dtype="u1")
    source, laid = (
        placed(tmp_path / f"{number}.zarr", each, [scale, 1.0], [0.0, 0.0])
        for number, (scale, each) in enumerate(zip(scales, (values, mask), strict=True))
    )
    with pytest.warns(UserWarning, match=r"scale of .*left out: 0 has the scale \(0\.0, 1\.0\)"):
        plan = daskpatch.plan(source, double, mask=laid, patch_size=16)
    np.testing.assert_array_equal(plan.view[...], 2 * values * mask)


def test_units_that_differ_are_refused(tmp_path):
    values = np.zeros((32, 32), "f4")
    source = placed(tmp_path / "in.zarr", values, [1.0, 1.0], [0.0, 0.0])
    mask = placed(tmp_path / "mask.zarr", values, [1.0, 1.0], [0.0, 0.0], "nanometer")
    with pytest.raises(ValueError, match="in nanometer along Y, the source in micrometer"):
        daskpatch.plan(source, double, mask=mask, patch_size=16)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"fill": 3}, "give mask= too"),
        ({"fill": "dark", "mask": "m"}, "needed is a number"),
        ({"fill": -1, "dtype": "uint8"}, "uint8 holds no such value"),
        ({"fill": 0.5, "dtype": "uint16"}, "uint16 holds no such value"),
    ],
)
def test_a_fill_that_cannot_be_stored_is_refused(source, mask, tmp_path, options, words):
    given_mask = {} if options == {"fill": 3} else {"mask": mask}
    with pytest.raises(ValueError, match=words):
        daskpatch.plan(source, double, tmp_path / "out.zarr", **{**TILES, **given_mask, **options})


def test_a_mask_is_not_overwritten(source, mask, tmp_path):
    save(tmp_path / "out.zarr", mask, chunks=(5, 5), dimension_names=["y", "x"])
    with pytest.raises(ValueError, match=r"out\.zarr"):
        daskpatch.plan(
            source,
            double,
            tmp_path / "out.zarr",
            mask=tmp_path / "out.zarr",
            overwrite=True,
            **TILES,
        )
    assert (read(tmp_path / "out.zarr") == mask).all()


def test_what_workers_cannot_use_is_refused(source, mask, tmp_path, processes):
    held = zarr.create_array(MemoryStore(), data=mask, chunks=(8, 8), dimension_names=["y", "x"])
    with pytest.raises(ValueError, match="The mask .* cannot be used by workers"):
        daskpatch.predict(
            source, double, tmp_path / "out.zarr", mask=held, client=processes, progress=False,
            **TILES,
        )  # fmt: skip


def test_from_the_command_line(source, mask, tmp_path, capsys):
    save(tmp_path / "mask.zarr", mask, chunks=(5, 5), dimension_names=["y", "x"])
    out = tmp_path / "out.zarr"
    flags = "--model example_models:double --fill 2 --patch-size 16 --overlaps 4 --no-progress"
    places = (source, out, "--mask", tmp_path / "mask.zarr")
    assert exit_code("predict", *places, *flags.split()) == 0
    expected = np.where(blown_up(mask, "YX", (96, 96), "YX"), 2 * read(source), 2)
    assert (read(out) == expected).all()
    capsys.readouterr()
