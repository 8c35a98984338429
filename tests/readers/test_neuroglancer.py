"""What is written is shown by neuroglancer, in headless Chromium: each voxel, at its place."""

import os
import re
import shutil
from concurrent.futures import Future
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

import neuroglancer
import numpy as np
import pytest
from example_models import double
from ome_images import SCALES, image
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from serving import Quiet, served
from volumes import read

import daskpatch

pytestmark = pytest.mark.filterwarnings("ignore")  # what these packages warn of is theirs

TILES = {"patch_size": (4, 64, 64), "overlaps": (0, 8, 8), "pyramid": 2, "progress": False}
LIMIT = 120
"""Seconds within which a browser that works has answered, however busy the machine is."""

AROUND = 10
"""Pixels around an image in a picture."""

FLAGS = (
    "--headless=new",
    "--no-sandbox",  # root has none
    "--disable-dev-shm-usage",  # which containers have little of
    "--use-angle=swiftshader",  # WebGL on the CPU
    "--enable-unsafe-swiftshader",
)

VALUES = (np.random.default_rng(9).random((2, 4, 300, 80)) / 2).astype("f4")
SPACE = {"z": [2e-06, "m"], "y": [6.5e-07, "m"], "x": [6.5e-07, "m"]}
BEFORE = {"c": 0, "z": 4, "y": 40, "x": 12}
"""Voxels between the origin and the first one; of each level whole ones, to be asked for."""

# From the centre of a voxel, as OME-Zarr counts; neuroglancer does from its corner.
OFFSET = [0.0, *((BEFORE[axis] + 0.5) * SCALES[axis] for axis in "zyx")]


class Shared(Quiet):
    """Files, and spans of them, for pages from elsewhere."""

    def end_headers(self):
        self.send_header("Access-Control-Allow-Origin", "*")
        super().end_headers()

    def do_GET(self):  # noqa: N802 (so it is called)
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        path = Path(self.translate_path(self.path))
        if asked is None or not path.is_file():
            super().do_GET()
            return
        first, last = map(int, asked.groups())
        content = path.read_bytes()
        part = content[first : last + 1]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)


@pytest.fixture
def http(tmp_path):
    """The URL of the folder."""
    with served(tmp_path, Shared) as address:
        yield f"http://{address}"


@pytest.fixture(scope="module")
def browser():
    options = ChromeOptions()
    for flag in FLAGS:
        options.add_argument(flag)
    # Chromium leaves files where temporary ones are.
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        service = Service(shutil.which("chromedriver"), env={**os.environ, "TMPDIR": folder})
        with Chrome(options, service) as chrome:
            yield chrome
    neuroglancer.stop()


def opened(browser, layer):
    """A viewer of one layer, without anything drawn over it, and what it says of the volume."""
    viewer = neuroglancer.Viewer()
    with viewer.txn() as state:
        state.layers["it"] = layer
        state.layout = "xy"
        state.cross_section_background_color = "#000000"
        state.show_axis_lines = state.show_scale_bar = state.show_default_annotations = False
    with viewer.config_state.txn() as config:
        config.show_ui_controls = config.show_panel_borders = False
    browser.get(viewer.get_viewer_url())
    return viewer, viewer.volume_info("it").result(LIMIT)


def factor_of(axis, k):
    return 2**k if axis in "yx" else 1


def has_level(viewer, found, k, values):
    """Neuroglancer knows level k, its first voxel lies where it should, and all are the same."""
    names = found.dimensions.names
    space = neuroglancer.CoordinateSpace(
        names=names,
        scales=found.dimensions.scales * [factor_of(name, k) for name in names],
        units=found.dimensions.units,
    )
    level = viewer.volume("it", dimensions=space).result(LIMIT)
    assert level.origin == tuple(BEFORE[name[0]] // factor_of(name, k) for name in names)
    np.testing.assert_array_equal(level.read().result(LIMIT), values)


def picture(viewer, k, shape, channel=None):
    """Slice 1 with some pixels around the image, each of the size of a voxel of level k."""
    y, x = shape
    size = (y + 2 * AROUND, x + 2 * AROUND)
    with viewer.txn() as state:
        # The first two are shown.
        state.dimensions = neuroglancer.CoordinateSpace(
            names="xyz", scales=[SCALES[axis] for axis in "xyz"], units="um"
        )
        middle = {"x": 2**k * x / 2, "y": 2**k * y / 2, "z": 1.5}
        state.position = [BEFORE[axis] + middle[axis] for axis in "xyz"]
        state.cross_section_scale = 2**k
        if channel is not None:
            state.layers["it"].local_position = [channel]
    with viewer.config_state.txn() as config:
        config.viewer_size = size[::-1]
    end = monotonic() + LIMIT
    while monotonic() < end:
        reply = Future()
        viewer.async_screenshot(reply.set_result)
        shown = reply.result(LIMIT)
        pixels = shown.screenshot.image_pixels
        # The first may be of what was shown before.
        if shown.viewer_state == viewer.state and pixels.shape[:2] == size:
            return pixels[..., :3]
    pytest.fail(f"Neuroglancer shows {shown.viewer_state}, and not yet {viewer.state}.")


@pytest.mark.parametrize(
    ("version", "words"), [("0.4", {}), ("0.5", {}), ("0.5", {"shards": (2, 4, 112, 112)})]
)
def test_an_image_is_shown_at_its_place(tmp_path, http, browser, version, words):
    source = image(tmp_path / "in.zarr", VALUES, axes="czyx", version=version, offset=OFFSET)
    out = tmp_path / "out.zarr"
    daskpatch.predict(source, double, out, ome=version, **TILES, **words)
    viewer, found = opened(browser, neuroglancer.ImageLayer(source=f"{http}/out.zarr/"))
    assert found.dimensions.to_json() == {"c'": [1, ""], **SPACE}
    levels = [read(out / str(k)) for k in range(3)]
    for k, values in enumerate(levels):
        has_level(viewer, found, k, values)
    # The level is chosen by the zoom; floats are shown from 0 to 1.
    for k, channel in ((0, 1), (2, 0)):
        values = levels[k][channel, 1]
        wanted = 255 * np.pad(values, AROUND)[..., None]
        np.testing.assert_allclose(picture(viewer, k, values.shape, channel) - wanted, 0, atol=1)


def ids(batch):
    return (batch * 14).astype("uint16")


def test_a_label_image_is_shown_at_its_place(tmp_path, http, browser):
    objects = VALUES[0, :, ::4, ::4].repeat(4, 1).repeat(4, 2)
    source = image(tmp_path / "in.zarr", objects, offset=OFFSET[1:])
    out = tmp_path / "out.zarr"
    daskpatch.predict(source, double, out, **TILES)
    daskpatch.predict(source, ids, out, label_image="nuclei", **TILES)
    layer = neuroglancer.SegmentationLayer(
        source=f"{http}/out.zarr/labels/nuclei/",
        segment_colors={number: f"#{30 * number:02x}0000" for number in range(1, 7)},
        selected_alpha=1,
    )
    viewer, found = opened(browser, layer)
    assert found.dimensions.to_json() == SPACE
    levels = [read(out / "labels" / "nuclei" / str(k)) for k in range(3)]
    for k, values in enumerate(levels):
        has_level(viewer, found, k, values)
    for k in (0, 2):
        wanted = 30 * np.pad(levels[k][1], AROUND)
        np.testing.assert_array_equal(picture(viewer, k, levels[k][1].shape)[..., 0], wanted)
