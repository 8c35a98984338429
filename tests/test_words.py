"""Mistakes of newcomers: the answer says what came, what is needed, and how to fix it."""

import dataclasses
import json
import re
import signal
import socket
import threading
from functools import cache

import dask
import numpy as np
import pytest
import xarray
import zarr
from command_line import exit_code
from example_models import double
from ome_images import dataset
from scipy import ndimage
from volumes import read, save

import daskpatch
from daskpatch.cli.messages import as_typed, with_flag

TILES = {"patch_size": 16, "overlaps": 4}


class BioImage:
    """An image of another library: its arrays are attributes, and `data` reads all of it."""

    shape, dtype = (8, 8), np.dtype("f4")
    dask_data = np.zeros((8, 8))

    @property
    def data(self):
        raise MemoryError


@dataclasses.dataclass
class NgffImage:
    data: object


class Picture:
    """As Pillow's: an array only when it is asked to be one."""

    __array_interface__ = np.zeros((8, 8)).__array_interface__


class Sparse:
    """As SciPy's arrays, which have no voxels at most places."""

    shape, dtype, nnz = (8, 8), np.dtype("f4"), 0

    def __getitem__(self, key):
        return self

    def toarray(self):
        return np.zeros((8, 8), "f4")


class OddError(BaseException):
    """Of a kind that no `except Exception` meets."""


def raises_its_own(batch):
    raise OddError("gone")


async def asynchronous(batch):
    return batch


