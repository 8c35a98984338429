"""OME-Zarr images, versions 0.4 to 0.6: their arrays, axes and scales.

https://ngff.openmicroscopy.org/0.5/ (multiscales metadata).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import zarr
from msgspec import Meta, Struct

from ..support import converted
from .location import Location, check_inside
from .nodes import own_attributes

_VERSIONS = ("0.4", "0.5", "0.6")


class _Axis(Struct):
    name: str
    unit: Any = None


class _System(Struct):
    """Of 0.6, where axes are those of a coordinate system."""

    axes: Annotated[list[_Axis], Meta(min_length=1)]


class _Dataset(Struct, rename="camel"):
    path: str
    coordinate_transformations: Any = None


class _Multiscale(Struct, rename="camel"):
    """What is read of one; the rest of it may be anything."""

    datasets: Annotated[list[_Dataset], Meta(min_length=1)]
    axes: list[_Axis] = []
    coordinate_systems: list[_System] = []
    coordinate_transformations: Any = None
    name: Any = None

    def __post_init__(self) -> None:
        if not self.axes and not self.coordinate_systems:
            raise ValueError("Object missing required field `axes`")

    @property
    def own_axes(self) -> list[_Axis]:
        return self.axes or self.coordinate_systems[0].axes


class _Transformation(Struct):
    """A scale, a translation, or several; their numbers may lie elsewhere, which is not read."""

    type: Literal["scale", "translation", "identity", "sequence"]
    scale: tuple[float, ...] = ()
    translation: tuple[float, ...] = ()
    transformations: list[_Transformation] = []


Places = tuple[tuple[float, float, str | None], ...]
"""Per axis: how far apart voxels are, where the centre of the first lies, and in which unit."""


@dataclass(frozen=True, slots=True)
class OmeLevel:
    """An array of an image: its path in the group, and where its voxels lie.

    `scale` and `translation` have a number per axis, in its unit; they are None where that is not
    told.
    """

    path: str
    scale: tuple[float, ...] | None
    translation: tuple[float, ...] | None

    def places(self, units: tuple[str | None, ...]) -> Places | None:
        """Scale, translation and unit, axis by axis; None where they are not told."""
        if self.scale is None or self.translation is None:
            return None
        return tuple(zip(self.scale, self.translation, units, strict=True))


@dataclass(frozen=True, slots=True)
class OmeImage:
    """What an OME-Zarr image says of itself.

    Attributes
    ----------
    version
        Of the specification.
    name
        Of the image; empty where it has none.
    axis_names, units
        One per axis; None for those without a unit.
    levels
        Its arrays, the finest first.
    channel_names
        Of how it is to be shown; empty where that is not told.
    """

    version: str
    name: str
    axis_names: tuple[str, ...]
    units: tuple[str | None, ...]
    levels: tuple[OmeLevel, ...]
    channel_names: tuple[str, ...]


def is_ome(group: zarr.Group) -> bool:
    """Whether a group says that it is an OME-Zarr image."""
    return bool(_multiscales(group.attrs.asdict()))


def ome_images(group: zarr.Group, name: str, *, has_path: bool = True) -> tuple[OmeImage, ...]:
    """What a group says of the images (multiscales) that it holds, most often one.

    Parameters
    ----------
    group
        One for which `is_ome` is true.
    name
        What it is called in errors.
    has_path
        Whether its arrays have paths by which they can be opened: its name is one.

    Raises
    ------
    ValueError
        If the version is none that is read, or the metadata cannot be understood; the field that
        is wrong is named.
    """

    def array_of(path: str) -> str:
        return f"{name}/{path}" if has_path else f"group[{path!r}]"

    attributes = group.attrs.asdict()
    found = _multiscales(attributes)
    version = str(_version(attributes, found))
    if not version.startswith(_VERSIONS):
        raise ValueError(
            f"{name} is an OME-Zarr image of version {version:.40}; 0.4 to 0.6 are read. Open one "
            f"of its arrays with axes=, for example {array_of('0')}."
        )
    try:
        images = converted(found, Annotated[list[_Multiscale], Meta(min_length=1)])
        for image in images:
            for number, dataset in enumerate(image.datasets):
                check_inside(dataset.path, f"datasets[{number}].path")
    except ValueError as error:  # msgspec's is one
        raise ValueError(
            f"The OME metadata of {name} (multiscales) are malformed: {error}. Open one of its "
            f"arrays with axes=, for example {array_of('0')}."
        ) from None
    channel_names = _channel_names(attributes)
    return tuple(
        OmeImage(
            version=version,
            name=image.name if isinstance(image.name, str) else "",
            axis_names=tuple(axis.name for axis in image.own_axes),
            units=tuple(a.unit if isinstance(a.unit, str) else None for a in image.own_axes),
            levels=_levels(image, version, name, array_of),
            channel_names=channel_names,
        )
        for image in images
    )


def _levels(
    image: _Multiscale, version: str, name: str, array_of: Callable[[str], str]
) -> tuple[OmeLevel, ...]:
    """The arrays, the finest first, whatever their order in the metadata."""
    try:
        places = [_place(image, dataset) for dataset in image.datasets]
    except ValueError as error:  # msgspec's is one
        if version.startswith("0.6"):  # which may place voxels in ways that are not read
            raise ValueError(
                f"{name} is an OME-Zarr image of version {version:.40}, whose transformations are "
                f"not all read: {error}. Open one of its arrays with axes=, for example "
                f"{array_of(image.datasets[0].path)}."
            ) from None
        warnings.warn(
            f"The scale of {name} (coordinateTransformations) cannot be understood, and is left "
            f"out: {error}.",
            stacklevel=2,
        )
        return tuple(OmeLevel(dataset.path, None, None) for dataset in image.datasets)
    levels = [
        OmeLevel(dataset.path, scale, translation)
        for dataset, (scale, translation) in zip(image.datasets, places, strict=True)
    ]
    # Along an axis that is mirrored, or falls, the scale is negative.
    return tuple(sorted(levels, key=lambda level: abs(math.prod(level.scale or ()))))


def _place(image: _Multiscale, dataset: _Dataset) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Scale and translation of an array: its own, then those of the whole image."""
    n_axes = len(image.own_axes)
    scale, translation = (1.0,) * n_axes, (0.0,) * n_axes
    own = _told(dataset.coordinate_transformations)
    if not any(one.type in ("scale", "identity") for one in own):
        raise ValueError(f"{dataset.path} has no scale")
    for told in (own, _told(image.coordinate_transformations)):
        for one in _in_order(told):
            if one.type == "scale":
                factors = _per_axis(one.scale, n_axes)
                scale = tuple(s * f for s, f in zip(scale, factors, strict=True))
                translation = tuple(t * f for t, f in zip(translation, factors, strict=True))
            else:
                shifts = _per_axis(one.translation, n_axes)
                translation = tuple(t + d for t, d in zip(translation, shifts, strict=True))
    if 0 in scale:
        raise ValueError(f"{dataset.path} has the scale {scale}, and 0 is none")
    return scale, translation


