"""Plates, wells and what bioformats2raw writes: a series of all images in them."""

import json
import re
from xml.etree import ElementTree

import numpy as np
import pytest
import zarr
from command_line import exit_code
from example_models import double
from ome_images import dataset
from serving import Quiet, served
from volumes import read

import daskpatch

VERSIONS = ["0.4", "0.5"]
TILES = {"patch_size": 16, "overlaps": 4, "progress": False}


def said(version, what, value):
    return {"ome": {"version": version, what: value}} if version == "0.5" else {what: value}


def attributes(path):
    told = zarr.open_group(str(path), mode="r").attrs.asdict()
    return told.get("ome", told)


def group(path, version, attributes):
    return zarr.create_group(
        str(path), attributes=attributes, zarr_format=2 if version == "0.4" else 3
    )


def tell(path, what, further):
    """Add to what a group says of itself."""
    told = zarr.open_group(str(path)).attrs
    around = told.asdict().get("ome", told.asdict())
    around[what] |= further
    told.update({"ome": around} if "ome" in told else around)


def image(path, values, version="0.5", axes="cyx"):
    told = {
        "axes": [{"name": axis} for axis in axes],
        "datasets": [dataset("0", *(1,) * len(axes))],
    }
    multiscales = [told if version == "0.5" else {**told, "version": version}]
    group(path, version, said(version, "multiscales", multiscales)).create_array(
        "0", data=values, chunks=(*(1,) * (values.ndim - 2), 16, 16)
    )


def plate(path, rng, version, *, odd=None):
    """Wells B/2 and A/1 (listed in this order) of two fields each, and C/3, which is not there."""
    wells = [
        {"path": "B/2", "rowIndex": 1, "columnIndex": 1},
        {"path": "A/1", "rowIndex": 0, "columnIndex": 0},
        {"path": "C/3", "rowIndex": 2, "columnIndex": 2},
    ]
    told = {
        "rows": [{"name": name} for name in "ABC"],
        "columns": [{"name": name} for name in "123"],
        "wells": wells,
    }
    group(path, version, said(version, "plate", told))
    fields = {}
    for well in ("A/1", "B/2"):
        group(
            path / well, version, said(version, "well", {"images": [{"path": "0"}, {"path": "1"}]})
        )
        for field in "01":
            values = (odd or {}).get(f"{well}/{field}")
            if values is None:
                values = rng.random((2, 30, 40)).astype("f4")
            fields[f"{well}/{field}"] = values
            image(path / well / field, values, version)
    return fields


@pytest.mark.parametrize("version", VERSIONS)
def test_a_plate_is_predicted_in_one_call(tmp_path, rng, version):
    fields = plate(tmp_path / "p.zarr", rng, version)
    out = tmp_path / "out.zarr"
    with pytest.warns(UserWarning, match=r"1 well that .* lists is not there, or is no well: C/3"):
        daskpatch.predict(tmp_path / "p.zarr", double, out, **TILES)
    for name in ["A/1/0", "A/1/1", "B/2/0", "B/2/1"]:
        np.testing.assert_array_equal(read(out / name / "0"), fields[name] * 2)
        source = zarr.open_group(str(out / name)).attrs["daskpatch"]["source"]
        assert source.endswith(f"p.zarr/{name}/0")
    assert daskpatch.verify(out, progress=False).ok
    assert daskpatch.status(out).done == daskpatch.status(out).total
    # It is a plate again, with the rows and columns that the source has.
    again = daskpatch.plan(out, double, patch_size=16, overlaps=4)
    for view, name in zip(again.views, sorted(fields), strict=True):
        np.testing.assert_array_equal(view[...], fields[name] * 4)
    told, source = (attributes(path)["plate"] for path in (out, tmp_path / "p.zarr"))
    assert [told[word] for word in ("rows", "columns")] == [
        source[word] for word in ("rows", "columns")
    ]
    assert sorted(told["wells"], key=str) == sorted(source["wells"][:2], key=str)
    assert told["field_count"] == 2


BROKEN = [None, 3, {"rowIndex": 1}, {"path": "../x"}, {"path": "B/2/"}, {"path": 7}]


