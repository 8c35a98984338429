"""From what the user names to a stored array: paths, URLs, groups, OME-Zarr images."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeGuard

import zarr
from zarr.abc.store import Store
from zarr.storage import StorePath
from zarr.types import AnyArray

from ..support import counted, shown
from .arrays import StoredArray
from .backoff import at_first
from .labels import LABELS, label_names
from .location import Location, locate
from .nodes import existing_node, members_of_group, open_node, without_consolidated
from .ome import OmeImage, OmeLevel, is_ome, ome_images
from .plates import Collection, collection_of, may_be_collection
from .reopening import reading_mode, reopened

_LISTED = 200
"""Letters of names that are told."""

StoreLike = str | os.PathLike[str] | AnyArray | zarr.Group | Store | StorePath
"""What names an array or a group in a store."""


@dataclass(frozen=True, slots=True)
class FoundArray:
    """An array, the names of its axes where it says them, and what to call it.

    `ome` is the image of which it is the level `level`, where it is one of OME-Zarr.
    """

    array: StoredArray
    axis_names: tuple[str, ...] | None
    name: str
    ome: OmeImage | None = None
    level: OmeLevel | None = None


def is_stored(source: object) -> TypeGuard[StoreLike]:
    """Whether a source is to be looked for in a store."""
    return isinstance(source, str | os.PathLike | zarr.Array | zarr.Group | Store | StorePath)


def is_array(source: object) -> TypeGuard[AnyArray]:
    """Whether it is an open Zarr array."""
    return isinstance(source, zarr.Array)


def find_array(source: StoreLike, *, level: int = 0, image: int | str | None = None) -> FoundArray:
    """The array that a path, URL, zarr array, group or store stands for.

    Of an OME-Zarr image it is that of a level, the finest being 0; of several in one group, that of
    the one that is named, or counted.

    Raises
    ------
    FileNotFoundError
        If there is nothing, or an OME-Zarr image lacks its array.
    ValueError
        If there is a group that is no OME-Zarr image of a version that is read, or it has no such
        level or image.
    """
    location = locate(source, read_only=True)
    node = _opened(source, location)
    if isinstance(node, zarr.Array):
        check_single(location.name, level, image)
        return FoundArray(StoredArray(node), _axis_names(node), location.name)
    if is_ome(node):
        has_path = isinstance(source, str | os.PathLike) or location.local_path is not None
        images = ome_images(node, location.name, has_path=has_path)
        chosen = _chosen(images, image, location.name)
        array_of = _level(chosen, level, location.name)
        array = StoredArray(_member(node, array_of.path, location.name))
        name = f"{location.name}/{array_of.path}"
        return FoundArray(array, chosen.axis_names, name, chosen, array_of)
    in_words = _members_in_words(node, location.name)
    if not isinstance(source, str | os.PathLike) and "holds no array" not in in_words:
        in_words += ", or pass it: group['name']"
    raise ValueError(f"{location.name} is a group, not an array: {in_words}.")


def check_single(name: str, level: int, image: int | str | None) -> None:
    """Refuse to choose a level or an image of an array, which is but one.

    Raises
    ------
    ValueError
        If one is chosen.
    """
    for word, chosen, default in (("level", level, 0), ("image", image, None)):
        if chosen != default:
            raise ValueError(
                f"{word} is {shown(chosen)}, and {name} is one array; needed is an OME-Zarr image, "
                f"the group that its arrays lie in. Leave {word}= out, or name the group."
            )


def _chosen(images: Sequence[OmeImage], image: int | str | None, name: str) -> OmeImage:
    """One of the images in a group; the first, with a warning, where none is chosen of several."""
    names = [each.name for each in images]
    if image is None and len(images) == 1:
        return images[0]
    if isinstance(image, str) and names.count(image) == 1:
        return images[names.index(image)]
    # On the command line an index is a text, too.
    index = int(image) if isinstance(image, str) and image.isdecimal() else image
    if isinstance(index, int) and 0 <= index < len(images):
        return images[index]
    listed = ", ".join(f"{i} ({each})" if each else str(i) for i, each in enumerate(names))
    told = f"{name} holds {counted(len(images), 'image')} (multiscales): {listed[:_LISTED]}"
    if image is not None:
        raise ValueError(f"image is {shown(image)}, and {told}. Give one of these.")
    warnings.warn(f"{told}. The first is read; choose with image=.", stacklevel=4)
    return images[0]


def _level(image: OmeImage, level: int, name: str) -> OmeLevel:
    if 0 <= level < len(image.levels):
        return image.levels[level]
    listed = ", ".join(f"{i} ({each.path})" for i, each in enumerate(image.levels))
    raise ValueError(
        f"level is {level}, and {name} has {counted(len(image.levels), 'level')}, the finest "
        f"first: {listed[:_LISTED]}."
    )


def _opened(source: StoreLike, location: Location) -> AnyArray | zarr.Group:
    """What a source stands for; what is open is not looked for again, where it would be missed."""
    if isinstance(source, zarr.Array):
        return _as_stored(source, location)
    if isinstance(source, zarr.Group):
        return without_consolidated(source)
    return open_node(location)


def _as_stored(array: AnyArray, location: Location) -> AnyArray:
    """The array as its store has it: of a consolidated group it may have been another once."""
    try:
        stored = at_first(partial(reopened, array), f"Opening {location.name}")
    except Exception:  # noqa: BLE001 (what cannot be opened again is told of when it is read)
        return array
    if stored.shape == array.shape:
        return array
    warnings.warn(
        f"{location.name} was opened as {array.shape}, and is {stored.shape}, which is what is "
        "used; was it opened long ago, or through a group with consolidated metadata that are "
        "older? Write these again: zarr.consolidate_metadata(store).",
        stacklevel=5,
    )
    return stored


def _members_in_words(group: zarr.Group, name: str) -> str:
    collection = collection_of(group)
    if collection is not None:
        return f"it is {collection.in_words(name)}"
    labels = label_names(locate(group))
    if labels:
        held = f"the label {'image' if len(labels) == 1 else 'images'} {', '.join(labels)}"
        return f"it holds {held[:_LISTED]}. Name one, for example {name}/{LABELS}/{labels[0]}"
    try:
        members = dict(members_of_group(group))
    except OSError:
        return f"what is in it, its server does not list. Name an array, as in {name}/raw"
    arrays = sorted(n for n, member in members.items() if isinstance(member, zarr.Array))
    groups = sorted({*members} - {*arrays})
    word = "array" if len(arrays) == 1 else "arrays"
    held = f"it holds the {word} {', '.join(arrays)}" if arrays else "it holds no array"
    word = "group" if len(groups) == 1 else "groups"
    held += f" and the {word} {', '.join(groups)}" if groups else ""
    if not members:
        # Of a server that answers 404 where it does not list, it may hold some.
        is_remote = locate(group).local_path is None
        return f"{held} that is listed. Name one, as in {name}/raw" if is_remote else held
    return f"{held}. Name an array, for example {name}/{(arrays or groups)[0]}"


def find_collection(source: object) -> tuple[Collection, dict[str, StorePath], str] | None:
    """A plate, a well or a series with the places of its images, and its name.

    None where a source is none of these.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    if not is_stored(source) or isinstance(source, zarr.Array):
        return None
    location = locate(source, read_only=True)
    if isinstance(source, zarr.Group):
        node: AnyArray | zarr.Group | None = source
    else:
        node = existing_node(location) if may_be_collection(location) else None
    found = collection_of(node) if isinstance(node, zarr.Group) else None
    if found is None:
        return None
    places = (location.child(path) for path in found.paths)
    stored = (StorePath(place.store, place.path) for place in places)
    return found, dict(zip(found.paths, stored, strict=True)), location.name


