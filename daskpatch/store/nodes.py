"""Arrays and groups of a hierarchy: opened, found, created."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import zarr
from zarr.codecs import BloscCodec

from .arrays import StoredArray
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


@dataclass(frozen=True, slots=True)
class Occupant:
    """What is at a place: `"array"` or `"group"`, its attributes, the names of its members."""

    kind: str
    attributes: Mapping[str, Any]
    members: tuple[str, ...]


def occupant(location: Location) -> Occupant | None:
    """The array or group at a place, or None."""
    node = existing_node(location)
    if node is None:
        return None
    if isinstance(node, zarr.Array):
        return Occupant("array", node.attrs.asdict(), ())
    return Occupant("group", node.attrs.asdict(), tuple(name for name, _ in node.members()))


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
) -> StoredArray:
    """A new Zarr v3 array, empty; `overwrite` deletes what is at the place.

    Compressed with Blosc-zstd level 1 and bitshuffle, which is faster and smaller than zarr's
    default on microscopy.
    """
    array = zarr.create_array(
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
    return StoredArray(array)


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
