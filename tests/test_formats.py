"""Files of other formats: read as what their libraries read, in threads and processes."""

import json
import pickle
import shutil
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import cloudpickle
import h5py
import nibabel
import numpy as np
import pytest
import tifffile
from children import Child
from command_line import exit_code
from example_models import double
from files_of_formats import (
    CHANNELS,
    TIFFS,
    imagej,
    save_hdf5,
    save_imaris,
    save_nifti,
    save_ome_tiff,
    whole,
)
from volumes import read

import daskpatch
from daskpatch.formats import FileSequence
from daskpatch.formats.open_readers import OPEN_READERS
from daskpatch.store import ChangedError


@pytest.fixture
def volume(rng):
    return rng.integers(0, 4000, (10, 90, 101)).astype("u2")


@pytest.fixture
def channels(rng):
    return rng.integers(0, 4000, (3, 150, 170)).astype("u2")


def save_series_of_two(path, values):
    with tifffile.TiffWriter(path) as file:
        file.write(values[0], metadata={"axes": "YX"})
        file.write(values, metadata={"axes": "ZYX"})


MADE = {
    **{
        f"{name}.tif": (lambda path, v, how=how: tifffile.imwrite(path, v, **how), "", {}, "ZYX")
        for name, how in TIFFS.items()
    },
    "imagej.tif": (imagej, "", {}, "ZYX"),
    "second.tif": (save_series_of_two, "", {"image": 1}, "ZYX"),
    "chunks.h5": (
        partial(save_hdf5, chunks=(4, 32, 32), compression="gzip"), ":/group/raw", {}, "ZYX",
    ),
    "plain.h5": (save_hdf5, ":group/raw", {}, "ZYX"),
    "alone.h5": (save_hdf5, "", {}, "ZYX"),
    "big.nii": (lambda path, v: save_nifti(path, v), "", {}, "ZYX"),
    "a.ims": (lambda path, v: save_imaris(path, v[None, None]), "", {}, "ZYX"),
}  # fmt: skip
"""By name: how it is written, what follows the path, what is chosen, and its axes."""


@pytest.fixture(params=MADE)
def made(request, tmp_path, volume):
    """A file of a volume: its path, what names the array in it, and what chooses it."""
    save, suffix, chosen, axes = MADE[request.param]
    save(tmp_path / request.param, volume)
    return tmp_path / request.param, f"{tmp_path / request.param}{suffix}", chosen, axes


def test_a_file_is_what_its_library_reads(made, volume, rng):
    _, name, chosen, axes = made
    image = daskpatch.open_image(name, **chosen)
    assert (image.original_axes, image.original_data_shape) == (axes, volume.shape)
    assert image.data_dtype == volume.dtype
    np.testing.assert_array_equal(whole(image), volume)
    for _ in range(20):
        low = [int(rng.integers(0, n)) for n in volume.shape]
        high = [int(rng.integers(a + 1, n + 1)) for a, n in zip(low, volume.shape, strict=True)]
        box = tuple(map(slice, low, high))
        np.testing.assert_array_equal(image.array.read(box), volume[box])


def test_a_file_pickles_as_its_path(made, volume):
    _, name, chosen, _ = made
    image = daskpatch.open_image(name, **chosen)
    assert len(pickle.dumps(image.array)) < 1000
    assert len(cloudpickle.dumps(image)) < 1000
    np.testing.assert_array_equal(whole(pickle.loads(pickle.dumps(image))), volume)


def test_threads_read_it_at_a_time(made, volume, rng):
    _, name, chosen, _ = made
    array = daskpatch.open_image(name, **chosen).array
    starts = [tuple(int(rng.integers(0, n - 5)) for n in volume.shape) for _ in range(200)]
    boxes = [tuple(slice(a, a + 5) for a in start) for start in starts]
    with ThreadPoolExecutor(4) as pool:
        for box, found in zip(boxes, pool.map(array.read, boxes), strict=True):
            np.testing.assert_array_equal(found, volume[box])


def predicted(source, out, **options):
    daskpatch.predict(
        source, double, out, patch_size=(4, 32, 32), overlaps=(2, 8, 8), progress=False, **options
    )
    return read(out)


