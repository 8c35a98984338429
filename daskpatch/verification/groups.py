"""Whether the groups that an output's arrays lie in are what readers need to find them."""

from __future__ import annotations

from collections.abc import Iterator

from ..store import BrokenError, Location, existing_array, level_paths_at, node_at
from .outputs import RecordedRun


def broken_groups(run: RecordedRun, output: Location) -> dict[str, str]:
    """What is wrong with groups around arrays that are there, by the names of the groups.

    `output` is the place that was asked about: of a series the groups from there on are looked at,
    of an image its own.
    """
    reasons = {group.name: _reason(group) for group in _groups(run, output)}
    return {name: reason for name, reason in reasons.items() if reason}


def _groups(run: RecordedRun, output: Location) -> Iterator[Location]:
    """The groups, each once, the outer ones first."""
    places: dict[str, Location] = {}
    for image in run.images:
        top = output if output.contains(image.place) else image.place
        for blocks in (image.blocks, *run.levels_of(image)):
            for location, array in zip(blocks.locations, blocks.arrays, strict=True):
                if array is not None:
                    places |= {group.name: group for group in _between(top, location)}
    yield from sorted(places.values(), key=lambda group: len(group.parts))


def _between(top: Location, array: Location) -> Iterator[Location]:
    """What lies around an array, up to a place around it."""
    around = array.parent
    while around is not None and top.contains(around):
        yield around
        around = around.parent


def _reason(group: Location) -> str:
    try:
        node = node_at(group)
    except BrokenError:
        return "its metadata are broken: put them right, or delete them and give resume=True"
    if node is None:
        return "its metadata are gone: resume=True writes them anew"
    if node.array is not None:
        return "its metadata are those of an array: delete them, and give resume=True"
    gone = [path for path in level_paths_at(group) if existing_array(group.at(path)) is None]
    if gone:
        return f"its multiscales name {', '.join(gone)}, which is not there"
    return ""
