"""What an image's own array calls its axes, and its labels along them: the words of xarray."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arraylike import ArrayLike
from .stack import ArrayImage, ImageStack, dimensions_of


def axis_name_of(image: ImageStack, axis: str) -> str:
    """What an image's array calls an axis, of STCZYX; else its letter, lower case."""
    axes, names = dimensions_of(image).axes, None
    if isinstance(image, ArrayImage) and isinstance(image.array, ArrayLike):
        names = image.array.axis_names
    return axis.lower() if names is None or axis not in axes else names[axes.index(axis)]


def labels_along(image: ImageStack, axis: str) -> NDArray[Any] | None:
    """The coordinate of xarray along an axis, of the chosen channels; None where there is none."""
    if not (isinstance(image, ArrayImage) and isinstance(image.array, ArrayLike)):
        return None
    labels = image.array.labels(axis_name_of(image, axis))
    if labels is None:
        return None
    chosen = image.channels if axis == "C" else None
    return np.asarray(labels) if chosen is None else np.asarray(labels)[list(chosen)]


def uneven_axes(image: ImageStack) -> str:
    """The axes of time and space along which a coordinate of xarray is not evenly spaced."""
    if not (isinstance(image, ArrayImage) and isinstance(image.array, ArrayLike)):
        return ""
    axes = [axis for axis in image.dimensions.axes if axis in "TZYX"]
    return "".join(axis for axis in axes if image.array.is_uneven(axis_name_of(image, axis)))


def is_placed(image: ImageStack) -> bool:
    """Whether an image says where its voxels lie."""
    return isinstance(image, ArrayImage) and image.coordinates is not None
