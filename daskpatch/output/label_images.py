"""Label images: where they lie in an image, and what they can be.

```
out.zarr/             the image that they are of, or a plain group
    labels/           lists them
        nuclei/       the label image, an OME-Zarr image without channels
            0/  1/    its levels
```
"""

from __future__ import annotations

import os
import posixpath
import re
import warnings
from collections.abc import Sequence

import numpy as np

from ..image import ImageStack, location_of
from ..model import OutputArray
from ..store import (
    LABELS,
    Location,
    Node,
    Objects,
    StoreLike,
    check_labels,
    image_version_at,
    locate,
    node_at,
    plain_name,
)
from ..support import need
from .harm import check_not_a_file

_PLAIN = re.compile(r"(?!__)[^./\\\0][^/\\\0]*")
"""Zarr has names that begin with two underscores for itself, and readers hide those with a dot."""

_LONGEST = 255


def check_label_name(name: str, label: object) -> object:
    """The name of a label image, which is that of a folder; None for none.

    Raises
    ------
    ValueError
        If it can be none.
    """
    is_plain = isinstance(label, str) and _PLAIN.fullmatch(label) is not None
    is_free = is_plain and plain_name(str(label)) == label and label != "zarr.json"
    fits = is_free and len(str(label).encode(errors="replace")) <= _LONGEST
    need(label is None or fits, name, label, "a name such as 'nuclei': the last part of its place")
    return label


def label_location(place: StoreLike, name: str) -> Location:
    """Where a label image lies: among the labels of an image, or at the place if that is there.

    >>> label_location("out.zarr", "nuclei").name, label_location("a/labels/b", "b").name
    ('out.zarr/labels/nuclei', 'a/labels/b')

    Raises
    ------
    ValueError
        If what is around a store cannot be told.
    """
    return _image_of(place, name).at(f"{LABELS}/{name}")


def _image_of(place: StoreLike, name: str) -> Location:
    location = locate(place)
    if not is_named(place, name):
        return location
    if isinstance(place, str | os.PathLike):
        text = os.fspath(place).rstrip("/")
        return locate(posixpath.dirname(posixpath.dirname(text)) or ".")
    image = location.at("../..") if location.path.count("/") else None
    if image is None and location.local_path is not None:
        image = locate(location.local_path.parent.parent)
    if image is None:
        raise ValueError(
            f"The output {location.name} is the place of a label image, and the image around it "
            "lies outside of the store that was given; give that image's store, or a URL."
        )
    return image


def is_named(place: StoreLike, name: str) -> bool:
    """Whether a place is that of a label image itself, not that of an image which has it."""
    # A URL may have the name in its own spelling.
    if isinstance(place, str | os.PathLike) and "://" not in os.fspath(place):
        return os.fspath(place).rstrip("/").split("/")[-2:] == [LABELS, name]
    return locate(place).parts[-2:] == (LABELS, name)


def image_around(label: Location) -> Location:
    """The place of the image that a label image is of."""
    return label.at("../..")


def check_label_place(
    label: Location, images: Sequence[ImageStack], version: str, *, is_named: bool
) -> None:
    """Refuse a place in no image, nor in what may become a group; or in the source, unasked.

    Raises
    ------
    ValueError, FileExistsError
        If it is one.
    """
    image, name = image_around(label), label.path.rpartition("/")[2]
    _check_not_among(image, name)
    for each in images:
        source = location_of(each)
        if not is_named and source is not None and image.contains(source):
            raise ValueError(
                f"The output {image.name} is the input, or around it. A label image is written "
                f"into the image that it is of if it is named there: give {label.name}."
            )
    check_not_a_file(image)
    there = node_at(image)
    if there is None:
        _check_free(image)
        return
    _check_image(image, there, version)
    check_labels(image)


def _check_not_among(place: Location, name: str) -> None:
    """Refuse the group of an image's label images as an image, and all that lies in it."""
    if place.parts[-1:] == (LABELS,):
        raise ValueError(
            f"The output {place.name} is a group of label images; give {place.name}/{name}, or the "
            "image around it."
        )
    label: Location | None = place
    while label is not None:
        labels = label.parent if label.parts[-2:-1] == (LABELS,) else None
        image = None if labels is None else labels.parent
        if image is not None and _is_seen(image):
            raise ValueError(
                f"The output {place.name} is {'' if label is place else 'inside '}the place of "
                f"another label image than {name!r}, which label_image names; give that one's "
                f"place, {image.name}/{LABELS}/{name}."
            )
        label = label.parent


def _is_seen(image: Location) -> bool:
    """Whether something is at a place; in a bucket what lies around may be closed to us."""
    try:
        return node_at(image) is not None
    except PermissionError:
        return False


def _check_free(image: Location) -> None:
    """Refuse a folder of something else than Zarr, which would become a group."""
    folder = image.local_path
    if folder is not None and not folder.is_dir():
        return
    # What an interrupted run left is its record, inside the label image.
    others = [name for name in Objects(image).entries() if name != LABELS]
    if others:
        raise FileExistsError(
            f"{image.name} is a folder of something else than a Zarr group ({others[0]}), and "
            "label images lie in an image; give the place of one, or a new one."
        )


def _check_image(image: Location, there: Node, version: str) -> None:
    inner = there.attributes.get("ome", there.attributes)
    kinds = [kind for kind in ("plate", "well", "bioformats2raw.layout") if kind in inner]
    if kinds:
        raise ValueError(
            f"The output {image.name} is a group of images ({kinds[0]}), and label images lie in "
            f"one of these; give its place, for example {image.name}/0."
        )
    found = image_version_at(image)
    if found not in (None, version):
        raise ValueError(
            f"The output {image.name} is an OME-Zarr image of version {found}, and its label image "
            f"would be of {version}; give another place, or ome={found!r} if that is 0.4 or 0.5."
        )


def warn_of_labels_place(place: Location) -> None:
    """Say of an output among an image's label images that viewers will not take it for one."""
    group = place.parent if place.parts[-2:-1] == (LABELS,) else None
    image = None if group is None else group.parent
    if image is not None and image_version_at(image) is not None:
        name = place.parts[-1]
        warnings.warn(
            f"The output {place.name} lies among the label images of an image, and would be none "
            f"that is listed or shown; give label_image={name!r}, or another place.",
            stacklevel=4,
        )


def check_labels_made(made: Sequence[OutputArray], name: str) -> None:
    """Refuse what is no label image: several arrays or channels, or no integers.

    Raises
    ------
    ValueError
        If it is none.
    """
    if len(made) > 1:
        names = ", ".join(output.name for output in made)
        raise ValueError(
            f"label_image is {name!r}, and the model gives several arrays ({names}); a label image "
            "is one. Give a post= that keeps one of them."
        )
    (output,) = made
    if output.channels > 1:
        raise ValueError(
            f"label_image is {name!r}, and the model gives {output.channels} channels; a label "
            "image has none. Give a post= that makes one of them, for example "
            "lambda block: block.argmax(0, keepdims=True)."
        )
    kind = np.dtype(output.dtype).kind
    if kind not in "iu":
        fix = "uint8" if kind == "b" else "uint32"
        raise ValueError(
            f"label_image is {name!r}, and the output is of {output.dtype}; labels are integers. "
            f"Give dtype={fix!r}, or another that holds them."
        )
