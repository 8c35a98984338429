"""What is no Zarr: named as what it is, with a line that opens it."""

import zipfile

import numpy as np
import pytest
import skimage.io
import tensorstore
import zarr
from example_models import double
from volumes import save

import daskpatch
from daskpatch.store.foreign_files import FORMATS, format_named


@pytest.fixture
def folder(image, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", image)
    np.savez("a.npz", name=image)
    skimage.io.imsave("a.png", (255 * image).astype("u1"), check_contrast=False)
    with zarr.storage.ZipStore("a.zip", mode="w") as store:
        zarr.create_array(store, data=image, chunks=(20, 20))
    save(tmp_path / "a.zarr", image, chunks=(20, 20))
    (tmp_path / "stack").mkdir()
    for i in range(2):
        half = (255 * image).astype("u1")[20 * i : 20 * i + 20]
        skimage.io.imsave(f"stack/{i}.png", half, check_contrast=False)
    made_n5(image)
    return tmp_path


@pytest.fixture
def image(rng):
    return rng.random((40, 36)).astype("f4")


def made_n5(image):
    spec = {
        "driver": "n5",
        "kvstore": {"driver": "file", "path": "a.n5/dataset/"},
        "metadata": {"dimensions": image.shape, "dataType": "float32", "blockSize": [20, 20]},
    }
    tensorstore.open(spec, create=True).result()[...] = image
    with open("a.n5/attributes.json", "w") as file:
        file.write('{"n5": "2.0.0"}')


OPENERS = {
    "bioio": None,
    "dask": __import__("dask.array.image"),
    "numpy": np,
    "skimage": __import__("skimage.io"),
    "tensorstore": tensorstore,
    "zarr": zarr,
}


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("a.npy", "an npy file"), ("a.npz", "an npz archive"), ("a.png", "a PNG file"),
        ("a.zip", "a ZIP file"), ("a.n5", "an N5 container"),
        ("a.n5/dataset", "an N5 dataset"), ("stack", "a folder of .png files"),
    ],
)  # fmt: skip
def test_the_line_that_is_told_opens_the_file(folder, image, name, what):
    with pytest.raises(ValueError, match=f"^{name} is {what}. Open") as told:
        daskpatch.plan(name, double, patch_size=16)
    line = str(told.value).partition(" with ")[2].partition(", and pass")[0]
    source = eval(line, dict(OPENERS))
    axes = "TYX" if name == "stack" else "YX"
    plan = daskpatch.plan(source, double, axes=axes, patch_size=16)
    expected = image if name != "a.png" and name != "stack" else (255 * image).astype("u1")
    expected = expected.reshape(2, 20, 36) if name == "stack" else expected
    np.testing.assert_array_equal(plan.view[...], 2 * expected.astype("f4"))
    if isinstance(source, zarr.Array):
        source.store.close()


MADE = {
    "a.nd2": b"\xda\xce\xbe\x0a" + bytes(90), "a.mrc": bytes(208) + b"MAP " + bytes(90),
    "a.jpg": b"\xff\xd8\xff" + bytes(90), "scan.dat": b"BM" + bytes(90),
}  # fmt: skip


@pytest.mark.parametrize("name", MADE)
def test_files_are_known_by_what_they_begin_with(tmp_path, name):
    (tmp_path / name).write_bytes(MADE[name])
    kind = "BMP" if name == "scan.dat" else format_named(name).name
    with pytest.raises(ValueError, match=rf"is .*{kind}.*Open it with .*{name}"):
        daskpatch.open_image(tmp_path / name)


def test_a_suffix_that_says_something_else_than_the_file_is_not_believed(tmp_path):
    (tmp_path / "renamed.npy").write_bytes(b"BM" + bytes(90))
    with pytest.raises(ValueError, match="is a BMP file"):
        daskpatch.open_image(tmp_path / "renamed.npy")
    (tmp_path / "empty.tif").write_bytes(b"")
    with pytest.raises(ValueError, match="is named like a TIFF file, and does not begin like one"):
        daskpatch.open_image(tmp_path / "empty.tif")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nothing.zarr", "No Zarr array or group at nothing.zarr; check the path"),
        ("b.zarr", "there is a.zarr beside it"), ("empty", "is an empty folder"),
        ("other", "is a folder without Zarr metadata"), ("notes.txt", "is a file, and no Zarr"),
        ("a.zarr/zarr.json", "is a file inside the Zarr array or group"),
        ("a.zarr/c/0", "is a folder inside the Zarr array or group"),
        ("data", "is a folder that holds b.zarr: name data/b.zarr"),
    ],
)  # fmt: skip
def test_other_places_are_told_as_what_they_are(tmp_path, image, monkeypatch, name, words):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "a.zarr", image, chunks=(20, 20))
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("hello")
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "data").mkdir()
    save(tmp_path / "data" / "b.zarr", image, chunks=(20, 20))
    with pytest.raises((ValueError, FileNotFoundError)) as told:
        daskpatch.open_image(name)
    assert words in str(told.value)


@pytest.mark.parametrize("suffix", [suffix for each in FORMATS for suffix in each.suffixes])
def test_an_output_is_not_named_like_another_format(tmp_path, image, suffix):
    name = f"out{suffix}"
    with pytest.raises(ValueError, match=rf"{name} is named like .*name it out.*\.zarr"):
        daskpatch.predict(image, double, tmp_path / name, axes="YX", patch_size=16)
    assert not (tmp_path / name).exists()


def test_zip_files_are_named_before_their_content(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("notes.txt", "hello")
    with pytest.raises(ValueError, match="is a ZIP file"):
        daskpatch.open_image(tmp_path / "a.zip")
