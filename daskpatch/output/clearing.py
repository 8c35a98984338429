"""What an overwrite deletes at a place, and what it leaves alone."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from ..receipts import CLAIMS, FOLDER, array_paths, image_paths, is_entry
from ..store import (
    LABELS,
    OME_XML,
    V2_ATTRIBUTES,
    BrokenError,
    Location,
    Node,
    Objects,
    node_at,
    own_attributes,
    plain_name,
)
from ..support import DaemonThreads

KEY = "daskpatch"
"""The attribute that holds provenance, and marks arrays and groups as daskpatch's own."""

_READERS = 16

NODES = ("zarr.json", ".zarray", ".zgroup")
"""Objects that say that a place is an array or a group."""

_METADATA = (*NODES, V2_ATTRIBUTES, ".zmetadata")

CLEARED = f"{FOLDER}/cleared"
"""Written before anything is deleted, the record too: what is left is ours then, and not taken."""


@dataclass(frozen=True)
class Clearance:
    """All objects under a place.

    Attributes
    ----------
    own
        Daskpatch's, in the order in which they are to be deleted.
    others
        Those that stay.
    objection
        Why nothing may be deleted; empty where it may.
    """

    own: tuple[str, ...]
    others: tuple[str, ...]
    objection: str


def clearance_of(place: Location) -> Clearance:
    """Tell daskpatch's own objects at a place from others.

    Its own are the metadata, chunks and records of arrays and groups that carry its attribute, and
    what interrupted writes of these left. Nested arrays and groups without it are an objection, as
    are links to folders.
    """
    names = Objects(place).names(with_temporary=True)
    folders = {posixpath.dirname(n) for n in names if posixpath.basename(n) in NODES}
    nodes = {folder: _node(place, folder) for folder in sorted(folders)}
    ours = {folder: node for folder, node in nodes.items() if _is_ours(folder, nodes)}
    own = [name for name in names if _is_own(name, ours) or _is_rest(place, name, nodes, ours)]
    own.sort(key=turn_of)
    others = sorted({*names} - {*own})
    runs = {_around_record(name) for name in names if name.endswith(f"{FOLDER}/run.json")}
    foreign_runs = sorted((runs & ours.keys()) - _places_of_run(nodes.get("")))
    objection = _objection(place, nodes, ours, foreign_runs)
    if not objection and not (any(map(_is_of_some_record, names)) or _is_part_of_ours(place)):
        objection = (
            "has daskpatch's attribute and no record of a run: its record was deleted, or it is a "
            "copy, or made of an output by what copies attributes"
        )
    return Clearance(tuple(own), tuple(others), objection)


def turn_of(name: str) -> tuple[int, int]:
    """When an object is deleted: whoever is killed in between leaves what is known for ours.

    Metadata last: chunks without them would be read as those of the next array. Of these the inner
    ones first, and of Zarr v2, where they are a file of their own, the attributes that say whose a
    place is after all others.
    """
    file = posixpath.basename(name)
    if file not in _METADATA:
        return 0, 0
    return 2 if file == V2_ATTRIBUTES else 1, -name.count("/")


def _around_record(name: str) -> str:
    """The place of the record that a run document is in."""
    return posixpath.dirname(posixpath.dirname(name))


def _places_of_run(root: Node | None) -> set[str]:
    """Where the run that made a group or an array has its records, as its attribute says."""
    provenance = None if root is None else root.attributes.get(KEY)
    images, arrays = image_paths(provenance) or [""], array_paths(provenance) or [""]
    return {"", *(posixpath.join(image, array).strip("/") for image in images for array in arrays)}


def claimed_folders(place: Location) -> list[str]:
    """The ways from a place to those inside it (or itself) that have claims."""
    found: list[str] = []
    level = [""]
    with DaemonThreads(_READERS, "daskpatch-io") as pool:
        while level:
            looked = list(pool.map(partial(_claims_and_members, place), level))
            found += [way for way, (has_claims, _) in zip(level, looked, strict=True) if has_claims]
            level = [member for _, members in looked for member in members]
    return sorted(found)


def _claims_and_members(place: Location, way: str) -> tuple[bool, list[str]]:
    """Whether there are claims at a place, and, of a group, the ways to what is in it.

    An array may have millions of chunks: they are not listed.
    """
    objects = Objects(place.at(way))
    node = _node(place, way)
    names = objects.entries() if node is not None and _is_group(node) else []
    members = [f"{way}/{name}".lstrip("/") for name in names if name not in (*_METADATA, FOLDER)]
    return bool(objects.names(f"{FOLDER}/{CLAIMS}/")), members


