"""The output's arrays and groups, made before the first block is computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePosixPath
from typing import Any, Literal

import numpy as np

from ..block import Recipe
from ..geometry import Coordinates, Dimensions
from ..image import channel_names_of
from ..store import (
    OME_XML,
    Location,
    Objects,
    StoredArray,
    attributes_at,
    create_array,
    ensure_group,
    existing_array,
    image_version_at,
    list_label,
    node_at,
    own_attributes,
    with_backoff,
)
from ..support import DaemonThreads
from ..values import Downsample
from .clearing import CLEARED, KEY
from .collection_groups import groups_around
from .edits import check_own, check_unedited, facts_of
from .label_images import image_around
from .layout import Layout
from .level_layouts import Level, level_coordinates, result_coordinates
from .ome_metadata import Range, image_attributes, window_of, with_level
from .ome_xml import ome_xml
from .target import Target

_AT_ONCE = 16
"""Images whose arrays are made at a time: far away each takes several requests."""

_DELAYS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 4.0, 8.0)
"""While an image may lack a level that was listed: of parts that begin together, one may write over
what others wrote, and each lists all levels again."""


@dataclass(frozen=True)
class Shown:
    """How viewers are to show an image.

    Attributes
    ----------
    ranges
        Between which values arrays of floats are shown, by the array's name.
    channel_names
        Of the output's channels; where these are fewer or more, the source's.
    """

    ranges: Mapping[str, Range] = field(default_factory=dict)
    channel_names: tuple[str, ...] = ()


def create_arrays(
    target: Target,
    recipe: Recipe,
    layout: Layout,
    *,
    provenance: Mapping[str, Any],
    io: str,
    shown: Shown,
    fill_values: Sequence[Sequence[str | None]],
    is_vacant: bool = False,
) -> tuple[tuple[StoredArray, ...], ...]:
    """The arrays of each image; those that are not there yet are created.

    `fill_values` are those that each was begun with, as far as they are known. Of a place that
    `is_vacant` none are looked for.
    """
    if target.array is not None:
        return ((target.array.with_io(io),),)
    told = {**provenance, "arrays": target.array_paths(recipe), "ome": target.ome}
    _ensure_around(target, told)
    image_places, array_places = target.image_places, target.places(recipe)

    def of_image(data_idx: int) -> tuple[StoredArray, ...]:
        own = {KEY: {**told, **_of_image(provenance, data_idx)}}
        places = array_places[data_idx]
        for group in _groups(target, image_places[data_idx], places):
            ensure_group(group, attributes=own, zarr_format=target.zarr_format)
        begun_with = fill_values[data_idx]
        given = target, recipe, layout, data_idx, places, own, begun_with
        arrays = _arrays_of(*given, is_vacant=is_vacant)
        _tell_image(target, recipe, data_idx, places, shown)  # after what it speaks of
        return tuple(array.with_io(io) for array in arrays)

    with DaemonThreads(_AT_ONCE, "daskpatch-io") as pool:
        created = tuple(pool.map(of_image, range(len(recipe.images))))
    _tell_collection(target, recipe)
    for root in target.roots:
        objects = Objects(root)
        # An overwrite's, or an interrupted one's that is gone on with.
        if target.overwrite or (not is_vacant and objects.exists(CLEARED)):
            objects.delete_many([CLEARED])
    list_labels(target)  # last: readers find what is listed
    return created


def _arrays_of(
    target: Target,
    recipe: Recipe,
    layout: Layout,
    data_idx: int,
    places: Sequence[Location],
    own: Mapping[str, Any],
    fill_values: Sequence[str | None],
    *,
    is_vacant: bool,
) -> list[StoredArray]:
    """The arrays of one image."""
    outputs = recipe.outputs[data_idx]
    layouts = layout.of_each(outputs)
    each = zip(places, outputs, recipe.dtypes, layouts, fill_values, strict=True)
    return [
        (None if is_vacant else _existing(place, dims, dtype, layout_of, fill_value))
        or _create(
            place,
            dims,
            dtype,
            layout_of,
            own,
            zarr_format=target.zarr_format,
            is_nested=target.ome is not None,
        )
        for place, dims, dtype, layout_of, fill_value in each
    ]


def _tell_image(
    target: Target, recipe: Recipe, data_idx: int, places: Sequence[Location], shown: Shown
) -> None:
    """Write what the groups of an image's arrays say of them, of OME-Zarr."""
    if target.ome is None:
        return
    for number, place in enumerate(places):
        if _is_told(_parent(place)):  # levels that are done are listed there
            continue
        attributes = _image_attributes(target, recipe, data_idx, number, place, shown)
        ensure_group(_parent(place), attributes=attributes, zarr_format=target.zarr_format)