def test_a_prediction_is_that_of_the_array(made, volume):
    path, name, chosen, _ = made
    # Beside the file, whose name is no folder that it could be in the way of.
    found = predicted(name, f"{path.parent}/out.zarr", threads=4, **chosen)
    np.testing.assert_array_equal(found, 2 * volume.astype("f4"))


WORKED = ("tiles.tif", "strips.tif", "chunks.h5", "big.nii", "a.ims")


@pytest.mark.parametrize("made", WORKED, indirect=True)
def test_worker_processes_predict_the_same(made, volume, tmp_path, processes):
    _, name, chosen, axes = made
    expected = predicted(volume, tmp_path / "array.zarr", axes=axes)
    found = predicted(name, tmp_path / "out.zarr", client=processes, **chosen)
    np.testing.assert_array_equal(found, expected)


READ_ONE = """
import sys, daskpatch
def read_bytes():
    return int(open("/proc/self/io").read().split()[1])
array = daskpatch.open_image(sys.argv[1]).array
box = tuple(slice(*map(int, part.split(":"))) for part in sys.argv[2].split(","))
before = read_bytes()
array.read(box)
print(read_bytes() - before)
"""


def bytes_read(name, box):
    """Of a box, by a process that has just opened the file."""
    command = [sys.executable, "-c", READ_ONE, str(name), box]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def test_of_tiles_those_that_are_touched_are_read(tmp_path, rng):
    values = rng.integers(0, 4000, (5, 1024, 1024)).astype("u2")
    how = {"tile": (256, 256), "compression": "zlib", "metadata": {"axes": "ZYX"}}
    tifffile.imwrite(tmp_path / "a.tif", values, **how)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        counts = file.pages[2].databytecounts
        stored = sum(counts[i] for i in (5, 6, 9, 10))
    assert stored <= bytes_read(tmp_path / "a.tif", "2:3,300:600,300:600") <= 1.3 * stored


@pytest.mark.parametrize("how", [{"compression": "zlib"}, {}])
def test_of_strips_those_that_are_touched_are_read(tmp_path, rng, how):
    values = rng.integers(0, 4000, (5, 1024, 1024)).astype("u2")
    how = {"rowsperstrip": 64, "metadata": {"axes": "ZYX"}, **how}
    tifffile.imwrite(tmp_path / "a.tif", values, **how)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        counts = file.pages[2].databytecounts
        stored = sum(counts[4:10]) if len(counts) == 16 else 6 * 64 * 2048
    assert bytes_read(tmp_path / "a.tif", "2:3,300:600,300:600") <= 1.3 * stored


def test_of_chunks_those_that_are_touched_are_read(tmp_path, rng):
    values = rng.integers(0, 4000, (16, 512, 512)).astype("u2")
    save_hdf5(tmp_path / "a.h5", values, chunks=(8, 128, 128), compression="gzip")
    with h5py.File(tmp_path / "a.h5") as file:
        data = file["group/raw"].id
        touched = ((8, y, x) for y in (128, 256) for x in (128, 256))
        stored = sum(data.get_chunk_info_by_coord(at).size for at in touched)
    assert stored <= bytes_read(f"{tmp_path}/a.h5:/group/raw", "9:14,150:300,150:300")
    assert bytes_read(f"{tmp_path}/a.h5:/group/raw", "9:14,150:300,150:300") <= 1.3 * stored


def test_what_a_file_says_of_scale_and_channels_is_kept(tmp_path, channels, volume):
    save_ome_tiff(tmp_path / "a.ome.tif", channels)
    image = daskpatch.open_image(tmp_path / "a.ome.tif", channels=["GFP"])
    np.testing.assert_array_equal(image.extract_patch(0, None, (0, 0), (150, 170))[0], channels[1])
    assert str(image.coordinates) == "C 1, Y 0.2 micrometer, X 0.1 micrometer"
    imagej(tmp_path / "ij.tif", volume)
    image = daskpatch.open_image(tmp_path / "ij.tif")
    assert str(image.coordinates) == "Z 3 micrometer, Y 0.5 micrometer, X 0.25 micrometer"
    save_nifti(tmp_path / "a.nii", volume)
    image = daskpatch.open_image(tmp_path / "a.nii")
    assert str(image.coordinates) == "Z 2 millimeter, Y 0.6 millimeter, X 0.5 millimeter"
    save_hdf5(tmp_path / "a.h5", volume)
    image = daskpatch.open_image(tmp_path / "a.h5")
    assert str(image.coordinates) == "Z 2 micrometer, Y 0.5 micrometer, X 0.25 micrometer"


