"""Plates and converted files, by the word of two validators."""

import numpy as np
import pytest
from example_models import double
from test_plates import group, image, plate, said, tell
from test_validators import VERSIONS, valid
from yaozarrs import validate_zarr_store

import daskpatch

TILES = {"patch_size": 16, "overlaps": 4, "progress": False}


@VERSIONS
@pytest.mark.filterwarnings("ignore:1 well")
def test_a_plate_of_a_plate(tmp_path, rng, version):
    plate(tmp_path / "p.zarr", rng, version)
    tell(tmp_path / "p.zarr", "plate", {"name": "screen", "acquisitions": [{"id": 3}]})
    images = [{"path": name, "acquisition": 3} for name in "01"]
    tell(tmp_path / "p.zarr/B/2", "well", {"images": images})
    out = tmp_path / "out.zarr"
    daskpatch.predict(tmp_path / "p.zarr", double, out, pyramid=1, **TILES)
    assert "HCS" in valid(out)
    assert "Well" in valid(out / "B" / "2")
    assert "Image" in valid(out / "B" / "2" / "1")


@VERSIONS
def test_a_converted_file_of_one(tmp_path, rng, version):
    group(tmp_path / "f.zarr", version, said(version, "bioformats2raw.layout", 3))
    for name in "01":
        values = rng.random((2, 30, 40)).astype(np.float32)
        image(tmp_path / "f.zarr" / name, values, version)
    out = tmp_path / "out.zarr"
    daskpatch.predict(tmp_path / "f.zarr", double, out, **TILES)
    validate_zarr_store(str(out))  # the other validator refuses such groups
    for name in "01":
        assert "Image" in valid(out / name)


def test_a_box_of_an_image(tmp_path, rng):
    image(tmp_path / "in.zarr", rng.random((2, 60, 80)).astype("f4"))
    box = np.s_[:, 7:50, 11:]
    daskpatch.predict(tmp_path / "in.zarr", double, tmp_path / "o.zarr", box=box, **TILES)
    assert "Image" in valid(tmp_path / "o.zarr")
