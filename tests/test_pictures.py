"""What people look at: pictures of plans, and HTML views of objects."""

import re
import sys
from html.parser import HTMLParser

import dask
import dask.array as da
import numpy as np
import pytest
import zarr
from example_models import double, identity
from matplotlib.collections import LineCollection

import daskpatch

TILES = {"axes": "YX", "patch_size": 16, "overlaps": 4, "chunks": 12, "block_shape": 24}


def lines_of(figure, color):
    """Where lines of a colour lie: along Y, along X."""
    from matplotlib.colors import to_rgba

    found = [
        c for c in figure.axes[0].collections
        if isinstance(c, LineCollection) and np.allclose(c.get_color()[0], to_rgba(color))
    ]  # fmt: skip
    down, across = (np.array(c.get_segments()) for c in found)
    return sorted(set(down[:, 0, 1])), sorted(set(across[:, 0, 0]))


@pytest.fixture
def image(rng):
    return rng.random((60, 48)).astype("f4")


def test_a_plan_is_drawn_over_its_image(image):
    plan = daskpatch.plan(image, double, **TILES)
    figure = plan.plot()
    axes = figure.axes[0]
    top, bottom = sorted(axes.get_ylim())
    left, right = sorted(axes.get_xlim())
    shown = image[int(top) : int(bottom), int(left) : int(right)]
    np.testing.assert_array_equal(axes.images[0].get_array(), shown)
    blocks = lines_of(figure, "tab:red")
    assert blocks[0] == [y for y in (0, 24, 48) if top <= y <= bottom]
    assert blocks[1] == [x for x in (0, 24) if left <= x <= right]
    assert lines_of(figure, "yellowgreen")[0] == [y for y in range(0, 60, 12) if top <= y <= bottom]
    sizes = {(round(p.get_width()), round(p.get_height())) for p in axes.patches}
    assert (16, 16) in sizes  # tiles
    assert (12, 12) in sizes  # what is kept of one
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert any("tiles" in label for label in labels)
    assert any("blocks" in label for label in labels)


class Twice:
    """Two voxels for each."""

    def __call__(self, batch):
        return batch.repeat(2, -1).repeat(2, -2)


@pytest.mark.parametrize("axes", ["ZYX", "TCYX", "CZYX", "YX"])
@pytest.mark.parametrize("model", [double, Twice()])
def test_every_plan_can_be_drawn(rng, axes, model):
    sizes = {"T": 3, "C": 2, "Z": 8, "Y": 40, "X": 44}
    image = rng.random([sizes[a] for a in axes]).astype("f4")
    patch_size = (16, 16) if "Z" not in axes else (8, 16, 16)
    plan = daskpatch.plan([image, image], model, axes=axes, patch_size=patch_size, overlaps=4)
    drawn = plan.plot(1).axes[0]
    assert drawn.images
    shown = {"T": "sample 1, ", "C": "channel 0, ", "Z": "Z 4, ", "Y": "Y 0:40, ", "X": "X 0:44"}
    assert drawn.get_title().endswith(": " + "".join(shown[name] for name in axes))


def test_a_long_strip_is_drawn_so_that_something_is_seen():
    plan = daskpatch.plan(np.ones((1, 500)), identity, axes="YX", patch_size=(1, 64))
    drawn = plan.plot().axes[0]
    assert drawn.get_aspect() == "auto"
    assert all(float(at).is_integer() for at in drawn.get_yticks())


def test_drawing_a_plan_reads_a_part_and_runs_nothing(image):
    calls = []

    def model(batch):
        calls.append(batch.shape)
        return batch

    plan = daskpatch.plan(da.zeros((50_000, 50_000), dtype="u1"), model, axes="YX", patch_size=512)
    calls.clear()
    assert plan.plot().axes[0].images[0].get_array().size <= 1024**2
    assert not calls


def test_a_picture_shows_no_more_tiles_than_can_be_told_apart():
    plan = daskpatch.plan(np.zeros((3000, 3000), "u1"), double, axes="YX", patch_size=8, overlaps=4)
    assert len(plan.plot().axes[0].patches) < 1000


@pytest.mark.parametrize("data_idx", [1, -1, "a", 0.5])
def test_pictures_of_no_image_are_refused(image, data_idx):
    with pytest.raises(ValueError, match="data_idx is .*from 0 to 0"):
        daskpatch.plan(image, double, **TILES).plot(data_idx)


class Parsed(HTMLParser):
    """Checks that tags are closed in order."""

    def __init__(self, html):
        super().__init__()
        self.open, self.seen = [], set()
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        if tag != "br":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture
def objects(image, tmp_path):
    store = zarr.storage.LocalStore(tmp_path / "<out>.zarr")
    plan = daskpatch.plan(image, identity, store, normalize="zscore", **TILES)
    report = plan.run(progress=False)
    found = daskpatch.verify(tmp_path / "<out>.zarr", progress=False)
    return {
        "plan": plan, "report": report, "status": daskpatch.status(tmp_path / "<out>.zarr"),
        "verification": found, "statistics": plan.statistics[0], "view": plan.view,
        "image": plan.images[0],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("plan", ["daskpatch plan", "6 of (24, 24)", "<svg"]),
        ("report", ["daskpatch report", "6 blocks (", "kiB read"]),
        ("status", ["daskpatch status", "6 of 6 blocks done", "<progress max='6' value='6'>"]),
        ("verification", ["daskpatch verification", "all 6 blocks"]),
        ("statistics", ["daskpatch statistics: zscore", "mean 0.", "2,880 voxels, 100.00%"]),
        ("view", ["daskpatch view", "YX (60, 48)", "float32, 11.25 kiB", "<svg"]),
        ("image", ["daskpatch image", "YX (60, 48)", "<svg"]),
    ],
)
def test_objects_have_views_in_notebooks(objects, kind, words):
    html = objects[kind]._repr_html_()
    for word in words:
        assert word in html
    parsed = Parsed(html)
    assert not parsed.open
    assert "script" not in parsed.seen
    assert not re.search(r"<th[^>]*></th>", html)


