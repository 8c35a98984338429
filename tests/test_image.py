"""Image stacks: every kind of source, one interface."""

import json
import pickle
import threading

import dask.array as da
import numpy as np
import pytest
import xarray
import zarr
from ome_images import dataset
from volumes import save

import daskpatch
from daskpatch import ImageStack, open_image
from daskpatch.image import open_stack, varied_place

AXES = "tczyx"


@pytest.fixture
def five(rng):
    return rng.integers(0, 1000, (2, 3, 5, 9, 11)).astype("uint16")


class OnlyAnArray:
    """The least that a source can be."""

    def __init__(self, values):
        self.values = values
        self.shape, self.dtype = values.shape, values.dtype

    def __getitem__(self, key):
        return self.values[key]


def v3(path, values):
    save(path / "a.zarr", values, chunks=(1, 1, 4, 4, 4), dimension_names=list(AXES))
    return path / "a.zarr"


def sharded(path, values):
    save(
        path / "a.zarr",
        values,
        chunks=(1, 1, 2, 4, 4),
        shards=(1, 3, 4, 8, 8),
        dimension_names=list(AXES),
    )
    return str(path / "a.zarr")


def v2(path, values):
    save(path / "a.zarr", values, chunks=(1, 1, 4, 4, 4), zarr_format=2)
    return path / "a.zarr"


def v2_big_endian(path, values):
    save(path / "a.zarr", values.astype(">u2"), chunks=(1, 1, 4, 4, 4), zarr_format=2)
    return path / "a.zarr"


def in_group(path, values):
    group = zarr.create_group(store=str(path / "g.zarr"))
    group.create_array("raw", data=values, chunks=(1, 1, 4, 4, 4))
    return path / "g.zarr" / "raw"


def zarr_array(path, values):
    return zarr.open_array(store=str(v3(path, values)), mode="r")


def zarr_store(path, values):
    return zarr.storage.LocalStore(str(v3(path, values)))


def memory_store(path, values):
    store = zarr.storage.MemoryStore()
    zarr.create_array(store=store, data=values, chunks=(1, 1, 4, 4, 4))
    return store


def file_url(path, values):
    return f"file://{v3(path, values)}"


def numpy_array(path, values):
    return values


def dask_array(path, values):
    return da.from_array(values, chunks=(1, 2, 3, 4, 5))


def array_like(path, values):
    return OnlyAnArray(values)


SOURCES = [
    v3,
    sharded,
    v2,
    v2_big_endian,
    in_group,
    zarr_array,
    zarr_store,
    memory_store,
    file_url,
    numpy_array,
    dask_array,
    array_like,
]


@pytest.fixture(params=SOURCES, ids=lambda make: make.__name__)
def image(request, tmp_path, five):
    return open_image(request.param(tmp_path, five), axes="TCZYX")


def test_every_source_is_an_image_stack(image, five):
    assert isinstance(image, ImageStack)
    assert image.data_shape == (2, 3, 5, 9, 11)
    assert image.data_dtype.newbyteorder("=") == np.uint16
    assert image.original_axes == "TCZYX"
    assert image.original_data_shape == five.shape
    assert isinstance(image.source, str)


def test_every_source_gives_patches_inside_and_outside(image, five):
    assert np.array_equal(image.extract_patch(1, None, (0, 0, 0), (5, 9, 11)), five[1])
    assert np.array_equal(
        image.extract_patch(0, [2, 0], (1, 2, 3), (2, 3, 4)), five[0, [2, 0], 1:3, 2:5, 3:7]
    )
    padded = np.pad(five[1], [(0, 0), (20, 20), (20, 20), (20, 20)], mode="reflect")
    patch = image.extract_patch(1, None, (-3, -10, 5), (12, 16, 20))
    assert np.array_equal(patch, padded[:, 17:29, 10:26, 25:45])