@pytest.mark.parametrize(
    ("labels", "axes", "told"),
    [
        ("", "ZYX", "Z 2 micrometer, Y 0.5 micrometer, X 0.25 micrometer"),
        ("zyx", "ZYX", "Z 2 micrometer, Y 0.5 micrometer, X 0.25 micrometer"),
        ("ijk", "TYX", "T 1, Y 0.5 micrometer, X 0.25 micrometer"),
    ],
)
def test_voxel_sizes_of_hdf5_are_along_the_axes_that_are_given(tmp_path, labels, axes, told):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("raw", data=np.zeros((4, 30, 40), "u1"))
        data.attrs["element_size_um"] = [2.0, 0.5, 0.25]
        for dimension, label in zip(data.dims, labels, strict=False):
            dimension.label = label
    image = daskpatch.open_image(tmp_path / "a.h5", axes=axes)
    assert str(image.coordinates) == told


def test_imaris_says_where_its_corners_are(tmp_path, rng):
    values = rng.integers(0, 4000, (2, 3, 9, 40, 50)).astype("u2")
    save_imaris(tmp_path / "a.ims", values)
    image = daskpatch.open_image(tmp_path / "a.ims")
    np.testing.assert_array_equal(whole(image), values)
    assert image.channel_names == CHANNELS
    assert image.coordinates.scale == (1, 1, 0.5, 0.5, 0.5)
    # Centres of voxels: half a voxel inside the corner, at 10.
    assert image.coordinates.translation == (0, 0, 10.25, 10.25, 10.25)
    coarse = daskpatch.open_image(tmp_path / "a.ims", level=1, channels=["RFP"])
    np.testing.assert_array_equal(whole(coarse), values[..., ::2, ::2, ::2])
    assert coarse.coordinates.translation[3:] == (10.5, 10.5)
    with pytest.raises(ValueError, match="level is 2, and .*a.ims has 0 .9, 40, 50."):
        daskpatch.open_image(tmp_path / "a.ims", level=2)


def test_levels_of_a_tiff_are_chosen(tmp_path, channels):
    save_ome_tiff(tmp_path / "a.tif", channels)
    image = daskpatch.open_image(tmp_path / "a.tif", level=1)
    np.testing.assert_array_equal(whole(image), channels[:, ::2, ::2])
    assert image.coordinates.scale == (1, 0.4, 0.2)
    assert image.coordinates.translation == pytest.approx((0, 0.1, 0.05))
    with pytest.raises(ValueError, match="level is 2, and .*a.tif has 0 .*1 "):
        daskpatch.open_image(tmp_path / "a.tif", level=2)
    with pytest.raises(ValueError, match="image is 'x', and .*a.tif holds 0 "):
        daskpatch.open_image(tmp_path / "a.tif", image="x")


def test_colours_of_a_tiff_are_channels(tmp_path, rng):
    values = rng.integers(0, 255, (60, 70, 3)).astype("u1")
    for planar in ("contig", "separate"):
        data = values if planar == "contig" else np.moveaxis(values, -1, 0).copy()
        path = tmp_path / f"{planar}.tif"
        tifffile.imwrite(path, data, photometric="rgb", planarconfig=planar, tile=(32, 32))
        image = daskpatch.open_image(path)
        assert image.data_shape == (1, 3, 60, 70)
        found = image.extract_patch(0, None, (0, 0), (60, 70))
        np.testing.assert_array_equal(found, np.moveaxis(values, -1, 0))


def test_axes_that_are_not_understood_are_asked_for(tmp_path, volume):
    tifffile.imwrite(tmp_path / "a.tif", volume)  # tifffile calls the first one Q
    with pytest.raises(ValueError, match=r"calls its axes Q, Y, X; .* Pass one letter of STCZYX"):
        daskpatch.open_image(tmp_path / "a.tif")
    assert daskpatch.open_image(tmp_path / "a.tif", axes="ZYX").data_shape == (1, 1, 10, 90, 101)


