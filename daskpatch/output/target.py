"""The output: what is at its place, whether it may be there, and its creation."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import PurePath
from typing import Any, Literal

import numpy as np

from ..block import Recipe
from ..geometry import Dimensions
from ..image import (
    ImageStack,
    channel_names_of,
    coordinates_of,
    location_of,
    why_endangered,
)
from ..receipts import FOLDER, Record, array_paths
from ..store import (
    Location,
    Node,
    Objects,
    StoredArray,
    StoreLike,
    check_io_at,
    create_array,
    ensure_group,
    existing_array,
    find_array,
    format_at,
    format_named,
    is_stored,
    is_zip,
    locate,
    node_at,
    own_attributes,
    surroundings,
)
from ..support import Pacing, counted
from .clearing import CLEARED, KEY, claimed_folders, clearance_of, is_recorded
from .layout import Layout
from .ome import OmeVersion, Range, image_attributes, wanted_version, window_of
from .output import Output

_READERS = 16


@dataclass(frozen=True)
class Target:
    """Where the prediction is written: an array to create, or one that the user has."""

    location: Location
    array: StoredArray | None
    overwrite: bool
    is_series: bool
    images: tuple[ImageStack, ...]
    ome: OmeVersion | None = None

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
        if self.array is not None:
            return False
        if node_at(self.location) is not None:
            return True
        return self.location.is_occupied and not self._is_begun

    def places(self, recipe: Recipe) -> list[list[Location]]:
        """Where the arrays of each image lie.

        A series has a group with a member for each image, several arrays a group for themselves;
        of OME-Zarr each array has a group of its own, too, where further levels have a place.
        """
        paths = self.array_paths(recipe)
        return [[image.at(path) for path in paths] for image in self._image_places(recipe)]

    def _image_places(self, recipe: Recipe) -> list[Location]:
        if not self.is_series:
            return [self.location]
        return [self.location.child(str(i)) for i in range(len(recipe.images))]

    def array_paths(self, recipe: Recipe) -> list[str]:
        """Where the arrays of an image lie, from its own place."""
        names = [output.name for output in recipe.stored]
        return names if self.ome is None else [f"{name}/0" if name else "0" for name in names]

    def fill_values(self, recipe: Recipe) -> list[str]:
        """What absent chunks of each array are read as: in new ones they are 0."""
        if self.array is not None:
            return [self.array.fill_value] * len(recipe.stored)
        return [bytes(dtype.itemsize).hex() for dtype in recipe.dtypes]

    def check(self) -> None:
        """Refuse a place that is taken.

        Raises
        ------
        FileExistsError
            If something is there, unless it is an array or a group of ours and `overwrite`.
        OSError
            If it cannot be read.
        """
        if self.array is not None:
            return
        there = node_at(self.location)
        if there is None and not self.location.is_occupied:
            return
        if not self.overwrite:
            raise FileExistsError(f"{self.name} exists; give {self._ways_on(there)}.")
        if there is None and self._is_begun:
            return
        endangered = _endangered(self.images, self.location)
        if endangered:
            raise FileExistsError(
                f"{self.name} exists, and {endangered}. Give another output, or delete it yourself."
            )
        objection = clearance_of(self.location).objection
        if objection:
            raise FileExistsError(
                f"{self.name} {objection}; overwrite deletes an array or a group that daskpatch "
                "made, nothing else. Give another output, or delete it yourself."
            )

    def _ways_on(self, there: Node | None) -> str:
        """What can be given instead of a place where something is."""
        goes_on = "resume=True to go on with its run, " if self._has_run else ""
        if there is None or there.array is None:
            into = ""
        else:
            into = ", or (in Python) the array itself, zarr.open(…, mode='r+'), to write into it"
        if there is None or KEY not in there.attributes:
            return f"another output{into}"
        return f"{goes_on}another output, overwrite=True to delete it first{into}"

    def claimed_inside(self, pacing: Pacing) -> list[Record]:
        """The records at the place, or below it, that somebody holds a claim on.

        Lists all of it: for what is to be overwritten.
        """
        if self.array is not None or node_at(self.location) is None:
            return []
        folders = claimed_folders(self.location)
        return [Record(self.location.at(folder), pacing=pacing) for folder in folders]

    def records_beside(self, recipe: Recipe, pacing: Pacing) -> list[Record]:
        """Where others may have a claim whose blocks are ours, too.

        Those who write a group that the place lies in, or one of the members that we write.
        """
        first, *others = chain.from_iterable(self.places(recipe))
        has_members = bool(others) and node_at(self.location) is not None
        places = [*self._written_around(), *(others if has_members else ())]
        return [Record(place, pacing=pacing) for place in places if place.parts != first.parts]

    def _written_around(self) -> list[Location]:
        """The first array of each run that may write a group around the place."""
        around = [self.location]
        while (parent := around[-1].parent) is not None:
            around.append(parent)
        # All at once: far away a request for each, one after the other, would take seconds.
        with ThreadPoolExecutor(_READERS) as pool:
            said = list(pool.map(own_attributes, around[1:]))
        return [
            place
            for group, attributes in zip(around[1:], said, strict=True)
            if KEY in attributes
            for place in _first_places(group, attributes[KEY])
        ]

    def check_layout(self, layout: Layout) -> None:
        """Refuse shards where the array would be of Zarr v2, which has none."""
        if self.array is None and layout.shards is not None and self._zarr_format == 2:
            why = "is OME-Zarr 0.4" if self.ome == "0.4" else "lies in a Zarr v2 group"
            raise ValueError(
                f"The output {self.name} {why}, where arrays have no shards; leave shards out, or "
                f"give {'ome=...' if self.ome == '0.4' else 'a place outside the group'}."
            )

    @property
    def _zarr_format(self) -> Literal[2, 3]:
        if self.ome is None:
            return format_at(self.location)
        return 2 if self.ome == "0.4" else 3

    def clear(self, recipe: Recipe) -> None:
        """Delete the array or group at the place, which `check` allowed; claims on it stay.

        Raises
        ------
        FileExistsError
            If somebody put something there since.
        """
        if self.array is not None or node_at(self.location) is None:
            return
        clearance = clearance_of(self.location)
        if clearance.objection:
            raise FileExistsError(f"{self.name} {clearance.objection}.")
        objects = Objects(self.location)
        objects.write(CLEARED, b"")
        # Under these lies the claim under which this happens.
        records = tuple(
            f"{place.child(FOLDER).path_from(self.location)}/"
            for place in (self.location, *chain.from_iterable(self.places(recipe)))
        )
        objects.delete_many([name for name in clearance.own if not name.startswith(records)])
        others = [n for n in clearance.others if not (n.startswith(records) and is_recorded(n))]
        if others:
            shown = ", ".join(others[:5]) + (", …" if len(others) > 5 else "")
            are = "is" if len(others) == 1 else "are"
            warnings.warn(
                f"{counted(len(others), 'file')} in {self.name} {are} not daskpatch's and "
                f"{'stays' if are == 'is' else 'stay'} there: {shown}.",
                stacklevel=2,
            )

    def create(
        self,
        recipe: Recipe,
        layout: Layout,
        *,
        provenance: Mapping[str, Any],
        io: str,
        ranges: Mapping[str, Range] | None = None,
    ) -> tuple[tuple[StoredArray, ...], ...]:
        """The arrays of each image; those that are not there yet are created.

        `ranges` says between which values arrays of floats are shown, by name.
        """
        if self.array is not None:
            return ((self.array.with_io(io),),)
        version = self._zarr_format
        told = {**provenance, "arrays": self.array_paths(recipe), "ome": self.ome}
        if self.is_series:
            ensure_group(self.location, attributes={KEY: told}, zarr_format=version)
        created = []
        placed = zip(self._image_places(recipe), self.places(recipe), strict=True)
        for data_idx, (image, places) in enumerate(placed):
            own = {KEY: {**told, **_of_image(provenance, data_idx)}}
            for group in self._groups(image, places):
                ensure_group(group, attributes=own, zarr_format=version)
            primary, *_ = outputs = recipe.outputs[data_idx]
            arrays = [
                _existing(place, dims, dtype, layout_of)
                or _create(
                    place,
                    dims,
                    dtype,
                    layout_of,
                    own,
                    zarr_format=version,
                    is_nested=self.ome is not None,
                )
                for place, dims, dtype, layout_of in zip(
                    places,
                    outputs,
                    recipe.dtypes,
                    [layout, *(layout.counterpart(primary, dims) for dims in outputs[1:])],
                    strict=True,
                )
            ]
            if self.ome is not None:  # after the arrays that it speaks of
                for number, place in enumerate(places):
                    attributes = self._image_attributes(recipe, data_idx, number, place, ranges)
                    ensure_group(_parent(place), attributes=attributes, zarr_format=version)
            created.append(tuple(array.with_io(io) for array in arrays))
        objects = Objects(self.location)
        if self.overwrite or objects.exists(CLEARED):  # an interrupted run's, that is gone on with
            objects.delete_many([CLEARED])
        return tuple(created)

    def _groups(self, image: Location, places: Sequence[Location]) -> list[Location]:
        """The groups in which an image's arrays lie, the outer ones first."""
        several = [image] if len(places) > 1 else []
        return several if self.ome is None else [*several, *map(_parent, places)]

    def _image_attributes(
        self,
        recipe: Recipe,
        data_idx: int,
        number: int,
        place: Location,
        ranges: Mapping[str, Range] | None,
    ) -> Mapping[str, Any]:
        """What the group of an array says of the image that it is."""
        assert self.ome is not None, "looked at before"
        image, dims = recipe.images[data_idx], recipe.outputs[data_idx][number]
        cells = {
            axis: 1 / scale
            for axis, scale in zip(dims.spatial_axes, recipe.signature.scale, strict=True)
        }
        names = channel_names_of(image)
        is_shown = "C" in dims.axes and len(names) == dims.n_channels
        return image_attributes(
            self.ome,
            _parent(place).parts[-1],
            {"0": coordinates_of(image).on(dims.axes).of_cells(cells)},
            channels=names if is_shown else (),
            window=window_of(recipe.dtypes[number], (ranges or {}).get(recipe.stored[number].name)),
        )

    @property
    def _has_run(self) -> bool:
        """Whether there is what daskpatch made, which a run may go on with."""
        node = node_at(self.location)
        return node is not None and KEY in node.attributes

    @property
    def _is_begun(self) -> bool:
        """Whether there is nothing but the record of a run that had no time for more.

        Or what an overwrite left alone that ended between deletion and creation.
        """
        names = Objects(self.location).names()
        return CLEARED in names or all(f"{FOLDER}/" in name for name in names)