def _node(place: Location, folder: str) -> Node | None:
    try:
        return node_at(place.child(folder) if folder else place)
    except (BrokenError, PermissionError):  # what cannot be read is not ours to delete
        return None


def _is_ours(folder: str, nodes: dict[str, Node | None]) -> bool:
    """Whether a node carries our attribute, and so do the groups around it."""
    node = nodes[folder]
    if node is None or not isinstance(node.attributes.get(KEY), Mapping):
        return False
    if not folder:
        return True
    around = posixpath.dirname(folder)
    return (
        around in nodes
        and nodes[around] is not None
        and _is_group(nodes[around])
        and _is_ours(around, nodes)
    )


def _is_group(node: Node | None) -> bool:
    return node is not None and node.array is None


def _is_own(name: str, ours: dict[str, Node | None]) -> bool:
    around = next((folder for folder in _upwards(name) if folder in ours), None)
    node = None if around is None else ours[around]
    if node is None:
        return False
    inside = posixpath.relpath(name, around) if around else name
    plain = plain_name(inside)
    is_metadata = plain in (*_METADATA, OME_XML)
    is_temporary = plain != inside and node.array is not None
    is_chunk = node.array is not None and node.array.has_key(plain)
    is_of_record = inside.startswith(f"{FOLDER}/") and is_recorded(inside)
    return is_metadata or is_chunk or is_temporary or is_of_record


def _is_rest(
    place: Location, name: str, nodes: Collection[str], ours: Mapping[str, Node | None]
) -> bool:
    """Whether an object is the attributes of a Zarr v2 node of ours that is not there."""
    folder, file = posixpath.split(name)
    if file != V2_ATTRIBUTES or folder in nodes or not ours.keys() & {*_upwards(name)}:
        return False
    return isinstance(own_attributes(place.child(folder)).get(KEY), Mapping)


def is_recorded(name: str) -> bool:
    """Whether an object in the folder of a record, by its whole name, is one of ours."""
    inside = name.rpartition(f"{FOLDER}/")[2]
    return is_entry(inside) or inside == posixpath.basename(CLEARED)


def _is_part_of_ours(place: Location) -> bool:
    """Whether a group of ours is around: of several arrays one has the record of all."""
    around = place.parent
    return around is not None and isinstance(own_attributes(around).get(KEY), Mapping)


def _is_of_some_record(name: str) -> bool:
    return f"/{FOLDER}/" in f"/{name}" and is_recorded(name)


def _upwards(name: str) -> Iterator[str]:
    """The folders around an object, from the innermost."""
    while name:
        name = posixpath.dirname(name)
        yield name


def _objection(
    place: Location,
    nodes: dict[str, Node | None],
    ours: Collection[str],
    foreign_runs: Sequence[str],
) -> str:
    root = nodes.get("")
    if root is None:
        return "is no Zarr array"
    if "" not in ours:
        return f"is {'a group' if _is_group(root) else 'an array'} that daskpatch did not make"
    foreign = [folder for folder in nodes if folder not in ours]
    labels = [folder for folder in foreign if _is_label_image(folder, nodes[folder])]
    if labels or foreign_runs:
        told = ", ".join(labels or foreign_runs)
        return f"also holds {told}, made by a run of its own"
    if foreign:
        return f"also holds {', '.join(foreign)}, which daskpatch did not make"
    links = list(_linked_folders(place))
    if links:
        return f"holds links to folders elsewhere ({', '.join(links)})"
    return ""


def _is_label_image(folder: str, node: Node | None) -> bool:
    """Whether a node among an image's label images is one of ours."""
    is_inside = posixpath.basename(posixpath.dirname(folder)) == LABELS
    return is_inside and node is not None and isinstance(node.attributes.get(KEY), Mapping)


def _linked_folders(place: Location) -> Iterator[str]:
    """Links to folders: whatever lies behind them may be somebody else's."""
    root = place.local_path
    if root is None:
        return
    for folder, inside, _ in os.walk(root):  # does not follow them
        for name in inside:
            path = os.path.join(folder, name)
            if os.path.islink(path):
                yield os.path.relpath(path, root)
