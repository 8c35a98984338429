"""What writing to a place would harm: sources, arrays around it, readers of a group."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from ..image import ImageStack, locations_of, why_endangered
from ..store import Location, Surrounding, surroundings


def endangered(images: tuple[ImageStack, ...], location: Location) -> str:
    """Which source may read from a place that is written, and why; empty where none does."""
    reasons = ((image.source, why_endangered(image, location)) for image in images)
    return next((f"the source {name} may read from it: {why}" for name, why in reasons if why), "")


def check_not_a_file(location: Location) -> None:
    """Refuse as output what is no folder, and a link that leads to none.

    Raises
    ------
    FileExistsError
        If it is one of them.
    """
    if location.dangling:
        raise FileExistsError(
            f"The output {location.name} is a link to {location.dangling}, where there is "
            "nothing; make that folder, or give another place."
        )
    folder = location.local_path
    if folder is not None and folder.exists() and not folder.is_dir():
        kind = "file" if folder.is_file() else "device, and no folder"
        raise FileExistsError(f"The output {location.name} is a {kind}; give another place.")


def refuse_inside(location: Location, array: Location) -> None:
    """Refuse a place inside an array: its chunks' keys are paths, and some of ours may be one.

    Raises
    ------
    ValueError
        Always.
    """
    raise ValueError(
        f"The output {location.name} is inside the array {array.name}, among its chunks; give a "
        "place beside it."
    )


def check_around(location: Location) -> tuple[Surrounding, ...]:
    """Refuse a place inside an array; warn where readers would not see what is made there.

    The answer is what it lies in.
    """
    nodes = tuple(surroundings(location))
    for node in nodes:
        name = node.location.name
        if node.is_array:
            refuse_inside(location, node.location)
        if node.is_consolidated:
            warnings.warn(
                f"The metadata of {name} are consolidated: readers of that group will not see "
                f"{location.name} before zarr.consolidate_metadata({name!r}) is called again.",
                stacklevel=4,
            )
    return nodes


_LOOKED_AT = 1000


def check_apart(location: Location, images: Sequence[ImageStack], *, replaces: bool) -> None:
    """Refuse a place that is a source, around or inside it, or that links of one lead to.

    Where the output `replaces` what is there, all links of the source are looked at; else those of
    its first thousand entries: whether there are more would take a listing of all chunks.

    Raises
    ------
    ValueError
        If it is one.
    """
    links = list(location.links(_LOOKED_AT))
    for image in images:
        for source in locations_of(image):
            _check_apart(location, links, source, image, replaces=replaces)


def _check_apart(
    location: Location,
    links: Sequence[Location],
    source: Location,
    image: ImageStack,
    *,
    replaces: bool,
) -> None:
    if location.contains(source) and source.contains(location):
        raise ValueError(
            f"The output {location.name} is the input; give another place, the input is never "
            "written to."
        )
    if any(location.contains(link) for link in source.links(None if replaces else _LOOKED_AT)):
        raise ValueError(
            f"The output {location.name} holds chunks of the input {image.source}, which has links "
            "to them; give another place."
        )
    if any(map(source.contains, links)):
        raise ValueError(
            f"The output {location.name} has links into the input {image.source}, through which it "
            "would be written; give another place, the input is never written to."
        )
    if source.contains(location):
        raise ValueError(
            f"The output {location.name} is inside the input array {image.source}; give a place "
            "beside it."
        )
    if location.contains(source):
        raise ValueError(
            f"The output {location.name} is a parent of the input {image.source}, which it would "
            "replace; give a place beside it, for example a sibling in the input's group."
        )
