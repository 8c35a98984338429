"""Channels that are chosen, by index or by the names that an image gives them."""

from __future__ import annotations

import operator
from collections.abc import Sequence

from ..geometry import Dimensions

Channels = Sequence[int | str]

_LISTED = 20


def as_channels(channels: Channels | None) -> tuple[int | str, ...] | None:
    """Indices and names, as they were given; None for all.

    Raises
    ------
    ValueError
        If it is no sequence of them.
    """
    if channels is None:
        return None
    try:
        if isinstance(channels, str):
            raise TypeError
        chosen = tuple(c if isinstance(c, str) else operator.index(c) for c in channels)
    except TypeError:
        raise ValueError(
            f"channels is {channels!r}; needed is a list of indices or names, such as [0] or "
            "['DAPI']."
        ) from None
    return chosen


def chosen_channels(
    channels: Channels | None, dimensions: Dimensions, names: Sequence[str]
) -> tuple[int, ...] | None:
    """Indices along C; None for all.

    Raises
    ------
    ValueError
        If the image has no such channels.
    """
    chosen = as_channels(channels)
    if chosen is None:
        return None
    count = dimensions.n_channels
    known = list(names) if len(names) == count else []
    indices = [known.index(c) if isinstance(c, str) and c in known else c for c in chosen]
    if indices and all(isinstance(c, int) and 0 <= c < count for c in indices):
        return tuple(map(int, indices))
    called = f", {', '.join(known[:_LISTED])}" if known else ", and names none"
    raise ValueError(
        f"channels is {chosen}; needed are some of 0 to {count - 1}: the image has {count} "
        f"channel{'s' if count > 1 else ''}{called} (axes {dimensions.axes}, shape "
        f"{dimensions.shape})."
    )