def _first_places(group: Location, provenance: object) -> list[Location]:
    """Where the record of a run lies that made a group: of several arrays, a series, or both."""
    image, paths = group.child("0"), array_paths(provenance)
    return [group.at(paths[0]), image.at(paths[0])] if paths else [image]


def _parent(place: Location) -> Location:
    parent = place.parent
    assert parent is not None, "an array of OME-Zarr lies in a group"
    return parent


def _of_image(provenance: Mapping[str, Any], data_idx: int) -> dict[str, Any]:
    """What is each image's own of a series' provenance."""
    statistics = provenance["statistics"]
    return {
        "source": provenance["source"][data_idx],
        "statistics": None if statistics is None else statistics[data_idx],
    }


def _existing(
    place: Location, dims: Dimensions, dtype: np.dtype[Any], layout: Layout
) -> StoredArray | None:
    """The array that a run began with, which is gone on with; None where there is none.

    Raises
    ------
    ValueError
        If somebody changed it since.
    """
    array = existing_array(place)
    if array is None:
        return None
    facts = {
        "shape": (array.shape, dims.shape),
        "dtype": (array.dtype, np.dtype(dtype)),
        "chunks": (array.chunks, layout.chunks),
        "shards": (array.shards, layout.shards),
    }
    other = [f"{name} {now}, begun with {was}" for name, (now, was) in facts.items() if now != was]
    if other:
        raise ValueError(
            f"The output {place.name} was edited since it was begun: {'; '.join(other)}. Put its "
            "metadata right, or give overwrite=True to start anew."
        )
    return array


