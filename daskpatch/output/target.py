"""The output: what is at its place, who else writes there, and what an overwrite deletes."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain, groupby
from typing import Any, Literal

from ..block import Recipe
from ..image import ImageStack
from ..receipts import FOLDER, Record, array_paths, image_paths
from ..store import (
    LABELS,
    V2_ATTRIBUTES,
    Collection,
    Location,
    Node,
    Objects,
    StoredArray,
    Surrounding,
    around,
    attributes_of,
    document_at,
    format_among,
    level_paths_at,
    node_at,
    own_attributes,
    own_document,
)
from ..support import DaemonThreads, Pacing, counted
from .clearing import CLEARED, KEY, NODES, claimed_folders, clearance_of, is_recorded, turn_of
from .harm import check_not_a_file, endangered, refuse_inside
from .layout import Layout
from .ome_metadata import OmeVersion

_READERS = 16


@dataclass(frozen=True)
class Target:
    """Where the prediction is written: an array to create, or one that the user has.

    `location` is the place of all that a run writes; of a label image its own, inside the image
    that it is of. Of a series it is the group of images, and each of these gets the label image.
    `n_levels` are those that the images have which get one, beside the first. `members` are the
    paths of images in a series' group, `collection` is what it is written as: a plate, or a series
    as bioformats2raw has them; a plain group without one. `masks` are read like images. `around` is
    what the first place that is made lies in.
    """

    location: Location
    array: StoredArray | None
    overwrite: bool
    is_series: bool
    images: tuple[ImageStack, ...]
    ome: OmeVersion | None = None
    label_image: str | None = None
    n_levels: tuple[int | None, ...] = ()
    members: tuple[str, ...] = ()
    collection: Collection | None = None
    masks: tuple[ImageStack, ...] = ()
    around: tuple[Surrounding, ...] = ()

    @property
    def name(self) -> str:
        return self.location.name

    @property
    def is_lossy(self) -> bool:
        """Whether an array of the user's gives back other values than are written to it."""
        return self.array is not None and is_lossy(self.array)

    @property
    def is_taken(self) -> bool:
        """Whether a new array or group would meet something, other than a run's first traces."""
        return self.array is None and any(map(is_taken, self.roots))

    @property
    def roots(self) -> list[Location]:
        """What is made anew, and deleted by an overwrite: not the images that get label images."""
        return [self.location] if self.label_image is None else self.image_places

    def places(self, recipe: Recipe) -> list[list[Location]]:
        """Where the arrays of each image lie.

        A series has a group with a member for each image, several arrays a group for themselves;
        of OME-Zarr each array has a group of its own, too, where further levels have a place.
        """
        paths = self.array_paths(recipe)
        return [[image.at(path) for path in paths] for image in self.image_places]

    def record_places(self, recipe: Recipe) -> list[Location]:
        """Where the record of each image lies: at its first array."""
        return [arrays[0] for arrays in self.places(recipe)]

    @property
    def image_places(self) -> list[Location]:
        """Where what belongs to each image lies."""
        if not self.is_series:
            return [self.location]
        inside = "" if self.label_image is None else f"{LABELS}/{self.label_image}"
        return [self.location.at(path).at(inside) for path in self.members]

    def array_paths(self, recipe: Recipe) -> list[str]:
        """Where the arrays of an image lie, from its own place."""
        names = [output.name for output in recipe.stored]
        return names if self.ome is None else [f"{name}/0" if name else "0" for name in names]

    def level_places(self, recipe: Recipe, number: int) -> list[list[Location]]:
        """Where a level of the arrays of each image lies: beside full resolution, in its group."""
        return [[place.at(f"../{number}") for place in places] for places in self.places(recipe)]

    def fill_values(self, recipe: Recipe) -> list[str]:
        """What absent chunks of each array are read as: in new ones they are 0."""
        if self.array is not None:
            return [self.array.fill_value] * len(recipe.stored)
        return [bytes(dtype.itemsize).hex() for dtype in recipe.dtypes]

    def check_folders(self) -> None:
        """Refuse a place where there is a file: one may have come since the plan was made.

        Raises
        ------
        FileExistsError
            If there is.
        """
        for root in self.roots:
            check_not_a_file(root)

    def check(self) -> None:
        """Refuse a place that is taken.

        Raises
        ------
        FileExistsError
            If something is there, unless it is an array or a group of ours and `overwrite`.
        OSError
            If it cannot be read.
        """
        if self.array is None:
            for root in self.roots:
                self._check(root)

    def _check(self, root: Location) -> None:
        if root.is_vacant:
            return
        there = node_at(root)
        if there is None and not root.is_occupied:
            return
        if not self.overwrite:
            raise FileExistsError(f"{root.name} exists; give {self._ways_on(root, there)}.")
        if there is None and _is_begun(root):
            return
        danger = endangered((*self.images, *self.masks), root)
        if danger:
            raise FileExistsError(
                f"{root.name} exists, and {danger}. Give another output, or delete it yourself."
            )
        image = _image_of_level(root)
        if image is not None:
            raise FileExistsError(
                f"{root.name} is a level of the image {image.name}, which would be left without "
                "it; overwrite the image, or give another output."
            )
        objection = clearance_of(root).objection
        if objection:
            raise FileExistsError(
                f"{root.name} {objection}; overwrite deletes an array or a group that daskpatch "
                "made, nothing else. Give another output, or delete it yourself."
            )

    def _ways_on(self, root: Location, there: Node | None) -> str:
        """What can be given instead of a place where something is."""
        has_run = _is_begun(root) if there is None else KEY in there.attributes
        ways = ["resume=True to go on with its run"] if has_run else []
        ways.append("another output")
        ways += ["overwrite=True to delete it first"] if has_run else []
        if there is not None and there.array is not None:
            ways.append("(in Python) the array itself, zarr.open(…, mode='r+'), to write into it")
        return ", or ".join([", ".join(ways[:-1]), ways[-1]]) if len(ways) > 1 else ways[0]

    @property
    def is_ours(self) -> bool:
        """Whether what is at the place says that daskpatch made it."""
        return any(map(_says_ours, self.roots))

    @property
    def is_level_of_ours(self) -> bool:
        """Whether the place is that of an array in an OME-Zarr image of daskpatch's."""
        image = _image_of_level(self.roots[0])
        return image is not None and _says_ours(image)

    def begun_with(self) -> list[str]:
        """Where the arrays of each image lie that the group at the place says it was begun with."""
        return array_paths(own_attributes(self.roots[0]).get(KEY))

    def claimed_inside(self, pacing: Pacing) -> list[Record]:
        """The records at the place, or below it, that somebody holds a claim on.

        Lists all of it: for what is to be overwritten; else nothing may be there.
        """
        if self.array is not None or not self.overwrite:
            return []
        return [
            Record(root.at(folder), pacing=pacing)
            for root in self.roots
            if node_at(root) is not None
            for folder in claimed_folders(root)
        ]

    def records_beside(self, recipe: Recipe, pacing: Pacing) -> list[Record]:
        """Where others may have a claim whose blocks are ours, too.

        Those who write a group that the place lies in, or one of the members that we write.
        """
        first, *others = chain.from_iterable(self.places(recipe))
        has_members = bool(others) and node_at(self.location) is not None
        places = [*written_around(self.roots[0]), *(others if has_members else ())]
        return [Record(place, pacing=pacing) for place in places if place.parts != first.parts]

    def check_layout(self, layout: Layout) -> None:
        """Refuse shards where the array would be of Zarr v2, which has none."""
        if self.array is None and layout.shards is not None and self.zarr_format == 2:
            is_inside = format_among(self.around, reach=3) == 2
            why = "lies in a Zarr v2 group" if is_inside else "is OME-Zarr 0.4"
            fix = "a place outside the group" if is_inside else "ome='0.5'"
            raise ValueError(
                f"The output {self.name} {why}, where arrays have no shards; leave shards out, or "
                f"give {fix}."
            )

    @property
    def zarr_format(self) -> Literal[2, 3]:
        if self.ome is None:
            return format_among(self.around)
        return 2 if self.ome == "0.4" else 3

    def check_vacant(self) -> None:
        """Refuse a place where somebody made something since `check`: nobody asked to delete it.

        Raises
        ------
        FileExistsError
            If somebody did.
        """
        for root in self.roots:
            if {*Objects(root).entries()} & {*NODES}:
                raise FileExistsError(
                    f"{root.name} was made by somebody else while this run began; give another "
                    "output, or look at that one first."
                )

    def announce_clearing(self) -> None:
        """Say at the place that it is ours, before its record is cleared, which said so."""
        for root in [] if self.array is not None else self.roots:
            if _says_ours(root):
                Objects(root).write(CLEARED, b"")

    def clear(self, recipe: Recipe) -> None:
        """Delete the array or group at the place, which `check` allowed; claims on it stay.

        Raises
        ------
        FileExistsError
            If somebody put something there since.
        """
        if self.array is None:
            for root in self.roots:
                self._clear(root, recipe)

    def _clear(self, root: Location, recipe: Recipe) -> None:
        if node_at(root) is None:
            return
        clearance = clearance_of(root)
        if clearance.objection:
            raise FileExistsError(f"{root.name} {clearance.objection}.")
        objects = Objects(root)
        # Under these lies the claim under which this happens.
        records = tuple(
            f"{place.child(FOLDER).path_from(root)}/"
            for place in chain.from_iterable(self.places(recipe))
        )
        spared = (*records, CLEARED)
        own = [name for name in clearance.own if not name.startswith(spared)]
        for _, names in groupby(own, turn_of):
            objects.delete_many(list(names))
        others = [n for n in clearance.others if not (n.startswith(records) and is_recorded(n))]
        if others:
            shown = ", ".join(others[:5]) + (", …" if len(others) > 5 else "")
            are = "is" if len(others) == 1 else "are"
            warnings.warn(
                f"{counted(len(others), 'file')} in {root.name} {are} not daskpatch's and "
                f"{'stays' if are == 'is' else 'stay'} there: {shown}.",
                stacklevel=2,
            )


