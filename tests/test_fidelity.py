"""Outputs that give back other values than they are given, and numbers that JSON lacks."""

import shutil

import numcodecs
import numpy as np
import pytest
import zarr
from example_models import double
from zarr.codecs import numcodecs as codecs

import daskpatch
from daskpatch.store import StoredArray

TILES = {"axes": "YX", "patch_size": 16, "block_shape": 16}

LOSSY = {
    "Quantize": {"zarr_format": 2, "filters": [numcodecs.Quantize(1, "f4")]},
    "BitRound": {"zarr_format": 2, "filters": [numcodecs.BitRound(8)]},
    "FixedScaleOffset": {
        "zarr_format": 2, "filters": [numcodecs.FixedScaleOffset(0, 10, "f4", "u2")],
    },
    "AsType": {"zarr_format": 2, "filters": [numcodecs.AsType("f2", "f4")]},
    "bitround": {"zarr_format": 3, "keepbits": 8},
}  # fmt: skip

LOSSLESS = {
    "Delta": {"zarr_format": 2, "filters": [numcodecs.Delta("i4")], "dtype": "i4"},
    "Shuffle": {"zarr_format": 2, "filters": [numcodecs.Shuffle(4)]},
    "none": {"zarr_format": 3, "compressors": None},
    "shards": {"zarr_format": 3, "shards": (32, 32)},
    "bool": {"zarr_format": 3, "dtype": "bool"},
    "big-endian": {"zarr_format": 3, "dtype": ">f8"},
}


@pytest.fixture
def image():
    return np.random.default_rng(0).random((64, 64)).astype("f4") * 100


def created(path, **options):
    options = {"dtype": "f4", "fill_value": 0, **options}
    return zarr.create_array(str(path), shape=(64, 64), chunks=(16, 16), **options)


@pytest.mark.parametrize("kind", ["Delta", "FixedScaleOffset"])
def test_an_array_that_a_back_end_does_not_open_is_refused_before_anything(tmp_path, image, kind):
    out = tmp_path / "out.zarr"
    array = created(out, **{**LOSSY, **LOSSLESS}[kind])
    with pytest.raises(ValueError, match=r"opened with io='tensorstore': .*Leave io= out"):
        daskpatch.plan(image, np.positive, array, axes="YX", patch_size=16, io="tensorstore")
    assert not (out / ".daskpatch").exists()


@pytest.mark.filterwarnings("ignore:Numcodecs codecs are not")
@pytest.mark.parametrize("kind", LOSSY)
def test_codecs_that_round_are_read_back(tmp_path, image, kind):
    out, options = tmp_path / "out.zarr", {**LOSSY[kind]}
    if "keepbits" in options:  # it warns where it is made
        options["filters"] = [codecs.BitRound(keepbits=options.pop("keepbits"))]
    plan = daskpatch.plan(image, double, created(out, **options), **TILES)
    assert "its codecs round: each block is read back" in str(plan)
    plan.run(progress=False)
    assert daskpatch.verify(out, progress=False).ok
    (out / ("0.0" if options["zarr_format"] == 2 else "c/0/0")).unlink()
    found = daskpatch.verify(out, progress=False)
    assert found.bad == (0,)
    options = {"repair": True, "model": double, "source": image, "progress": False}
    assert daskpatch.verify(out, **options).repaired.done == 1
    assert daskpatch.verify(out, progress=False).ok


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")  # numcodecs' own
def test_codecs_that_keep_numbers_and_not_the_bits_of_nan_are_read_back(tmp_path, image):
    def signalling(batch):
        result = batch.astype("f4")
        result.view("u4")[..., 0] = 0x7FA00001
        return result

    options = {"zarr_format": 2, "filters": [numcodecs.AsType("f8", "f4")]}
    array = created(tmp_path / "out.zarr", **options)
    plan = daskpatch.plan(image, signalling, array, **TILES)
    with pytest.warns(RuntimeWarning, match="NaN"):
        plan.run(progress=False)
    assert daskpatch.verify(tmp_path / "out.zarr", progress=False).ok


@pytest.mark.parametrize("kind", LOSSLESS)
def test_others_are_not(tmp_path, kind):
    assert StoredArray(created(tmp_path / "out.zarr", **LOSSLESS[kind])).is_lossless


