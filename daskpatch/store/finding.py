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
from .location import Location, locate
from .nodes import existing_node, members_of_group, open_node, without_consolidated
from .ome import is_ome, ome_level, paths_in_plate

StoreLike = str | os.PathLike[str] | AnyArray | zarr.Group | Store | StorePath
"""What names an array or a group in a store."""


@dataclass(frozen=True, slots=True)
class FoundArray:
    """An array, the names of its axes and channels where it says them, and what to call it."""

    array: StoredArray
    axis_names: tuple[str, ...] | None
    name: str
    channel_names: tuple[str, ...] = ()


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
    node = _opened(source, location)
    if isinstance(node, zarr.Array):
        return FoundArray(StoredArray(node), _axis_names(node), location.name)
    if is_ome(node):
        level = ome_level(node, location.name)
        array = StoredArray(_member(node, level.path, location.name))
        name = f"{location.name}/{level.path}"
        return FoundArray(array, level.axis_names, name, level.channel_names)
    in_words = _members_in_words(node, location.name)
    if not isinstance(source, str | os.PathLike):
        in_words += ", or pass it: group['name']"
    raise ValueError(f"{location.name} is a group, not an array: {in_words}.")


def _opened(source: StoreLike, location: Location) -> AnyArray | zarr.Group:
    """What a source stands for; what is open is not looked for again, where it would be missed."""
    if isinstance(source, zarr.Array):
        return source
    if isinstance(source, zarr.Group):
        return without_consolidated(source)
    return open_node(location)


def _members_in_words(group: zarr.Group, name: str) -> str:
    what, paths = paths_in_plate(group)
    if paths:
        inside = "" if what == "well" else f"/{_first_image(group, paths[0])}"
        more = "s" if len(paths) > 1 else ""
        fields = f"field{more} of view" if what == "well" else f"well{more}"
        return (
            f"it is a {what} of {len(paths)} {fields}. Name a field of view, for example "
            f"{name}/{paths[0]}{inside}"
        )
    try:
        members = dict(members_of_group(group))
    except OSError:
        return f"what is in it, its server does not list. Name an array, as in {name}/raw"
    arrays = sorted(n for n, member in members.items() if isinstance(member, zarr.Array))
    groups = sorted({*members} - {*arrays})
    held = f"it holds the arrays {', '.join(arrays)}" if arrays else "it holds no array"
    held += f" and the groups {', '.join(groups)}" if groups else ""
    if not members:
        return held
    return f"{held}. Name an array, for example {name}/{(arrays or groups)[0]}"


def _first_image(plate: zarr.Group, well: str) -> str:
    node = plate.get(well)
    _, images = paths_in_plate(node) if isinstance(node, zarr.Group) else ("", [])
    return images[0] if images else "0"


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
    node = existing_node(locate(group).child(path))
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
