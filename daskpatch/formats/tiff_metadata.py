"""What a TIFF file says of axes, channels and voxel sizes: OME-XML's and ImageJ's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from ..store import Places
from .reader import VoxelSize
from .voxel_places import places_along

_COLOURS = "colours of a pixel"
"""What has no letter of its own beside channels."""


@dataclass(frozen=True, slots=True)
class Told:
    """Names of axes and channels, and where voxels lie; as in `Facts`."""

    axis_names: tuple[str, ...]
    channel_names: tuple[str, ...] = ()
    places: Places | None = None


def described(tiff: Any, series: Any) -> Told:
    """What a file says of one of its images; of the first of a pyramid's levels."""
    letters = str(series.axes)
    colours = _COLOURS if "C" in letters else "C"
    # tifffile's S are the colours of a pixel, not samples.
    axes = tuple(colours if letter == "S" else letter for letter in letters)
    if tiff.is_ome and series.kind == "ome":
        image = _ome_image(tiff, series)
        if image is not None:
            sizes, names = _of_ome(image)
            return Told(axes, names, places_along(axes, sizes))
    if tiff.is_imagej:
        return Told(axes, (), places_along(axes, _of_imagej(tiff)))
    return Told(axes)


def _ome_image(tiff: Any, series: Any) -> ElementTree.Element | None:
    """The image's element in the OME-XML; None where it cannot be told."""
    try:
        root = ElementTree.fromstring(tiff.ome_metadata or "<OME/>")
    except ElementTree.ParseError:
        return None
    images = [each for each in root.iter() if _tag(each) == "Image"]
    index = next((i for i, each in enumerate(tiff.series) if each is series), None)
    if index is None or len(images) != len(tiff.series):
        return None
    return images[index]


def _of_ome(image: ElementTree.Element) -> tuple[dict[str, VoxelSize], tuple[str, ...]]:
    """Voxel sizes and names of channels."""
    pixels = next((each for each in image.iter() if _tag(each) == "Pixels"), None)
    if pixels is None:
        return {}, ()
    told = pixels.attrib
    fields = [(f"PhysicalSize{axis}", axis, "µm") for axis in "XYZ"]
    fields.append(("TimeIncrement", "T", "s"))
    sizes = {
        axis: (float(told[field]), _ome_unit(told.get(f"{field}Unit", default)))
        for field, axis, default in fields
        if _is_number(told.get(field))
    }
    channels = [each for each in pixels if _tag(each) == "Channel"]
    names = tuple(each.get("Name") or each.get("ID") or "" for each in channels)
    is_named = any(each.get("Name") for each in channels)
    return sizes, names if is_named else ()


def _of_imagej(tiff: Any) -> dict[str, VoxelSize]:
    """Voxel sizes, where the image is calibrated."""
    told: Mapping[str, Any] = tiff.imagej_metadata or {}
    unit = _unescaped(str(told.get("unit", ""))).strip()
    page = tiff.pages[0]
    sizes: dict[str, VoxelSize] = {}
    if unit and unit.lower() not in ("pixel", "pixels"):
        for axis, name in (("X", "XResolution"), ("Y", "YResolution")):
            tag = page.tags.get(name)
            if tag is not None and all(tag.value):
                sizes[axis] = (tag.value[1] / tag.value[0], unit)
        if _is_number(told.get("spacing")):
            sizes["Z"] = (abs(float(told["spacing"])), unit)
    if _is_number(told.get("finterval")):
        sizes["T"] = (float(told["finterval"]), "s")
    return sizes


def _ome_unit(unit: str) -> str | None:
    """None for those that are none: pixels, and those of a reference frame."""
    return None if unit in ("pixel", "reference frame") else unit


def _unescaped(text: str) -> str:
    r"""ImageJ writes letters that are not of ASCII as \u00B5."""
    return re.sub(r"\\u([0-9A-Fa-f]{4})", lambda found: chr(int(found[1], 16)), text)


def _tag(element: ElementTree.Element) -> str:
    return str(element.tag).rpartition("}")[2]


def _is_number(text: Any) -> bool:
    try:
        float(text)
    except (TypeError, ValueError):
        return False
    return True
