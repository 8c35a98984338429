"""What can be said of a source before its axes are known."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..formats import Facts
from ..geometry import Coordinates, check_axes
from ..store import (
    Collection,
    OmeImage,
    StoredArray,
    StoreLike,
    find_collection,
    label_names,
    locate,
    members_of,
)
from .collections import path_of
from .opening import find


def information(
    source: StoreLike,
    axes: str | None = None,
    *,
    level: int = 0,
    image: int | str | None = None,
) -> dict[str, Any]:
    """Shape, dtype, axes, chunks and scale of an array, or the members of a group.

    Of a plate, a well or a series the paths of its images, and the facts of the first; of a series
    whose image is named those of that. What is chosen is as in `open_image`.

    Raises
    ------
    FileNotFoundError
        If there is neither.
    ValueError
        If the axes don't fit the array, or there is no such level or image.
    """
    collected = find_collection(source)
    if collected is not None:
        collection, paths, name = collected
        if image is not None and collection.kind == "series":
            return information(paths[path_of(collection, image, name)], axes, level=level)
        first = next(iter(paths.values()), None)
        facts = None if first is None else information(first, axes, level=level, image=image)
        return _of_collection(collection, name, facts)
    members = members_of(source)
    if members is not None:
        facts = {
            name: None if array is None else {"shape": list(array.shape), "dtype": str(array.dtype)}
            for name, array in members.items()
        }
        name = locate(source, read_only=True).name
        return {"source": name, "members": dict(sorted(facts.items()))}
    found = find(source, level=level, image=image)
    array = found.array
    named = axes or found.axes
    checked = None if named is None else check_axes(named, array.shape)
    places = None if checked is None else found.coordinates_along(checked)
    shards = array.shards if isinstance(array, StoredArray) else None
    return {
        "source": found.name,
        "shape": list(array.shape),
        "dtype": str(array.dtype),
        "axes": checked,
        "chunks": list(array.chunks or array.shape),
        **({"shards": list(shards)} if shards else {}),
        "nbytes": array.dtype.itemsize * math.prod(array.shape),
        **({"channels": list(found.channel_names)} if found.channel_names else {}),
        **({} if places is None else _placed(places)),
        **({} if found.ome is None else _of_ome(source, found.ome)),
        **({} if found.file is None else _of_file(found.file)),
    }


def _of_collection(
    collection: Collection, name: str, first: Mapping[str, Any] | None
) -> dict[str, Any]:
    plate = collection.plate
    return {
        "source": name,
        "kind": collection.kind,
        **({} if plate is None else {"rows": list(plate.rows), "columns": list(plate.columns)}),
        "images": list(collection.paths),
        **({"missing": list(collection.missing)} if collection.missing else {}),
        **({} if first is None else {"first": first}),
    }


def _placed(places: Coordinates) -> dict[str, Any]:
    return {
        "scale": list(places.scale),
        "translation": list(places.translation),
        "units": list(places.units),
    }


def _of_file(facts: Facts) -> dict[str, Any]:
    levels = [
        {"path": name, "scale": places and [scale for scale, _, _ in places]}
        for name, places in facts.levels.items()
    ]
    return {"levels": levels} if levels else {}


def _of_ome(source: StoreLike, image: OmeImage) -> dict[str, Any]:
    labels = label_names(locate(source, read_only=True))
    levels = [{"path": level.path, "scale": level.scale} for level in image.levels]
    return {"ome": image.version, "levels": levels, **({"labels": labels} if labels else {})}