def written_around(place: Location) -> list[Location]:
    """The first array of each run that may write a group around a place.

    Raises
    ------
    ValueError
        If there is an array around it by now; of Zarr v2 in a bucket that is not asked for.
    """
    groups = around(place)
    # All at once: far away a request for each, one after the other, would take seconds.
    with DaemonThreads(_READERS, "daskpatch-io") as pool:
        said = list(pool.map(own_document, groups))
    for group, (name, document) in zip(groups, said, strict=True):
        if _is_array(group, name, document):
            refuse_inside(place, group)
    return [
        first
        for group, (name, document) in zip(groups, said, strict=True)
        if KEY in (attributes := attributes_of(name, document))
        for first in _first_places(group, attributes[KEY], place)
    ]


def _is_array(group: Location, name: str, document: Mapping[str, Any]) -> bool:
    if name == "zarr.json":
        return document.get("node_type") == "array"
    # Of Zarr v2 it is another file, and in a bucket another request.
    return group.local_path is not None and document_at(group, ".zarray") is not None


def _image_of_level(root: Location) -> Location | None:
    """The OME-Zarr image that a place is a level of."""
    group = root.parent
    return group if group is not None and root.parts[-1] in level_paths_at(group) else None


def is_taken(root: Location) -> bool:
    """Whether a new array or group would meet something, other than a run's first traces."""
    return node_at(root) is not None or (root.is_occupied and not _is_begun(root))


