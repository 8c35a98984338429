"""What an image's own array calls its axes, and its labels along them: the words of xarray."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arraylike import ArrayLike
from .stack import ImageStack, is_located
from .told import array_of, dimensions_of


def axis_name_of(image: ImageStack, axis: str) -> str:
    """What an image's array calls an axis, of STCZYX; else its letter, lower case."""
    axes, array = dimensions_of(image).axes, array_of(image)
    names = array.axis_names if isinstance(array, ArrayLike) else None
    return axis.lower() if names is None or axis not in axes else names[axes.index(axis)]


def labels_along(image: ImageStack, axis: str) -> NDArray[Any] | None:
    """The coordinate of xarray along an axis, of the chosen channels; None where there is none."""
    array = array_of(image)
    labels = array.labels(axis_name_of(image, axis)) if isinstance(array, ArrayLike) else None
    if labels is None:
        return None
    chosen = image.channels if axis == "C" and is_located(image) else None
    return np.asarray(labels) if chosen is None else np.asarray(labels)[list(chosen)]


def uneven_axes(image: ImageStack) -> str:
    """The axes of time and space along which a coordinate of xarray is not evenly spaced."""
    array = array_of(image)
    if not isinstance(array, ArrayLike):
        return ""
    axes = [axis for axis in dimensions_of(image).axes if axis in "TZYX"]
    return "".join(axis for axis in axes if array.is_uneven(axis_name_of(image, axis)))