@pytest.mark.parametrize("make", [v3, sharded, v2, in_group, zarr_array, zarr_store, file_url])
def test_images_on_disk_pickle_small_and_reopen(make, tmp_path, five, monkeypatch):
    image = open_image(make(tmp_path, five), axes="TCZYX")
    image.extract_patch(0, None, (0, 0, 0), (1, 1, 1))
    assert image.why_not_portable() is None
    pickled = pickle.dumps(image)
    assert len(pickled) < 3000
    monkeypatch.chdir("/")
    again = pickle.loads(pickled)
    assert np.array_equal(again.extract_patch(1, None, (0, 0, 0), (5, 9, 11)), five[1])


def test_a_relative_path_is_reopened_from_another_folder(tmp_path, five, monkeypatch):
    v3(tmp_path, five)
    monkeypatch.chdir(tmp_path)
    images = [open_image("a.zarr"), open_image(zarr.open_array("a.zarr"))]
    monkeypatch.chdir("/")
    for image in map(pickle.loads, map(pickle.dumps, images)):
        assert np.array_equal(image.extract_patch(0, None, (0, 0, 0), (5, 9, 11)), five[0])


def test_opening_reads_metadata_only():
    class Refuses(OnlyAnArray):
        def __getitem__(self, key):
            raise AssertionError("read")

    open_image(Refuses(np.zeros((4, 5))), axes="YX")


def test_axes_come_from_dimension_names_and_from_xarrays_attribute(tmp_path, five):
    assert open_image(v3(tmp_path, five)).original_axes == "TCZYX"
    array = save(tmp_path / "b.zarr", five[0], chunks=(1, 4, 4, 4), zarr_format=2)
    array.attrs["_ARRAY_DIMENSIONS"] = ["channel", "z", "y", "x"]
    assert open_image(tmp_path / "b.zarr").original_axes == "CZYX"


def test_given_axes_win_over_names(tmp_path, five):
    with pytest.warns(UserWarning, match="says of itself"):
        image = open_image(v3(tmp_path, five), axes="STZYX")
    assert image.data_shape == (6, 1, 5, 9, 11)


@pytest.mark.parametrize("names", [None, ["a", "b", "c", "d", "e"], ["y", "y", "z", "t", "x"]])
def test_axes_that_are_not_known_are_asked_for(tmp_path, five, names):
    save(tmp_path / "b.zarr", five, chunks=(1, 1, 4, 4, 4), dimension_names=names)
    with pytest.raises(ValueError, match=r"\(2, 3, 5, 9, 11\).*axes='TCZYX'"):
        open_image(tmp_path / "b.zarr")


@pytest.mark.parametrize("axes", ["SYX", "TYX", "ZYX", "CYX", "YXS", "XYC"])
def test_any_subset_of_axes_in_any_order(axes, rng):
    values = rng.normal(size=(4, 5, 6))
    image = open_image(values, axes=axes)
    order = [axes.index(a) for a in "STCZYX" if a in axes]
    canonical = values.transpose(order)
    for sample in range(image.data_shape[0]):
        patch = image.extract_patch(
            sample, None, (0,) * (len(image.data_shape) - 2), image.data_shape[2:]
        )
        expected = canonical[sample] if axes[:1] in "ST" or "S" in axes else canonical
        assert np.array_equal(patch.reshape(expected.shape), expected)


def test_s_counts_slowest_then_t(rng):
    values = rng.normal(size=(3, 2, 4, 5))
    image = open_image(values, axes="TSYX")
    for sample in range(6):
        s, t = divmod(sample, 3)
        assert np.array_equal(image.extract_patch(sample, None, (0, 0), (4, 5))[0], values[t, s])


def test_z_is_folded_for_a_2d_model(five):
    image = open_stack(five, axes="TCZYX", ndim=2)
    assert image.data_shape == (10, 3, 9, 11)
    assert np.array_equal(image.extract_patch(7, None, (0, 0), (9, 11)), five[1, :, 2])


def test_channels_are_chosen_on_opening(tmp_path, five):
    image = open_image(v3(tmp_path, five), channels=[2, 0])
    assert image.data_shape == (2, 2, 5, 9, 11)
    assert np.array_equal(image.extract_patch(1, None, (0, 0, 0), (5, 9, 11)), five[1, [2, 0]])
    assert np.array_equal(image.extract_patch(1, [1], (0, 0, 0), (5, 9, 11)), five[1, [0]])