def test_scaled_nifti_is_what_nibabel_reads(tmp_path, volume):
    image = nibabel.Nifti1Image(volume.T.astype("i2"), np.eye(4))
    image.header.set_slope_inter(2, 1)
    nibabel.save(image, tmp_path / "a.nii")
    found = whole(daskpatch.open_image(tmp_path / "a.nii"))
    expected = np.asarray(nibabel.load(tmp_path / "a.nii").dataobj).T
    assert found.dtype == expected.dtype == "f8"
    np.testing.assert_array_equal(found, expected)


def test_compressed_nifti_is_warned_of(tmp_path, volume):
    save_nifti(tmp_path / "a.nii.gz", volume)
    with pytest.warns(UserWarning, match=r"a.nii.gz is compressed as a whole: .* gunzip"):
        image = daskpatch.open_image(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(whole(image), volume)


def test_a_prediction_of_a_file_with_scale_is_ome_zarr_where_it_is_asked_for(tmp_path, channels):
    import zarr

    save_ome_tiff(tmp_path / "a.ome.tif", channels)
    options = {"patch_size": 64, "progress": False}
    daskpatch.predict(tmp_path / "a.ome.tif", double, tmp_path / "bare.zarr", **options)
    assert isinstance(zarr.open(tmp_path / "bare.zarr"), zarr.Array)
    daskpatch.predict(tmp_path / "a.ome.tif", double, tmp_path / "ome.zarr", ome=True, **options)
    image = daskpatch.open_image(tmp_path / "ome.zarr")
    assert image.coordinates.scale == (1, 0.2, 0.1)
    assert image.channel_names == CHANNELS
    np.testing.assert_array_equal(whole(image), 2 * channels.astype("f4"))


def planned(source, **options):
    return daskpatch.plan(source, double, patch_size=(4, 32, 32), **options)


def test_the_file_is_never_written_to(tmp_path, volume):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, volume, metadata={"axes": "ZYX"})
    for place in (path, path / "inside.zarr", tmp_path):
        with pytest.raises((ValueError, FileExistsError, NotADirectoryError)):
            predicted(path, place, overwrite=True)
    np.testing.assert_array_equal(tifffile.imread(path), volume)


def test_a_resume_knows_the_file_by_size_time_and_content(tmp_path, volume):
    path, out = tmp_path / "a.tif", tmp_path / "out.zarr"
    tifffile.imwrite(path, volume, metadata={"axes": "ZYX"})
    expected = predicted(path, out)
    np.testing.assert_array_equal(predicted(path, out, resume=True), expected)
    told = json.loads((out / ".daskpatch" / "run.json").read_text())["fingerprint"]["source"]
    assert told["where"] == path.as_uri()
    status = path.stat()
    assert told["file"] == {"bytes": status.st_size, "modified": status.st_mtime_ns}
    path.touch()
    with pytest.raises(ValueError, match=r"source.file.modified was \d+ and is \d+"):
        predicted(path, out, resume=True)


@pytest.mark.parametrize("change", ["gone", "grown", "another"])
def test_a_file_that_changed_is_refused(tmp_path, volume, change):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, volume, metadata={"axes": "ZYX"})
    plan = planned(path, output=tmp_path / "out.zarr")
    sent = pickle.dumps(daskpatch.open_image(path))
    if change == "gone":
        path.unlink()
    elif change == "grown":
        path.write_bytes(path.read_bytes() + b"more")
    else:
        shutil.copy2(path, tmp_path / "copy.tif")
        (tmp_path / "copy.tif").rename(path)
    with pytest.raises(ChangedError, match=r"a.tif (is gone|was changed|was made anew)"):
        plan.run(progress=False)
    assert not (tmp_path / "out.zarr").exists()
    if change == "grown":
        image = pickle.loads(sent)
        with pytest.raises(ChangedError, match="its size was"):
            image.extract_patch(0, None, (0, 0, 0), (1, 8, 8))


def test_a_damaged_block_is_repaired_from_the_file(tmp_path, volume):
    import zarr

    save_hdf5(tmp_path / "a.h5", volume, chunks=(4, 32, 32))
    expected = predicted(f"{tmp_path}/a.h5:/group/raw", tmp_path / "out.zarr")
    zarr.open(tmp_path / "out.zarr")[0, :8, :8] = 7
    report = daskpatch.verify(tmp_path / "out.zarr", repair=True, model=double)
    assert report.repaired
    np.testing.assert_array_equal(read(tmp_path / "out.zarr"), expected)


