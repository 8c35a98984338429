"""From what the user names to a stored array: paths, URLs, groups, OME-Zarr images."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import zarr
from zarr.abc.store import Store
from zarr.storage import StorePath

from .arrays import StoredArray
from .location import locate
from .nodes import existing_node, open_node
from .ome import is_ome, ome_level


@dataclass(frozen=True, slots=True)
class FoundArray:
    """An array, the names of its axes where it says them, and what to call it."""

    array: StoredArray
    axis_names: tuple[str, ...] | None
    name: str


def is_stored(source: Any) -> bool:
    """Whether a source is to be looked for in a store."""
    return isinstance(source, str | os.PathLike | zarr.Array | zarr.Group | Store | StorePath)


def find_array(source: Any) -> FoundArray:
    """The array that a path, URL, zarr array, group or store stands for.

    Raises
    ------
    FileNotFoundError
        If there is nothing, or an OME-Zarr image lacks its array.
    ValueError
        If there is a group that is no OME-Zarr image of a version that is read.
    """
    location = locate(source, read_only=True)
    node = source if isinstance(source, zarr.Array) else open_node(location)
    if isinstance(node, zarr.Array):
        return FoundArray(StoredArray(node), _axis_names(node), location.name)
    if is_ome(node):
        level = ome_level(node, location.name)
        array = StoredArray(_member(node, level.path, location.name))
        return FoundArray(array, level.axis_names, f"{location.name}/{level.path}")
    names = sorted(node.array_keys())
    held = f"it holds the arrays {', '.join(names)}" if names else "it holds no array itself"
    example = f"{location.name}/{names[0] if names else '<array>'}"
    raise ValueError(
        f"{location.name} is a group, not an array: {held}. Name one, for example {example}."
    )


def arrays_in_group(source: Any) -> dict[str, StoredArray] | None:
    """The arrays of a group; None if the source is an array or an OME-Zarr image."""
    node = existing_node(locate(source, read_only=True))
    if not isinstance(node, zarr.Group) or is_ome(node):
        return None
    return {name: StoredArray(array) for name, array in sorted(node.arrays())}


def _member(group: zarr.Group, path: str, name: str) -> zarr.Array[Any]:
    node = group.get(path)
    if not isinstance(node, zarr.Array):
        raise FileNotFoundError(
            f"The OME metadata of {name} names {path}, and there is no such array."
        )
    return node


def _axis_names(array: zarr.Array[Any]) -> tuple[str, ...] | None:
    """Dimension names (v3), or xarray's attribute (v2)."""
    names = getattr(array.metadata, "dimension_names", None)
    names = names or array.attrs.get("_ARRAY_DIMENSIONS")
    return tuple(map(str, names)) if isinstance(names, list | tuple) else None