@pytest.mark.parametrize("chosen", [slice(1, None), slice(-2, 9), slice(None, None, -2)], ids=str)
def test_channels_are_chosen_by_a_slice(five, chosen):
    image = open_image(five, axes="TCZYX", channels=chosen)
    assert np.array_equal(image.extract_patch(1, None, (0, 0, 0), (5, 9, 11)), five[1, chosen])


OME_AXES = [{"name": name, "type": "space"} for name in "czyx"]


def ome(path, values, version, zarr_format):
    group = zarr.create_group(store=str(path), zarr_format=zarr_format)
    for level in range(2):
        group.create_array(f"s{level}", data=values[..., :: 2**level], chunks=(1, 4, 4, 4))
    multiscales = [
        {
            "axes": OME_AXES,
            "datasets": [dataset("s0", 1, 1, 1, 1), dataset("s1", 1, 1, 1, 2)],
            "version": version,
        }
    ]
    if zarr_format == 3:
        group.attrs["ome"] = {"version": version, "multiscales": multiscales}
    else:
        group.attrs["multiscales"] = multiscales
    return path


@pytest.mark.parametrize(("version", "zarr_format"), [("0.4", 2), ("0.5", 3)])
def test_ome_zarr_images_open_at_level_0(tmp_path, five, version, zarr_format):
    path = ome(tmp_path / "ome.zarr", five[0], version, zarr_format)
    for source in (path, zarr.open_group(str(path), mode="r")):
        image = open_image(source)
        assert image.original_axes == "CZYX"
        assert image.source.endswith("/s0")
        assert np.array_equal(image.extract_patch(0, None, (0, 0, 0), (5, 9, 11)), five[0])
    assert open_image(path / "s1", axes="CZYX").data_shape == (1, 3, 5, 9, 6)


def test_ome_04_without_a_version_is_read(tmp_path, five):
    path = ome(tmp_path / "ome.zarr", five[0], "0.4", 2)
    attributes = json.loads((path / ".zattrs").read_text())
    del attributes["multiscales"][0]["version"]
    (path / ".zattrs").write_text(json.dumps(attributes))
    assert open_image(path).original_axes == "CZYX"


def test_the_second_of_two_images_in_one_group_is_named(tmp_path, five):
    path = ome(tmp_path / "ome.zarr", five[0], "0.5", 3)
    group = zarr.open_group(str(path))
    (said,) = group.attrs["ome"]["multiscales"]
    other = {**said, "datasets": [dataset("s1", 1, 1, 1, 2)]}
    group.attrs["ome"] = {"version": "0.5", "multiscales": [said, other]}
    with pytest.warns(UserWarning, match=r"2 images .*: 0, 1\. The first is read; .*image="):
        assert open_image(path).data_shape == (1, 3, 5, 9, 11)
    assert open_image(path, image=1).data_shape == (1, 3, 5, 9, 6)
    with pytest.raises(ValueError, match=r"image is 2, and .* 2 images"):
        open_image(path, image=2)


@pytest.mark.parametrize(("version", "zarr_format"), [("0.3", 2), ("0.7", 3)])
def test_another_ome_version_is_refused_by_name(tmp_path, five, version, zarr_format):
    path = ome(tmp_path / "ome.zarr", five[0], version, zarr_format)
    with pytest.raises(ValueError, match=f"version {version}; 0.4 to 0.6"):
        open_image(path)


def test_a_missing_array_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.zarr"):
        open_image(tmp_path / "nothing.zarr")


def test_a_group_names_its_arrays(tmp_path, five):
    in_group(tmp_path, five)
    with pytest.raises(ValueError, match=r"is a group.*raw"):
        open_image(tmp_path / "g.zarr")


