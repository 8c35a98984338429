"""An output as it was asked for: a target, where nothing there would be harmed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import PurePath

from ..image import ImageStack, Source
from ..receipts import Record, image_paths
from ..store import (
    Location,
    StoredArray,
    StoreLike,
    check_io_at,
    find_array,
    format_named,
    is_stored,
    is_zip,
    level_paths_at,
    locate,
    own_attributes,
)
from ..support import DaemonThreads, holds_numbers, what_is
from .clearing import KEY
from .harm import check_apart, check_around, check_not_a_file, endangered
from .label_images import (
    check_label_place,
    image_around,
    is_named,
    label_location,
    warn_of_labels_place,
)
from .masking import masks_of
from .ome_metadata import OmeVersion, wanted_version
from .output import Output
from .target import Target

_READERS = 16


def as_target(
    output: Output, images: tuple[ImageStack, ...], *, source: Source, io: str
) -> Target | None:
    """The output that was asked for, if it can be written without harm to the input; or none.

    Raises
    ------
    ValueError
        If it is the input, inside or around it, or may be; an array for a series; or read-only.
    """
    if output.place is None:
        return None
    label, is_series = output.label_image, source.is_series
    place = _as_place(output.place)
    location = _location(place, label, is_series=is_series)
    # An array that was given is written into; a path to one is a place that is taken.
    array = find_array(place).array if hasattr(place, "shape") else None
    is_inside = label is not None and array is None and not is_series
    check_kind(image_around(location) if is_inside else location, array, is_series=is_series)
    check_io_at(io, location)
    if array is not None and io != "auto":
        array.check_opens(io)
    masks = tuple(mask.image for mask in masks_of(output, images))
    check_apart(location, (*images, *masks), replaces=output.overwrite or array is not None)
    members = _members(output, location, len(images)) if is_series else ()
    target = Target(
        location,
        array,
        output.overwrite,
        is_series,
        images,
        masks=masks,
        label_image=label,
        members=members,
    )
    if array is None:
        target = replace(target, around=check_around(target.roots[0]))
        if label is None:
            warn_of_labels_place(location)
    danger = "" if array is None else endangered((*images, *masks), location)
    if danger:
        raise ValueError(
            f"The output {location.name} is an array, and {danger}. Give a free path as "
            "output, or store the source first."
        )
    ome = _ome_version(output, target)
    if label is not None and ome is not None:
        is_own = is_named(place, label)
        looked = partial(_levels_around, images=images, version=ome, is_named=is_own)
        with DaemonThreads(_READERS, "daskpatch-io") as pool:
            target = replace(target, n_levels=tuple(pool.map(looked, target.image_places)))
    target = replace(target, ome=ome)
    return target if label is not None or ome is None else _collected(target, source)


def _members(output: Output, location: Location, n_images: int) -> tuple[str, ...]:
    """The paths of a series' images in its group: those of a run that is there, or numbers."""
    begun = () if output.overwrite else image_paths(own_attributes(location).get(KEY))
    return tuple(begun) if len(begun) == n_images else tuple(map(str, range(n_images)))


def _collected(target: Target, source: Source) -> Target:
    """With images where the source has them, as a plate or a series of bioformats2raw.

    A run that an earlier version began with numbers is gone on with as it is.
    """
    found = source.collected
    if found is None or not (found.collection.plate or found.collection.kind == "series"):
        return target
    is_begun = not target.overwrite and KEY in own_attributes(target.location)
    if is_begun and target.members != found.paths:
        return target
    return replace(target, members=found.paths, collection=found.collection)


def _levels_around(
    label: Location, images: tuple[ImageStack, ...], version: OmeVersion, *, is_named: bool
) -> int | None:
    """How many levels the image has beside the first that gets a label image; None for no image.

    Raises
    ------
    ValueError, FileExistsError
        If that has no room for one.
    """
    check_label_place(label, images, version, is_named=is_named)
    paths = level_paths_at(image_around(label))
    return len(paths) - 1 if paths else None


def _location(place: StoreLike, label: str | None, *, is_series: bool) -> Location:
    """Where an output lies: a label image inside the image that is named, or where it is."""
    if label is None or hasattr(place, "shape"):
        return locate(place)
    if is_series and is_named(place, label):
        raise ValueError(
            f"The output {locate(place).name} is the place of one label image, and the source is a "
            "series; give the group of the images that they are of."
        )
    return locate(place) if is_series else label_location(place, label)


def check_kind(location: Location, array: StoredArray | None, *, is_series: bool) -> None:
    """Refuse a place that cannot be written block by block.

    Raises
    ------
    ValueError, FileExistsError
        If it is read-only, a file, or named like one of another format.
    """
    if array is not None and is_series:
        raise ValueError(
            "A series is written to a group with one array per image; give a path, a URL or a "
            "store as output, not an array."
        )
    check_written_to(location, is_read_only=array is not None and array.array.read_only)
    if array is not None and not holds_numbers(array.dtype):
        raise ValueError(
            f"The output {location.name} has dtype {array.dtype}; needed is an array of integers, "
            "floats of up to 64 bits, or booleans."
        )
    check_not_a_file(location)
    if is_zip(location):
        raise ValueError(
            f"The output {location.name} is a ZIP file, which cannot be written in parallel; "
            "give a folder."
        )
    format_ = format_named(location.name)
    if format_ is not None and not location.is_occupied:
        made = f", and make {format_.name} of that with {format_.made}" if format_.made else ""
        stem = PurePath(location.name).stem.removesuffix(".zarr")
        raise ValueError(
            f"The output {location.name} is named like {format_.name}, and what is written is a "
            f"Zarr folder: name it {stem}.zarr{made}."
        )


def check_written_to(location: Location, *, is_read_only: bool = False) -> None:
    """Refuse a place that cannot be written to.

    Raises
    ------
    ValueError
        If its store is opened read-only, or of a kind that is not written.
    """
    if location.why_not_written:
        raise ValueError(f"The output {location.name} is in {location.why_not_written}.")
    if location.store.read_only or is_read_only:
        raise ValueError(
            f"The output {location.name} is opened read-only; open it for writing, for example "
            "with zarr.open(path, mode='r+')."
        )


def _ome_version(output: Output, target: Target) -> OmeVersion | None:
    """The version of OME-Zarr that is written; that of a run which may be gone on with.

    Raises
    ------
    ValueError
        If it cannot be written there.
    """
    location = target.roots[0]
    if hasattr(output.place, "shape"):
        if output.label_image is not None:
            raise ValueError(
                f"label_image is {output.label_image!r}, and the output {location.name} is an "
                "array that is written into; give the place of an image, or leave label_image out."
            )
        if output.ome:
            raise ValueError(
                f"ome is {output.ome!r}, and the output {location.name} is an array that is "
                "written into; give the place of an image, or leave ome= out."
            )
        return None
    wanted = wanted_version(output, target.images, location, target.around)
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
                f"{output.ome!r} asks for; leave ome= out to go on with it, or give overwrite=True."
            )
        return version
    if output.ome is not None or output.label_image is not None:
        return wanted
    # An array of before, of which there is nothing but the record yet.
    # Asked for in a folder that is not there, the store would make it.
    is_there = location.local_path is None or location.local_path.is_dir()
    has_record = wanted is not None and is_there and Record(location).document() is not None
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
            f"The output is {what_is(place)}; needed is a path, a URL, a zarr store or a "
            "zarr array, for example 'predicted.zarr'."
        )
    return place
