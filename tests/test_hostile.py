"""Metadata and records that name what is not theirs, or are anything else than they should be."""

import json
import pickle

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from volumes import read, save

import daskpatch
from daskpatch.store import locate
from daskpatch.store.location import check_inside

AXES = [{"name": "y", "type": "space"}, {"name": "x", "type": "space"}]

TILES = {"axes": "YX", "patch_size": 16, "progress": False}

OUTSIDE = [
    "../secret.zarr",
    "/etc",
    "..",
    "",
    ".",
    "0/../../secret.zarr",
    "s3://x",
    "a" * 5000,
    "a\\b",
]

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.floats(allow_nan=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@pytest.fixture
def secret(tmp_path):
    """An array beside the group, which nothing in the group may reach."""
    save(tmp_path / "secret.zarr", np.full((32, 32), 42, "f4"), chunks=(16, 16))
    return tmp_path / "secret.zarr"


def image_with(folder, attributes):
    zarr.create_group(folder, attributes=attributes)
    save(folder / "0", np.ones((32, 32), "f4"), chunks=(16, 16))
    return folder


def with_multiscales(multiscales, *, is_v5):
    ome = {"version": "0.5", "multiscales": multiscales}
    return {"ome": ome} if is_v5 else {"multiscales": multiscales}


@pytest.mark.parametrize("is_v5", [True, False])
@pytest.mark.parametrize("path", [*OUTSIDE, 5, None, ["0"], {"a": 1}])
def test_the_path_of_a_level_stays_in_its_group(secret, tmp_path, path, is_v5):
    multiscales = [{"axes": AXES, "datasets": [{"path": path}]}]
    group = image_with(tmp_path / "g.zarr", with_multiscales(multiscales, is_v5=is_v5))
    with pytest.raises(ValueError, match="OME metadata of .* are malformed: .*path") as failure:
        daskpatch.open_image(group)
    assert len(str(failure.value)) <= 500


@pytest.mark.filterwarnings("ignore:The scale of:UserWarning")
def test_a_level_that_is_not_there_is_told_with_those_that_are(tmp_path):
    multiscales = [{"axes": AXES, "datasets": [{"path": "full"}, {"path": "half"}]}]
    group = image_with(tmp_path / "g.zarr", with_multiscales(multiscales, is_v5=True))
    zarr.create_array(group, name="half", shape=(4, 4), chunks=(4, 4), dtype="u1")
    with pytest.raises(FileNotFoundError, match="names full, and .* its own place: .*half"):
        daskpatch.open_image(group)


@pytest.mark.parametrize("is_v5", [True, False])
@pytest.mark.parametrize(
    "multiscales",
    [5, "x", [5], [[]], [{}], [{"axes": 5}], [None], {"0": 1}, [{"axes": [{"name": 1}]}]],
)
def test_malformed_multiscales_are_told_of_by_field(tmp_path, multiscales, is_v5):
    group = image_with(tmp_path / "g.zarr", with_multiscales(multiscales, is_v5=is_v5))
    with pytest.raises(ValueError, match="malformed: |version unknown"):
        daskpatch.open_image(group, axes="YX")


@given(JSON, st.booleans(), st.booleans())
def test_whatever_multiscales_are_the_answer_is_a_sentence(found, is_inside, is_v5):
    store = zarr.storage.MemoryStore()
    multiscales = [found] if is_inside else found
    zarr.create_group(store, attributes=with_multiscales(multiscales, is_v5=is_v5))
    with pytest.raises(ValueError, match="OME|is a group, not an array"):
        daskpatch.open_image(store)


@pytest.mark.parametrize(
    "names", [["../secret.zarr"], "abc", 5, [5], [None], {"a": 1}, [["x"]], ["x" * 3000]]
)
def test_recorded_names_of_outputs_stay_in_their_group(secret, tmp_path, names, rng):
    out = tmp_path / "out.zarr"
    zarr.create_group(out, attributes={"daskpatch": {"outputs": names}})
    with pytest.raises(FileNotFoundError, match="no record of a daskpatch run"):
        daskpatch.verify(out, progress=False)
    (out / ".daskpatch").mkdir()
    (out / ".daskpatch" / "cleared").touch()  # as an overwrite that was killed leaves it
    image = rng.random((32, 32)).astype("f4")
    daskpatch.predict(image, np.negative, out, overwrite=True, **TILES)
    np.testing.assert_array_equal(read(out), -image)
    assert (read(secret) == 42).all()


@pytest.mark.parametrize("attribute", [5, "x", [], None])
def test_an_attribute_that_is_anything(tmp_path, attribute):
    out = tmp_path / "out.zarr"
    zarr.create_group(out, attributes={"daskpatch": attribute})
    with pytest.raises(FileNotFoundError, match="no record of a daskpatch run"):
        daskpatch.status(out)
    with pytest.raises(FileExistsError, match="that daskpatch did not make"):  # ours are mappings
        daskpatch.predict(np.ones((32, 32), "f4"), np.negative, out, overwrite=True, **TILES)


@pytest.mark.parametrize("name", ["../secret.zarr", "..", "a/b", "a\\b", "x" * 300])
def test_a_record_that_names_an_array_elsewhere_is_broken(secret, tmp_path, name):
    out = tmp_path / "out.zarr"
    daskpatch.predict(np.ones((32, 32), "f4"), np.negative, out, **TILES)
    path = out / ".daskpatch" / "run.json"
    document = json.loads(path.read_text())
    (recorded,) = document["fingerprint"]["output"].values()
    document["fingerprint"]["output"] = {name: recorded}
    path.write_text(json.dumps(document))
    with pytest.raises(ValueError, match=r"record of .* is broken"):
        daskpatch.verify(out, progress=False, repair=False)


@given(st.text(max_size=20) | st.lists(st.sampled_from(["a", "..", ".", ""])).map("/".join))
def test_what_is_inside_stays_inside(path):
    try:
        inside = check_inside(path, "path")
    except ValueError:
        return
    place = locate("/data/group.zarr")
    assert place.parts == place.child(inside).parts[: len(place.parts)]
    assert len(place.child(inside).parts) > len(place.parts)


# Groups, in words


def test_a_member_that_cannot_be_read_hides_no_other(tmp_path):
    group = zarr.open_group(tmp_path / "g.zarr", mode="w")
    for name in ("good", "odd"):
        group.create_array(name, shape=(40, 40), chunks=(20, 20), dtype="u1")
    path = tmp_path / "g.zarr" / "odd" / "zarr.json"
    document = json.loads(path.read_text())
    document["chunk_grid"] = {"name": "unheard of", "configuration": {}}
    path.write_text(json.dumps(document))
    with pytest.raises(ValueError, match="it holds the array good. Name an array, for example"):
        daskpatch.open_image(tmp_path / "g.zarr")


@pytest.mark.parametrize("is_v5", [True, False])
def test_plates_and_wells_name_their_fields(tmp_path, is_v5):
    def said(what, value):
        return {"ome": {"version": "0.5", what: value}} if is_v5 else {what: value}

    place = tmp_path / "p.zarr"
    version = 3 if is_v5 else 2
    plate = said("plate", {"wells": [{"path": "A/1"}, {"path": "B/2"}]})
    well = said("well", {"images": [{"path": "7"}]})
    zarr.create_group(place, attributes=plate, zarr_format=version)
    with pytest.raises(ValueError, match=r"a plate of 0 fields\.$"):
        daskpatch.open_image(place)
    zarr.create_group(place / "A", zarr_format=version)
    zarr.create_group(place / "A" / "1", attributes=well, zarr_format=version)
    with pytest.raises(ValueError, match=r"a plate of 1 field.*p\.zarr/A/1/7\.$"):
        daskpatch.open_image(place)
    with pytest.raises(ValueError, match=r"a well of 1 field.*p\.zarr/A/1/7\.$"):
        daskpatch.open_image(place / "A" / "1")


def test_an_empty_group_gives_no_advice_that_fails(tmp_path):
    zarr.create_group(tmp_path / "g.zarr")
    with pytest.raises(ValueError, match=r"it holds no array\.$"):
        daskpatch.open_image(tmp_path / "g.zarr")


# Codecs that run code


class Telling:
    """Tells where its pickle is loaded."""

    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return type(self.place).touch, (self.place,)


BY_PICKLE = {
    "filter": {"filters": [{"id": "pickle"}], "compressor": None, "dtype": "|O"},
    "compressor": {"filters": None, "compressor": {"id": "pickle"}, "dtype": "<f4"},
}


@pytest.mark.parametrize("where", BY_PICKLE)
def test_pickled_chunks_are_not_loaded(tmp_path, where):
    array = {"zarr_format": 2, "shape": [4, 4], "chunks": [4, 4], "fill_value": None, "order": "C"}
    path, loaded = tmp_path / "in.zarr", tmp_path / "loaded"
    path.mkdir()
    (path / ".zarray").write_text(json.dumps(array | BY_PICKLE[where]))
    (path / "0.0").write_bytes(pickle.dumps(Telling(loaded)))
    words = {"axes": "YX", "patch_size": 4}
    with pytest.raises(
        OSError, match="pickles, which run code when they are read: they are refused"
    ):
        daskpatch.plan(path, np.negative, **words)
    with pytest.raises((OSError, ValueError), match="mask|could not be read"):
        daskpatch.plan(np.ones((4, 4), "f4"), np.negative, mask=path, **words)
    assert not loaded.exists()
