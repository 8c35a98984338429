"""OME-Zarr metadata of what is written: axes, scale, translation, channels.

https://ngff.openmicroscopy.org/0.5/ (multiscales and omero), and 0.4 in groups of Zarr v2.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from ..geometry import Coordinates, Dimensions, long_unit
from ..image import ImageStack, ome_version_of, uneven_axes
from ..store import Location, Surrounding, format_among
from .output import Output

OmeVersion = Literal["0.4", "0.5"]

_ORDER = "TCZYX"

_TYPES = {"T": "time", "C": "channel"}

_PREFIXES = (
    "atto", "centi", "deca", "deci", "exa", "femto", "giga", "hecto", "kilo", "mega", "", "micro",
    "milli", "nano", "peta", "pico", "tera", "yocto", "yotta", "zepto", "zetta",
)  # fmt: skip

_UNITS = {
    "space": {
        *(f"{prefix}meter" for prefix in _PREFIXES),
        *("angstrom", "foot", "inch", "mile", "parsec", "yard"),
    },
    "time": {*(f"{prefix}second" for prefix in _PREFIXES), *("day", "hour", "minute")},
}
"""Those that OME-Zarr has, by the type of axis."""

_COLOURS = ("00FFFF", "FF00FF", "FFFF00", "FF0000", "00FF00", "0000FF")

Range = tuple[float, float]


def wanted_version(
    output: Output,
    images: Sequence[ImageStack],
    location: Location | None,
    around: Sequence[Surrounding] = (),
) -> OmeVersion | None:
    """The version of OME-Zarr that is written, in a place `around` which these nodes are.

    None for bare arrays.

    Raises
    ------
    ValueError
        If it cannot be: samples have no place in it, nor has one version in a group of the other.
    """
    asked = output.ome
    if asked is None and output.label_image is not None:
        asked = True
    if asked is None:
        asked = any(ome_version_of(image) is not None for image in images)
        asked = asked and all("S" not in image.original_axes for image in images)
    if asked is False:
        return None
    axes = next((i.original_axes for i in images if "S" in i.original_axes), None)
    if axes is not None:
        raise ValueError(
            f"The source's axes are {axes}, and OME-Zarr has no samples (S); open it with other "
            f"axes (T for times, C for colours), or {_bare(output)}."
        )
    _warn_of_uneven(images)
    # Of a label image the group of labels, and that of the image, may be still to be made.
    reach = 1 if output.label_image is None else 3
    zarr_format = format_among(around, reach=reach)
    if asked == "0.5" and zarr_format == 2:
        raise ValueError(
            f"ome is '0.5', and the output {'' if location is None else location.name} lies in a "
            "Zarr v2 group, whose readers see no Zarr v3; give ome='0.4', or another place."
        )
    if asked in ("0.4", "0.5"):
        return asked
    return "0.4" if zarr_format == 2 else "0.5"


def _warn_of_uneven(images: Sequence[ImageStack]) -> None:
    along = {image.source: uneven_axes(image) for image in images}
    source = next((source for source, axes in along.items() if axes), None)
    if source is not None:
        warnings.warn(
            f"The coordinate of {source} along {', '.join(along[source])} is not evenly spaced, "
            "which OME-Zarr cannot say: voxels are the unit there.",
            stacklevel=2,
        )


def _bare(output: Output) -> str:
    """What to give for a bare array."""
    return "give ome=False" if output.label_image is None else "leave label_image out"


def in_order(dims: Dimensions, *, is_label: bool = False) -> Dimensions:
    """The same dimensions in OME-Zarr's order of axes: time, channel, space.

    Of a label image without channels, of which it has one.
    """
    sizes = dict(zip(dims.axes, dims.shape, strict=True))
    axes = "".join(axis for axis in _ORDER if axis in sizes and not (is_label and axis == "C"))
    return replace(dims, axes=axes, shape=tuple(sizes[axis] for axis in axes))


def image_attributes(
    version: OmeVersion,
    name: str,
    levels: Mapping[str, Coordinates],
    *,
    channels: Sequence[str] = (),
    window: Range | None = None,
    label: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The attributes of an image's group.

    Parameters
    ----------
    version, name
        Of OME-Zarr; of the image.
    levels
        Paths of the arrays, the finest first, and where their voxels lie.
    channels, window
        Names of channels, and the range in which they are shown; without either nothing is said of
        how the image is shown.
    label
        Of a label image: what is said of its labels.
    """
    first = next(iter(levels.values()))
    image = {
        "name": name,
        "axes": _axes(first, name),
        "datasets": [_dataset(path, places) for path, places in levels.items()],
    }
    told: dict[str, Any] = {"multiscales": [image]}
    if channels and window is not None:
        told["omero"] = {"channels": list(_shown(channels, window))}
    if label is not None:
        told["image-label"] = {**({"version": version} if version == "0.4" else {}), **label}
    if version == "0.4":
        image["version"] = version
        return told
    return {"ome": {"version": version, **told}}