@pytest.mark.filterwarnings("ignore:1 well")
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("entry", BROKEN, ids=str)
@pytest.mark.parametrize(
    ("what", "word", "inner"), [("plate", "wells", ""), ("well", "images", "A/1")]
)
def test_an_entry_that_cannot_be_understood_hides_no_other(
    tmp_path, rng, version, entry, what, word, inner
):
    path = tmp_path / "p.zarr"
    fields, value = plate(path, rng, version), re.escape(str(entry))
    there = attributes(path / inner)[what][word]
    listed = zarr.open_group(str(path / inner))

    def tell_of(entries):
        told = attributes(path / inner)
        listed.attrs.update(said(version, what, told[what] | {word: entries}))

    tell_of([entry, *there])
    with pytest.warns(UserWarning, match=f"1 item of .* cannot be understood .*: {value}"):
        plan = daskpatch.plan(path, double, patch_size=16)
    assert len(plan.views) == len(fields)
    tell_of([entry])
    with pytest.raises(ValueError, match=rf"{what} without images\. 1 item of it .*: {value}"):
        daskpatch.plan(path / inner, double, patch_size=16)


def test_an_image_that_is_listed_outside_hides_no_other(tmp_path, rng):
    image(tmp_path / "s.zarr" / "0", rng.random((1, 30, 40)).astype("f4"), "0.5")
    group(tmp_path / "s.zarr", "0.5", said("0.5", "bioformats2raw.layout", 3))
    group(tmp_path / "s.zarr" / "OME", "0.5", said("0.5", "series", ["0", "../x"]))
    with pytest.warns(UserWarning, match=r"1 item of .* cannot be understood .*: .*\.\./x"):
        assert len(daskpatch.plan(tmp_path / "s.zarr", double, patch_size=16).views) == 1


@pytest.mark.filterwarnings("ignore:1 well")
@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ("B/2/0", ["B/2/0"]),
        ("*/0", ["A/1/0", "B/2/0"]),
        ("A/*", ["A/1/0", "A/1/1"]),
        ("[BC]/*/1", ["B/2/1"]),
    ],
)
def test_fields_are_chosen(tmp_path, rng, fields, names):
    there = plate(tmp_path / "p.zarr", rng, "0.5")
    plan = daskpatch.plan(tmp_path / "p.zarr", double, patch_size=16, overlaps=4, fields=fields)
    assert len(plan.views) == len(names)
    for view, name in zip(plan.views, names, strict=True):
        np.testing.assert_array_equal(view[...], there[name] * 2)


@pytest.mark.parametrize("opened", [False, True])
def test_a_well_is_a_series(tmp_path, rng, opened):
    fields = plate(tmp_path / "p.zarr", rng, "0.5")
    well = tmp_path / "p.zarr" / "A" / "1"
    source = zarr.open_group(str(well)) if opened else well
    plan = daskpatch.plan(source, double, patch_size=16, overlaps=4, fields="1", channels=[1])
    (view,) = plan.views
    np.testing.assert_array_equal(view[0], fields["A/1/1"][1] * 2)


@pytest.mark.filterwarnings("ignore:1 well")
@pytest.mark.parametrize(
    ("version", "names"), [("0.4", {".zgroup", ".zattrs"}), ("0.5", {"zarr.json"})]
)
def test_a_field_far_away_is_opened_by_a_request(tmp_path, rng, version, names):
    """As far as its group is concerned: a screen has thousands."""
    asked = []

    class Noting(Quiet):
        def do_GET(self):  # noqa: N802 (so it is called)
            asked.append(self.path)
            super().do_GET()

    plate(tmp_path / "p.zarr", rng, version)
    with served(tmp_path, Noting) as address:
        daskpatch.plan(f"http://{address}/p.zarr", double, patch_size=16, overlaps=4)
    of_group = [path.removeprefix("/p.zarr/A/1/0/") for path in asked]
    assert sorted(name for name in of_group if "/" not in name) == sorted(names)


