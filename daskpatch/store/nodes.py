"""Arrays and groups of a hierarchy: opened, found, created."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import zarr
from zarr.codecs import BloscCodec

from .location import Location


def open_node(location: Location) -> zarr.Array[Any] | zarr.Group:
    """The array or group at a place, read only.

    Raises
    ------
    FileNotFoundError
        If there is neither.
    """
    node = existing_node(location)
    if node is None:
        raise FileNotFoundError(
            f"No Zarr array or group at {location.name}; check the path (an array inside a group "
            "is named by its full path, for example volume.zarr/raw)."
        )
    return node


def existing_node(location: Location) -> zarr.Array[Any] | zarr.Group | None:
    """The array or group at a place, read only, or None."""
    try:
        return zarr.open(store=location.store, path=location.path, mode="r")
    except FileNotFoundError:  # zarr's errors for a missing node are kinds of this one
        return None


def create_array(
    location: Location,
    *,
    shape: tuple[int, ...],
    dtype: Any,
    chunks: tuple[int, ...],
    shards: tuple[int, ...] | None,
    dimension_names: Sequence[str],
    attributes: Mapping[str, Any],
    overwrite: bool,
) -> zarr.Array[Any]:
    """A new Zarr v3 array, empty; `overwrite` deletes what is at the place.

    Compressed with Blosc-zstd level 1 and bitshuffle, which is faster and smaller than zarr's
    default on microscopy.
    """
    return zarr.create_array(
        store=location.store,
        name=location.path or None,
        shape=shape,
        dtype=dtype,
        chunks=chunks,
        shards=shards,
        compressors=BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle"),
        fill_value=0,
        dimension_names=dimension_names,
        attributes=dict(attributes),
        zarr_format=3,
        overwrite=overwrite,
    )


def create_group(
    location: Location, *, attributes: Mapping[str, Any], overwrite: bool
) -> zarr.Group:
    """A new Zarr v3 group; `overwrite` deletes what is at the place."""
    return zarr.create_group(
        store=location.store,
        path=location.path,
        attributes=dict(attributes),
        zarr_format=3,
        overwrite=overwrite,
    )