MISTAKES = {
    "arrays by name": (({"raw": np.zeros((8, 8))}, double), {}, ("is a dict", "source['name']")),
    "numbers": (([[1, 2], [3, 4]], double), {}, ("is a list", "numpy.asarray(source)")),
    "a picture": ((Picture(), double), {}, ("is a Picture", "numpy.asarray(source)")),
    "a sparse array": ((Sparse(), double), {}, ("a Sparse, a sparse", "source.toarray()")),
    "a post that is no function": (
        ("in.zarr", double),
        {"post": "values.py:value"},
        ("The post ", "values.py:value is 3; needed is a callable"),
    ),
    "a margin larger than tiles": (
        ("in.zarr", double),
        {"margin": 100, "overlaps": None},
        ("patch_size (16, 16) is no larger than the margin that the model cuts", "larger tiles"),
    ),
    "a name too long for files": (
        ("x" * 300, double),
        {},
        ("has a name of 300 bytes", "255 at most"),
    ),
    "a model's name too long for files": (
        ("in.zarr", "x" * 300 + ".py:model"),
        {},
        ("No file", "to load the model from"),
    ),
    "statistics of none": (
        ("in.zarr", double),
        {"denormalize": True},
        ("it maps back what normalize=", "give normalize= too"),
    ),
    "no axes": (
        (np.zeros((8, 8)), double),
        {},
        ("does not say what its axes are", "(8, 8)", "axes='YX'"),
    ),
    "dims that are no axes": (
        (xarray.DataArray(np.zeros((8, 8)), dims=("lat", "lon")), double),
        {},
        ("calls its axes lat, lon", "axes='YX'"),
    ),
    "a data set": (
        (xarray.Dataset({"raw": ("x", np.zeros(3))}), double),
        {},
        ("is a Dataset", "dataset['name']"),
    ),
    "an image of another library": ((BioImage(), double), {}, ("a BioImage", "Pass its dask_data")),
    "one that holds its array": ((NgffImage(3), double), {}, ("a NgffImage", "Pass its data")),
    "sizes as text": (
        ("in.zarr", double),
        {"patch_size": "64,64,64"},
        ("'64,64,64'", "(16, 64, 64)", "'auto'"),
    ),
    "a class": (("in.zarr", BioImage), {}, ("the class BioImage", "BioImage(…)")),
    "nothing given back": (("in.zarr", lambda batch: None), {}, ("gave None", "(1, 1, 16, 16)")),
    "text given back": (("in.zarr", lambda batch: "x"), {}, ("gave 'x'", "(1, 1, 16, 16)")),
    "channels summed up": (
        ("in.zarr", lambda batch: batch.sum(1)),
        {},
        ("gave shape (1, 16, 16)", "needed is (1, 1, 16, 16)", "result[:, None]"),
    ),
    "no batch": (
        ("in.zarr", lambda batch: batch[0]),
        {},
        ("gave shape (1, 16, 16)", "needed is (1, 1, 16, 16)"),
    ),
    "a slip in a dtype": (("in.zarr", double), {"dtype": "unit8"}, ("'unit8'", "such as 'uint8'")),
    "no dtype at all": (("in.zarr", double), {"dtype": "complex64"}, ("complex64", "'float32'")),
    "one channel": (("in.zarr", double), {"channels": 0}, ("channels is 0", "such as [0]")),
    "a channel by a name": (
        ("in.zarr", double),
        {"channels": ["T1"]},
        ("'T1'", "needed is 0", "1 channel", "names none"),
    ),
    "a script as a model": (
        ("in.zarr", "script.py:model"),
        {},
        ("script.py called sys.exit(0) while it was loaded", "__name__ == '__main__'"),
    ),
    "a margin that is not cut": (
        ("in.zarr", double),
        {"margin": 4, "overlaps": 8},
        ("margin is ((4, 4), (4, 4))", "as many voxels as its tile has, (16, 16)", "Leave margin"),
    ),
    "tiles mixed in a batch": (
        ("in.zarr", lambda batch: ndimage.gaussian_filter(batch, 1.0)),
        {"batch_size": 4},
        ("another result for a tile when another tile is in its batch", "give batch_size=1"),
    ),
    "true for a number": (("in.zarr", double), {"overlaps": True}, ("overlaps is True", "voxels")),
    "an empty answer": (("in.zarr", lambda batch: []), {}, ("gave no array", "(1, 1, 16, 16)")),
    "a delayed value": (
        (dask.delayed(np.zeros)((8, 8)), double),
        {},
        ("is a Delayed", "dask.array.from_delayed"),
    ),
    "an option of the run": (
        ("in.zarr", double),
        {"progress": False},
        ("'progress'", "run and predict take it"),
    ),
    "a pattern of images": (("*.tif", double), {}, ("Nothing matches *.tif", "check the pattern")),
    "a probe that is a list": (
        ("in.zarr", double),
        {"probe": "list.json"},
        ("list.json is no saved probe", "holds [], not named fields"),
    ),
    "one axis": (
        (np.zeros(8), double),
        {"axes": "X"},
        ("has 1 axis;", "2 (YX) to 6", "array[None]"),
    ),
    "seven axes": ((np.zeros((1,) * 7), double), {}, ("has 7 axes", "6 (STCZYX)")),
    "a file of weights": (("in.zarr", "net.safetensors"), {}, ("is a file of weights", "file.py:")),
    "the program ended": (
        ("in.zarr", lambda batch: exit(3)),
        {},
        ("sys.exit(3)", "raise an error"),
    ),
    "an error of no kind": (
        ("in.zarr", raises_its_own),
        {},
        ("failed on the trial tile", "OddError: gone"),
    ),
    "async": (
        ("in.zarr", asynchronous),
        {},
        ("gives a coroutine", "asyncio.run"),
    ),
    "masked by post": (
        ("in.zarr", double),
        {"post": lambda values: np.ma.masked_less(values, 2)},
        ("post ", "failed", "the result has masked values", "filled(0)"),
    ),
    "weights alone": (
        ("in.zarr", {"layer.weight": np.zeros(3)}),
        {},
        ("is a dict", "load_state_dict(…)", "give the network"),
    ),
    "a probe without a field": (
        ("in.zarr", double),
        {"probe": "probe.json"},
        ("probe.json is no saved probe", "no field 'format'"),
    ),
    "a vector beside the image": (
        ("in.zarr", lambda batch: {"mask": batch, "classes": batch.mean((2, 3))}),
        {},
        ("gave shape (1, 1)", "its array 'classes', of 2", "an image alone (mask)"),
    ),
    "a size that stays beside the image": (
        ("in.zarr", lambda batch: (batch, np.zeros((len(batch), 1, 5, 5), "f4"))),
        {},
        ("no more for larger tiles", "its array 'output1', of 2", "an image alone (output0)"),
    ),
    "a probe of other images": (
        ("in.zarr", double),
        {"patch_size": "auto", "probe": "many.json"},
        ("2,147,483,648 channels", "the source has 1", "Probe the model anew"),
    ),
    "a URL without a place": (
        ("in.zarr", double),
        {"output": "s3://"},
        ("s3:// names no place", "s3://bucket/path"),
    ),
    "a link that leads nowhere": (
        ("in.zarr", double),
        {"output": "dangling.zarr"},
        ("is a link to far/away, where there is nothing", "make that folder"),
    ),
    "a source behind such a link": (
        ("dangling.zarr", double),
        {},
        ("dangling.zarr; it is a link to far/away", "nothing"),
    ),
    "a device as output": (
        ("in.zarr", double),
        {"output": "/dev/null"},
        ("/dev/null is a device", "give another place"),
    ),
    "a name that is no model": (("in.zarr", "mine.py"), {}, ("'mine.py'", "'mine.py:model'")),
    "a name of a number": (
        ("in.zarr", "values.py:value"),
        {},
        ("The model ", "values.py:value is 3; needed is a callable"),
    ),
}