# Bad input


@pytest.mark.parametrize("name", TIFFS)
@pytest.mark.parametrize("kept", [0.001, 0.3, 0.6, 0.9, 0.999])
def test_a_torn_tiff_is_refused_before_anything_is_written(tmp_path, volume, name, kept):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, volume, **TIFFS[name])
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises((ValueError, OSError), match=r"torn|does not begin"):
        predicted(path, tmp_path / "out.zarr", axes="ZYX")
    assert not (tmp_path / "out.zarr").exists()


def test_other_torn_files_are_refused(tmp_path, volume):
    save_hdf5(tmp_path / "a.h5", volume)
    save_nifti(tmp_path / "a.nii", volume)
    save_nifti(tmp_path / "a.nii.gz", volume)
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:-2000])
        with pytest.raises(ValueError, match=f"{path.name} .*torn"):
            daskpatch.open_image(path)


def test_nifti_2_is_read(tmp_path, volume):
    save_nifti(tmp_path / "a.nii", volume, kind=nibabel.Nifti2Image)
    image = daskpatch.open_image(tmp_path / "a.nii")
    np.testing.assert_array_equal(whole(image), volume)
    assert str(image.coordinates) == "Z 2 millimeter, Y 0.6 millimeter, X 0.5 millimeter"


def test_the_root_of_hdf5_is_the_file(tmp_path, volume):
    save_hdf5(tmp_path / "a.h5", volume)
    for name in ("a.h5", "a.h5:", "a.h5:/"):
        np.testing.assert_array_equal(whole(daskpatch.open_image(f"{tmp_path}/{name}")), volume)


def test_a_pair_of_nifti_files_is_refused(tmp_path, volume):
    nibabel.save(nibabel.Nifti1Pair(volume.T, np.eye(4)), tmp_path / "a.img")
    with pytest.raises(ValueError, match=r"a.hdr is one of a pair of files .* save it as one file"):
        daskpatch.open_image(tmp_path / "a.hdr")


def test_a_tiff_that_loses_its_end_while_it_is_read_is_an_error(tmp_path, volume):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, volume, metadata={"axes": "ZYX"})
    image = daskpatch.open_image(path)
    path.write_bytes(path.read_bytes()[:-50_000])
    with pytest.raises(OSError, match=r"a.tif could not be read at \[9:10, .*torn"):
        image.extract_patch(0, None, (9, 0, 0), (1, 90, 101))


MISSING = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in sys.argv[3:]:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
import daskpatch
try:
    daskpatch.predict(sys.argv[1], lambda x: x, sys.argv[2], axes="ZYX", patch_size=(4, 32, 32))
except ImportError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("name", "missing", "extra"),
    [
        ("tiles.tif", "tifffile", "tiff"), ("predictor.tif", "imagecodecs", "tiff"),
        ("big.tif", "imagecodecs", "tiff"),
        ("chunks.h5", "h5py", "hdf5"), ("big.nii", "nibabel", "nifti"),
        ("a.czi", "pylibCZIrw", "czi"),
    ],
)  # fmt: skip
def test_the_extra_that_is_missing_is_named(tmp_path, volume, name, missing, extra):
    if name == "a.czi":
        (tmp_path / name).write_bytes(b"ZISRAWFILE" + bytes(900))
    else:
        MADE[name][0](tmp_path / name, volume)
    printed = Child(MISSING, tmp_path / name, tmp_path / "o.zarr", missing).said()
    assert missing in printed
    assert f"pip install 'daskpatch[{extra}]'" in printed
    assert not (tmp_path / "o.zarr").exists()


def test_what_python_decodes_itself_needs_no_imagecodecs(tmp_path, volume):
    tifffile.imwrite(tmp_path / "a.tif", volume, **TIFFS["tiles"])
    Child(MISSING, tmp_path / "a.tif", tmp_path / "o.zarr", "imagecodecs").said()
    np.testing.assert_array_equal(read(tmp_path / "o.zarr"), volume)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (":/nothing", r"a.h5 has no dataset /nothing; it holds /group/raw \(10, 90, 101\)"),
        (":/names", "has dtype object"), (":table", r"has dtype \[\('a'"),
        (":row", "has 1 axis; needed are"), (":group", "has no dataset group"),
    ],
)  # fmt: skip
def test_datasets_that_are_no_images_are_refused(tmp_path, volume, name, words):
    save_hdf5(tmp_path / "a.h5", volume)
    with pytest.raises(ValueError, match=words):
        daskpatch.open_image(f"{tmp_path}/a.h5{name}", axes="ZYX")