def with_level(
    attributes: Mapping[str, Any],
    path: str,
    before: str,
    coarser: Callable[[Coordinates], Coordinates],
) -> dict[str, Any]:
    """The attributes of an image's group, in which a further level is listed last, by its path.

    Its voxels lie where those of the level before do, made coarser. What else is said there, by
    whomever, stays; a level that is listed already keeps its place.

    Raises
    ------
    KeyError, TypeError, ValueError
        If they do not say where the level before lies.
    """
    changed: dict[str, Any] = copy.deepcopy(dict(attributes))
    (image, *_) = changed.get("ome", changed)["multiscales"]
    by_path = {level["path"]: level["coordinateTransformations"] for level in image["datasets"]}
    if path in by_path:
        return changed
    kinds = [each["type"] for each in by_path[before]]
    if kinds not in (["scale"], ["scale", "translation"]):
        raise ValueError(f"needed is a scale, then a translation, and there are {kinds}")
    said = {each["type"]: tuple(each[each["type"]]) for each in by_path[before]}
    scale = said["scale"]
    translation = said.get("translation", (0.0,) * len(scale))
    # Axes may have names of several letters, and are told apart by any.
    finer = Coordinates("STCZYX"[-len(scale) :], scale, translation, (None,) * len(scale))
    image["datasets"].append(_dataset(path, coarser(finer)))
    return changed


def window_of(dtype: np.dtype[Any], found: Range | None) -> Range | None:
    """The range that an image is shown in: of its dtype, or what was found of floats."""
    if dtype.kind == "b":
        return 0.0, 1.0
    if dtype.kind in "iu":
        return float(np.iinfo(dtype).min), float(np.iinfo(dtype).max)
    if found is None or found[0] < found[1]:
        return found
    # Of one value alone: napari refuses an image whose window has no width.
    return min(found[0], 0.0), max(found[1], 1.0)


def _axes(places: Coordinates, name: str) -> list[dict[str, str]]:
    axes = []
    for axis, unit in zip(places.axes, places.units, strict=True):
        told = {"name": axis.lower(), "type": _TYPES.get(axis, "space")}
        long = None if unit is None else long_unit(unit)
        if long in _UNITS.get(told["type"], ()):
            told["unit"] = str(long)
        elif unit is not None:
            warnings.warn(
                f"The unit {unit!r} of axis {axis} of {name} is none that OME-Zarr has; it is left "
                "out.",
                stacklevel=2,
            )
        axes.append(told)
    return axes


def _dataset(path: str, places: Coordinates) -> dict[str, Any]:
    return {"path": path, "coordinateTransformations": _transformations(places)}


def _transformations(places: Coordinates) -> list[dict[str, Any]]:
    return [
        {"type": "scale", "scale": list(places.scale)},
        {"type": "translation", "translation": list(places.translation)},
    ]


def _shown(names: Sequence[str], window: Range) -> Sequence[dict[str, Any]]:
    low, high = window
    colours = ("FFFFFF",) if len(names) == 1 else _COLOURS
    return [
        {
            "label": name,
            "color": colours[number % len(colours)],
            "active": True,
            "window": {"min": low, "max": high, "start": low, "end": high},
        }
        for number, name in enumerate(names)
    ]