def _is_begun(root: Location) -> bool:
    """Whether there is nothing but the record of a run that had no time for more.

    Or our attributes of a Zarr v2 node that was not made any more, or what an overwrite left alone
    that ended between deletion and creation.
    """
    names = [name for name in Objects(root).names() if f"{FOLDER}/" not in name or name == CLEARED]
    return CLEARED in names or not names or (names == [V2_ATTRIBUTES] and _says_ours(root))


def _says_ours(root: Location) -> bool:
    return isinstance(own_attributes(root).get(KEY), Mapping)


def _first_places(group: Location, provenance: object, place: Location) -> list[Location]:
    """Where the record of a run lies that made a group: of several arrays, a series, or both.

    And of a run that adds label images to a series, of which the place is one: it has its record
    in that of the first image.
    """
    first = next(iter(image_paths(provenance)), "0")
    image, paths = group.at(first), array_paths(provenance)
    inside = place.parts[len(image.parts) :]
    labels = [image.at("/".join(inside)).at("0")] if inside[:1] == (LABELS,) else []
    # What names no arrays is one, or a series of before.
    return [*([group.at(paths[0]), image.at(paths[0])] if paths else [group, image]), *labels]


def is_lossy(array: StoredArray) -> bool:
    """Whether an array gives back other values than are written to it; daskpatch's own do not."""
    return KEY not in array.attributes and not array.is_lossless