def _told(transformations: Any) -> list[_Transformation]:
    return list(_flat(converted(transformations or [], list[_Transformation])))


def _flat(transformations: list[_Transformation]) -> Iterator[_Transformation]:
    for one in transformations:
        yield one
        yield from _flat(one.transformations)


def _in_order(transformations: Iterable[_Transformation]) -> list[_Transformation]:
    """A scale, a translation, or both in this order, as OME-Zarr has them; others mean nothing."""
    found = [one for one in transformations if one.type in ("scale", "translation")]
    kinds = [one.type for one in found]
    if kinds not in ([], ["scale"], ["translation"], ["scale", "translation"]):
        raise ValueError(f"needed is a scale, then a translation, and there are {kinds}")
    return found


def _per_axis(numbers: tuple[float, ...], n_axes: int) -> tuple[float, ...]:
    if len(numbers) != n_axes or not all(map(math.isfinite, numbers)):
        raise ValueError(f"{numbers} is not a number for each of the {n_axes} axes")
    return numbers


class _Channel(Struct):
    label: str


class _Omero(Struct):
    channels: list[_Channel]


def _channel_names(attributes: Mapping[str, Any]) -> tuple[str, ...]:
    """Of how images are to be shown; nothing where that is not told, or cannot be understood."""
    inner = attributes.get("ome", attributes)
    said = inner.get("omero") if isinstance(inner, Mapping) else None
    try:
        return tuple(channel.label for channel in converted(said, _Omero).channels)
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


def level_paths_at(place: Location) -> tuple[str, ...]:
    """The levels that the OME-Zarr image at a place lists; none where there is no image."""
    try:
        first, *_ = converted(_multiscales(own_attributes(place)), list[_Multiscale])
    except ValueError:  # msgspec's is one
        return ()
    return tuple(dataset.path for dataset in first.datasets)


def image_version_at(place: Location) -> str | None:
    """The version of the OME-Zarr image at a place; None where there is none."""
    attributes = own_attributes(place)
    found = _multiscales(attributes)
    return str(_version(attributes, found)) if found else None