def _create(
    place: Location,
    dims: Dimensions,
    dtype: np.dtype[Any],
    layout: Layout,
    attributes: Mapping[str, Any],
    *,
    zarr_format: Literal[2, 3],
    is_nested: bool,
) -> StoredArray:
    return create_array(
        place,
        shape=dims.shape,
        dtype=dtype,
        chunks=layout.chunks,
        shards=layout.shards,
        dimension_names=list(dims.axes.lower()),
        attributes=attributes,
        zarr_format=zarr_format,
        is_nested=is_nested,
    )


def as_target(
    output: Output, images: tuple[ImageStack, ...], *, is_series: bool, io: str
) -> Target | None:
    """The output that was asked for, if it can be written without harm to the input; or none.

    Raises
    ------
    ValueError
        If it is the input, inside or around it, or may be; an array for a series; or read-only.
    """
    if output.place is None:
        return None
    location = locate(_as_place(output.place))
    ome = _ome_version(output, images, location)
    # An array that was given is written into; a path to one is a place that is taken.
    array = find_array(output.place).array if hasattr(output.place, "shape") else None
    if array is not None and is_series:
        raise ValueError(
            "A series is written to a group with one array per image; give a path, a URL or a "
            "store as output, not an array."
        )
    if location.why_not_written:
        raise ValueError(f"The output {location.name} is in {location.why_not_written}.")
    if location.store.read_only or (array is not None and array.array.read_only):
        raise ValueError(
            f"The output {location.name} is opened read-only; open it for writing, for example "
            "with zarr.open(path, mode='r+')."
        )
    folder = location.local_path
    if folder is not None and folder.is_file():
        raise FileExistsError(f"The output {location.name} is a file; give another place.")
    if is_zip(location):
        raise ValueError(
            f"The output {location.name} is a ZIP file, which cannot be written in parallel; "
            "give a folder."
        )
    format_ = format_named(location.name)
    if format_ is not None and not location.is_occupied:
        made = f", and make {format_.name} of that with {format_.made}" if format_.made else ""
        raise ValueError(
            f"The output {location.name} is named like {format_.name}, and what is written is a "
            f"Zarr folder: name it {PurePath(location.name).stem}.zarr{made}."
        )
    check_io_at(io, location)
    for image in images:
        _check_apart(location, image)
    if array is None:
        _check_around(location)
    endangered = "" if array is None else _endangered(images, location)
    if endangered:
        raise ValueError(
            f"The output {location.name} is an array, and {endangered}. Give a free path as "
            "output, or store the source first."
        )
    return Target(location, array, output.overwrite, is_series, images, ome)