@pytest.mark.filterwarnings("ignore:1 well")
def test_what_is_odd_in_a_plate_is_named(tmp_path, rng):
    odd = {"A/1/1": rng.random((3, 30, 40)), "B/2/1": rng.random((2, 20, 40))}
    plate(tmp_path / "p.zarr", rng, "0.5", odd=odd)
    (tmp_path / "p.zarr" / "B" / "2" / "0" / "zarr.json").unlink()
    with (
        pytest.warns(UserWarning, match=r"1 image of .* cannot be read and is left out: B/2/0 \("),
        pytest.warns(UserWarning, match=r"1 image of .* other axes or .* 2 channels\): A/1/1"),
        pytest.warns(UserWarning, match=r"1 image of .* another shape than most, .*: B/2/1"),
    ):
        plan = daskpatch.plan(tmp_path / "p.zarr", double, patch_size=16, overlaps=4)
    assert [view.shape for view in plan.views] == [(2, 30, 40), (2, 20, 40)]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("listed", [False, True])
def test_images_of_a_file_that_was_converted(tmp_path, rng, version, listed):
    path = tmp_path / "file.zarr"
    group(path, version, said(version, "bioformats2raw.layout", 3))
    values = {name: rng.random((1, 30, 40)).astype("f4") for name in "012"}
    for name, voxels in values.items():
        image(path / name, voxels, version)
    if listed:
        group(path / "OME", version, said(version, "series", ["2", "0"]))
    names = ["2", "0"] if listed else ["0", "1", "2"]
    plan = daskpatch.plan(path, double, patch_size=16, overlaps=4)
    for view, name in zip(plan.views, names, strict=True):
        np.testing.assert_array_equal(view[...], values[name] * 2)
    for chosen in ("0", 1 if listed else 0):
        one = daskpatch.plan(path, double, patch_size=16, overlaps=4, image=chosen)
        np.testing.assert_array_equal(one.view[...], values["0"] * 2)
    for chosen in ("9", 9, -1):
        with pytest.raises(ValueError, match=rf"image is '?{chosen}'?, .* of the {len(names)} of"):
            daskpatch.plan(path, double, patch_size=16, overlaps=4, image=chosen)
    with pytest.raises(ValueError, match="is a series of images, no plate"):
        daskpatch.plan(path, double, patch_size=16, overlaps=4, fields="0")
    with pytest.raises(ValueError, match=rf"a series of {len(names)} images. Name one"):
        daskpatch.open_image(path)


def plates_without(path, what):
    if what == "fields":
        group(path, "0.5", said("0.5", "plate", {"wells": []}))
    elif what == "sense":
        group(path, "0.5", said("0.5", "plate", [3]))
    else:
        group(path, "0.5", said("0.5", "well", {"images": [{"path": "../../else"}]}))


@pytest.mark.parametrize("what", ["fields", "sense", "way"])
def test_a_plate_without_fields(tmp_path, what):
    plates_without(tmp_path / "p.zarr", what)
    with pytest.raises(ValueError, match=r"p\.zarr is a (plate|well) without images"):
        daskpatch.plan(tmp_path / "p.zarr", double, patch_size=16)


@pytest.mark.filterwarnings("ignore:1 well")
def test_fields_that_are_none(tmp_path, rng):
    plate(tmp_path / "p.zarr", rng, "0.5")
    with pytest.raises(ValueError, match=r"fields is 'D/\*', which is none of .*A/1/0, A/1/1"):
        daskpatch.plan(tmp_path / "p.zarr", double, patch_size=16, fields="D/*")
    with pytest.raises(ValueError, match=r"fields is 'A', and the source is no plate"):
        daskpatch.plan(np.zeros((8, 8)), double, axes="YX", patch_size=4, fields="A")
    for fields in ("", 3, ["A"]):
        with pytest.raises(ValueError, match=r"fields is .*; needed is a path in the plate"):
            daskpatch.plan(tmp_path / "p.zarr", double, patch_size=16, fields=fields)


# What is written of them


@pytest.mark.filterwarnings("ignore:1 well")
@pytest.mark.parametrize("version", VERSIONS)
def test_a_plate_keeps_its_name_and_acquisitions(tmp_path, rng, version):
    plate(tmp_path / "p.zarr", rng, version)
    acquisitions = [{"id": 3, "name": "day 1", "maximumfieldcount": 2}, {"id": 7, "own": [1]}]
    tell(tmp_path / "p.zarr", "plate", {"name": "screen", "acquisitions": acquisitions})
    images = [{"path": "0", "acquisition": 3}, {"path": "1", "acquisition": 7}]
    tell(tmp_path / "p.zarr/B/2", "well", {"images": images})
    daskpatch.predict(tmp_path / "p.zarr", double, tmp_path / "o.zarr", fields="*/1", **TILES)
    told = attributes(tmp_path / "o.zarr")["plate"]
    assert (told["name"], told["acquisitions"]) == ("screen", acquisitions)
    assert attributes(tmp_path / "o.zarr/B/2")["well"]["images"] == images[1:]
    assert attributes(tmp_path / "o.zarr/A/1")["well"]["images"] == [{"path": "1"}]


