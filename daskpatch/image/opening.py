"""From whatever the user has to an `ImageStack`, reading metadata only."""

from __future__ import annotations

import operator
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import zarr
from zarr.abc.store import Store
from zarr.storage import StorePath

from ..dimensions import Dimensions, check_axes, example_axes
from ..padding import check_padding
from ..store import StoredArray, is_ome, locate, ome_level, open_node
from .arraylike import ArrayLike
from .stack import ArrayImage

_NAMES = {
    "sample": "S",
    "samples": "S",
    "time": "T",
    "channel": "C",
    "channels": "C",
    **{letter.lower(): letter for letter in "STCZYX"},
}


class Found(NamedTuple):
    array: StoredArray | ArrayLike
    axes: str | None
    source: str


def open_image(
    source: Any,
    *,
    axes: str | None = None,
    channels: Sequence[int] | None = None,
    padding: str | float = "reflect",
) -> ArrayImage:
    """Open an array as an `ImageStack`; nothing is read but metadata.

    Parameters
    ----------
    source
        Path or URL of a Zarr v2 or v3 array (`volume.zarr`, `volume.zarr/raw`,
        `s3://bucket/volume.zarr`) or of an OME-Zarr 0.4 or 0.5 image (its level 0); a zarr array,
        group or store; a NumPy or Dask array; any object with `shape`, `dtype` and
        `__getitem__`. URLs take credentials and endpoint from the environment.
    axes
        The array's axes in its own order, a subset of STCZYX that holds Y and X. By default from
        the array's dimension names or OME metadata.
    channels
        Indices along C; None takes all.
    padding
        What stands for voxels outside the image: `"reflect"`, `"edge"` or a number.

    Raises
    ------
    FileNotFoundError
        If there is no array.
    ValueError
        If axes, channels or padding don't fit the array, or it does not say its axes.
    TypeError
        If the source is no array.

    Examples
    --------
    >>> import numpy as np
    >>> image = open_image(np.arange(24).reshape(2, 3, 4), axes="TYX")
    >>> image.data_shape
    (2, 1, 3, 4)
    >>> image.extract_patch(1, None, coords=(-1, 0), patch_size=(2, 2))
    array([[[16, 17],
            [12, 13]]])
    """
    return open_stack(source, axes=axes, channels=channels, padding=padding)


def open_stack(
    source: Any,
    *,
    axes: str | None = None,
    channels: Sequence[int] | None = None,
    padding: str | float = "reflect",
    ndim: int | None = None,
) -> ArrayImage:
    """`open_image`, for a model of `ndim` spatial axes: with 2, Z counts samples."""
    found = find(source)
    shape = found.array.shape
    named = axes if axes is not None else found.axes
    if named is None:
        raise ValueError(
            f"{found.source} does not say what its axes are; its shape is {shape}. Pass one letter "
            f"of STCZYX per axis, for example axes={example_axes(len(shape))!r}."
        )
    checked = check_axes(named, shape)
    if 0 in shape:
        raise ValueError(f"{found.source} is empty: its shape is {shape}.")
    if ndim == 3 and "Z" not in checked:
        raise ValueError(
            f"three sizes were given for (Z)YX, but axes {checked!r} has no Z; give two sizes "
            "(YX), or axes that hold Z."
        )
    dimensions = Dimensions(checked, shape, ndim or (3 if "Z" in checked else 2))
    return ArrayImage(
        array=found.array,
        dimensions=dimensions,
        channels=_as_channels(channels, dimensions),
        padding=check_padding(padding, found.array.dtype),
        source=found.source,
    )


def find(source: Any) -> Found:
    """The array behind a source, and its axes where it says them."""
    if isinstance(source, str | os.PathLike | zarr.Array | zarr.Group | Store | StorePath):
        return _find_stored(source)
    if all(hasattr(source, name) for name in ("shape", "dtype", "__getitem__")):
        array = ArrayLike(source)
        _check_dtype(array.dtype, repr(array))
        return Found(array, None, repr(array))
    raise TypeError(
        f"The source is a {type(source).__name__}; needed is a path, a URL, a Zarr, NumPy or Dask "
        "array, or an object with shape, dtype and __getitem__."
    )


def _find_stored(source: Any) -> Found:
    location = locate(source, read_only=True)
    node = source if isinstance(source, zarr.Array) else open_node(location)
    if isinstance(node, zarr.Array):
        _check_dtype(np.dtype(node.dtype), location.name)
        return Found(StoredArray(_reopened(node)), _axes_of(node), location.name)
    if is_ome(node):
        level = ome_level(node, location.name)
        found = _find_stored(_member(node, level.path))
        return found._replace(axes=level.axes, source=f"{location.name}/{level.path}")
    names = sorted(node.array_keys())
    held = f"it holds the arrays {', '.join(names)}" if names else "it holds no array itself"
    example = f"{location.name}/{names[0] if names else '<array>'}"
    raise ValueError(
        f"{location.name} is a group, not an array: {held}. Name one, for example {example}."
    )


def _member(group: zarr.Group, path: str) -> zarr.Array[Any]:
    """An array of a group.

    Raises
    ------
    FileNotFoundError
        If the group does not hold it.
    """
    try:
        node = group[path]
    except KeyError:
        node = None
    if not isinstance(node, zarr.Array):
        raise FileNotFoundError(
            f"The OME metadata of {group.store_path} names {path}: no such array."
        )
    return node


def _reopened(array: zarr.Array[Any]) -> zarr.Array[Any]:
    """The array through a store that other processes and folders can open too."""
    location = locate(array)
    if location.store is array.store or location.store == array.store:
        return array
    return zarr.open_array(
        store=location.store, path=location.path, mode="r" if array.read_only else "r+"
    )


def _axes_of(array: zarr.Array[Any]) -> str | None:
    """Axes from dimension names (v3) or xarray's attribute (v2), where all are understood."""
    names = getattr(array.metadata, "dimension_names", None)
    names = names or array.attrs.get("_ARRAY_DIMENSIONS")
    if not isinstance(names, list | tuple):
        return None
    letters = [_NAMES.get(str(name).lower()) for name in names]
    if None in letters or len(set(letters)) != len(letters):
        return None
    return "".join(map(str, letters))


def _check_dtype(dtype: np.dtype[Any], name: str) -> None:
    if dtype.kind not in "biuf":
        raise ValueError(f"{name} has dtype {dtype}; needed are integers, floats or booleans.")


def _as_channels(channels: Sequence[int] | None, dimensions: Dimensions) -> tuple[int, ...] | None:
    if channels is None:
        return None
    n_channels = dimensions.n_channels
    try:
        chosen = tuple(map(operator.index, channels))
    except TypeError:
        raise ValueError(f"channels is {channels!r}; needed is a sequence of integers.") from None
    if not chosen or any(not 0 <= c < n_channels for c in chosen):
        raise ValueError(
            f"channels {chosen} must be some of 0 to {n_channels - 1}: the image has {n_channels} "
            f"channel{'s' if n_channels > 1 else ''} (axes {dimensions.axes}, shape "
            f"{dimensions.shape})."
        )
    return chosen