def test_one_of_several_datasets_has_to_be_named(tmp_path, volume):
    save_hdf5(tmp_path / "a.h5", volume)
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["other"] = volume[0]
    with pytest.raises(
        ValueError, match=r"it holds /group/raw .*, /other \(90, 101\). Name it: .*:/"
    ):
        daskpatch.open_image(tmp_path / "a.h5")
    with pytest.raises(ValueError, match="level is 1, and .*no levels to choose from.*name a data"):
        daskpatch.open_image(f"{tmp_path}/a.h5:other", level=1, axes="YX")


def test_what_only_has_the_name_of_a_format_is_refused(tmp_path):
    for name in ("a.tif", "a.h5", "a.nii", "a.czi"):
        (tmp_path / name).write_bytes(b"something else" * 50)
        with pytest.raises(ValueError, match=r"is named like .* does not begin like one"):
            daskpatch.open_image(tmp_path / name)


def test_an_image_that_lacks_one_of_its_files_is_refused(tmp_path, volume):
    files = ("a.ome.tif", "b.ome.tif")
    planes = "".join(
        f'<TiffData FirstZ="{z}" IFD="{z % 5}" PlaneCount="1"><UUID FileName="{files[z // 5]}">'
        f"urn:uuid:0000000{z // 5}-0000-0000-0000-000000000000</UUID></TiffData>"
        for z in range(10)
    )
    for i, name in enumerate(files):
        told = (
            '<?xml version="1.0" encoding="UTF-8"?>'
            '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="urn:uuid:0000000{i}-0000-0000-0000-000000000000"><Image ID="Image:0">'
            '<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="101" SizeY="90" '
            'SizeZ="10" SizeC="1" SizeT="1"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>'
            f"{planes}</Pixels></Image></OME>"
        )
        with tifffile.TiffWriter(tmp_path / name, ome=False) as file:
            for z in range(5):
                file.write(volume[5 * i + z], description=None if z else told, metadata=None)
    np.testing.assert_array_equal(whole(daskpatch.open_image(tmp_path / "a.ome.tif")), volume)
    (tmp_path / "b.ome.tif").unlink()
    (tmp_path / "a.ome.tif").touch()
    with pytest.raises(ValueError, match=r"a.ome.tif is an image of several files, .*b.ome.tif"):
        daskpatch.open_image(tmp_path / "a.ome.tif")