@pytest.mark.parametrize(
    ("source", "options", "error", "words"),
    [
        (3, {}, TypeError, "source is 3"),
        (np.zeros((4, 5), complex), {"axes": "YX"}, ValueError, "complex128"),
        (np.zeros((0, 5)), {"axes": "YX"}, ValueError, "empty"),
        (np.zeros((4, 5)), {"axes": "YX", "channels": [1]}, ValueError, "has 1 channel"),
        (np.zeros((4, 5)), {"axes": "YX", "channels": []}, ValueError, "channels"),
        (np.zeros((4, 5)), {"axes": "YX", "channels": 0}, ValueError, "such as [0]"),
        (np.zeros((4, 5)), {"axes": "YX", "channels": slice(1, 2)}, ValueError, "has 1 channel"),
        (np.zeros((4, 5)), {"axes": "YX", "channels": slice("a")}, ValueError, "or a slice"),
        (np.zeros((4, 5)), {"axes": "YX", "padding": "wrap"}, ValueError, "'wrap'"),
        (np.ma.masked_array(np.zeros((4, 5))), {"axes": "YX"}, ValueError, "filled"),
        (da.zeros((4, 5))[da.zeros(4) > 1], {"axes": "YX"}, ValueError, "unknown shape"),
        (np.zeros((4, 5), "u1"), {"axes": "YX", "padding": -1}, ValueError, "uint8"),
        (np.zeros((4, 5)), {"axes": "ZYX"}, ValueError, "shape is (4, 5)"),
    ],
)
def test_what_cannot_be_opened_is_refused_in_words(source, options, error, words):
    with pytest.raises(error) as caught:
        open_image(source, **options)
    assert words in str(caught.value)


def test_patches_are_checked():
    image = open_image(np.zeros((2, 4, 5)), axes="TYX")
    with pytest.raises(IndexError, match="sample_idx 2"):
        image.extract_patch(2, None, (0, 0), (1, 1))
    with pytest.raises(IndexError, match="channels"):
        image.extract_patch(0, [1], (0, 0), (1, 1))
    with pytest.raises(ValueError, match="2 entries"):
        image.extract_patch(0, None, (0, 0, 0), (1, 1, 1))


def test_what_lives_in_this_process_says_so(tmp_path, five):
    large = np.zeros((2000, 2000), "f4")
    assert "16 MB" in open_image(large, axes="YX").why_not_portable()
    assert "memory" in open_image(memory_store(tmp_path, five), axes="TCZYX").why_not_portable()
    assert open_image(large[:8, :8], axes="YX").why_not_portable() is None
    unpicklable = OnlyAnArray(np.zeros((4, 5)))
    unpicklable.hook = threading.Lock()
    assert "pickled" in open_image(unpicklable, axes="YX").why_not_portable()


def test_urls_are_shown_without_secrets():
    from daskpatch.support import without_secrets

    assert without_secrets("s3://key:secret@bucket/a.zarr?x=1#y") == "s3://bucket/a.zarr"


def test_the_public_names_are_there():
    assert set(daskpatch.__all__) <= set(dir(daskpatch))


def test_ome_metadata_that_lacks_something_is_named(tmp_path, five):
    path = ome(tmp_path / "ome.zarr", five[0], "0.4", 2)
    attributes = json.loads((path / ".zattrs").read_text())
    del attributes["multiscales"][0]["axes"]
    (path / ".zattrs").write_text(json.dumps(attributes))
    with pytest.raises(ValueError, match=r"missing required field `axes`"):
        open_image(path)


def test_a_chunk_that_cannot_be_read_is_named(tmp_path, five):
    path = v3(tmp_path, five)
    image = open_image(path)
    for chunk in (path / "c").rglob("*"):
        if chunk.is_file():
            chunk.write_bytes(b"torn")
    with pytest.raises(OSError, match=r"a\.zarr could not be read at \[0:1, 0:3, 0:2"):
        image.extract_patch(0, None, (0, 0, 0), (2, 2, 2))


def test_an_image_stack_shows_what_it_is(tmp_path, five):
    text = repr(open_image(v3(tmp_path, five)))
    assert text.startswith("<daskpatch.ImageStack SCZYX (2, 3, 5, 9, 11) uint16 of ")


def test_a_dask_array_of_functions_travels(five):
    lazy = da.from_array(five, chunks=5).map_blocks(lambda block: block + 1)
    assert open_image(lazy, axes="TCZYX").why_not_portable() is None