def test_a_plan_draws_the_blocks_that_it_has():
    image = np.zeros((60, 200, 260), "u1")
    words = {"patch_size": (32, 64, 64), "overlaps": (8, 16, 16), "chunks": (32, 64, 64)}
    plan = daskpatch.plan(image, identity, axes="ZYX", **words)
    assert len(plan.array.chunks[1]) == 1 < 200 / plan.block_shape[1]  # what is left is merged
    drawn = da.zeros(image.shape, chunks=plan.array.chunks).to_svg(size=160)
    assert drawn.count("<line") == plan._repr_html_().count("<line")


def test_names_are_escaped_and_lines_fold(objects):
    html = objects["plan"]._repr_html_()
    assert "&lt;out&gt;.zarr" in html
    assert "<out>" not in html
    assert {"details", "summary"} <= Parsed(html).seen


def test_bad_blocks_are_listed(objects, tmp_path):
    objects["plan"]
    chunk = next((tmp_path / "<out>.zarr" / "c").rglob("*/0"))
    chunk.write_bytes(b"")
    found = daskpatch.verify(tmp_path / "<out>.zarr", progress=False)
    assert f"block {found.bad[0]}: corrupt" in found._repr_html_()


# Names of lazy arrays


def name(source, model=double, **options):
    return daskpatch.plan(source, model, **{**TILES, **options}).array.name


def test_lazy_arrays_of_equal_plans_have_equal_names(image, tmp_path):
    zarr.create_array(str(tmp_path / "in.zarr"), data=image, chunks=(20, 20))
    for source in (image, da.from_array(image, chunks=20), str(tmp_path / "in.zarr")):
        assert name(source) == name(source)
    both = [daskpatch.plan(image, double, **TILES).array for _ in range(2)]
    merged = (both[0] + both[1]).dask
    assert len(dict(merged)) == len(dict(both[0].dask)) + both[0].npartitions
    np.testing.assert_array_equal(dask.compute(both[0] + both[1])[0], 4 * image)
    plan = daskpatch.plan(image, double, **TILES)
    assert plan.to(tmp_path / "out.zarr").array.name == plan.array.name


def test_lazy_arrays_of_other_plans_have_other_names(image, tmp_path):
    other = image.copy()
    other[3, 3] = 0
    path = str(tmp_path / "in.zarr")
    array = zarr.create_array(path, data=image, chunks=(20, 20))
    stored = name(path)
    array[3, 3] = 0
    names = [
        name(image), name(other), name(image, identity), name(image, overlaps=8),
        name(image, block_shape=12), name(image, stitch="gaussian"), name(image, dtype="f8"),
        name(image, normalize="zscore"), name(image, axes="XY"), stored, name(path),
    ]  # fmt: skip
    assert len(set(names)) == len(names)


class Lazy:
    """An array that counts what is read of it."""

    shape, dtype = (60, 48), np.dtype("f4")
    read = 0

    def __getitem__(self, key):
        Lazy.read += 1
        return np.zeros((60, 48), "f4")[key]


def test_naming_an_array_reads_none_of_what_is_not_stored():
    plan = daskpatch.plan(Lazy(), double, **TILES)
    Lazy.read = 0
    names = [plan.array.name, daskpatch.plan(Lazy(), double, **TILES).array.name]
    assert Lazy.read == 1  # the second plan's trial
    assert names[0] != names[1]


class Elsewhere:
    factor = 1.0


def with_a_factor(batch):
    return batch * sys.modules[__name__].Elsewhere.factor


def test_what_code_reads_from_elsewhere_makes_another_name(image, monkeypatch):
    first = name(image, with_a_factor)
    assert name(image, with_a_factor) == first
    monkeypatch.setattr(Elsewhere, "factor", 2.0)
    assert name(image, with_a_factor) != first


def test_without_an_identity_names_are_unique(image):
    import threading

    lock = threading.Lock()

    def model(batch):
        with lock:
            return batch

    assert name(image, model) != name(image, model)
    assert name(image, model, model_id="a") == name(image, model, model_id="a")


class Own:
    """An image stack of the user's own, which says nothing of where it lies."""

    data_shape, data_dtype = (1, 1, 60, 48), np.dtype("f4")
    original_axes, original_data_shape, source = "YX", (60, 48), "own"

    def extract_patch(self, sample_idx, channels, coords, patch_size):
        return np.zeros((1, *patch_size), "f4")


def test_images_of_ones_own_have_no_name():
    words = {word: value for word, value in TILES.items() if word != "axes"}
    first, second = (daskpatch.plan(Own(), double, **words).array.name for _ in range(2))
    assert first != second
