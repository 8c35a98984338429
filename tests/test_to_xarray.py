"""The lazy prediction as a DataArray, which goes together with that of its source."""

import dask
import numpy as np
import pytest
import xarray
from example_models import double, finer
from ome_images import image

import daskpatch

RNG = np.random.default_rng(8)
TILES = {"patch_size": 16, "overlaps": 4}


@pytest.fixture
def scene():
    """Two channels over uneven times, in steps that no float has exactly."""
    values = RNG.random((3, 2, 40, 36)).astype("f4")
    return xarray.DataArray(
        values,
        dims=("time", "channel", "y", "x"),
        coords={
            "time": np.array(["2026-01-01", "2026-01-02", "2026-02-01"], "datetime64[ns]"),
            "channel": ["DAPI", "GFP"],
            "y": xarray.Variable("y", 3.0 + np.cumsum(np.full(40, 0.1)), {"units": "micrometer"}),
            "x": np.arange(36) * 0.65,
        },
    )


def test_a_prediction_is_aligned_with_its_source(scene):
    lazy = daskpatch.plan(scene, double, **TILES).to_xarray()
    assert dask.is_dask_collection(lazy.data)
    assert lazy.dims == scene.dims
    # xarray keeps what both have labels for, without a word.
    assert (lazy - scene).shape == scene.shape
    np.testing.assert_array_equal((lazy - scene).values, scene.values)
    assert lazy.y.attrs["units"] == "micrometer"


def test_a_box_and_chosen_channels_keep_their_labels(scene):
    box = np.s_[1:, :, 5:35]
    lazy = daskpatch.plan(scene, double, channels=["GFP"], box=box, **TILES).to_xarray()
    expected = scene.isel(channel=[1], time=slice(1, None), y=slice(5, 35))
    xarray.testing.assert_equal(lazy.compute(), 2 * expected)


def test_a_finer_result_lies_between_the_labels_of_its_source(scene):
    lazy = daskpatch.plan(scene, finer, **TILES).to_xarray()
    np.testing.assert_array_equal(lazy.time, scene.time)
    np.testing.assert_allclose(lazy.x[:3], [-0.1625, 0.1625, 0.4875])
    assert lazy.x.size == 72


def test_an_image_of_ome_zarr_gives_scale_units_and_channels(tmp_path):
    values = RNG.random((2, 4, 40, 36)).astype("f4")
    source = image(tmp_path / "in.zarr", values, axes="czyx", names=("a", "b"))
    lazy = daskpatch.plan(source, double, patch_size=(4, 16, 16)).to_xarray()
    assert lazy.dims == ("c", "z", "y", "x")
    assert list(lazy.c.values) == ["a", "b"]
    np.testing.assert_allclose(lazy.z, 3 + 2 * np.arange(4))
    assert lazy.z.attrs == {"units": "micrometer"}


def test_several_arrays_are_chosen_by_number():
    def both(batch):
        return {"mean": batch, "all": np.concatenate([batch, batch], 1)}

    plan = daskpatch.plan(RNG.random((40, 36)).astype("f4"), both, axes="YX", **TILES)
    assert plan.to_xarray(0).name == "mean"
    second = plan.to_xarray(1)
    assert (second.name, second.dims, dict(second.coords)) == ("all", ("c", "y", "x"), {})
    with pytest.raises(ValueError, match=r"use plan\.to_xarray\(number\)"):
        plan.to_xarray()
    for number in (2, -1, "all"):
        with pytest.raises(ValueError, match="needed is that of an array, from 0 to 1"):
            plan.to_xarray(number)


def test_uneven_coordinates_have_no_place_in_ome_zarr(tmp_path):
    coords = {"time": np.array(["2026-01-01", "2026-01-02"], "M8[ns]")}
    coords |= {"y": np.arange(20) ** 2, "x": np.arange(24) / 2, "c": ["a", "b"]}
    source = xarray.DataArray(np.zeros((2, 2, 20, 24)), dims=["time", "c", "y", "x"], coords=coords)
    with pytest.warns(UserWarning, match=r"along T, Y is not evenly spaced.* voxels are the unit"):
        plan = daskpatch.plan(
            source, double, tmp_path / "o.zarr", ome=True, patch_size=16, overlaps=4
        )
    np.testing.assert_array_equal(plan.to_xarray().y, coords["y"])


def test_a_result_without_coordinates_has_none():
    plan = daskpatch.plan(RNG.random((40, 36)).astype("f4"), double, axes="YX", **TILES)
    assert dict(plan.to_xarray().coords) == {}