@cache
def known_of_double():
    return daskpatch.probe(double, ndim=2, patch_size=16, seconds=0).to_dict()


@pytest.fixture
def here(tmp_path, monkeypatch, rng):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "probe.json").write_text("{}")
    (tmp_path / "many.json").write_text(json.dumps({**known_of_double(), "channels": 2**31}))
    (tmp_path / "dangling.zarr").symlink_to("far/away")
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "values.py").write_text("value = 3\n")
    (tmp_path / "script.py").write_text("import sys\nmodel = abs\nsys.exit(0)\n")
    save("in.zarr", rng.random((40, 36)).astype("f4"), chunks=(20, 20), dimension_names=["y", "x"])
    return tmp_path


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_answered(here, mistake):
    given, options, words = MISTAKES[mistake]
    with pytest.raises((ValueError, TypeError, OSError, RuntimeError, ImportError)) as told:
        daskpatch.plan(*given, **{**TILES, **options})
    for word in words:
        assert word in str(told.value)
    assert len(str(told.value)) <= 500


def test_axes_in_another_order_are_told_of(here):
    with pytest.warns(
        UserWarning, match="'XY', and .* says of itself that it is 'YX'.*Leave it out"
    ):
        daskpatch.plan("in.zarr", double, axes="XY", **TILES)


def test_axes_against_names_of_which_some_are_not_understood_are_told_of(here, rng):
    named = zarr.create_array(
        "named.zarr", data=rng.random((32, 32)), chunks=(16, 16), dimension_names=["x", "other"]
    )
    with pytest.warns(UserWarning, match="says of itself that it is 'x, other'"):
        daskpatch.open_image(named, axes="YX")
    assert daskpatch.open_image(named, axes="XY").data_shape == (1, 1, 32, 32)


def test_an_output_with_a_run_names_resume(here):
    daskpatch.predict("in.zarr", double, "out.zarr", progress=False, **TILES)
    with pytest.raises(FileExistsError, match="exists; give resume=True to go on with its run"):
        daskpatch.predict("in.zarr", double, "out.zarr", progress=False, **TILES)
    save("other.zarr", np.zeros((40, 36)), chunks=(20, 20))
    with pytest.raises(FileExistsError, match="exists; give another output"):
        daskpatch.predict("in.zarr", double, "other.zarr", progress=False, **TILES)