@pytest.mark.filterwarnings("ignore:1 well")
@pytest.mark.parametrize("odd", [5, [5], [{"name": "no id"}], [{"id": "x"}], {"id": 1}])
def test_acquisitions_that_cannot_be_understood_are_left_out(tmp_path, rng, odd):
    plate(tmp_path / "p.zarr", rng, "0.5")
    tell(tmp_path / "p.zarr", "plate", {"name": 7, "acquisitions": odd})
    tell(tmp_path / "p.zarr/B/2", "well", {"images": [{"path": "0", "acquisition": 3}]})
    daskpatch.predict(tmp_path / "p.zarr", double, tmp_path / "o.zarr", fields="B/*", **TILES)
    told = attributes(tmp_path / "o.zarr")["plate"]
    assert told["name"] == "o"
    assert "acquisitions" not in told
    assert attributes(tmp_path / "o.zarr/B/2")["well"]["images"] == [{"path": "0"}]


@pytest.mark.filterwarnings("ignore:1 well")
def test_chosen_fields_are_a_plate_of_their_wells(tmp_path, rng):
    fields = plate(tmp_path / "p.zarr", rng, "0.5")
    daskpatch.predict(tmp_path / "p.zarr", double, tmp_path / "o.zarr", fields="B/2/1", **TILES)
    np.testing.assert_array_equal(read(tmp_path / "o.zarr/B/2/1/0"), fields["B/2/1"] * 2)
    told = attributes(tmp_path / "o.zarr")["plate"]
    assert told["wells"] == [{"path": "B/2", "rowIndex": 1, "columnIndex": 1}]
    assert attributes(tmp_path / "o.zarr/B/2")["well"]["images"] == [{"path": "1"}]


@pytest.mark.filterwarnings("ignore:1 well")
def test_a_plate_is_written_in_parts_repaired_and_overwritten(tmp_path, rng):
    fields = plate(tmp_path / "p.zarr", rng, "0.5")
    out = tmp_path / "o.zarr"
    for i in (2, 1):
        daskpatch.predict(tmp_path / "p.zarr", double, out, part=(i, 2), **TILES)
    assert daskpatch.status(out).remaining == 0
    (chunk,) = (out / "B/2/1/0").glob("c/0/0/0")
    chunk.unlink()
    assert not daskpatch.verify(out, progress=False).ok
    daskpatch.verify(out, repair=True, model=double, progress=False)
    np.testing.assert_array_equal(read(out / "B/2/1/0"), fields["B/2/1"] * 2)
    daskpatch.predict(tmp_path / "p.zarr", double, out, overwrite=True, fields="A/1/0", **TILES)
    assert sorted(path.parent.name for path in out.glob("*/*/*/0/zarr.json")) == ["0"]
    assert not (out / "B").exists()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_converted_file_is_written_as_one(tmp_path, rng, version):
    path, out = tmp_path / "file.zarr", tmp_path / "out.zarr"
    group(path, version, said(version, "bioformats2raw.layout", 3))
    values = {name: rng.random((2, 30, 40)).astype("f4") for name in "01"}
    for name, voxels in values.items():
        image(path / name, voxels, version)
    for _ in range(2):
        daskpatch.predict(path, double, out, overwrite=True, **TILES)
    assert attributes(out)["bioformats2raw.layout"] == 3
    assert attributes(out / "OME")["series"] == ["0", "1"]
    names = {"": "http://www.openmicroscopy.org/Schemas/OME/2016-06"}
    images = ElementTree.parse(out / "OME" / "METADATA.ome.xml").findall("Image/Pixels", names)
    assert [each.get("SizeX") for each in images] == ["40", "40"]
    assert images[0].get("Type") == "float"
    assert len(images[0].findall("Channel", names)) == 2
    again = daskpatch.plan(out, double, patch_size=16, overlaps=4)
    for view, name in zip(again.views, values, strict=True):
        np.testing.assert_array_equal(view[...], values[name] * 4)


