"""What is written, by the word of two validators: each finds what the other misses."""

import warnings

import numpy as np
import ome_zarr_models
import pytest
import yaozarrs
import zarr
from example_models import double

import daskpatch

TILES = {"patch_size": (64, 64), "overlaps": 8, "progress": False}

VERSIONS = pytest.mark.parametrize("version", ["0.4", "0.5"])

SHAPES = {"yx": (300, 80), "zyx": (6, 300, 80), "cyx": (2, 300, 80), "tczyx": (2, 2, 3, 300, 80)}


def labelled(batch):
    return (batch[:, :1] > 0.5).astype("uint16") * 3


def two(batch):
    return {"score": batch, "twice": batch * 2}


def valid(group):
    """What a group is, after both validators found nothing in it to object to."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yaozarrs.validate_zarr_store(str(group))
        found = ome_zarr_models.open_ome_zarr(zarr.open_group(str(group), mode="r"))
    return type(found).__name__


def valid_list(image, version):
    """The label images that are listed; the lists of 0.4 say no version, which yaozarrs misses."""
    labels = zarr.open_group(str(image / "labels"), mode="r")
    if version == "0.4":
        yaozarrs.v04.LabelsGroup.model_validate(labels.attrs.asdict())
    else:
        yaozarrs.validate_zarr_store(str(image / "labels"))
    told = ome_zarr_models.open_ome_zarr(labels).attributes
    return told.labels if version == "0.4" else told.ome.labels


@pytest.fixture
def values():
    return {
        axes: np.random.default_rng(0).random(shape).astype("f4") for axes, shape in SHAPES.items()
    }


@pytest.fixture(params=["yx", "zyx", "cyx", "tczyx"])
def given(request, values):
    """An array without any metadata, and its axes."""
    return values[request.param], {"axes": request.param.upper()}


def predict(given, model, out, version, **words):
    array, told = given
    daskpatch.predict(array, model, out, ome=version, **{**TILES, **told, **words})


@VERSIONS
def test_an_image_with_its_pyramid(tmp_path, given, version):
    predict(given, double, tmp_path / "out.zarr", version, channel_names=names_of(given))
    assert valid(tmp_path / "out.zarr") == "Image"
    assert len(zarr.open_group(str(tmp_path / "out.zarr"), mode="r")) > 1


def names_of(given):
    return ["a", "b"] if "C" in given[1]["axes"] else None


@VERSIONS
def test_a_label_image(tmp_path, given, version):
    predict(given, labelled, tmp_path / "out.zarr", version, label_image="nuclei")
    assert valid_list(tmp_path / "out.zarr", version) == ["nuclei"]
    assert valid(tmp_path / "out.zarr" / "labels" / "nuclei") == "ImageLabel"


@VERSIONS
def test_label_images_in_an_image(tmp_path, given, version):
    out = tmp_path / "out.zarr"
    predict(given, double, out, version)
    for name in ("nuclei", "cells"):
        predict(given, labelled, out, version, label_image=name)
        assert valid(out / "labels" / name) == "ImageLabel"
    assert valid(out) == "Image"
    assert valid_list(out, version) == ["nuclei", "cells"]


@VERSIONS
def test_a_label_image_in_its_source(tmp_path, values, version):
    source = tmp_path / "in.zarr"
    predict((values["cyx"], {"axes": "CYX"}), double, source, version)
    daskpatch.predict(source, labelled, source / "labels" / "nuclei", label_image="nuclei", **TILES)
    assert valid(source) == "Image"
    assert valid_list(source, version) == ["nuclei"]
    assert valid(source / "labels" / "nuclei") == "ImageLabel"


@VERSIONS
def test_several_outputs_are_images(tmp_path, given, version):
    predict(given, two, tmp_path / "out.zarr", version)
    for name in ("score", "twice"):
        assert valid(tmp_path / "out.zarr" / name) == "Image"


@VERSIONS
@pytest.mark.parametrize("label", [None, "nuclei"])
def test_the_images_of_a_series(tmp_path, values, version, label):
    series = [values["yx"], values["yx"][:100]]
    model = double if label is None else labelled
    predict((series, {"axes": "YX"}), model, tmp_path / "out.zarr", version, label_image=label)
    for number in "01":
        image = tmp_path / "out.zarr" / number
        if label is None:
            assert valid(image) == "Image"
        else:
            assert valid_list(image, version) == [label]
            assert valid(image / "labels" / label) == "ImageLabel"


@VERSIONS
def test_levels_that_are_built_later(tmp_path, given, version):
    predict(given, double, tmp_path / "out.zarr", version, pyramid=None)
    values, told = given
    plain = zarr.create_group(
        str(tmp_path / "plain.zarr"), zarr_format=2 if version == "0.4" else 3
    )
    # Of Zarr v3 arrays have names for their axes, which 0.5 wants.
    names = {} if version == "0.4" else {"dimension_names": list(told["axes"].lower())}
    chunks = tuple(min(n, 64) for n in values.shape)
    plain.create_array("raw", data=values, chunks=chunks, **names)
    daskpatch.pyramid(tmp_path / "out.zarr", progress=False)
    daskpatch.pyramid(tmp_path / "plain.zarr" / "raw", axes=told["axes"], progress=False)
    for name in ("out.zarr", "plain.zarr"):
        assert valid(tmp_path / name) == "Image"
        assert len(zarr.open_group(str(tmp_path / name), mode="r")) > 1


@VERSIONS
def test_a_run_that_is_not_done(tmp_path, values, version):
    given = (values["yx"], {"axes": "YX", "chunks": 64, "block_shape": 64})
    for label, model in ((None, double), ("nuclei", labelled)):
        words = {"label_image": label, "part": (1, 2)}
        predict(given, model, tmp_path / "out.zarr", version, **words)
    assert valid(tmp_path / "out.zarr") == "Image"
    assert valid(tmp_path / "out.zarr" / "labels" / "nuclei") == "ImageLabel"


@VERSIONS
def test_they_find_what_is_wrong(tmp_path, values, version):
    """Or the tests above would say nothing."""
    out = tmp_path / "out.zarr"
    predict((values["yx"], {"axes": "YX"}), labelled, out, version, label_image="nuclei")
    group = zarr.open_group(str(out / "labels" / "nuclei"), mode="r+")
    told = group.attrs.asdict()
    (image,) = told.get("ome", told)["multiscales"]
    image["axes"][0]["type"] = "time"
    group.attrs.update(told)
    with pytest.raises(Exception, match=r"(?i)axes|space"):
        yaozarrs.validate_zarr_store(str(out / "labels" / "nuclei"))
    with pytest.raises(Exception, match=r"(?i)axes|space|attributes"):
        ome_zarr_models.open_ome_zarr(zarr.open_group(str(out / "labels" / "nuclei"), mode="r"))
