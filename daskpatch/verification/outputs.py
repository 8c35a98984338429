"""The arrays of an output with the records of their passes."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property, partial
from itertools import takewhile
from typing import Any

import numpy as np

from ..geometry import (
    Dimensions,
    Factors,
    Region,
    RegularGrid,
    Scale,
    coarser_shape,
    counterparts,
)
from ..output import Layout, OutputFacts, check_unedited, edited, facts_of
from ..pyramids import begun_at, begun_unlisted
from ..receipts import (
    ArrayRecord,
    LevelSettings,
    PassDocument,
    Record,
    RunDocument,
    array_paths,
    image_paths,
)
from ..running import LEVEL
from ..store import (
    LABELS,
    Location,
    Objects,
    StoredArray,
    StoreLike,
    at_first,
    attributes_at,
    existing_array,
    label_names,
    locate,
    own_attributes,
)
from ..support import cause_of, said_by

_log = logging.getLogger("daskpatch")

PREDICTION = "prediction"


@dataclass(frozen=True)
class RecordedBlocks:
    """The blocks of one pass over one image's arrays (or over none).

    `arrays` holds None for those that are not created yet; `first` is the flat index of the first
    block, `grid` the blocks of the first array. Without arrays blocks leave bytes, which are used
    up where the pass `has_ended`. Of a level of a pyramid `factors` are voxels of the level before
    per voxel.
    """

    name: str
    record: Record
    locations: tuple[Location, ...]
    arrays: tuple[StoredArray | None, ...]
    dimensions: tuple[Dimensions, ...]
    dtypes: tuple[np.dtype[Any], ...]
    fill_values: tuple[str | None, ...]
    grid: RegularGrid
    first: int
    layouts: tuple[Layout | None, ...] = ()
    factors: Factors | None = None
    has_ended: bool = False

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of the arrays: the ways to them, from where these part."""
        ways = [place.parts for place in self.locations]
        shared = list(takewhile(lambda names: len(set(names)) == 1, zip(*ways, strict=False)))
        return tuple("/".join(way[len(shared) :]) for way in ways)

    @cached_property
    def unlike(self) -> tuple[str, ...]:
        """The arrays that are there and not as they were begun."""
        named = zip(self.names, self._facts, strict=False)
        return tuple(name for name, facts in named if edited(facts))

    def check_unedited(self) -> None:
        """Refuse arrays that are there and not as they were begun.

        Raises
        ------
        ValueError
            If one is not; what is other is named.
        """
        for place, facts in zip(self.locations, self._facts, strict=False):
            check_unedited(place, facts)

    @cached_property
    def _facts(self) -> list[OutputFacts]:
        recorded = zip(
            self.arrays,
            self.dimensions,
            self.dtypes,
            self.fill_values,
            self.layouts or (None,) * len(self.arrays),
            strict=False,
        )
        return [
            {}
            if array is None
            else facts_of(array, dims.shape, dtype, layout=layout, fill_value=fill_value)
            for array, dims, dtype, fill_value, layout in recorded
        ]

    @property
    def indices(self) -> range:
        return range(self.first, self.first + self.grid.n_cells)

    def boxes(self, index: int) -> list[Region]:
        """A block's box in each array."""
        region = self.grid.cell(index - self.first)
        if not self.dimensions:
            return [region] * len(self.arrays)
        return counterparts(self.dimensions, region)


@dataclass(frozen=True)
class RecordedImage:
    """One image's output of a run, and what it was begun with.

    `place` is the array, or the group that its arrays lie in.
    """

    document: RunDocument
    blocks: RecordedBlocks
    place: Location

    @property
    def record(self) -> Record:
        return self.blocks.record


@dataclass(frozen=True)
class RecordedRun:
    """All that a run writes for its images, one or those of a series.

    `built` are the levels that were built beside an image: by runs of their own, without images.
    `unbegun` is the prediction, as one block, where only passes before it have begun: `others`.
    """

    images: tuple[RecordedImage, ...]
    others: tuple[RecordedBlocks, ...]
    built: tuple[RecordedBlocks, ...] = ()
    unbegun: RecordedBlocks | None = None

    @property
    def blocks(self) -> list[RecordedBlocks]:
        """Of the prediction, image by image, then of further passes."""
        return [*self.main, *self.further]

    @property
    def main(self) -> list[RecordedBlocks]:
        """Of the prediction; where there is none, of the first level that was built."""
        if self.unbegun is not None:
            return [self.unbegun]
        return [image.blocks for image in self.images] or list(self.built[:1])

    @property
    def further(self) -> list[RecordedBlocks]:
        """Of all that was done after that."""
        return [*self.others, *(self.built if self.images else self.built[1:])]

    def levels_of(self, image: RecordedImage) -> list[RecordedBlocks]:
        """The levels of an image's pyramid, each computed of the one before."""
        place = image.record.location.parts
        levels = [
            blocks
            for blocks in self.others
            if blocks.factors is not None and blocks.record.location.parts == place
        ]
        return sorted(levels, key=lambda level: int(level.name.removeprefix(LEVEL)))


