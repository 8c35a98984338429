"""The `OME/METADATA.ome.xml` of a series: sizes, dtypes and voxels of its images.

https://www.openmicroscopy.org/Schemas/OME/2016-06 (Image, Pixels, MetadataOnly).
"""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree import ElementTree

import numpy as np

from ..geometry import Coordinates, Dimensions

_SCHEMA = "http://www.openmicroscopy.org/Schemas/OME/2016-06"

_TYPES = {"bool": "bit", "float16": "float", "float32": "float", "float64": "double"}
_TYPES |= dict.fromkeys(("int64", "uint64"), "double")
"""What OME calls otherwise than NumPy; it has no integers of 64 bits, and no short floats."""

_UNITS = {"nanometer": "nm", "micrometer": "µm", "millimeter": "mm", "meter": "m", "angstrom": "Å"}
"""Of the lengths that a voxel may have, by OME-Zarr's names."""


def ome_xml(images: Iterable[tuple[str, Dimensions, np.dtype[np.generic], Coordinates]]) -> bytes:
    """The document for images, each with name, dimensions, dtype and the place of its voxels."""
    root = ElementTree.Element("OME", xmlns=_SCHEMA)
    for number, (name, dims, dtype, places) in enumerate(images):
        image = ElementTree.SubElement(root, "Image", ID=f"Image:{number}", Name=name)
        sizes = dict(zip(dims.axes, dims.shape, strict=True))
        told = {"ID": f"Pixels:{number}", "DimensionOrder": "XYZCT"}
        told["Type"] = _TYPES.get(dtype.name, dtype.name)
        told |= {f"Size{axis}": str(sizes.get(axis, 1)) for axis in "XYZCT"}
        pixels = ElementTree.SubElement(image, "Pixels", told | _physical(places))
        for channel in range(sizes.get("C", 1)):
            identity = f"Channel:{number}:{channel}"
            ElementTree.SubElement(pixels, "Channel", ID=identity, SamplesPerPixel="1")
        ElementTree.SubElement(pixels, "MetadataOnly")
    document: bytes = ElementTree.tostring(root, encoding="UTF-8", xml_declaration=True)
    return document


def _physical(places: Coordinates) -> dict[str, str]:
    told = {}
    for axis, scale, unit in zip(places.axes, places.scale, places.units, strict=True):
        if axis in "XYZ" and unit in _UNITS:
            told[f"PhysicalSize{axis}"] = repr(scale)
            told[f"PhysicalSize{axis}Unit"] = _UNITS[unit]
    return told