def _ensure_around(target: Target, told: Mapping[str, Any]) -> None:
    """The groups around images: a series' own, a plate's rows and wells, those of label images."""
    if target.label_image is not None:
        _ensure_images(target)
    elif target.is_series:
        of_series = {KEY: {**told, "images": list(target.members)}}
        ensure_group(target.location, attributes=of_series, zarr_format=target.zarr_format)
        _ensure_groups(target, {path: {KEY: {}} for path in _around_members(target)})


def _ensure_groups(target: Target, groups: Mapping[str, Mapping[str, Any]]) -> None:
    """Groups in the output with some attributes, by their paths; several at a time."""

    def ensure(path: str) -> None:
        place = target.location.at(path)
        ensure_group(place, attributes=groups[path], zarr_format=target.zarr_format)

    with DaemonThreads(_AT_ONCE, "daskpatch-io") as pool:
        list(pool.map(ensure, groups))


def _around_members(target: Target) -> list[str]:
    """The groups between a series' own and its images, the outer ones first: rows and wells."""
    parents = {parent for path in target.members for parent in PurePosixPath(path).parents}
    return sorted(str(parent) for parent in parents if parent.parts)


def _tell_collection(target: Target, recipe: Recipe) -> None:
    """Write what the groups around images say of them: that they are a plate, or a series."""
    if target.collection is None or target.ome is None or len(recipe.stored) > 1:
        return  # a field of several arrays is no image, but a group of some
    location, name = target.location, PurePosixPath(target.location.parts[-1]).stem
    around = groups_around(target.collection, target.members, name, target.ome)
    whole = around.pop("")
    _ensure_groups(target, {path: {**told, KEY: {}} for path, told in around.items()})
    ensure_group(location, attributes=whole, zarr_format=target.zarr_format)
    if target.collection.plate is None:
        document = ome_xml(
            (path, recipe.outputs[i][0], recipe.dtypes[0], result_coordinates(recipe, i, 0))
            for i, path in enumerate(target.members)
        )
        Objects(location.child("OME")).write(OME_XML, document)


def _ensure_images(target: Target) -> None:
    """The groups that label images lie in; those that are there are left as they are."""
    images = [image_around(label) for label in target.image_places]
    for group in [target.location, *images] if target.is_series else images:
        if node_at(group) is None:
            ensure_group(group, attributes={}, zarr_format=target.zarr_format)


def list_labels(target: Target) -> None:
    """Name label images in the lists of their images, where they are missing there.

    Raises
    ------
    OSError
        If a list cannot be written.
    """
    if target.label_image is not None and target.ome is not None:
        images = [image_around(label) for label in target.image_places]
        list_label(images, target.label_image, target.ome)


def create_level(
    places: Sequence[Location],
    level: Level,
    dtypes: Sequence[np.dtype[Any]],
    zarr_format: Literal[2, 3],
    *,
    io: str,
) -> tuple[StoredArray, ...]:
    """The arrays of a level of an image; those that are not there yet are created."""
    layouts = level.layout.of_each(level.outputs)
    named = zip(places, level.outputs, layouts, dtypes, strict=True)
    made = []
    for place, dims, layout, dtype in named:
        array = _existing_level(place, dims, dtype) or _create(
            place,
            dims,
            dtype,
            layout,
            {KEY: {"level": level.number}},
            zarr_format=zarr_format,
            is_nested=True,
        )
        made.append(array.with_io(io))
    return tuple(made)