@pytest.mark.filterwarnings("ignore:1 well")
def test_a_run_that_was_begun_as_a_series_is_gone_on_with_as_one(tmp_path, rng):
    fields = plate(tmp_path / "p.zarr", rng, "0.5")
    out = tmp_path / "o.zarr"
    listed = [daskpatch.open_image(tmp_path / "p.zarr" / name) for name in sorted(fields)]
    daskpatch.predict(listed, double, out, part=(1, 2), **TILES)
    daskpatch.predict(tmp_path / "p.zarr", double, out, resume=True, **TILES)
    assert daskpatch.status(out).remaining == 0
    assert not (out / "B").exists()
    np.testing.assert_array_equal(read(out / "3" / "0"), fields["B/2/1"] * 2)


@pytest.mark.filterwarnings("ignore:1 well")
@pytest.mark.parametrize("lost", ["rows", "columns"])
def test_a_plate_that_does_not_name_its_rows_is_written_as_a_series(tmp_path, rng, lost):
    fields = plate(tmp_path / "p.zarr", rng, "0.5")
    node = zarr.open_group(str(tmp_path / "p.zarr"))
    told = node.attrs["ome"]
    told["plate"][lost] = told["plate"][lost][:1]
    node.attrs["ome"] = told
    daskpatch.predict(tmp_path / "p.zarr", double, tmp_path / "o.zarr", **TILES)
    np.testing.assert_array_equal(read(tmp_path / "o.zarr" / "3" / "0"), fields["B/2/1"] * 2)
    assert "plate" not in attributes(tmp_path / "o.zarr")


@pytest.mark.filterwarnings("ignore:1 well")
def test_bare_arrays_of_a_plate_are_a_series(tmp_path, rng):
    plate(tmp_path / "p.zarr", rng, "0.5")
    daskpatch.predict(tmp_path / "p.zarr", double, tmp_path / "o.zarr", ome=False, **TILES)
    assert daskpatch.status(tmp_path / "o.zarr").remaining == 0
    assert read(tmp_path / "o.zarr" / "0").shape == (2, 30, 40)


@pytest.mark.filterwarnings("ignore:1 well")
def test_several_arrays_of_a_plate_are_images_in_its_fields(tmp_path, rng):
    def both(batch):
        return {"one": batch, "two": batch * 2}

    fields = plate(tmp_path / "p.zarr", rng, "0.5")
    daskpatch.predict(tmp_path / "p.zarr", both, tmp_path / "o.zarr", **TILES)
    np.testing.assert_array_equal(read(tmp_path / "o.zarr/B/2/1/two/0"), fields["B/2/1"] * 2)
    for name in ("B/2/1", "B/2/1/one", "B/2/1/two", "B/2/1/two/0"):
        assert daskpatch.status(tmp_path / "o.zarr" / name).total == 1
        assert daskpatch.verify(tmp_path / "o.zarr" / name, progress=False).ok
    with pytest.raises(FileNotFoundError, match=r"If it is a part .* a well, name the whole\.$"):
        daskpatch.status(tmp_path / "o.zarr/B/2")
    assert "plate" not in attributes(tmp_path / "o.zarr")
    assert daskpatch.verify(tmp_path / "o.zarr", progress=False).ok


@pytest.mark.parametrize("version", VERSIONS)
def test_info_says_what_a_plate_holds(tmp_path, rng, version, capsys):
    plate(tmp_path / "p.zarr", rng, version)
    for as_json in (["--json"], []):
        exit_code("info", str(tmp_path / "p.zarr"), *as_json)
    document, *lines = capsys.readouterr().out.splitlines()
    told = json.loads(document)
    assert told["kind"] == "plate"
    assert told["images"] == ["A/1/0", "A/1/1", "B/2/0", "B/2/1"]
    assert told["missing"] == ["C/3"]
    assert told["rows"] == ["A", "B", "C"]
    assert told["first"]["shape"] == [2, 30, 40]
    assert told["first"]["ome"] == version
    assert "images      4: A/1/0, A/1/1, B/2/0, B/2/1" in lines
