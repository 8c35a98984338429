"""OME-Zarr images, versions 0.4 and 0.5: which array is full resolution, and its axes.

https://ngff.openmicroscopy.org/0.5/ (multiscales metadata).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import zarr
from msgspec import Meta, Struct

from .location import check_inside


class _Axis(Struct):
    name: str


class _Dataset(Struct):
    path: str


class _Multiscale(Struct):
    """What is read of one; the rest of it may be anything."""

    axes: Annotated[list[_Axis], Meta(min_length=1)]
    datasets: Annotated[list[_Dataset], Meta(min_length=1)]


@dataclass(frozen=True, slots=True)
class OmeLevel:
    """An array of a multiscale image."""

    path: str
    axis_names: tuple[str, ...]
    channel_names: tuple[str, ...]


def is_ome(group: zarr.Group) -> bool:
    """Whether a group says that it is an OME-Zarr image."""
    return bool(_multiscales(group.attrs.asdict()))


def ome_level(group: zarr.Group, name: str) -> OmeLevel:
    """Level 0 of an OME-Zarr image.

    Raises
    ------
    ValueError
        If the version is neither 0.4 nor 0.5, or the metadata cannot be understood; the field
        that is wrong is named.
    """
    attributes = group.attrs.asdict()
    found = _multiscales(attributes)
    version = str(_version(attributes, found))
    if version not in ("0.4", "0.5"):
        raise ValueError(
            f"{name} is an OME-Zarr image of version {version:.40}; 0.4 and 0.5 are read. Open one "
            f"of its arrays with axes=, for example {name}/0."
        )
    try:
        images = msgspec.convert(found, Annotated[list[_Multiscale], Meta(min_length=1)])
        first = images[0]
        path = check_inside(first.datasets[0].path, "datasets[0].path")
    except ValueError as error:  # msgspec's is one
        raise ValueError(
            f"The OME metadata of {name} (multiscales) are malformed: {error}. Open one of its "
            f"arrays with axes=, for example {name}/0."
        ) from None
    if len(images) > 1:
        other = images[1].datasets[0].path
        warnings.warn(
            f"{name} holds {len(images)} images (multiscales); the first is read, {path}. Name the "
            f"array of another, for example {name}/{other:.60}.",
            stacklevel=2,
        )
    return OmeLevel(path, tuple(axis.name for axis in first.axes), _channel_names(attributes))


class _Channel(Struct):
    label: str


class _Omero(Struct):
    channels: list[_Channel]


def _channel_names(attributes: Mapping[str, Any]) -> tuple[str, ...]:
    """Of how images are to be shown; nothing where that is not told, or cannot be understood."""
    inner = attributes.get("ome", attributes)
    said = inner.get("omero") if isinstance(inner, Mapping) else None
    try:
        return tuple(channel.label for channel in msgspec.convert(said, _Omero).channels)
    except ValueError:  # msgspec's is one
        return ()


def _multiscales(attributes: Mapping[str, Any]) -> Any:
    inner = attributes.get("ome", attributes)
    return inner.get("multiscales") if isinstance(inner, Mapping) else None


def _version(attributes: Mapping[str, Any], multiscales: Any) -> Any:
    if "ome" in attributes:
        return attributes["ome"].get("version", "unknown")
    first = multiscales[0] if isinstance(multiscales, list) else None
    if not isinstance(first, Mapping):
        return "0.4"  # whatever it is, its fields are to be named
    # 0.4 recommends the version but does not require it; its axes are objects, older ones' not.
    axes = first.get("axes")
    are_old = not axes or (isinstance(axes, list) and not isinstance(axes[0], Mapping))
    return first.get("version", "unknown" if are_old else "0.4")


class _Paths(Struct):
    """Wells of a plate, or images of a well."""

    wells: list[_Dataset] = msgspec.field(default_factory=list)
    images: list[_Dataset] = msgspec.field(default_factory=list)


def paths_in_plate(group: zarr.Group) -> tuple[str, list[str]]:
    """What a group is, of a plate, and the paths of what is in it: wells, or a well's images.

    Nothing where it is neither, or what it says cannot be understood.
    """
    attributes = group.attrs.asdict()
    inner = attributes.get("ome", attributes)
    for what in ("plate", "well"):
        said = inner.get(what) if isinstance(inner, Mapping) else None
        try:
            found = msgspec.convert(said, _Paths)
            paths = [check_inside(each.path, "path") for each in (*found.wells, *found.images)]
        except ValueError:  # msgspec's is one
            continue
        return what, paths
    return "", []
