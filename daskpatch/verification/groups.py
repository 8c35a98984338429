"""Whether the groups that an output's arrays lie in are what readers need to find them."""

from __future__ import annotations

from collections.abc import Iterator

from ..store import BrokenError, Location, existing_array, level_paths_at, node_at
from .outputs import RecordedImage, RecordedRun


def broken_groups(run: RecordedRun, output: Location) -> dict[str, str]:
    """What is wrong with groups around arrays that are there, by the names of the groups.

    `output` is the place that was asked about: of a series the groups from there on are looked at,
    of an image its own.
    """
    levelled = {group.name for image in run.images for group in _groups_of_levels(image)}
    reasons = {
        group.name: _reason(group, zarr_format, has_levels=group.name in levelled)
        for group, zarr_format in _groups(run, output)
    }
    return {name: reason for name, reason in reasons.items() if reason}


def _groups(run: RecordedRun, output: Location) -> list[tuple[Location, int]]:
    """The groups, each once, the outer ones first; with the Zarr format of the arrays in them."""
    found: dict[str, tuple[Location, int]] = {}
    for image in run.images:
        top = output if output.contains(image.place) else image.place
        for blocks in (image.blocks, *run.levels_of(image)):
            for location, array in zip(blocks.locations, blocks.arrays, strict=True):
                if array is not None:
                    zarr_format = array.array.metadata.zarr_format
                    around = _between(top, location)
                    found |= {group.name: (group, zarr_format) for group in around}
    return sorted(found.values(), key=lambda group: len(group[0].parts))


def _groups_of_levels(image: RecordedImage) -> Iterator[Location]:
    """Those of OME-Zarr, in which full resolution is level 0 of each array's pyramid."""
    for location in image.blocks.locations:
        way = location.parts[len(image.place.parts) :]
        is_alone = len(image.blocks.locations) == 1
        if len(way) == (1 if is_alone else 2) and way[-1] == "0" and location.parent is not None:
            yield location.parent


def _between(top: Location, array: Location) -> Iterator[Location]:
    """What lies around an array, up to a place around it."""
    around = array.parent
    while around is not None and top.contains(around):
        yield around
        around = around.parent


def _reason(group: Location, zarr_format: int, *, has_levels: bool) -> str:
    try:
        node = node_at(group)
    except BrokenError:
        return "its metadata are broken: put them right, or delete them and give resume=True"
    if node is None:
        return "its metadata are gone: resume=True writes them anew"
    if node.array is not None:
        return "its metadata are those of an array: delete them, and give resume=True"
    if node.zarr_format != zarr_format:
        return (
            f"its metadata are none of Zarr v{zarr_format}, as its arrays are: delete them, and "
            "give resume=True"
        )
    paths = level_paths_at(group)
    if has_levels and not paths:
        return "no multiscales list its levels: delete what is left of them, and give resume=True"
    gone = [path for path in paths if existing_array(group.at(path)) is None]
    if gone:
        return f"its multiscales name {', '.join(gone)}, which is not there"
    return ""