# Channels by name


def ome(path, image, names, *, version):
    group = zarr.create_group(str(path), zarr_format=2 if version == "0.4" else 3)
    group.create_array("0", data=image, chunks=(1, 20, 20))
    multiscale = {"axes": [{"name": n} for n in "cyx"], "datasets": [dataset("0", 1, 1, 1)]}
    omero = {"channels": [{"label": name} for name in names]}
    if version == "0.4":
        group.attrs.update({"multiscales": [{**multiscale, "version": "0.4"}], "omero": omero})
    else:
        group.attrs["ome"] = {"version": "0.5", "multiscales": [multiscale], "omero": omero}


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_channels_by_their_names(tmp_path, rng, version):
    image = rng.random((3, 40, 36)).astype("f4")
    path = tmp_path / "image.zarr"
    ome(path, image, ["DAPI", "GFP", "RFP"], version=version)
    for chosen, indices in ((["RFP", 0], [2, 0]), (["GFP"], [1])):
        opened = daskpatch.open_image(path, channels=chosen)
        patch = opened.extract_patch(0, None, (0, 0), (40, 36))
        np.testing.assert_array_equal(patch, image[indices])
    with pytest.raises(ValueError, match=r"\('Cy5',\); .*3 channels, DAPI, GFP, RFP"):
        daskpatch.open_image(path, channels=["Cy5"])


def test_channels_by_the_coordinates_of_xarray(rng):
    image = rng.random((2, 40, 36)).astype("f4")
    source = xarray.DataArray(image, dims=("c", "y", "x"), coords={"c": ["DAPI", "GFP"]})
    plan = daskpatch.plan(source, double, channels=["GFP"], **TILES)
    np.testing.assert_array_equal(plan.view[...], 2 * image[1:])


@pytest.mark.parametrize("omero", [3, {}, {"channels": 3}, {"channels": [{}]}, {"channels": ["a"]}])
def test_names_that_cannot_be_understood_are_none(tmp_path, rng, omero):
    ome(tmp_path / "a.zarr", rng.random((2, 40, 36)), ["a", "b"], version="0.4")
    zarr.open_group(str(tmp_path / "a.zarr"), mode="r+").attrs["omero"] = omero
    with pytest.raises(ValueError, match="2 channels, and names none"):
        daskpatch.open_image(tmp_path / "a.zarr", channels=["a"])


@pytest.mark.parametrize(
    ("names", "chosen", "indices"),
    [
        (["405", "488"], [488], [1]),
        (["a", "a"], ["a"], None),
        (["a", "b"], [True, False], None),
        (["a", "b"], ["A"], None),
    ],
)
def test_names_and_indices_are_told_apart(rng, names, chosen, indices):
    image = rng.random((2, 40, 36)).astype("f4")
    source = xarray.DataArray(image, dims=("channels", "y", "x"), coords={"channels": names})
    if indices is None:
        with pytest.raises(ValueError, match="channels is"):
            daskpatch.open_image(source, channels=chosen)
        return
    opened = daskpatch.open_image(source, channels=chosen)
    np.testing.assert_array_equal(opened.extract_patch(0, None, (0, 0), (40, 36)), image[indices])


def test_names_of_another_axis_are_none(rng):
    image = rng.random((2, 2, 40, 36)).astype("f4")
    dims = {"dims": ("c", "z", "y", "x"), "coords": {"c": ["a", "b"]}}
    source = xarray.DataArray(image, **dims)
    with (
        pytest.warns(UserWarning, match="says of itself"),
        pytest.raises(ValueError, match="names none"),
    ):
        daskpatch.open_image(source, axes="ZCYX", channels=["b"])


# The command line says the same with its own words