def _ome_version(
    output: Output, images: tuple[ImageStack, ...], location: Location
) -> OmeVersion | None:
    """The version of OME-Zarr that is written; that of a run which may be gone on with.

    Raises
    ------
    ValueError
        If it cannot be written there.
    """
    if hasattr(output.place, "shape"):
        if output.ome:
            raise ValueError(
                f"ome is {output.ome!r}, and the output {location.name} is an array that is "
                "written into; give the place of an image, or leave ome out."
            )
        return None
    wanted = wanted_version(output, images, location)
    if output.overwrite:
        return wanted
    begun = own_attributes(location).get(KEY)
    if isinstance(begun, Mapping):
        version = begun.get("ome")
        version = version if version in ("0.4", "0.5") else None
        if output.ome is not None and wanted != version:
            was = "a bare array" if version is None else f"OME-Zarr {version}"
            raise FileExistsError(
                f"The output {location.name} exists, and was begun as {was}, not as ome="
                f"{output.ome!r} asks for; leave ome out to go on with it, or give overwrite=True."
            )
        return version
    if output.ome is not None:
        return wanted
    # An array of before, of which there is nothing but the record yet.
    has_record = wanted is not None and Record(location).document() is not None
    return None if has_record else wanted


def _as_place(place: StoreLike) -> StoreLike:
    """Refuse arrays that are not Zarr: they cannot be written block by block, or not kept.

    Raises
    ------
    TypeError
        If it is one.
    """
    if not is_stored(place):
        raise TypeError(
            f"The output is a {type(place).__name__}; needed is a path, a URL, a zarr store or a "
            "zarr array, for example 'predicted.zarr'."
        )
    return place


