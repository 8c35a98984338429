"""Images that other projects write are read, and what is written is read by them, at its place."""

import numpy as np
import pytest
import tensorstore
import zarr
from example_models import double
from ome_images import image
from test_validators import VERSIONS

import daskpatch

pytestmark = pytest.mark.filterwarnings("ignore")  # what these packages warn of is theirs

TILES = {"patch_size": (4, 64, 64), "overlaps": (0, 8, 8), "progress": False}
SCALE = {"c": 1.0, "z": 2.0, "y": 0.65, "x": 0.65}
RNG = np.random.default_rng(9)
VALUES = RNG.random((2, 4, 300, 80)).astype("f4")


def levels_by_ome_zarr(out):
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader

    (node, *_) = Reader(parse_url(str(out)))()
    (first, *_) = node.metadata["coordinateTransformations"]
    assert node.metadata["channel_names"] == ["DAPI", "GFP"]
    assert first[0] == {"type": "scale", "scale": list(SCALE.values())}
    return node.data


def levels_by_ngff_zarr(out):
    import ngff_zarr

    images = ngff_zarr.from_ngff_zarr(str(out)).images
    assert images[0].scale == SCALE
    assert images[1].scale == {**SCALE, "y": 1.3, "x": 1.3}
    assert images[1].translation["y"] == 3.325
    return [each.data for each in images]


def levels_by_bioio(out):
    from bioio_ome_zarr import Reader

    reader = Reader(str(out))
    assert reader.channel_names == ["DAPI", "GFP"]
    sizes = reader.physical_pixel_sizes
    assert (sizes.Z, sizes.Y, sizes.X) == (2.0, 0.65, 0.65)
    levels = []
    for level in reader.resolution_levels:
        reader.set_resolution_level(level)
        levels.append(reader.data)
    return levels


def levels_by_napari(out):
    from napari_ome_zarr import napari_get_reader

    ((data, told, kind), *_) = napari_get_reader(str(out))(str(out))
    assert kind == "image"
    assert told["scale"] == [2.0, 0.65, 0.65]
    assert told["units"] == ("micrometer",) * 3
    return data


def levels_by_tensorstore(out):
    version = zarr.open_array(out / "0", mode="r").metadata.zarr_format
    driver = "zarr3" if version == 3 else "zarr"
    return [
        tensorstore.open(
            {"driver": driver, "kvstore": {"driver": "file", "path": f"{out / name}/"}}, open=True
        ).result()
        for name in "01"
    ]


@VERSIONS
@pytest.mark.parametrize(
    "levels_by",
    [
        levels_by_ome_zarr, levels_by_ngff_zarr, levels_by_bioio, levels_by_napari,
        levels_by_tensorstore,
    ],
)  # fmt: skip
def test_a_prediction_is_read_by_others(tmp_path, version, levels_by):
    names = ("DAPI", "GFP")
    source = image(tmp_path / "in.zarr", VALUES, axes="czyx", version=version, names=names)
    daskpatch.predict(source, double, tmp_path / "out.zarr", ome=version, pyramid=1, **TILES)
    finest, coarser = (np.asarray(level) for level in levels_by(tmp_path / "out.zarr"))
    np.testing.assert_array_equal(finest, VALUES * 2)
    cells = (VALUES * 2).reshape(2, 4, 150, 2, 40, 2).astype("f8")
    np.testing.assert_allclose(coarser, cells.mean((3, 5)), rtol=1e-6)


def written_by_ome_zarr(path, version):
    from ome_zarr.format import FormatV04, FormatV05
    from ome_zarr.writer import write_image

    group = zarr.open_group(str(path), mode="w", zarr_format=2 if version == "0.4" else 3)
    write_image(
        VALUES,
        group,
        axes="czyx",
        scale=SCALE,
        axes_units=dict.fromkeys("zyx", "micrometer"),
        scale_factors=(),
        fmt=FormatV04() if version == "0.4" else FormatV05(),
    )


def written_by_ngff_zarr(path, version):
    import ngff_zarr

    made = ngff_zarr.to_ngff_image(
        VALUES, dims="czyx", scale=SCALE, axes_units=dict.fromkeys("zyx", "micrometer")
    )
    multiscales = ngff_zarr.to_multiscales(made, scale_factors=[])
    ngff_zarr.to_ngff_zarr(str(path), multiscales, version=version)


@VERSIONS
@pytest.mark.parametrize("written_by", [written_by_ome_zarr, written_by_ngff_zarr])
def test_an_image_of_others_is_predicted_at_its_place(tmp_path, version, written_by):
    written_by(tmp_path / "in.zarr", version)
    daskpatch.predict(tmp_path / "in.zarr", double, tmp_path / "out.zarr", **TILES)
    array = zarr.open_array(str(tmp_path / "out.zarr" / "0"), mode="r")
    np.testing.assert_array_equal(array[...], VALUES * 2)
    told = daskpatch.open_image(tmp_path / "out.zarr")
    assert dict(zip(told.coordinates.axes.lower(), told.coordinates.scale, strict=True)) == SCALE
    assert told.coordinates.units[1:] == ("micrometer",) * 3


def test_an_n5_of_tensorstore_is_predicted(tmp_path):
    source = tensorstore.open(
        {
            "driver": "n5",
            "kvstore": {"driver": "file", "path": f"{tmp_path / 'in.n5'}/"},
            "metadata": {"dimensions": VALUES.shape, "blockSize": [1, 4, 64, 64],
                         "dataType": "float32", "compression": {"type": "gzip"}},
        },
        create=True,
    ).result()  # fmt: skip
    source.write(VALUES).result()
    daskpatch.predict(source, double, tmp_path / "out.zarr", axes="CZYX", **TILES)
    array = zarr.open_array(str(tmp_path / "out.zarr"), mode="r")
    np.testing.assert_array_equal(array[...], VALUES * 2)