@pytest.mark.parametrize(
    ("text", "typed"),
    [
        ("give resume=True", "give --resume"),
        ("axes is 'XYZC'", "--axes is 'XYZC'"),
        ("places is 0; needed", "--places is 0; needed"),
        ("seed is -1; needed", "--seed is -1; needed"),
        ("for example axes='ZYX'.", "for example --axes ZYX."),
        ("such as channels=[0, 2].", "such as --channels 0,2."),
        ('give input_dtype="float16".', "give --input-dtype float16."),
        ("give patch_size (voxels)", "give --patch-size (voxels)"),
        ("tiling.overlaps was (8, 8) and is (4, 4)", "--overlaps was 8,8 and is 4,4"),
        ("treatment.normalize.kind was 'a' and is 'b'.", "--normalize (kind) was 'a' and is 'b'."),
        ("source.padding was 'edge' and is 3.0; a", "--padding was 'edge' and is 3.0; a"),
        ("layout.shards was not given and is (24, 24).", "--shards was not given and is 24,24."),
        ("treatment.augment was ('a',) and is not given.", "--augment was a and is not given."),
        ("treatment.box was ((0, 2),) and is ((0, 4), (1, 3)).", "--box was 0:2 and is 0:4,1:3."),
        ("layout.shards was True and is False.", "--shards was given and is not given."),
        ("tiling.margin was ((0, 0),) and is ((4, 4), (2, 2)).", "--margin was 0 and is 4,2."),
        ("model.code was", "model.code was"),
        (
            "give patch_size as two numbers (YX), such as (64, 64), and",
            "give --patch-size as two numbers (YX), such as 64,64, and",
        ),
        (
            "Give patching= or patch_size=16, overlaps=4, not both",
            "Give --patching or --patch-size 16, --overlaps 4, not both",
        ),
        ("open it with zarr.open(path, mode='r+')", "open it with zarr.open(path, mode='r+')"),
        ("such as TiledPatching(patch_size)", "such as TiledPatching(patch_size)"),
        ("files named axes", "files named axes"),
        ("patch_size is (0, 0); every", "--patch-size is 0,0; every"),
        (
            "patch_size (9, 9) must be multiples of align = (5, 5); those that fit are (5, 5) or "
            "(10, 10); the image has (9, 9)",
            "--patch-size 9,9 must be multiples of align = 5,5; those that fit are 5,5 or "
            "10,10; the image has (9, 9)",
        ),
        ("patch_size is None: give", "--patch-size is not given: give"),
        ("overlaps (8,) must be less", "--overlaps 8 must be less"),
        ("margin is ((4, 4), (2, 2)), and", "--margin is 4,2, and"),
        ("timeout is 0; give more, or None.", "--timeout is 0; give more, or leave it out."),
        ("the shape is (2, 3)", "the shape is (2, 3)"),
        ("such as [(1, 2, 2), (2, 2, 2)].", "such as 1,2,2/2,2,2."),
        (
            "Open it with numpy.load('a.npy'), and pass that as the source, with axes=.",
            "In Python save it as Zarr: zarr.save_array('image.zarr', numpy.load('a.npy')).",
        ),
    ],
)  # fmt: skip
def test_options_have_the_names_of_flags(text, typed):
    assert as_typed(text) == typed


@pytest.mark.parametrize(
    ("arguments", "flag"),
    [
        (("--overwrite", "a.zarr", "--axes", "YX"), ""),
        (("a.zarr", "--model", "net.py:modle"), "--model net.py:modle: "),
        (("a.zarr", "--post=net.py:modle"), "--post net.py:modle: "),
    ],
)
def test_an_answer_about_a_file_names_its_flag(arguments, flag):
    text = "/here/net.py has no modle, and a.zarr is none."
    assert with_flag(text, ["predict", *arguments]) == flag + text
    assert with_flag("give --axes for net.py", arguments) == "give --axes for net.py"


