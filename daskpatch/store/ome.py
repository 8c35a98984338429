"""OME-Zarr images, versions 0.4 and 0.5: which array is full resolution, and its axes.

https://ngff.openmicroscopy.org/0.5/ (multiscales metadata).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import zarr


@dataclass(frozen=True, slots=True)
class OmeLevel:
    """An array of a multiscale image."""

    path: str
    axis_names: tuple[str, ...]


def is_ome(group: zarr.Group) -> bool:
    """Whether a group says that it is an OME-Zarr image."""
    return bool(_multiscales(group.attrs.asdict()))


def ome_level(group: zarr.Group, name: str) -> OmeLevel:
    """Level 0 of an OME-Zarr image.

    Raises
    ------
    ValueError
        If the version is neither 0.4 nor 0.5.
    """
    attributes = group.attrs.asdict()
    multiscale = _multiscales(attributes)[0]
    try:
        path = str(multiscale["datasets"][0]["path"])
        names = tuple(str(axis["name"]) for axis in multiscale["axes"])
    except (KeyError, IndexError, TypeError):
        path, names = "", ()
    version = str(_version(attributes, multiscale))
    if version not in ("0.4", "0.5"):
        raise ValueError(
            f"{name} is an OME-Zarr image of version {version}; 0.4 and 0.5 are read. Open one of "
            f"its arrays with axes=, for example {name}/{path or 0}."
        )
    if not path or not names:
        raise ValueError(
            f"The OME metadata of {name} lacks datasets with a path, or axes with names; open one "
            f"of its arrays with axes=, for example {name}/0."
        )
    return OmeLevel(path, names)


def _multiscales(attributes: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    inner = attributes.get("ome", attributes)
    found = inner.get("multiscales", []) if isinstance(inner, Mapping) else []
    return found if isinstance(found, list) else []


def _version(attributes: Mapping[str, Any], multiscale: Mapping[str, Any]) -> Any:
    if "ome" in attributes:
        return attributes["ome"].get("version", "unknown")
    # 0.4 recommends the version but does not require it; its axes are objects, older ones' not.
    has_named_axes = all(isinstance(axis, Mapping) for axis in multiscale.get("axes", [None]))
    return multiscale.get("version", "0.4" if has_named_axes else "unknown")
