"""The images of a plate, a well, or a file that bioformats2raw converted: a series."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping
from fnmatch import fnmatchcase

from ..store import Collection, StoreLike
from ..support import DaemonThreads, counted, said_by, shown
from .array_image import ArrayImage

_AT_ONCE = 16
"""Images that are opened at a time: far away each takes several requests."""

_LISTED = 5


def chosen_paths(collection: Collection, fields: str | None, name: str) -> list[str]:
    """The images of a group that are asked for, by their paths; wells that are missing are named.

    Raises
    ------
    ValueError
        If there are none.
    """
    if fields is not None and collection.kind == "series":
        raise ValueError(
            f"fields is {shown(fields)}, and {name} is a series of images, no plate; choose one of "
            "them with image=."
        )
    if not collection.paths:
        why = "".join(f" {sentence}" for sentence in _left_out(collection, "it"))
        raise ValueError(f"{name} is a {collection.kind} without images.{why}")
    chosen = [path for path in collection.paths if fields is None or fnmatchcase(path, fields)]
    if not chosen:
        raise ValueError(
            f"fields is {shown(fields)}, which is none of {name}; it has "
            f"{_listed(collection.paths)}."
        )
    for sentence in _left_out(collection, name):
        warnings.warn(sentence, stacklevel=4)
    return chosen


def _left_out(collection: Collection, name: str) -> Iterator[str]:
    """What is listed and cannot be read, in sentences."""
    missing, broken = collection.missing, collection.broken
    if missing:
        not_there = (
            "is not there, or is no well" if len(missing) == 1 else "are not there, or no wells"
        )
        yield (
            f"{counted(len(missing), 'well')} that {name} lists {not_there}: {_listed(missing)}."
        )
    if broken:
        yield (
            f"{counted(len(broken), 'item')} of {name} cannot be understood and {_are(broken)} "
            f"left out: {_listed(broken)}."
        )


def path_of(collection: Collection, image: int | str, name: str) -> str:
    """One image of a series, by its path or its index.

    Raises
    ------
    ValueError
        If there is none such.
    """
    paths = collection.paths
    if isinstance(image, str) and image in paths:
        return image
    index = int(image) if isinstance(image, int) or image.isdecimal() else -1
    if 0 <= index < len(paths):
        return paths[index]
    raise ValueError(
        f"image is {shown(image)}, which is none of the {len(paths)} of {name}: {_listed(paths)}."
    )


class CollectedImages(list[ArrayImage]):
    """The images of a plate, a well or a series, with their paths in it."""

    def __init__(self, images: Mapping[str, ArrayImage], collection: Collection) -> None:
        super().__init__(images.values())
        self.paths, self.collection = tuple(images), collection


def opened_together(
    places: Mapping[str, StoreLike], open_one: Callable[[StoreLike], ArrayImage], name: str
) -> dict[str, ArrayImage]:
    """The images that can be opened and go together; the others are named in warnings.

    Raises
    ------
    OSError, ValueError
        If none can be opened.
    """

    def attempt(place: StoreLike) -> ArrayImage | Exception:
        try:
            return open_one(place)
        except (OSError, ValueError) as error:
            return error

    with DaemonThreads(_AT_ONCE, "daskpatch-io") as pool:
        found = dict(zip(places, pool.map(attempt, places.values()), strict=True))
    failed = {path: each for path, each in found.items() if isinstance(each, Exception)}
    images = {path: each for path, each in found.items() if not isinstance(each, Exception)}
    if not images:
        raise next(iter(failed.values()))
    for path, error in list(failed.items())[:1]:
        why = f"{path} since {said_by(error)}"
        warnings.warn(
            f"{counted(len(failed), 'image')} of {name} cannot be read and {_are(failed)} left "
            f"out: {_listed(failed)} ({why.rstrip('.')}).",
            stacklevel=4,
        )
    alike = _those_like_most(images, lambda image: (image.original_axes, image.data_shape[1]))
    if len(alike) < len(images):
        axes, channels = next(iter((i.original_axes, i.data_shape[1]) for i in alike.values()))
        other = [path for path in images if path not in alike]
        warnings.warn(
            f"{counted(len(other), 'image')} of {name} {_are(other)} left out, with other axes or "
            f"channels than most have ({axes}, {counted(channels, 'channel')}): {_listed(other)}.",
            stacklevel=4,
        )
    same = _those_like_most(alike, lambda image: image.data_shape)
    if len(same) < len(alike):
        other = [path for path in alike if path not in same]
        shape = next(iter(same.values())).original_data_shape
        has = "has" if len(other) == 1 else "have"
        warnings.warn(
            f"{counted(len(other), 'image')} of {name} {has} another shape than most, {shape}: "
            f"{_listed(other)}.",
            stacklevel=4,
        )
    return alike


def _those_like_most(
    images: Mapping[str, ArrayImage], kind: Callable[[ArrayImage], Hashable]
) -> dict[str, ArrayImage]:
    ((most, _),) = Counter(map(kind, images.values())).most_common(1)
    return {path: image for path, image in images.items() if kind(image) == most}


def _are(things: Mapping[str, object] | tuple[str, ...] | list[str]) -> str:
    return "is" if len(things) == 1 else "are"


def _listed(paths: Mapping[str, object] | tuple[str, ...] | list[str]) -> str:
    return ", ".join(list(paths)[:_LISTED]) + (", …" if len(paths) > _LISTED else "")
