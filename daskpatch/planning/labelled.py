"""The lazy prediction as an `xarray.DataArray`: dims, coordinates and units."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..deciding import Decided
from ..geometry import Coordinates, Dimensions
from ..image import ImageStack, axis_name_of, channel_names_of, is_placed, labels_along
from ..output import result_coordinates
from ..support import load_extra

Labels = tuple[str, Any, dict[str, str]]
"""A dim, what lies along it, and attributes."""


def as_xarray(decided: Decided, data_idx: int, output: int, array: Any) -> Any:
    """The lazy array of a view (one array of one image) with the names and places of its axes.

    Along an axis whose voxels are the source's, labels are the source's own, bit for bit: arrays of
    xarray are aligned by them.
    """
    recipe = decided.recipe
    dims, image = recipe.outputs[data_idx][output], recipe.images[data_idx]
    places = result_coordinates(recipe, data_idx, output)
    names = [axis_name_of(image, axis) for axis in dims.axes]
    labels = {
        name: found
        for name, axis in zip(names, dims.axes, strict=True)
        if (found := _labels(decided, image, dims, places, axis, name)) is not None
    }
    xarray = load_extra("xarray", "Plan.to_xarray")
    return xarray.DataArray(
        array, dims=names, coords=labels, name=recipe.stored[output].name or None
    )


def _labels(
    decided: Decided, image: ImageStack, dims: Dimensions, places: Coordinates, axis: str, name: str
) -> Labels | None:
    if axis == "C":
        return _channels(decided, image, dims, name)
    place = dims.axes.index(axis)
    start, n = dims.origin[place] if dims.is_part else 0, dims.shape[place]
    scale = dict(zip(dims.spatial_axes, dims.scale, strict=True))
    unit = {} if places.units[place] is None else {"units": str(places.units[place])}
    own = labels_along(image, axis)
    if own is not None and scale.get(axis, 1) == 1:
        return name, own[start : start + n], unit
    if not is_placed(image):
        return None
    return name, places.translation[place] + places.scale[place] * np.arange(n), unit


def _channels(decided: Decided, image: ImageStack, dims: Dimensions, name: str) -> Labels | None:
    named = decided.options.output.channel_names or ()
    for known in (named, labels_along(image, "C"), channel_names_of(image)):
        if known is not None and len(known) == dims.n_channels:
            return name, np.asarray(known), {}
    return None