def test_sizes_of_patches_are_checked():
    image = open_image(np.zeros((4, 5)), axes="YX")
    for coords, size in [((0, 0), (-1, 2)), ((0.5, 0), (1, 1)), ((0, 0), (0, 1))]:
        with pytest.raises(ValueError, match="integers"):
            image.extract_patch(0, None, coords, size)


def test_axes_that_contradict_the_source_are_told_of(tmp_path, volume):
    save(tmp_path / "a.zarr", volume, chunks=(16, 16, 16), dimension_names=["t", "y", "x"])
    with pytest.warns(UserWarning, match="'ZYX', and .* 'TYX'"):
        assert daskpatch.open_image(tmp_path / "a.zarr", axes="ZYX").original_axes == "ZYX"


def test_axes_that_the_source_says_too_are_no_contradiction(stored):
    assert daskpatch.open_image(stored, axes="ZYX").original_axes == "ZYX"


@pytest.mark.parametrize("colours", [3, 4])
def test_colours_of_a_pixel_are_not_taken_for_samples_without_a_word(tmp_path, rng, colours):
    values = rng.integers(0, 255, (32, 32, colours)).astype("u1")
    with pytest.warns(UserWarning, match="axes=YXC"):
        daskpatch.open_image(values, axes="YXS")
    save(tmp_path / "a.zarr", values, chunks=(16, 16, colours), dimension_names=["Y", "X", "S"])
    with pytest.warns(UserWarning, match="axes=YXC"):
        daskpatch.open_image(tmp_path / "a.zarr")


# Masks


class Masked:
    """An array-like that gives masked arrays, as netCDF's variables do."""

    def __init__(self, values):
        self.values, self.shape, self.dtype = values, values.shape, values.dtype

    def __getitem__(self, key):
        return np.ma.masked_equal(self.values[key], 7)


def masked_when_computed(array, value):
    """A Dask array that does not say that its blocks are masked."""
    plain = np.empty((0,) * array.ndim, array.dtype)
    return array.map_blocks(np.ma.masked_equal, value, dtype=array.dtype, meta=plain)


def in_xarray(masked):
    return xarray.DataArray(masked_when_computed(da.from_array(masked.filled(0)), 0))


@pytest.mark.parametrize("kind", ["array-like", "dask", "xarray"])
def test_masked_blocks_of_a_source_are_refused(kind):
    values = np.zeros((32, 32), "f4")
    values[3, 3] = 7
    source = Masked(values)
    if kind != "array-like":
        source = masked_when_computed(da.from_array(values, chunks=16), 7)
    if kind == "xarray":
        source = xarray.DataArray(source)
    image = daskpatch.open_image(source, axes="YX")
    with pytest.raises(OSError, match="masked values"):
        image.extract_patch(0, None, (0, 0), (8, 8))
    assert not image.extract_patch(0, None, (8, 8), (8, 8)).any()  # nothing is masked here


@pytest.mark.parametrize("wrap", [np.asanyarray, da.from_array, in_xarray])
def test_a_model_that_gives_masked_values_is_refused(wrap):
    with pytest.raises(daskpatch.ModelError, match="masked values"):
        daskpatch.plan(
            np.zeros((32, 32), "f4"),
            lambda batch: wrap(np.ma.masked_equal(batch, 0)),
            axes="YX",
            patch_size=16,
            overlaps=4,
        )


def test_a_varied_place_is_chosen_by_the_middle_of_each():
    values = np.zeros((120, 120, 120), "i1")
    values[-60:, :60, -60:] = np.random.default_rng(0).integers(-9, 10, (60, 60, 60))
    n_read = []

    class Counted(OnlyAnArray):
        def __getitem__(self, box):
            n_read.append(values[box].size)
            return values[box]

    found = varied_place(open_stack(Counted(values), axes="ZYX"), 60, judged=20)
    np.testing.assert_array_equal(found[0], values[-60:, :60, -60:])
    assert sum(n_read) <= 27 * 20**3 + 60**3