def test_a_file_that_is_still_written_is_told_of(tmp_path):
    code = "import h5py, sys; f = h5py.File(sys.argv[1], 'w'); print(flush=True); input()"
    command = [sys.executable, "-c", code, str(tmp_path / "a.h5")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as writer:
        writer.stdout.readline()
        with pytest.raises(OSError, match="a.h5 is locked by who writes it"):
            daskpatch.open_image(tmp_path / "a.h5")
        writer.communicate(b"\n")


def test_what_is_not_there_is_a_file(tmp_path, volume):
    imagej(tmp_path / "stack.tif", volume)
    with pytest.raises(FileNotFoundError, match=r"No file at .*stak.tif; there is stack.tif besi"):
        daskpatch.open_image(tmp_path / "stak.tif")


# Series and sequences


@pytest.fixture
def planes(tmp_path, rng):
    """Twelve planes, the names of which sort otherwise as texts than as numbers."""
    values = rng.integers(0, 4000, (12, 60, 70)).astype("u2")
    (tmp_path / "run").mkdir()
    for i, plane in enumerate(values):
        tifffile.imwrite(tmp_path / "run" / f"t{i}.tif", plane, tile=(32, 32), compression="zlib")
    return values


@pytest.mark.parametrize("axis", ["T", "Z"])
def test_files_are_stacked_in_the_order_of_their_numbers(tmp_path, planes, axis):
    image = daskpatch.open_sequence(f"{tmp_path}/run/*.tif", axis=axis)
    assert image.original_axes == f"{axis}YX"
    np.testing.assert_array_equal(whole(image), planes)
    given = [tmp_path / "run" / f"t{i}.tif" for i in (3, 1)]
    np.testing.assert_array_equal(whole(daskpatch.open_sequence(given, axis="T")), planes[[3, 1]])


def test_a_sequence_predicts_as_the_stack_does(tmp_path, planes, processes):
    expected = predicted(planes, tmp_path / "array.zarr", axes="ZYX")
    source = daskpatch.open_sequence(f"{tmp_path}/run/*.tif", axis="Z")
    found = predicted(source, tmp_path / "run" / "out.zarr", threads=4)
    np.testing.assert_array_equal(found, expected)
    found = predicted(source, tmp_path / "run" / "workers.zarr", client=processes)
    np.testing.assert_array_equal(found, expected)


def test_a_sequence_holds_the_files_that_it_was_made_of(tmp_path, planes):
    image = daskpatch.open_sequence(f"{tmp_path}/run/*.tif", axis="T")
    shutil.copy(tmp_path / "run" / "t0.tif", tmp_path / "run" / "t12.tif")
    np.testing.assert_array_equal(whole(pickle.loads(pickle.dumps(image))), planes)
    (tmp_path / "run" / "t5.tif").touch()
    with pytest.raises(ChangedError, match="t5.tif was changed"):
        image.array.look()


def test_no_output_lies_in_the_way_of_a_sequence(tmp_path, planes):
    image = daskpatch.open_sequence(f"{tmp_path}/run/*.tif", axis="Z")
    with pytest.raises((ValueError, FileExistsError)):
        predicted(image, tmp_path / "run", overwrite=True)
    with pytest.raises((ValueError, FileExistsError)):
        predicted(image, tmp_path / "run" / "t5.tif", overwrite=True)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "run" / "t5.tif"), planes[5])


def test_thousands_of_files_are_few_handles_and_few_bytes(tmp_path):
    plane = np.zeros((8, 8), "u1")
    tifffile.imwrite(tmp_path / "first.tif", plane)
    content = (tmp_path / "first.tif").read_bytes()
    for i in range(1500):
        (tmp_path / f"plane_{i:05}.tif").write_bytes(content)
    image = daskpatch.open_sequence(f"{tmp_path}/plane_*.tif", axis="Z")
    assert len(pickle.dumps(image)) < 20 * 1500
    assert whole(image).shape == (1500, 8, 8)
    assert len(OPEN_READERS) <= 64


def test_a_file_that_a_thread_still_has_at_exit_is_closed_without_a_word(tmp_path, volume):
    tifffile.imwrite(tmp_path / "a.tif", volume, metadata={"axes": "ZYX"})
    code = """if True:
        import sys, threading
        import daskpatch
        image = daskpatch.open_image("a.tif")
        def waiting(kept):
            threading.Event().wait()
        kept = dict(sys.modules)
        threading.Thread(target=waiting, args=[kept], daemon=True).start()
    """
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ran.stderr == ""


def test_files_that_differ_are_not_stacked(tmp_path, planes):
    pattern = f"{tmp_path}/run/*.tif"
    tifffile.imwrite(tmp_path / "run" / "t7.tif", planes[7, 1:])
    with pytest.raises(ValueError, match=r"t7.tif is \(59, 70\) uint16, and .*t0.tif is \(60"):
        daskpatch.open_sequence(pattern, axis="T")
    (tmp_path / "run" / "t7.tif").write_text("text")
    with pytest.raises(ValueError, match="t7.tif is no file of a format that is stacked"):
        daskpatch.open_sequence(pattern, axis="T")
    with pytest.raises(FileNotFoundError, match=r"Nothing matches .*\*.lsm"):
        daskpatch.open_sequence(f"{tmp_path}/*.lsm", axis="T")
    with pytest.raises(FileNotFoundError, match=r"There is no file .*gone.tif"):
        daskpatch.open_sequence([tmp_path / "gone.tif"], axis="T")
    with pytest.raises(ValueError, match="axis is 'C'; needed is 'T' or 'Z'"):
        daskpatch.open_sequence(pattern, axis="C")


