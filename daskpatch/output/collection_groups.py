"""The groups around the images of a series that is written as a plate, or as bioformats2raw does.

https://ngff.openmicroscopy.org/0.5/ (plate, well and bioformats2raw.layout metadata), and 0.4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from posixpath import dirname
from typing import Any

from ..store import Collection, Plate
from .ome_metadata import OmeVersion

_LAYOUT = 3
"""Of bioformats2raw: the only one that OME-Zarr has."""


def groups_around(
    collection: Collection, members: Sequence[str], name: str, version: OmeVersion
) -> dict[str, dict[str, Any]]:
    """The attributes of each group around images, by its path; the outermost last.

    Parameters
    ----------
    collection
        What the source is.
    members
        The paths of the images that are written.
    name, version
        Of a plate that has none of its own; of OME-Zarr.
    """
    if collection.plate is None:
        return {
            "OME": _told({"series": list(members)}, version),
            "": _told({"bioformats2raw.layout": _LAYOUT}, version),
        }
    fields = {well: list(paths) for well, paths in groupby(members, dirname)}
    acquired = collection.plate.acquired
    wells = {well: _well(well, paths, acquired, version) for well, paths in fields.items()}
    rows = {dirname(well): dict[str, Any]() for well in wells}
    return {**rows, **wells, "": _plate(collection.plate, fields, name, version)}


def _well(
    well: str, paths: Sequence[str], acquired: Mapping[str, int], version: OmeVersion
) -> dict[str, Any]:
    images = [
        {
            "path": path.removeprefix(f"{well}/"),
            **({"acquisition": acquired[path]} if path in acquired else {}),
        }
        for path in paths
    ]
    return _told({"well": {"images": images, "version": version}}, version)


def _plate(
    plate: Plate, fields: Mapping[str, Sequence[str]], name: str, version: OmeVersion
) -> dict[str, Any]:
    told = {
        "name": plate.name or name,
        "rows": [{"name": row} for row in plate.rows],
        "columns": [{"name": column} for column in plate.columns],
        "wells": [
            {"path": well, "rowIndex": plate.wells[well][0], "columnIndex": plate.wells[well][1]}
            for well in fields
        ],
        "field_count": max(map(len, fields.values())),
        "version": version,
    }
    if plate.acquisitions:
        told["acquisitions"] = list(plate.acquisitions)
    return _told({"plate": told}, version)


def _told(attributes: dict[str, Any], version: OmeVersion) -> dict[str, Any]:
    return attributes if version == "0.4" else {"ome": {"version": version, **attributes}}
