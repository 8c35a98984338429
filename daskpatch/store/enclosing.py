"""What a place lies in: arrays and groups around it, upwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..support import DaemonThreads
from .location import Location
from .nodes import document_at

_AT_ONCE = 8
"""Places that are looked at at a time: far away one after the other would take seconds."""


@dataclass(frozen=True, slots=True)
class Surrounding:
    """An array or a group inside which a place lies.

    `levels` says how far up: 1 for what it lies in directly.
    """

    location: Location
    levels: int
    zarr_format: Literal[2, 3]
    is_array: bool
    is_consolidated: bool


def around(location: Location) -> list[Location]:
    """The places around one, from there upwards, as far as they can be told."""
    found = []
    while (parent := location.parent) is not None:
        found.append(parent)
        location = parent
    return found


def surroundings(location: Location) -> list[Surrounding]:
    """The nodes that a place lies in, from there upwards.

    What may not be read, or cannot be understood, is none.

    Raises
    ------
    OSError
        If the store does not answer.
    """
    return _nodes_at(around(location))


def format_at(location: Location, *, reach: int = 1) -> Literal[2, 3]:
    """The Zarr format of new nodes at a place: that of the group around it, else 3.

    The group may be so many levels away: those between them are to be made, too.
    """
    return format_among(_nodes_at(around(location)[:reach]), reach=reach)


def format_among(nodes: Sequence[Surrounding], *, reach: int = 1) -> Literal[2, 3]:
    """The same, of a place of which it is known what it lies in."""
    return next((node.zarr_format for node in nodes if node.levels <= reach), 3)


def _nodes_at(places: Sequence[Location]) -> list[Surrounding]:
    with DaemonThreads(_AT_ONCE, "daskpatch-io") as pool:
        found = list(pool.map(_node_at, places, range(1, len(places) + 1)))
    return [node for node in found if node is not None]


def _node_at(place: Location, levels: int) -> Surrounding | None:
    said = document_at(place, "zarr.json")
    if said is not None:
        is_consolidated = said.get("consolidated_metadata") is not None
        return Surrounding(place, levels, 3, said.get("node_type") == "array", is_consolidated)
    if document_at(place, ".zarray") is not None:
        return Surrounding(place, levels, 2, is_array=True, is_consolidated=False)
    if document_at(place, ".zgroup") is not None:
        is_consolidated = document_at(place, ".zmetadata") is not None
        return Surrounding(place, levels, 2, is_array=False, is_consolidated=is_consolidated)
    return None