def recorded_run(output: StoreLike, *, read_only: bool = True) -> RecordedRun:
    """What a run wrote, by its records.

    Raises
    ------
    FileNotFoundError
        If there is no record of a run.
    PermissionError
        If it may not be read.
    ValueError
        If one cannot be understood, or the output is on a web server.
    """
    # Read-only, what is not there is not made.
    location = locate(output, read_only=read_only)
    folder = location.local_path
    if folder is not None and folder.is_file():
        raise FileNotFoundError(f"{location.name} is a file; name the output of a run, a folder.")
    if folder is not None and not folder.exists():
        raise FileNotFoundError(f"{location.name} does not exist; name the output of a run.")
    # Asked once before all else: a store that does not answer now is not waited for.
    look = partial(Objects(location, delays=()).exists, "zarr.json")
    try:
        at_first(look, f"Reading {location.name}")
    except PermissionError as error:
        reason = error.strerror or said_by(error)
        raise PermissionError(f"{location.name} may not be read: {reason}.") from cause_of(error)
    if location.is_web:
        raise ValueError(
            f"{location.name} is on a web server, which lists nothing that could be relied on, and "
            "receipts are found by listing: what is done cannot be told. Name the output where it "
            "was written (a folder, a bucket), or copy it whole, .daskpatch too, to disk."
        )
    if location.why_not_written:
        raise ValueError(f"{location.name} has no receipts: it is in {location.why_not_written}.")
    images = _images(location)
    built = tuple(_built(location))
    if not images and not built:
        beside = begun_unlisted(location)
        built = tuple(blocks for n in beside for blocks in _levels_at(location.child(str(n))))
    if images or built:
        return RecordedRun(images, tuple(_further(images)), built)
    before = tuple(_before_prediction(location))
    if not before:
        raise FileNotFoundError(
            f"{location.name} has no record of a daskpatch run; name the output of one: the array, "
            f"or the group of a series or of several arrays{_lost(location)}."
        )
    prediction = _unbegun(before[0].record.location, PREDICTION, (1,), 0)
    return RecordedRun((), before, unbegun=prediction)


_DEEPEST = 5
"""Folders between an output and the record of its first array: `B/03/0/labels/nuclei`, and `0`."""


def _before_prediction(location: Location) -> Iterator[RecordedBlocks]:
    """The passes that have begun before the prediction, such as statistics.

    Until it begins nothing is created: their record lies where the first array will be.
    """
    place = location
    for _ in range(_DEEPEST + 2):
        found = dict(_recorded_passes(place))
        if found:
            yield from (_of_pass(Record(place, name), name, found[name]) for name in found)
            return
        entries = Objects(place).entries()
        if len(entries) != 1:
            return
        place = place.child(entries[0])


def _built(location: Location) -> Iterator[RecordedBlocks]:
    """Levels that runs of their own built: of an image, or by the array with their record."""
    own = location.parts[-1]
    if own.isdecimal() and isinstance(Record(location, f"{LEVEL}{own}").document(), PassDocument):
        places = [] if isinstance(Record(location).document(), RunDocument) else [location]
    else:
        places = [location.child(str(number)) for number in begun_at(location)]
    for place in places:
        yield from _levels_at(place)


def _levels_at(place: Location) -> Iterator[RecordedBlocks]:
    """Levels whose record lies in the first of them; those not begun yet, too."""
    found = dict(_recorded_passes(place))
    (first, document), *_ = sorted(found.items(), key=lambda item: _number(item[0]))
    for name in sorted(found, key=_number):
        yield _of_pass(Record(place, name), name, found[name])
    shape = document.of
    levels = document.settings_as(LevelSettings).levels
    for number, factors in enumerate(levels[1:], _number(first) + 1):
        shape = coarser_shape(shape, factors)
        if f"{LEVEL}{number}" not in found:
            yield _unbegun(place, f"{LEVEL}{number}", shape, 0, factors)