def _existing_level(place: Location, dims: Dimensions, dtype: np.dtype[Any]) -> StoredArray | None:
    """The array of a level that a run began, in whatever chunks; None where there is none.

    Raises
    ------
    ValueError
        If somebody else made it, or changed it since.
    """
    array = existing_array(place)
    if array is not None:
        check_own(array)
        zeros = bytes(dtype.itemsize).hex()
        facts = facts_of(array, dims.shape, dtype, layout=None, fill_value=zeros)
        check_unedited(place, facts)
    return array


def list_level(
    finer: Sequence[Location],
    places: Sequence[Location],
    level: Level,
    methods: Sequence[Downsample],
    zarr_format: Literal[2, 3],
    *,
    attributes: Mapping[str, Any] | None = None,
) -> None:
    """Name a level in the metadata of its image, so that viewers see it.

    Its arrays lie at `places`, those of the level before at `finer`; `attributes` are those of a
    group that does not say yet that it is an image.

    Raises
    ------
    ValueError
        If somebody changed these metadata into something else.
    """
    placed = zip(finer, places, level.factors, methods, strict=True)
    for before, place, factors, how in placed:
        group = _parent(place)
        coarser = partial(level_coordinates, factors=factors, how=how)
        listed = partial(_with_level, group, place, before, coarser, attributes)
        try:
            told = with_backoff(listed, f"Listing {place.name}", _DELAYS, _is_for_good)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"The OME metadata of {group.name} are no longer what was written, so that level "
                f"{level.number} cannot be listed there ({type(error).__name__}: {error}); put "
                "them right, and resume."
            ) from error
        ensure_group(group, attributes=told, zarr_format=zarr_format)


def _with_level(
    group: Location,
    place: Location,
    before: Location,
    coarser: Callable[[Coordinates], Coordinates],
    attributes: Mapping[str, Any] | None,
) -> Mapping[str, Any]:
    """What an image's group says now, with a level."""
    told: Mapping[str, Any] = attributes_at(group)
    if attributes is not None and not _is_told(group):
        told = {**told, **attributes}
    return with_level(told, place.path_from(group), before.path_from(group), coarser)


def _is_for_good(error: Exception) -> bool:
    return not isinstance(error, KeyError | ValueError)


def _groups(target: Target, image: Location, places: Sequence[Location]) -> list[Location]:
    """The groups in which an image's arrays lie, the outer ones first."""
    several = [image] if len(places) > 1 else []
    return several if target.ome is None else [*several, *map(_parent, places)]


def _is_told(group: Location) -> bool:
    """Whether a group says already that it is an image."""
    told = own_attributes(group)
    ome = told.get("ome", told)
    return isinstance(ome, Mapping) and "multiscales" in ome


def _image_attributes(
    target: Target,
    recipe: Recipe,
    data_idx: int,
    number: int,
    place: Location,
    shown: Shown,
) -> Mapping[str, Any]:
    """What the group of an array says of the image that it is."""
    assert target.ome is not None, "looked at before"
    image, dims = recipe.images[data_idx], recipe.outputs[data_idx][number]
    # Of several arrays those that are given may be the names of another one.
    known = (shown.channel_names, channel_names_of(image)) if "C" in dims.axes else ()
    names = next((each for each in known if len(each) == dims.n_channels), ())
    return image_attributes(
        target.ome,
        _parent(place).parts[-1],
        {"0": result_coordinates(recipe, data_idx, number)},
        channels=names,
        window=window_of(recipe.dtypes[number], shown.ranges.get(recipe.stored[number].name)),
        label=None if target.label_image is None else _of_label(_parent(place)),
    )


def _of_label(label: Location) -> Mapping[str, Any]:
    """What a label image says of the image that it is of; nothing where there is none around it."""
    is_there = image_version_at(image_around(label)) is not None
    return {"source": {"image": "../../"}} if is_there else {}


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
    place: Location,
    dims: Dimensions,
    dtype: np.dtype[Any],
    layout: Layout,
    fill_value: str | None,
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
    facts = facts_of(array, dims.shape, dtype, layout=layout, fill_value=fill_value)
    check_unedited(place, facts)
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