def test_values_are_told_as_they_were_typed_and_flags_of_another_command_with_its_name():
    typed = {"slice(5, 9, None)": "5:9", "{'mean': [3.0]}": "mean=3"}
    text = "channels is slice(5, 9, None); needed are numbers"
    assert as_typed(text, typed=typed) == "--channels is 5:9; needed are numbers"
    assert as_typed("timeout is 2.0; not 2.05", typed={"2.0": "2"}) == "--timeout is 2; not 2.05"
    text = "normalize is {'mean': [3.0]}; overwrite=True starts anew, model= is given"
    said = as_typed(text, typed=typed, flags=["--model", "--repair"])
    assert said.endswith("is mean=3; predict's --overwrite starts anew, --model is given")


def test_what_the_user_wrote_stays_as_it_is():
    text = "No Zarr array or group at patch_size=3/a.zarr; give patch_size"
    assert as_typed(text, ["patch_size=3/a.zarr"]) == text[:-10] + "--patch-size"


@pytest.mark.parametrize("content", ["null", "[]", "3", '"a"', '{"node_type": "array"}', "{", ""])
def test_metadata_that_are_none_are_told_of(tmp_path, content):
    (tmp_path / "in.zarr").mkdir()
    (tmp_path / "in.zarr" / "zarr.json").write_text(content)
    with pytest.raises(OSError, match=r"in.zarr could not be read as Zarr: .*Put zarr\.json there"):
        daskpatch.plan(tmp_path / "in.zarr", double, **TILES)


def test_a_dict_inside_of_what_a_model_gave_is_told_by_its_keys(rng):
    with pytest.raises(daskpatch.ModelError, match=r"gave a dict \('cells'\) inside of what it"):
        daskpatch.plan(
            rng.random((32, 32)), lambda batch: {"found": {"cells": batch}}, axes="YX", **TILES
        )


def test_a_server_that_is_not_there_is_told_of():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # nobody listens
        url = f"http://127.0.0.1:{free.getsockname()[1]}/o.zarr"
        with pytest.raises(OSError, match="Check the URL, the network and the credentials"):
            daskpatch.status(url)


@pytest.mark.parametrize(
    ("file", "words"),
    [("gone/x", "There is no folder gone"), (".", "is a folder; give the name of a file")],
)
@pytest.mark.parametrize(
    "command",
    [
        ("probe", "example_models:double", "--ndim", "2", "--save"),
        ("check", "in.zarr", "--model", "example_models:double", "--patch-size", "16", "--plot"),
    ],
)
def test_where_no_file_can_be_written_is_told_before_the_work(here, capsys, command, file, words):
    assert exit_code(*command, file) == 2
    told = capsys.readouterr()
    assert words in told.err
    assert not told.out


