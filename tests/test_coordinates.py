"""Where voxels lie: read from OME-Zarr and xarray, derived for what is made of them."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import xarray
import zarr
from command_line import exit_code
from hypothesis import given
from hypothesis import strategies as st

import daskpatch
from daskpatch.geometry import Coordinates

GOLDEN = json.loads((Path(__file__).parent / "coordinates.json").read_text())

UNITS = ("second", None, "micrometer", "micrometer", "micrometer")


def near(found, scale, translation):
    return found.scale == pytest.approx(scale, rel=1e-12) and found.translation == pytest.approx(
        translation, rel=1e-12, abs=1e-12
    )


@pytest.mark.parametrize("case", GOLDEN)
def test_golden_coordinates(case):
    source = Coordinates(
        "X", (case["source_scale"],), (case["source_translation"],), ("micrometer",)
    )
    cell = 1 / Fraction(case["model_scale"])
    result = source.from_voxel({"X": case["roi_start"] + case["margin"]}).of_cells({"X": cell})
    assert near(result, [case["scale"]], [case["translation"]])
    for levels, factors in (
        (case["levels_factor_2"], (1, 2, 2, 2)),
        (case["levels_factor_1_2_3"], (1, 1, 2, 3)),
    ):
        level = result
        for (scale, translation), factor in zip(levels, factors, strict=True):
            level = level.of_cells({"X": factor})
            assert near(level, [scale], [translation])


scales = st.floats(1e-3, 1e3)
places = st.floats(-1e3, 1e3)


@given(scales, places, st.integers(1, 5), st.integers(1, 4))
def test_cells_of_cells_are_cells(scale, place, factor, depth):
    level = source = Coordinates("X", (scale,), (place,), (None,))
    for _ in range(depth):
        level = level.of_cells({"X": factor})
    direct = source.of_cells({"X": factor**depth})
    assert near(level, direct.scale, direct.translation)


@given(scales, places, st.integers(1, 5), st.integers(0, 9), st.integers(0, 9))
def test_the_middle_of_a_cell_is_the_mean_of_its_voxels(scale, place, factor, start, cell):
    source = Coordinates("X", (scale,), (place,), (None,))
    part = source.from_voxel({"X": start})
    made = part.of_cells({"X": factor})
    voxels = place + scale * (start + np.arange(cell * factor, (cell + 1) * factor))
    middle = made.translation[0] + made.scale[0] * cell
    assert middle == pytest.approx(voxels.mean(), rel=1e-9, abs=1e-6)
    (first,) = part.every({"X": factor}).translation
    assert first == pytest.approx(place + scale * start, rel=1e-9, abs=1e-9)


def test_decimals_stay_decimals():
    source = Coordinates("X", (0.65,), (0.1,), (None,))
    assert source.of_cells({"X": 3}) == Coordinates("X", (1.95,), (0.75,), (None,))


def test_other_axes():
    source = Coordinates("ZYX", (2.0, 0.5, 0.5), (1.0, 2.0, 3.0), ("m", "mm", "mm"))
    assert source.on("XCZ") == Coordinates(
        "XCZ", (0.5, 1.0, 2.0), (3.0, 0.0, 1.0), ("mm", None, "m")
    )


# OME-Zarr


def transformations(scale, translation):
    return [
        {"type": "scale", "scale": scale},
        {"type": "translation", "translation": translation},
    ]


FINE = transformations([30.0, 1.0, 2.0, 0.65, 0.65], [0.0, 0.0, 5.0, -1.0, 1.0])
COARSE = transformations([30.0, 1.0, 2.0, 1.3, 1.3], [0.0, 0.0, 5.0, -0.675, 1.325])


def as_0_6(axes, datasets):
    wrapped = [
        {
            "path": each["path"],
            "coordinateTransformations": [
                {
                    "type": "sequence",
                    "input": each["path"],
                    "output": "physical",
                    "transformations": each["coordinateTransformations"],
                }
            ],
        }
        for each in datasets
    ]
    return {"coordinateSystems": [{"name": "physical", "axes": axes}], "datasets": wrapped}


def image(path, version, datasets, **further):
    """An OME-Zarr image `TCZYX` of two levels, "fine" and "coarse"."""
    group = zarr.create_group(str(path), zarr_format=2 if version == "0.4" else 3)
    for name, step in (("fine", 1), ("coarse", 2)):
        values = np.zeros((2, 1, 4, 8 // step, 12 // step), "u1")
        group.create_array(name, data=values, chunks=(1, 1, 4, 4, 4))
    axes = [
        {"name": name, **({} if unit is None else {"unit": unit})}
        for name, unit in zip("tczyx", UNITS, strict=True)
    ]
    told = {"axes": axes, "datasets": datasets, **further}
    if version == "0.6":
        told = as_0_6(axes, datasets)
    inside = {"version": version, "multiscales": [told]}
    if version == "0.4":
        group.attrs["multiscales"] = [{**told, "version": version}]
    else:
        group.attrs["ome"] = inside
    return path


def both(reverse=False):
    datasets = [
        {"path": "fine", "coordinateTransformations": FINE},
        {"path": "coarse", "coordinateTransformations": COARSE},
    ]
    return datasets[::-1] if reverse else datasets


@pytest.mark.parametrize("version", ["0.4", "0.5", "0.6"])
@pytest.mark.parametrize("reverse", [False, True])
def test_scales_and_levels_of_an_ome_image(tmp_path, version, reverse):
    path = image(tmp_path / "image.zarr", version, both(reverse))
    fine, coarse = daskpatch.open_image(path), daskpatch.open_image(path, level=1)
    assert fine.source.endswith("/fine")
    assert fine.coordinates == Coordinates(
        "TCZYX", (30.0, 1.0, 2.0, 0.65, 0.65), (0.0, 0.0, 5.0, -1.0, 1.0), UNITS
    )
    assert coarse.source.endswith("/coarse")
    assert near(
        fine.coordinates.of_cells({"Y": 2, "X": 2}),
        coarse.coordinates.scale,
        coarse.coordinates.translation,
    )
    with pytest.raises(ValueError, match=r"level is 2, .* 2 levels, .*: 0 \(fine\), 1 \(coarse\)"):
        daskpatch.open_image(path, level=2)


def test_a_scale_of_the_whole_image_comes_last(tmp_path):
    over_all = transformations([1.0, 1.0, 1.0, 2.0, 2.0], [10.0, 0.0, 0.0, 0.0, 0.0])
    path = image(tmp_path / "a.zarr", "0.5", both(), coordinateTransformations=over_all)
    found = daskpatch.open_image(path).coordinates
    assert found.scale == (30.0, 1.0, 2.0, 1.3, 1.3)
    assert found.translation == (10.0, 0.0, 5.0, -2.0, 2.0)


@pytest.mark.parametrize(
    "odd",
    [
        "x",
        [{"type": "affine", "affine": [[1]]}],
        [{"type": "scale"}],
        [{"type": "scale", "scale": [1.0, 2.0]}],
        [{"type": "scale", "scale": [1.0, 1.0, 0.0, 1.0, 1.0]}],
        [{"type": "scale", "path": "elsewhere"}],
        [{"type": "translation", "translation": [0, 0, 0, 0, "x"]}],
        FINE[::-1],
        [FINE[0], FINE[0]],
        FINE[1:],
        [],
        None,
    ],
)
@pytest.mark.parametrize("version", ["0.5", "0.6"])
def test_a_scale_that_cannot_be_understood(tmp_path, odd, version):
    path = image(tmp_path / "a.zarr", version, [{"path": "fine", "coordinateTransformations": odd}])
    if version == "0.6":
        with pytest.raises(ValueError, match=r"version 0\.6, whose transformations are not all"):
            daskpatch.open_image(path)
        return
    with pytest.warns(UserWarning, match=r"scale of .*a\.zarr .* left out"):
        opened = daskpatch.open_image(path)
    assert opened.coordinates is None
    assert opened.data_shape == (2, 1, 4, 8, 12)


def test_axes_that_are_called_otherwise_keep_their_places(tmp_path):
    path = image(tmp_path / "a.zarr", "0.5", both())
    with pytest.warns(UserWarning, match="says of itself"):
        found = daskpatch.open_image(path, axes="STZYX").coordinates
    assert found.axes == "STZYX"
    assert found.scale == (30.0, 1.0, 2.0, 0.65, 0.65)


@pytest.mark.parametrize(("words", "told"), [({"level": 1}, "level is 1"), ({"image": 0}, "image")])
@pytest.mark.parametrize("kind", ["numpy", "path", "array"])
def test_an_array_has_neither_levels_nor_images(tmp_path, words, told, kind):
    values = np.zeros((8, 8), "u1")
    array = zarr.create_array(str(tmp_path / "a.zarr"), data=values)
    source = {"numpy": values, "path": tmp_path / "a.zarr", "array": array}[kind]
    with pytest.raises(ValueError, match=f"{told}.* is one array"):
        daskpatch.open_image(source, axes="YX", **words)
    opened = daskpatch.open_image(source, axes="YX")
    with pytest.raises(ValueError, match="is opened already"):
        daskpatch.plan(opened, np.negative, patch_size=4, **words)


def test_an_image_shows_its_scale(tmp_path):
    shown = daskpatch.open_image(image(tmp_path / "a.zarr", "0.5", both()))._repr_html_()
    assert "T 30 second, C 1, Z 2 micrometer, Y 0.65 micrometer, X 0.65 micrometer" in shown


def test_info_of_an_ome_image(tmp_path, capsys):
    path = image(tmp_path / "a.zarr", "0.5", both(reverse=True))
    group = zarr.open_group(str(path))
    group.create_group("labels").attrs["ome"] = {"version": "0.5", "labels": ["nuclei", "cells"]}
    assert exit_code("info", str(path)) == 0
    said = capsys.readouterr().out
    for line in (
        "scale       (30.0, 1.0, 2.0, 0.65, 0.65)",
        "units       ('second', None, 'micrometer', 'micrometer', 'micrometer')",
        "ome         0.5",
        "level 0     fine, scale (30.0, 1.0, 2.0, 0.65, 0.65)",
        "level 1     coarse, scale (30.0, 1.0, 2.0, 1.3, 1.3)",
        "labels      ('cells', 'nuclei')",
    ):
        assert line in said.splitlines()


@pytest.mark.parametrize("level", [-1, 0.5, "fine", True, None])
def test_what_is_no_level(tmp_path, level):
    path = image(tmp_path / "a.zarr", "0.5", both())
    with pytest.raises(ValueError, match="level is .*; needed is a number, 0 or more"):
        daskpatch.open_image(path, level=level)
    with pytest.raises(ValueError, match="level is .*; needed is a number, 0 or more"):
        daskpatch.plan(path, np.negative, patch_size=4, level=level)


# xarray


def test_coordinates_of_xarray():
    array = xarray.DataArray(
        np.zeros((3, 4, 5)),
        dims=("z", "y", "x"),
        coords={
            "z": [0.0, 2.0, 4.0],
            "y": ("y", [1.0, 1.5, 2.0, 2.5], {"units": "micrometer"}),
            "x": [0, 1, 4, 5, 9],
        },
    )
    assert daskpatch.open_image(array).coordinates == Coordinates(
        "ZYX", (2.0, 0.5, 1.0), (0.0, 1.0, 0.0), (None, "micrometer", None)
    )
    assert daskpatch.open_image(array.drop_vars(["z", "y", "x"])).coordinates is None