def test_an_axis_that_files_have_is_not_stacked_along(tmp_path, volume):
    for i in range(2):
        imagej(tmp_path / f"{i}.tif", volume)
    with pytest.raises(ValueError, match="axis is 'Z', and the axes of each file are 'ZYX'"):
        daskpatch.open_sequence(f"{tmp_path}/*.tif", axis="Z")
    image = daskpatch.open_sequence(f"{tmp_path}/*.tif", axis="T")
    assert image.data_shape == (2, 1, 10, 90, 101)
    assert image.coordinates.scale == (1, 3, 0.5, 0.25)


def test_datasets_of_a_file_are_stacked(tmp_path, planes):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for i, plane in enumerate(planes):
            file[f"t{i}"] = plane
    names = [f"{tmp_path}/a.h5:/t{i}" for i in range(12)]
    image = daskpatch.open_sequence(names, axis="T", axes="YX")
    np.testing.assert_array_equal(whole(pickle.loads(pickle.dumps(image))), planes)
    with pytest.raises(ValueError, match=r"do not say what their axes are; .* example 'YX'"):
        daskpatch.open_sequence(names, axis="T")


def test_a_pattern_and_a_list_are_series(tmp_path, planes):
    import zarr

    options = {"patch_size": 32, "progress": False}
    files = [str(tmp_path / "run" / f"t{i}.tif") for i in range(12)]
    for source in (f"{tmp_path}/run/*.tif", files):
        out = tmp_path / f"{type(source).__name__}.zarr"
        daskpatch.predict(source, double, out, **options)
        group = zarr.open_group(out)
        for i, plane in enumerate(planes):
            np.testing.assert_array_equal(group[str(i)][...], 2 * plane.astype("f4"))


def test_a_sequence_is_what_is_stacked(tmp_path, planes):
    assert isinstance(
        daskpatch.open_sequence(f"{tmp_path}/run/*.tif", axis="T").array, FileSequence
    )


# The command line


def test_info_says_what_a_file_is(tmp_path, channels, capsys):
    save_ome_tiff(tmp_path / "a.tif", channels)
    assert exit_code("info", tmp_path / "a.tif") == 0
    told = capsys.readouterr().out
    for words in (
        "(3, 150, 170)", "uint16", "CYX", "(1, 64, 64)", "(1.0, 0.2, 0.1)", "micrometer",
        "DAPI", "level 1     1, scale (1.0, 0.4, 0.2)",
    ):  # fmt: skip
        assert words in told


def test_info_of_one_of_several_images_and_levels(tmp_path, volume, channels, capsys):
    save_series_of_two(tmp_path / "two.tif", volume)
    assert exit_code("info", tmp_path / "two.tif", "--image", 1) == 0
    assert str(volume.shape) in capsys.readouterr().out
    save_ome_tiff(tmp_path / "a.tif", channels)
    assert exit_code("info", tmp_path / "a.tif", "--level", 1) == 0
    assert "(3, 75, 85)" in capsys.readouterr().out
    assert exit_code("info", tmp_path / "a.tif", "--level", 2) == 2


def test_a_pattern_is_predicted_by_the_command_line(tmp_path, planes, monkeypatch):
    import zarr

    monkeypatch.chdir(tmp_path)
    flags = ("--model", "example_models:double", "--patch-size", 32)
    assert exit_code("predict", "run/*.tif", "out.zarr", *flags) == 0
    np.testing.assert_array_equal(zarr.open_group("out.zarr")["11"][...], 2 * planes[11])


def test_files_are_opened_without_a_word(made):
    _, name, chosen, _ = made
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        daskpatch.open_image(name, **chosen)


@pytest.mark.parametrize("files", [None, 5, np.ones((3, 3)), [np.ones(3)], [None], b"x"])
def test_what_is_no_list_of_files_is_refused(files):
    with pytest.raises(TypeError, match="needed is a pattern, for example 'run/"):
        daskpatch.open_sequence(files, axis="T")


def test_files_may_come_from_a_generator_or_an_array(tmp_path):
    for number in range(2):
        tifffile.imwrite(tmp_path / f"{number}.tif", np.full((4, 5), number, "u1"))
    paths = sorted(tmp_path.glob("*.tif"))
    for files in (iter(paths), np.array(list(map(str, paths)))):
        assert daskpatch.open_sequence(files, axis="T").data_shape == (2, 1, 4, 5)