def test_a_picture_of_an_unknown_kind_is_told_before_the_work(here, capsys):
    check = ["check", "in.zarr", "--model", "example_models:double", "--patch-size", "16"]
    assert exit_code(*check, "--plot", "seams.foo") == 2
    assert "seams.foo is no picture that is drawn" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "give --patch-size"),
        (("--patch-size", "16", "--normalize", "z-score"), "such as zscore, percentile:1,99.8"),
        (
            ("--patch-size", "16", "--normalize", "percentile:1"),
            "such as zscore, percentile:1,99.8",
        ),
        (("--patch-size", "16", "--denormalize"), "give --normalize too"),
        (
            ("--patch-size", "16", "--normalize-over", "series"),
            "--normalize-over is 'series', which",
        ),
        (("--patch-size", "16", "--timeout", "0"), "--timeout is 0; needed"),
        (("--patching", "tiled"), "needed is a strategy, by where it is: file.py:attribute or"),
        (
            ("--patch-size", "16", "--ome", "no", "--label-image", "a"),
            "and --ome no asks for a bare",
        ),
        (("--patch-size", "16", "--post-id", "3"), "give --post too"),
        (("--patch-size", "16", "--resources", "GPU=1"), "give --scheduler or --workers too"),
        (("--patch-size", "16", "--overlaps", "-8"), "--overlaps is -8,-8"),
        (("--patch-size", "16", "--dtype", "unit8"), "--dtype is 'unit8'"),
        (("--patch-size", "16", "--channels", "DAPI"), "--channels is DAPI"),
        (("--patch-size", "16", "--axes", "ZYX"), "for example --axes YX"),
        (("--patch-size", "16", "--augment", "flip"), "or both, --augment flips,rot90"),
    ],
)
def test_the_command_line_names_its_flags(here, capsys, arguments, words):
    assert (
        exit_code("predict", "in.zarr", "o.zarr", "--model", "example_models:double", *arguments)
        == 2
    )
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"region": 0, "part": (1, 2)}, "region is 0 and part is (1, 2); give one of them"),
        ({"overwrite": True, "part": (1, 2)}, "overwrite is True, and part is (1, 2), which"),
        ({"overwrite": True, "resume": True}, "overwrite is True, and resume is True"),
        ({"denormalize": True}, "denormalize is True: it maps back what normalize= did"),
        ({"normalize_over": "series"}, "normalize_over is 'series', which says how statistics"),
        ({"normalize_fraction": 0.5}, "normalize_fraction is 0.5, which says how statistics"),
        ({"normalize": ("percentile", 99, 1)}, "normalize is ('percentile', 99, 1); needed"),
        ({"patch_size": None}, "patch_size is None: give patch_size"),
    ],
)
def test_options_that_do_not_go_together_are_told_with_their_values(here, options, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        daskpatch.predict("in.zarr", double, "o.zarr", **{**TILES, **options})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"memory_limit": "1 kB"}, "the memory_limit is 1 kB"),
        ({"batch_size": 10**6, "memory_limit": "1 GB"}, "is 1 GB: lower batch_size (1000000)"),
    ],
)
def test_what_does_not_fit_is_told_by_the_limit_that_was_given(here, options, words):
    with pytest.raises(MemoryError, match=re.escape(words)):
        daskpatch.plan("in.zarr", double, **TILES, **options)


def test_a_region_of_a_series_is_told_with_its_value(here):
    image = np.zeros((20, 20))
    with pytest.raises(ValueError, match=r"region is slice\(0, 4, None\), which selects"):
        daskpatch.predict(
            [image] * 2, double, "o.zarr", axes="YX", region=slice(0, 4), progress=False, **TILES
        )


def test_the_command_line_names_resume(here, capsys):
    run = ["predict", "in.zarr", "o.zarr", "--model", "example_models:double", "--patch-size", "16"]
    for _ in range(2):
        exit_code(*run, "--no-progress")
    assert "give --resume to go on with its run" in capsys.readouterr().err


# NaN, interrupts, plurals


def with_nan(rng):
    image = rng.random((40, 36)).astype("f4")
    image[5, 5] = np.nan
    return image


def test_nan_of_the_input_is_not_the_models(tmp_path, rng):
    image = with_nan(rng)
    report = daskpatch.predict(image, double, tmp_path / "o", axes="YX", progress=False, **TILES)
    assert report.nan_tiles == 0
    with pytest.warns(RuntimeWarning, match="NaN, of the model or of its input, is stored as 0"):
        daskpatch.predict(
            image, double, tmp_path / "i", axes="YX", dtype="u1", progress=False, **TILES
        )
    with pytest.warns(RuntimeWarning, match="The model gave NaN where its input had none"):
        daskpatch.predict(
            np.nan_to_num(image), lambda batch: batch * np.nan, tmp_path / "m", axes="YX",
            progress=False, **TILES,
        )  # fmt: skip


class Interrupts:
    """A model in whose third call the user presses Ctrl-C, as a notebook's kernel gets it."""

    def __init__(self):
        self.calls = 0

    def __call__(self, batch):
        self.calls += 1
        if self.calls == 5:
            signal.raise_signal(signal.SIGINT)
            threading.Event().wait(0.2)
        return batch


