"""Groups of many images: plates, their wells, and what bioformats2raw makes of a file.

https://ngff.openmicroscopy.org/0.5/ (plate, well and bioformats2raw.layout metadata).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

import zarr
from msgspec import Struct

from ..support import DaemonThreads, converted, counted, shown
from .location import Location, check_inside, locate
from .nodes import own_attributes

_AT_ONCE = 16
"""Wells that are asked for at a time."""

_MOST = 100_000
"""Images that are looked for one by one, where no list says how many there are."""


class _Well(Struct, rename="camel", frozen=True):
    path: str
    row_index: int = 0
    column_index: int = 0


class _Named(Struct):
    name: str


class _Acquisition(Struct):
    """What is read of one; the rest of it may be anything."""

    id: int


class _Plate(Struct):
    """What is read of one, its wells apart."""

    rows: Any = None
    columns: Any = None
    name: Any = None
    acquisitions: Any = None


class _Field(Struct):
    path: str
    acquisition: Any = None


EntryT = TypeVar("EntryT", _Well, _Field)

OME_XML = "METADATA.ome.xml"
"""What bioformats2raw says of a file's images, in the group `OME` beside them."""


@dataclass(frozen=True, slots=True)
class Plate:
    """What a plate says of itself.

    Attributes
    ----------
    rows, columns
        Their names.
    wells
        By path the indices of row and column.
    name
        Empty where it has none.
    acquisitions
        As they are said; none where that cannot be understood.
    acquired
        By the path of a field the id of its acquisition, where it says one.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    wells: Mapping[str, tuple[int, int]]
    name: str = ""
    acquisitions: tuple[Mapping[str, Any], ...] = ()
    acquired: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Collection:
    """A group of images.

    Attributes
    ----------
    kind
        `"plate"`, `"well"` or `"series"`.
    paths
        Of the images, in the group; of a plate by row, column and field.
    missing
        Wells of a plate that are listed, and are not there or say nothing of themselves.
    broken
        What is listed and cannot be understood, as it is said.
    plate
        Of a plate: its rows, columns and wells; None where it does not say them as it should.
    zarr_format
        Of the group, and so of those of its images.
    """

    kind: str
    paths: tuple[str, ...]
    missing: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    plate: Plate | None = None
    zarr_format: Literal[2, 3] = 3

    def in_words(self, name: str) -> str:
        """What it is, and how one of its images is named."""
        images = counted(len(self.paths), "image" if self.kind == "series" else "field")
        named = f". Name one, for example {name}/{self.paths[0]}" if self.paths else ""
        return f"a {self.kind} of {images}{named}"


_COLLECTED = {"plate", "well", "bioformats2raw.layout"}
"""What a group says that holds images."""


def may_be_collection(place: Location) -> bool:
    """Whether what is at a place says that it holds images, in one or two requests."""
    return bool(_COLLECTED & _inner(own_attributes(place)).keys())


def collection_of(group: zarr.Group) -> Collection | None:
    """The images that a group holds by what it says of itself; None where it is none of these.

    A plate's wells are asked for, 16 at a time.
    """
    place, inner = locate(group), _inner(group.attrs.asdict())
    if not _COLLECTED & inner.keys():
        return None
    if "plate" in inner:
        found = _plate(place, inner["plate"])
    elif "well" in inner:
        fields, broken = _fields(inner["well"])
        found = Collection("well", tuple(fields), broken=broken)
    else:
        paths, broken = _series(place)
        found = Collection("series", paths, broken=broken)
    return replace(found, zarr_format=group.metadata.zarr_format)


def _plate(place: Location, said: object) -> Collection:
    listed, broken = _entries(said, "wells", _Well)
    wells = sorted(listed, key=lambda well: (well.row_index, well.column_index))

    def fields(well: _Well) -> tuple[dict[str, Any], tuple[str, ...]] | None:
        inner = _inner(own_attributes(place.child(well.path)))
        return _fields(inner["well"]) if "well" in inner else None

    with DaemonThreads(_AT_ONCE, "daskpatch-io") as pool:
        found = dict(zip(wells, pool.map(fields, wells), strict=True))
    there = {well.path: each for well, each in found.items() if each is not None}
    acquired = {
        f"{well}/{path}": acquisition
        for well, (paths, _) in there.items()
        for path, acquisition in paths.items()
    }
    return Collection(
        "plate",
        tuple(acquired),
        tuple(well.path for well, each in found.items() if each is None),
        (*broken, *(f"{entry} in {well}" for well, (_, bad) in there.items() for entry in bad)),
        _grid(said, wells, acquired),
    )


def _grid(said: object, wells: Sequence[_Well], acquired: Mapping[str, Any]) -> Plate | None:
    """The rows and columns of a plate; None where its wells are not named by them."""
    try:
        listed = converted(said, _Plate)
        rows, columns = (
            tuple(each.name for each in converted(names, list[_Named]))
            for names in (listed.rows, listed.columns)
        )
    except ValueError:  # msgspec's is one
        return None
    places = {
        f"{row}/{column}": (i, j) for i, row in enumerate(rows) for j, column in enumerate(columns)
    }
    lying = {well.path: (well.row_index, well.column_index) for well in wells}
    is_named = all(places.get(well) == place for well, place in lying.items())
    if not is_named:
        return None
    acquisitions = _acquisitions(listed.acquisitions)
    ids = {each["id"] for each in acquisitions}
    return Plate(
        rows,
        columns,
        lying,
        listed.name if isinstance(listed.name, str) else "",
        acquisitions,
        {path: said for path, said in acquired.items() if isinstance(said, int) and said in ids},
    )


def _acquisitions(said: Any) -> tuple[Mapping[str, Any], ...]:
    """Those of a plate, as they are said; none where that cannot be understood."""
    try:
        converted(said, list[_Acquisition])
    except ValueError:  # msgspec's is one
        return ()
    return tuple(said)


def _entries(said: object, word: str, kind: type[EntryT]) -> tuple[list[EntryT], tuple[str, ...]]:
    """What a plate or well lists, and those entries that cannot be understood, as they are said."""
    entries = said.get(word, []) if isinstance(said, Mapping) else said
    if not isinstance(entries, list):
        return [], (f"{word}: {shown(entries)}",)
    good, broken = [], []
    for entry in entries:
        try:
            each = converted(entry, kind)
            check_inside(each.path, "path")
            good.append(each)
        except ValueError:  # msgspec's is one
            broken.append(shown(entry))
    return good, tuple(broken)


def _fields(said: object) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Those that a well lists, by path, their acquisitions; and what cannot be understood."""
    listed, broken = _entries(said, "images", _Field)
    return {each.path: each.acquisition for each in listed}, broken


def _series(place: Location) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The images of a file: those that are listed, else those that are there, from 0 on.

    And what is listed and cannot be understood.
    """
    said = _inner(own_attributes(place.child("OME"))).get("series")
    if isinstance(said, list):
        paths = [{"path": path} for path in said]
        listed, broken = _entries({"series": paths}, "series", _Field)
        return tuple(each.path for each in listed), broken
    found = []
    for number in range(_MOST):
        if not own_attributes(place.child(str(number))):
            break
        found.append(str(number))
    return tuple(found), ()


def _inner(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a group says of itself: under `ome` since 0.5."""
    inner = attributes.get("ome", attributes)
    return inner if isinstance(inner, Mapping) else {}
