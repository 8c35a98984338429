"""The image whose levels are built: where it lies, what it has, and what stands in the way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..geometry import Coordinates, Dimensions
from ..image import ArrayImage, Source, coordinates_of, dimensions_of, open_stack
from ..output import (
    Output,
    as_target,
    check_around,
    check_kind,
    image_attributes,
    in_order,
    with_level,
)
from ..receipts import PassDocument, Record, RunDocument
from ..running import LEVEL
from ..store import (
    Location,
    Objects,
    OmeLevel,
    StoreLike,
    find_array,
    find_collection,
    format_at,
    level_paths_at,
    locate,
    node_at,
)
from ..support import counted


@dataclass(frozen=True)
class PyramidImage:
    """An image, and the group in which its levels lie.

    Attributes
    ----------
    base
        The array that the first of the new levels is made of.
    group
        Of the levels.
    number
        Of the first new level, by which it is called; 0 where the image is copied.
    has
        How many levels there are beside level 0 up to the base.
    listed
        The arrays that the image has.
    attributes
        What the group says of the image, where it says nothing yet.
    """

    base: ArrayImage
    group: Location
    number: int
    has: int
    listed: tuple[Location, ...]
    attributes: Mapping[str, Any]
    is_label: bool = False

    @property
    def place(self) -> Location:
        """Of the base."""
        return located(self.base)

    @property
    def dimensions(self) -> Dimensions:
        return dimensions_of(self.base)

    @property
    def coordinates(self) -> Coordinates:
        return coordinates_of(self.base)

    @property
    def zarr_format(self) -> Literal[2, 3]:
        return format_at(self.group.child("0"), reach=2)

    def level(self, number: int) -> Location:
        """Where a new level lies."""
        return self.group.child(str(number))


def located(image: ArrayImage) -> Location:
    """Where an image lies that is stored."""
    place = image.location
    assert place is not None, "of a stored array"
    return place


def subject_of(
    place: StoreLike, output: StoreLike | None, *, axes: str | None, io: str, first: int | None
) -> PyramidImage:
    """The image that is named; `first` is the number of its first new level, where that is known.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If it is no single image, or levels have no place there.
    """
    _refuse_collection(place)
    _refuse_several(locate(place, read_only=True))
    found = find_array(place)
    if output is not None:
        return _copied(place, output, axes=axes, io=io)
    if found.ome is not None:
        if axes is not None:
            raise ValueError(
                f"axes is {axes!r}, and {found.name} says its axes itself; leave it out."
            )
        return _listed(locate(place), first, io=io)
    return _beside(locate(place), first, axes=axes, io=io)


def begun_at(group: Location) -> list[int]:
    """The numbers of first levels that runs began with, whose records lie in these."""
    paths = level_paths_at(group)
    return _begun(group, {0, *_numbers(paths), _next_number(paths)})


def begun_unlisted(group: Location) -> list[int]:
    """The same in a group that lists no levels: beside an array in it, before one is done."""
    return _begun(group, _numbers(Objects(group).entries()))


def _begun(group: Location, numbers: Iterable[int]) -> list[int]:
    return [n for n in sorted(numbers) if _is_begun(group.child(str(n)), n)]


def _next_number(paths: Sequence[str]) -> int:
    """What the level after some is called, whatever they are: a number above theirs."""
    return max(1, len(paths), *(n + 1 for n in _numbers(paths)))


def _numbers(paths: Iterable[str]) -> Iterator[int]:
    return (int(path) for path in paths if path.isdecimal())


def _is_begun(place: Location, number: int) -> bool:
    has_run = isinstance(Record(place).document(), RunDocument)
    return not has_run and isinstance(Record(place, f"{LEVEL}{number}").document(), PassDocument)


def _refuse_collection(place: StoreLike) -> None:
    collection = find_collection(place)
    if collection is not None:
        found, _, name = collection
        example = f", for example {name}/{found.paths[0]}" if found.paths else ""
        raise ValueError(
            f"{name} is a plate or a series of {counted(len(found.paths), 'image')}; a pyramid is "
            f"built of one image at a time{example}."
        )


def _refuse_several(place: Location) -> None:
    images = _said(place).get("multiscales")
    if isinstance(images, list) and len(images) > 1:
        raise ValueError(
            f"{place.name} holds {len(images)} images (multiscales); a pyramid is built of one in "
            "a group of its own."
        )


def _listed(group: Location, first: int | None, *, io: str) -> PyramidImage:
    """An image that says which levels it has."""
    name, source = group.name, group.given
    check_kind(group, None, is_series=False)
    check_around(group.child("1"))
    found = find_array(source)
    assert found.ome is not None, "looked at before"
    version, levels = found.ome.version, found.ome.levels
    if not version.startswith(("0.4", "0.5")):
        raise ValueError(
            f"{name} is an OME-Zarr image of version {version:.40}; levels are added to 0.4 and "
            "0.5. Give an OUTPUT, in which it is an image of 0.5."
        )
    paths = [level.path for level in levels]
    number = _next_number(paths) if first is None else first
    at = len(paths) - sum(n >= number for n in _numbers(paths)) - 1
    base = open_stack(source, level=at).with_io(io)
    _check_axes(dimensions_of(base), base.source, says_axes=True)
    _check_listed(group, levels[at])
    listed = tuple(group.at(level.path) for level in levels)
    _check_done(listed, levels_listed=len(levels))
    return PyramidImage(base, group, number, at, listed, {}, "image-label" in _said(group))


def _check_listed(group: Location, last: OmeLevel) -> None:
    """Refuse metadata in which no level could be listed, before one is built."""
    node, path = node_at(group), last.path
    try:
        if last.scale is None:
            raise ValueError("it cannot be understood")
        with_level({} if node is None else node.attributes, "a further one", path, lambda it: it)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"The OME metadata of {group.name} do not say the scale of {path} so that a further "
            f"level could be listed ({type(error).__name__}: {error}); put them right, or give an "
            "OUTPUT."
        ) from error


def _check_done(listed: tuple[Location, ...], *, levels_listed: int) -> None:
    """Refuse the output of a run that is not done: levels of it would lack what it lacks."""
    document = Record(listed[0]).document()
    if not isinstance(document, RunDocument):
        return
    (output, *_) = document.fingerprint.output.values()
    grid = document.blocks.grid(output.shape)
    rows = Record(listed[0]).receipts()["index"]
    inside = (rows >= document.blocks.first) & (rows < document.blocks.first + grid.n_cells)
    if inside.sum() < grid.n_cells or levels_listed <= len(document.levels or ()):
        raise ValueError(
            f"{listed[0].name} is of a run that is not done: {inside.sum():,} of "
            f"{counted(grid.n_cells, 'block')}, and {levels_listed - 1} of "
            f"{counted(len(document.levels or ()), 'level')}. Resume it first."
        )


def _beside(array: Location, first: int | None, *, axes: str | None, io: str) -> PyramidImage:
    """An array in a group, which becomes the image of which the array is level 0."""
    # What lies around a folder is found read-only; here it is written to.
    group = None if array.parent is None else locate(array.parent.given)
    node = None if group is None else node_at(group)
    if group is None or node is None:
        raise ValueError(
            f"{array.name} is an array in no group, beside which levels have no place; give an "
            "OUTPUT, a new image into which it is copied."
        )
    said = _said(group)
    if "multiscales" in said:
        found = find_array(group.given)
        if found.array.location.parts == array.parts:
            return _listed(group, first, io=io)
        raise ValueError(f"{array.name} lies in the image {group.name}; name that.")
    others = sorted({"plate", "well", "labels", "bioformats2raw.layout", "series"} & said.keys())
    if others:
        raise ValueError(
            f"The group {group.name}, in which {array.name} lies, is no plain one: it says "
            f"{', '.join(others)}. Give an OUTPUT."
        )
    base = open_stack(array.given, axes=axes).with_io(io)
    _check_axes(dimensions_of(base), base.source)
    path = array.parts[-1]
    version: Literal["0.4", "0.5"] = "0.4" if format_at(array) == 2 else "0.5"
    attributes = image_attributes(version, group.parts[-1], {path: coordinates_of(base)})
    check_kind(group, None, is_series=False)
    check_around(group.child("1"))
    return PyramidImage(base, group, _next_number([path]), 0, (array,), attributes)


def _copied(place: StoreLike, output: StoreLike, *, axes: str | None, io: str) -> PyramidImage:
    """An image of its own, into which the finest level is copied."""
    base = open_stack(place, axes=axes).with_io(io)
    _check_axes(dimensions_of(base), base.source)
    target = as_target(Output(output, ome=True), (base,), source=Source(base), io=io)
    assert target is not None, "there is an output"
    assert target.ome is not None, "asked for"
    if target.array is not None:
        raise ValueError(f"The output {target.name} is an array; give a place for a new image.")
    group, said = target.location, _said(locate(place))
    label = said.get("image-label")
    attributes = image_attributes(
        target.ome,
        group.parts[-1],
        {"0": coordinates_of(base)},
        label=None if label is None else _of_copy(label),
    )
    if isinstance(said.get("omero"), Mapping):
        attributes.get("ome", attributes)["omero"] = said["omero"]
    return PyramidImage(base, group, 0, 0, (), attributes, label is not None)


def _of_copy(label: object) -> Mapping[str, Any]:
    """What is said of labels, but of which image they are: that lies elsewhere."""
    told = label if isinstance(label, Mapping) else {}
    return {key: told[key] for key in ("colors", "properties") if key in told}


def _said(group: Location) -> Mapping[str, Any]:
    """What a group says, of OME-Zarr or else."""
    node = node_at(group)
    said: Any = {} if node is None else node.attributes
    inner = said.get("ome", said)
    return inner if isinstance(inner, Mapping) else {}


def _check_axes(dims: Dimensions, name: str, *, says_axes: bool = False) -> None:
    if "S" in dims.axes or in_order(dims).axes != dims.axes:
        fix = "Write" if says_axes else "Give axes= if they are called wrongly; else write"
        raise ValueError(
            f"The axes of {name} are {dims.axes}; OME-Zarr has time, channel, space in this order "
            f"(T, C, Z, Y, X). {fix} it anew in that order."
        )