@pytest.fixture
def as_in_a_kernel():
    """Ctrl-C raises, also where the tests run in the background of a shell, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("as_in_a_kernel")
def test_an_interrupt_in_a_notebook_says_what_is_kept(tmp_path, rng):
    image = rng.random((40, 36)).astype("f4")
    plan = daskpatch.plan(
        image, Interrupts(), tmp_path / "o", axes="YX", chunks=12, block_shape=12, threads=1,
        model_id="identity", **TILES,
    )  # fmt: skip
    with pytest.raises(KeyboardInterrupt) as told:
        plan.run(progress=False)
    assert re.match(
        r"\d+ of 12 blocks (is written and stays|are written and stay); resume=True goes on from "
        r"there\.",
        str(told.value),
    )
    plan.run(resume=True, progress=False)
    np.testing.assert_array_equal(read(tmp_path / "o"), image)


class MuteError(Exception):
    def __str__(self):
        raise ValueError("not even that")


class Mute:
    """A model that fails in one block, with an error that says nothing at all."""

    calls = 0

    def __call__(self, batch):
        self.calls += 1
        if self.calls > 4:
            raise MuteError
        return batch


def test_an_error_that_says_nothing_fails_its_block_alone(tmp_path, rng):
    image = rng.random((40, 36)).astype("f4")
    with pytest.raises(daskpatch.RunFailed, match="MuteError: MuteError"):
        daskpatch.predict(
            image, Mute(), tmp_path / "o", axes="YX", chunks=12, block_shape=12, threads=1,
            model_id="mute", retries=0, progress=False, **TILES,
        )  # fmt: skip
    assert daskpatch.status(tmp_path / "o").done > 0


def test_one_is_no_plural(tmp_path, rng):
    image = rng.random((16, 16)).astype("f4")
    plan = daskpatch.plan(image, double, tmp_path / "o", axes="YX", patch_size=16, threads=1)
    assert "1 channel out" in repr(plan)
    assert "with 1 thread\n" in f"{plan!r}\n"
    assert str(plan.run(progress=False)).startswith("1 block (1 tile) in ")
    found = daskpatch.status(tmp_path / "o")
    assert str(found) == "1 of 1 block done, 0 remaining, 0 failed"
    assert str(daskpatch.verify(tmp_path / "o", progress=False)) == "the block is as it was written"


def test_numbers_with_spaces_are_told_of_commas(tmp_path, capsys):
    words = ["predict", "in.zarr", "out.zarr", "--model", "m.py:f", "--patch-size", "64", "64"]
    assert exit_code(*words) == 2
    assert (
        "commas between them and no spaces, as in --patch-size 16,64,64" in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://[::1/a.zarr", r"http://\[::1/a\.zarr is no URL: Invalid IPv6 URL"),
        ("http://127.0.0.1:abc/a.zarr", "http://127.0.0.1:abc/a.zarr is no URL: Port"),
        ("az://container/a.zarr", "Account must be specified.*AZURE_STORAGE_ACCOUNT_NAME"),
    ],
)
def test_urls_that_are_none(url, words):
    for verb in (
        lambda: daskpatch.open_image(url),
        lambda: daskpatch.plan(np.zeros((8, 8)), double, url, axes="YX", patch_size=4),
        lambda: daskpatch.status(url),
    ):
        with pytest.raises(ValueError, match=words):
            verb()


def test_chunks_of_no_voxels_are_broken_metadata(tmp_path):
    zarr.create_array(tmp_path / "a.zarr", shape=(8, 8), chunks=(4, 4), dtype="u1", zarr_format=2)
    path = tmp_path / "a.zarr" / ".zarray"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"chunks": [0, 4]}))
    with pytest.raises(ValueError, match=r"has chunks of \(0, 4\) voxels.*metadata"):
        daskpatch.plan(tmp_path / "a.zarr", double, axes="YX", patch_size=4)
