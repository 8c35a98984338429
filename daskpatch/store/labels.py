"""The list of an image's label images: read, and added to.

https://ngff.openmicroscopy.org/0.5/ (labels metadata).
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ..support import DaemonThreads, converted, parsed, shown
from .backoff import with_backoff
from .location import Location, check_inside
from .nodes import attributes_at, own_attributes
from .objects import Objects

LABELS = "labels"
"""The group of an image in which its label images lie."""

_PAUSE = 0.1
"""Seconds at least after which a name that was added is looked for again."""

_GAPS = 5
"""The same in times between reading the list and having written it: others may take longer."""

_TRIES = 50

_AT_ONCE = 16

_DELAYS = (0.05, 0.1, 0.2, 0.5)


def label_names(image: Location) -> list[str]:
    """The label images of an image, by name; none where what it says cannot be understood."""
    try:
        return sorted(_names(own_attributes(image.child(LABELS))))
    except ValueError:
        return []


def check_labels(image: Location) -> None:
    """Refuse a list of label images that cannot be added to.

    Raises
    ------
    ValueError
        If it cannot be understood.
    OSError
        If it cannot be read.
    """
    labels = image.child(LABELS)
    try:
        _names(attributes_at(labels))
    except ValueError as error:
        raise ValueError(
            f"The list of label images in {labels.name} cannot be understood ({error}), so that "
            "none can be added; put its metadata right."
        ) from None


def _names(attributes: Mapping[str, Any]) -> list[str]:
    inner = attributes.get("ome", attributes)
    if not isinstance(inner, Mapping):
        raise ValueError(f"ome is {shown(inner)}")
    names = converted(inner.get(LABELS, []), list[str])
    return [check_inside(name, LABELS) for name in names]


def list_label(images: Sequence[Location], name: str, version: str) -> None:
    """Name a label image in the lists of some images, last; what else is said there stays.

    A list is read just before it is written. Who adds to it at the same time may write over that:
    it is read again a while later, and added to again.

    Raises
    ------
    OSError
        If a list cannot be read or written, or others take the name from it again and again.
    ValueError
        If somebody made something else of it.
    """
    for _ in range(_TRIES):
        begin = time.monotonic()
        # All at once: far away each takes some requests, one after the other.
        with DaemonThreads(_AT_ONCE, "daskpatch-io") as pool:
            added = list(pool.map(lambda image: _added(image, name, version), images))
        images = [image for image, is_new in zip(images, added, strict=True) if is_new]
        if not images:
            return
        gap = time.monotonic() - begin
        # Not all at once again: those who lost a race would lose the next.
        time.sleep(max(_PAUSE, _GAPS * gap) * random.uniform(1, 2))
    raise OSError(
        f"The label image {name} was added to the list in {images[0].child(LABELS).name} "
        f"{_TRIES} times, and was gone each time; somebody else writes it. Resume when they are "
        "done."
    )


def _added(image: Location, name: str, version: str) -> bool:
    """Whether a name was not in the list of an image; then it is added.

    Others may write it in place: half of a document is waited for.
    """
    what = f"Reading the list of label images in {image.child(LABELS).name}"
    try:
        return with_backoff(
            lambda: _add(image, name, version), what, _DELAYS, lambda e: not _is_half(e)
        )
    except (ValueError, AttributeError) as error:
        raise ValueError(
            f"The list of label images in {image.child(LABELS).name} is no longer one, so that "
            f"{name} cannot be added ({type(error).__name__}: {error}); put its metadata right, "
            "and resume."
        ) from error


def _is_half(error: Exception) -> bool:
    return isinstance(error, json.JSONDecodeError | UnicodeDecodeError)


def _add(image: Location, name: str, version: str) -> bool:
    objects = Objects(image.child(LABELS))
    is_v2 = version == "0.4"
    document = ".zattrs" if is_v2 else "zarr.json"
    content = objects.read(document)
    if content is None and is_v2:
        objects.create(".zgroup", json.dumps({"zarr_format": 2}).encode())
    empty: dict[str, Any] = {} if is_v2 else {"zarr_format": 3, "node_type": "group"}
    told = empty if content is None else parsed(content)
    inner = told if is_v2 else _inner(told, version)
    names = converted(inner.get(LABELS, []), list[str])
    if name in names:
        return False
    inner[LABELS] = [*names, name]
    objects.write(document, json.dumps(told, indent=2).encode())
    return True


def _inner(document: dict[str, Any], version: str) -> dict[str, Any]:
    """What a group of Zarr v3 says under `ome`."""
    attributes = document.setdefault("attributes", {})
    inner: dict[str, Any] = attributes.setdefault("ome", {"version": version})
    return inner