def _number(name: str) -> int:
    return int(name.removeprefix(LEVEL))


def _recorded_passes(place: Location) -> Iterator[tuple[str, PassDocument]]:
    for name in Record(place).passes():
        document = Record(place, name).document()
        if isinstance(document, PassDocument):
            yield name, document


def _images(location: Location) -> tuple[RecordedImage, ...]:
    """The image, or those of a series; none where there is no record of a prediction."""
    alone = _recorded(location)
    if alone is not None:
        return (alone,)
    named = image_paths(own_attributes(location).get("daskpatch"))
    paths = named or ["0"]
    images = [_recorded(location.at(path)) for path in paths]
    there = [image for image in images if image is not None]
    if not there:
        return ()
    count = there[0].document.fingerprint.source.of
    # The attribute may be lost, with which numbers go that it would have told.
    paths += map(str, range(len(paths), count))
    images += [_recorded(location.at(path)) for path in paths[len(images) :]]
    missing = [
        path
        for number, (path, image) in enumerate(zip(paths, images, strict=True))
        # A copy of another member has a record, of the other.
        if image is None or image.document.fingerprint.source.number != number
    ]
    if missing:
        part = "" if named else " If it is a part of an output, such as a well, name the whole."
        raise FileNotFoundError(
            f"{location.name} is a series of {count} images, and these have no record of their "
            f"own: {', '.join(missing)}. Deleted, or not begun when the run ended: resume=True "
            f"computes them. Where another's lies in its place, move that away first.{part}"
        )
    return tuple(image for image in images if image is not None)


def _lost(location: Location) -> str:
    """Where the record was of which an array is gone; empty where nothing says so."""
    paths = array_paths(own_attributes(location).get("daskpatch"))
    return f" (its record was in {location.name}/{paths[0]}, which has none now)" if paths else ""


def _recorded(location: Location) -> RecordedImage | None:
    """What is at the place of an image: an array with a record, a group of several, or labels.

    Raises
    ------
    ValueError
        If there are several label images, and no record of another image.
    """
    alone = _recorded_itself(location)
    if alone is not None:
        return alone
    names = label_names(location)
    labels = {name: _recorded_itself(location.at(f"{LABELS}/{name}")) for name in names}
    there = {name: image for name, image in labels.items() if image is not None}
    if len(there) > 1:
        raise ValueError(
            f"{location.name} has the label images {', '.join(there)}, each of a run of its own; "
            f"name one, for example {location.name}/{LABELS}/{next(iter(there))}."
        )
    return next(iter(there.values()), None)


def _recorded_itself(location: Location) -> RecordedImage | None:
    for place in _places(location):
        record = Record(place)
        document = record.document()
        if isinstance(document, RunDocument):
            return _of_document(record, document)
    return None


def _of_document(record: Record, document: RunDocument) -> RecordedImage:
    outputs, placed = document.fingerprint.output, document.arrays
    ndim = len(document.fingerprint.source.data_shape) - 2
    dimensions = tuple(
        Dimensions(o.axes, o.shape, ndim, scale=_scale(o.scale)) for o in outputs.values()
    )
    paths = [placed[name].path if name in placed else name for name in outputs]
    told, root = document.fingerprint.layout, _root(record.location, paths[0])
    locations = tuple(root.at(path) for path in paths)
    blocks = RecordedBlocks(
        name=PREDICTION,
        record=record,
        locations=locations,
        arrays=tuple(map(existing_array, locations)),
        dimensions=dimensions,
        dtypes=tuple(np.dtype(output.dtype) for output in outputs.values()),
        fill_values=tuple(placed[n].fill_value if n in placed else None for n in outputs),
        grid=document.blocks.grid(dimensions[0].shape),
        first=document.blocks.first,
        layouts=tuple(Layout(told.chunks, told.shards, told.block_shape).of_each(dimensions)),
    )
    return RecordedImage(document, blocks, root)


def _factors(document: PassDocument) -> Factors | None:
    """Of a level of a pyramid; None for other passes."""
    if not document.name.startswith(LEVEL):
        return None
    factors = document.settings_as(LevelSettings).factors
    if len(factors) != len(document.of):
        raise ValueError(
            f"The record of {document.name} (run.json of that pass) is broken: its factors "
            f"{factors} are of other axes than its shape {document.of}."
        )
    return factors


def _dimensions(array: ArrayRecord) -> Dimensions:
    ndim = len(array.scale) or (3 if "Z" in array.axes else 2)
    return Dimensions(array.axes, array.shape, ndim, scale=_scale(array.scale))