def group_or_place(source: StoreLike, zarr_format: Literal[2, 3]) -> StoreLike:
    """The group of a Zarr format at a place, in one request where finding out takes several.

    The place itself where there is none: whoever opens that tells what there is.
    """
    location = locate(source, read_only=True)
    try:
        return zarr.open_group(
            store=location.store,
            path=location.path,
            mode=reading_mode(location.store),
            zarr_format=zarr_format,
            use_consolidated=False,
        )
    except Exception:  # noqa: BLE001 (each kind of store raises its own; it is opened once more)
        return source


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
        there = _arrays_beside(group)
        instead = f" Give one that is there, by its own place: {', '.join(there)}." if there else ""
        raise FileNotFoundError(
            f"The OME metadata of {name} names {path}, and there is no such array.{instead}"
        )
    return node


def _arrays_beside(group: zarr.Group) -> list[str]:
    """The arrays of a group in a folder; others may be slow to list, or not allow it."""
    folder = locate(group).local_path
    with suppress(OSError):
        return sorted(
            each.name
            for each in (folder.iterdir() if folder is not None else ())
            if any((each / name).is_file() for name in ("zarr.json", ".zarray"))
        )
    return []


def _axis_names(array: AnyArray) -> tuple[str, ...] | None:
    """Dimension names (v3), or xarray's attribute (v2)."""
    names = getattr(array.metadata, "dimension_names", None)
    names = names or array.attrs.get("_ARRAY_DIMENSIONS")
    return tuple(map(str, names)) if isinstance(names, list | tuple) else None