def _endangered(images: tuple[ImageStack, ...], location: Location) -> str:
    """Which source may read from a place that is written, and why; empty where none does."""
    reasons = ((image.source, why_endangered(image, location)) for image in images)
    return next((f"the source {name} may read from it: {why}" for name, why in reasons if why), "")


def _check_around(location: Location) -> None:
    """Refuse a place inside an array; warn where readers would not see what is made there."""
    for around in surroundings(location):
        name = around.location.name
        if around.is_array:
            # Every chunk key of that array is a path, and some of ours may be one.
            raise ValueError(
                f"The output {location.name} is inside the array {name}, among its chunks; give a "
                "place beside it."
            )
        if around.is_consolidated:
            warnings.warn(
                f"The metadata of {name} are consolidated: readers of that group will not see "
                f"{location.name} before zarr.consolidate_metadata({name!r}) is called again.",
                stacklevel=4,
            )


def is_lossy(array: StoredArray) -> bool:
    """Whether an array gives back other values than are written to it; daskpatch's own do not."""
    return KEY not in array.attributes and not array.is_lossless


def check_own(array: StoredArray) -> None:
    """Refuse an array that somebody put in the place of the one that a run began with.

    Raises
    ------
    ValueError
        If daskpatch did not make it, and it has no record.
    """
    if KEY not in array.attributes and Record(array.location).document() is None:
        raise ValueError(
            f"{array.location.name} is an array that daskpatch did not make, in the place of the "
            "one that the run began with; give another output, or move it away."
        )


def check_fits(array: StoredArray, dims: Dimensions, name: str) -> None:
    """Refuse an array of another shape, or whose dtype holds no numbers.

    Raises
    ------
    ValueError
        If the prediction does not fit it.
    """
    if array.shape != dims.shape:
        raise ValueError(
            f"The output {name} has shape {array.shape}; the prediction's is {dims.shape} "
            f"(axes {dims.axes})."
        )
    if array.dtype.kind not in "biuf":
        raise ValueError(f"The output {name} has dtype {array.dtype}; needed are numbers.")


def _check_apart(location: Location, image: ImageStack) -> None:
    source = location_of(image)
    if source is None:
        return
    if location.contains(source) and source.contains(location):
        raise ValueError(
            f"The output {location.name} is the input; give another place, the input is never "
            "written to."
        )
    if any(location.contains(linked) for linked in source.linked):
        raise ValueError(
            f"The output {location.name} holds chunks of the input {image.source}, which has links "
            "to them; give another place."
        )
    if source.contains(location):
        raise ValueError(
            f"The output {location.name} is inside the input array {image.source}; give a place "
            "beside it."
        )
    if location.contains(source):
        raise ValueError(
            f"The output {location.name} is a parent of the input {image.source}, which it would "
            "replace; give a place beside it, for example a sibling in the input's group."
        )
