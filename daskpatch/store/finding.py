"""From what the user names to a stored array: paths, URLs, groups, OME-Zarr images."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TypeGuard

import zarr
from zarr.abc.store import Store
from zarr.storage import StorePath
from zarr.types import AnyArray

from .arrays import StoredArray
from .location import locate
from .nodes import existing_node, members_of_group, open_node
from .ome import is_ome, ome_level

StoreLike = str | os.PathLike[str] | AnyArray | zarr.Group | Store | StorePath
"""What names an array or a group in a store."""


@dataclass(frozen=True, slots=True)
class FoundArray:
    """An array, the names of its axes where it says them, and what to call it."""

    array: StoredArray
    axis_names: tuple[str, ...] | None
    name: str


def is_stored(source: object) -> TypeGuard[StoreLike]:
    """Whether a source is to be looked for in a store."""
    return isinstance(source, str | os.PathLike | zarr.Array | zarr.Group | Store | StorePath)


def find_array(source: StoreLike) -> FoundArray:
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
    names, groups = sorted(node.array_keys()), sorted(node.group_keys())
    held = f"the arrays {', '.join(names)}" if names else "no array"
    held += f" and the groups {', '.join(groups)}" if groups else ""
    example = "/".join([location.name, *(names or groups)[:1]])
    raise ValueError(
        f"{location.name} is a group, not an array: it holds {held}. Name an array, for example "
        f"{example}."
    )


def members_of(source: StoreLike) -> dict[str, StoredArray | None] | None:
    """The arrays of a group, and None for each group in it.

    The answer is None if the source is an array or an OME-Zarr image.
    """
    node = existing_node(locate(source, read_only=True))
    if not isinstance(node, zarr.Group) or is_ome(node):
        return None
    return {
        name: StoredArray(member) if isinstance(member, zarr.Array) else None
        for name, member in members_of_group(node)
    }


def _member(group: zarr.Group, path: str, name: str) -> AnyArray:
    node = group.get(path)
    if not isinstance(node, zarr.Array):
        raise FileNotFoundError(
            f"The OME metadata of {name} names {path}, and there is no such array."
        )
    return node


def _axis_names(array: AnyArray) -> tuple[str, ...] | None:
    """Dimension names (v3), or xarray's attribute (v2)."""
    names = getattr(array.metadata, "dimension_names", None)
    names = names or array.attrs.get("_ARRAY_DIMENSIONS")
    return tuple(map(str, names)) if isinstance(names, list | tuple) else None
