"""CZI files, written and read by pylibCZIrw."""

import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cloudpickle
import numpy as np
import pytest
from example_models import double
from files_of_formats import whole
from pylibCZIrw import czi
from volumes import read

import daskpatch

TILE = 128


@pytest.fixture
def mosaic(tmp_path, rng):
    """A file of two channels, three planes and 4 by 5 tiles each, and its CZYX array."""
    values = rng.integers(0, 4000, (2, 3, 4 * TILE, 5 * TILE)).astype("u2")
    path = tmp_path / "mosaic.czi"
    with czi.create_czi(str(path), compression_options="zstd1:ExplicitLevel=3") as file:
        for c, z, y, x in np.ndindex(2, 3, 4, 5):
            rows, columns = (slice(i * TILE, (i + 1) * TILE) for i in (y, x))
            file.write(
                np.ascontiguousarray(values[c, z, rows, columns]),
                plane={"C": c, "Z": z},
                location=(x * TILE - 77, y * TILE + 1000),  # microscopes begin anywhere
            )
        file.write_metadata(
            "mosaic",
            channel_names={0: "DAPI", 1: "GFP"},
            scale_x=0.1e-6, scale_y=0.2e-6, scale_z=2e-6,
        )  # fmt: skip
    return path, values


def test_a_mosaic_is_one_image(mosaic, rng):
    path, values = mosaic
    image = daskpatch.open_image(path)
    assert image.original_axes == "CZYX"
    np.testing.assert_array_equal(whole(image), values)
    for _ in range(50):
        low = [int(rng.integers(0, n)) for n in values.shape]
        high = [int(rng.integers(a + 1, n + 1)) for a, n in zip(low, values.shape, strict=True)]
        box = tuple(map(slice, low, high))
        np.testing.assert_array_equal(image.array.read(box), values[box])


def test_what_it_says_of_scale_and_channels_is_kept(mosaic):
    path, values = mosaic
    image = daskpatch.open_image(path, channels=["GFP"])
    np.testing.assert_array_equal(
        image.extract_patch(0, None, (0, 0, 0), values.shape[1:])[0], values[1]
    )
    assert str(image.coordinates) == "C 1, Z 2 micrometer, Y 0.2 micrometer, X 0.1 micrometer"


def test_it_pickles_as_its_path(mosaic):
    path, values = mosaic
    image = daskpatch.open_image(path)
    assert len(pickle.dumps(image.array)) < 1000
    assert len(cloudpickle.dumps(image)) < 1000
    np.testing.assert_array_equal(whole(pickle.loads(pickle.dumps(image))), values)


def test_threads_read_it_at_a_time(mosaic, rng):
    path, values = mosaic
    array = daskpatch.open_image(path).array
    starts = [tuple(int(rng.integers(0, n)) for n in values.shape) for _ in range(200)]
    boxes = [tuple(slice(a, min(a + 40, n)) for a, n in zip(start, values.shape, strict=True))
             for start in starts]  # fmt: skip
    with ThreadPoolExecutor(4) as pool:
        for box, found in zip(boxes, pool.map(array.read, boxes), strict=True):
            np.testing.assert_array_equal(found, values[box])


def predicted(source, out, **options):
    how = {"patch_size": (2, 64, 64), "overlaps": (0, 16, 16), "progress": False}
    daskpatch.predict(source, double, out, **how, **options)
    return read(out)


def test_threads_and_worker_processes_predict_what_the_array_gives(mosaic, tmp_path, processes):
    path, values = mosaic
    expected = predicted(values, tmp_path / "array.zarr", axes="CZYX")
    found = predicted(path, tmp_path / "threads.zarr", threads=4)
    np.testing.assert_array_equal(found, expected)
    found = predicted(path, tmp_path / "workers.zarr", client=processes)
    np.testing.assert_array_equal(found, expected)


READ_ONE = """
import sys, daskpatch
def read_bytes():
    return int(open("/proc/self/io").read().split()[1])
array = daskpatch.open_image(sys.argv[1]).array
before = read_bytes()
array.read((slice(1, 2), slice(2, 3), slice(200, 380), slice(200, 380)))
print(read_bytes() - before)
"""


def test_of_tiles_those_that_are_touched_are_read(mosaic):
    path, _ = mosaic
    command = [sys.executable, "-c", READ_ONE, str(path)]
    ran = subprocess.run(command, check=True, capture_output=True, text=True)
    a_tile = path.stat().st_size / (2 * 3 * 4 * 5)  # noise: all of them compress alike
    assert 3.5 * a_tile <= int(ran.stdout) <= 1.3 * 4 * a_tile


def test_colours_are_channels(tmp_path, rng):
    values = rng.integers(0, 255, (100, 120, 3)).astype("u1")
    with czi.create_czi(str(tmp_path / "rgb.czi")) as file:
        file.write(values, location=(30, -5))
    image = daskpatch.open_image(tmp_path / "rgb.czi")
    assert image.channel_names == ("R", "G", "B")
    np.testing.assert_array_equal(whole(image), np.moveaxis(values[..., ::-1], -1, 0))


def test_scenes_are_chosen(tmp_path, rng):
    values = rng.integers(0, 255, (2, 100, 120, 1)).astype("u1")
    with czi.create_czi(str(tmp_path / "a.czi")) as file:
        for scene in range(2):
            file.write(values[scene], location=(200 * scene, 0), scene=scene)
        file.write_metadata("scenes", scale_x=1e-6, scale_y=1e-6)
    with pytest.raises(ValueError, match=r"a.czi holds 2 scenes, 0, 1; choose one \(image=…\)"):
        daskpatch.open_image(tmp_path / "a.czi")
    image = daskpatch.open_image(tmp_path / "a.czi", image=1)
    np.testing.assert_array_equal(whole(image), values[1, :, :, 0])
    assert image.coordinates.translation == (0, 200)


@pytest.mark.parametrize("kept", [0.01, 0.5, 0.99])
def test_a_torn_file_is_refused_before_anything_is_written(mosaic, tmp_path, kept):
    path, _ = mosaic
    content = path.read_bytes()
    Path(path).write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ValueError, match=r"mosaic.czi is torn, or no sound CZI file"):
        predicted(path, tmp_path / "out.zarr")
    assert not (tmp_path / "out.zarr").exists()