@pytest.mark.filterwarnings("ignore:The model gave NaN:RuntimeWarning")
@pytest.mark.parametrize("io", ["zarr", "tensorstore"])
@pytest.mark.parametrize("fill", [np.nan, -np.nan, 0.0, -0.0, np.inf])
@pytest.mark.parametrize("value", [np.nan, -np.nan, 0.0, -0.0, np.inf])
def test_blocks_of_any_fill_value_verify(tmp_path, fill, value, io):
    number = np.copysign(np.float32(value), -1 if np.signbit(value) else 1)
    out = created(tmp_path / "out.zarr", fill_value=fill)

    def model(batch):
        return np.full_like(batch, number)

    image = np.zeros((64, 64), "f4")
    daskpatch.predict(image, model, out, **TILES, io=io, progress=False)
    assert daskpatch.verify(tmp_path / "out.zarr", progress=False).ok


@pytest.mark.filterwarnings("ignore:The model gave NaN:RuntimeWarning")
@pytest.mark.parametrize("io", ["zarr", "tensorstore"])
@pytest.mark.parametrize("bits", ["0xffc00000", "0x7fc00001"])
def test_blocks_of_nan_verify_whose_fill_value_has_bits_of_its_own(tmp_path, bits, io):
    out = created(tmp_path / "out.zarr", fill_value=np.nan)
    document = tmp_path / "out.zarr/zarr.json"
    document.write_text(document.read_text().replace('"NaN"', f'"{bits}"'))
    out = zarr.open_array(tmp_path / "out.zarr")
    options = {**TILES, "io": io, "progress": False}
    daskpatch.predict(np.zeros((64, 64), "f4"), lambda b: b * np.nan, out, model_id="m", **options)
    assert daskpatch.verify(tmp_path / "out.zarr", progress=False).ok


@pytest.mark.parametrize("padding", [float("nan"), float("inf"), -float("inf")])
def test_padding_that_is_no_number_of_json_is_recorded(tmp_path, image, padding):
    out = tmp_path / "out.zarr"
    options = {"axes": "YX", "patch_size": 16, "overlaps": 8, "align": 4, "progress": False}

    def model(batch):
        return np.nan_to_num(batch, posinf=1, neginf=2)

    odd = image[:61, :59]
    daskpatch.predict(odd, model, out, padding=padding, **options)
    assert daskpatch.predict(odd, model, out, padding=padding, resume=True, **options).done == 0
    with pytest.raises(ValueError, match=f"source.padding was '{padding}'"):
        daskpatch.predict(odd, model, out, padding="edge", resume=True, **options)
    whole = zarr.open_array(str(out))[:]
    next(path for path in sorted(out.glob("c/**/*")) if path.is_file()).unlink()
    mended = daskpatch.verify(out, repair=True, model=model, source=odd, progress=False)
    assert mended.repaired.done
    np.testing.assert_array_equal(zarr.open_array(str(out))[:], whole)


def test_results_beyond_what_a_deviation_holds_are_recorded(tmp_path):
    def model(batch):
        return batch * np.float64(1e308)

    image = np.random.default_rng(0).uniform(-1.5, 1.5, size=(64, 64)).astype("f4")
    options = {**TILES, "chunks": 16, "input_dtype": "f8", "progress": False}
    daskpatch.predict(image, model, tmp_path / "out.zarr", part=(1, 2), **options)
    assert daskpatch.predict(image, model, tmp_path / "out.zarr", resume=True, **options).skipped


@pytest.mark.parametrize("lost", ["1", "2", "1/.daskpatch"])
def test_a_series_without_a_member_is_not_complete(tmp_path, image, lost):
    out = tmp_path / "series.zarr"
    options = {**TILES, "chunks": 16, "progress": False}
    daskpatch.predict([image] * 3, double, out, **options)
    shutil.rmtree(out / lost)
    for look in (daskpatch.status, lambda path: daskpatch.verify(path, progress=False)):
        with pytest.raises(
            FileNotFoundError, match=f"3 images, and these have no record of their own: {lost[0]}"
        ):
            look(out)
    report = daskpatch.predict([image] * 3, double, out, resume=True, **options)
    assert report.done == 16
    assert daskpatch.verify(out, progress=False).ok