def _scale(recorded: tuple[str, ...]) -> Scale:
    return tuple(map(Fraction, recorded))


def _further(images: tuple[RecordedImage, ...]) -> Iterator[RecordedBlocks]:
    """The blocks of further passes, whose records lie beside those of the images."""
    ended: set[str] = set()
    for image in images:
        found, broken = _needed_passes(image.record.location)
        ended |= broken
        for name, document in found.items():
            blocks = _of_pass(Record(image.record.location, name), name, document)
            # What a pass found is recorded once, with its first image.
            if not blocks.arrays and (name in ended or _has_ended(blocks.record)):
                ended.add(name)
                blocks = replace(blocks, has_ended=True)
            yield blocks
        yield from _unbegun_levels(image, found)


def _needed_passes(place: Location) -> tuple[dict[str, PassDocument], set[str]]:
    """The recorded passes, and those whose record is broken, and that nobody needs any more."""
    found, broken = {}, set()
    for name in Record(place).passes():
        try:
            document = Record(place, name).document()
        except ValueError as error:
            if name.startswith(LEVEL):
                raise
            _log.warning("The prediction has begun since, and needs it no more: %s", error)
            broken.add(name)
            continue
        if isinstance(document, PassDocument):
            found[name] = document
    return found, broken


def _has_ended(record: Record) -> bool:
    """Whether a pass has ended, whatever became of what it found: nobody needs that any more."""
    try:
        return record.end() is not None
    except ValueError as error:
        _log.warning("The prediction has begun since, and needs it no more: %s", error)
        return True


def _of_pass(record: Record, name: str, document: PassDocument) -> RecordedBlocks:
    told = document.arrays
    places = tuple(record.location.at(array.path) for array in told)
    are_told = all(array.axes and array.dtype for array in told)
    return RecordedBlocks(
        name=name,
        record=record,
        locations=places,
        arrays=tuple(map(existing_array, places)),
        dimensions=tuple(map(_dimensions, told)) if are_told else (),
        dtypes=tuple(np.dtype(a.dtype) for a in told) if are_told else (),
        fill_values=tuple(a.fill_value or None for a in told),
        grid=document.blocks.grid(document.of),
        first=document.blocks.first,
        factors=_factors(document),
    )


def _unbegun_levels(image: RecordedImage, names: Collection[str]) -> Iterator[RecordedBlocks]:
    """Levels that the run was to build, and of which there is no record yet: one block each."""
    (dims, *_), blocks = image.blocks.dimensions, image.blocks
    shape = dims.shape
    for number, factors in enumerate(image.document.levels or (), 1):
        shape, name = coarser_shape(shape, factors), f"{LEVEL}{number}"
        if name not in names:
            yield _unbegun(image.record.location, name, shape, blocks.first, factors)


def _unbegun(
    place: Location,
    name: str,
    shape: tuple[int, ...],
    first: int,
    factors: Factors | None = None,
) -> RecordedBlocks:
    """A level, or a prediction, without a record, as one block."""
    return RecordedBlocks(
        name=name,
        record=Record(place, name),
        locations=(),
        arrays=(),
        dimensions=(),
        dtypes=(),
        fill_values=(),
        grid=RegularGrid.clipped(shape, shape),
        first=first,
        factors=factors,
    )


def _places(location: Location) -> Iterator[Location]:
    """Where the record of an image may be: inside its array, or inside the first of several.

    Each of several says where all of them lie, and may be named itself, or the group of its levels.
    """
    yield location
    paths = array_paths(attributes_at(location).get("daskpatch"))
    yield from (location.at(path) for path in paths[:1])
    if len(paths) > 1 and location.parent is not None:
        groups = [path.rpartition("/")[0] for path in paths]
        here = [way for way in (*paths, *groups) if way and _is_end(way, location)]
        yield from (_root(location, way).at(paths[0]) for way in here[:1])


def _is_end(way: str, location: Location) -> bool:
    """Whether a place may be what lies at a way from another one."""
    parts = tuple(way.split("/"))
    return location.parts[-len(parts) :] == parts


def _root(location: Location, path: str) -> Location:
    """The place from which an array lies at a path."""
    around = location
    for _ in filter(None, path.split("/")):
        if around.parent is None:  # what lies around on a web server cannot be told
            raise ValueError(
                f"{location.name} is the array {path} of an output; name the group that it lies in."
            )
        around = around.parent
    return around
