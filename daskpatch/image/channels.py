"""Channels that are chosen, by index or by the names that an image gives them."""

from __future__ import annotations

import operator
from collections.abc import Sequence

from ..geometry import Dimensions
from ..support import counted, is_integer, shown

Channels = Sequence[int | str] | slice

_LISTED = 200
"""Letters of names that are told."""


def as_channels(channels: Channels | None) -> tuple[int | str, ...] | slice | None:
    """Indices and names, or a slice, as they were given; None for all.

    Raises
    ------
    ValueError
        If it is neither.
    """
    if channels is None:
        return None
    try:
        if isinstance(channels, slice):
            channels.indices(1)  # its TypeError is caught below, as is a step of 0
            return channels
        are_channels = all(isinstance(c, str) or is_integer(c) for c in channels)
        if isinstance(channels, str) or not are_channels:
            raise TypeError
        return tuple(c if isinstance(c, str) else operator.index(c) for c in channels)
    except (TypeError, ValueError):
        raise ValueError(
            f"channels is {shown(channels)}; needed is a list of indices or names, such as [0] or "
            "['DAPI'], or a slice."
        ) from None


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
    indices = (
        list(range(count)[chosen])
        if isinstance(chosen, slice)
        else [_index(channel, known, count) for channel in chosen]
    )
    if indices and None not in indices:
        return tuple(index for index in indices if index is not None)
    shared = [c for c in chosen if known.count(str(c)) > 1] if isinstance(chosen, tuple) else []
    if shared:
        places = ", ".join(str(i) for i, name in enumerate(known) if name == shared[0])
        raise ValueError(
            f"channels is {shown(chosen)}, and several channels are called {shared[0]}: "
            f"{places}; needed is an index."
        )
    listed = ", ".join(known)
    listed = listed if len(listed) <= _LISTED else f"{listed[:_LISTED]}…"
    called = f", {listed}" if known else ", and names none"
    choice = f"are some of 0 to {count - 1}" if count > 1 else "is 0"
    raise ValueError(
        f"channels is {shown(chosen)}; needed {choice}, or names: the image "
        f"has {counted(count, 'channel')}{called}; its axes are {dimensions.axes}, its shape is "
        f"{dimensions.shape}."
    )


def named_channels(
    chosen: Sequence[int] | None, dimensions: Dimensions, names: Sequence[str]
) -> tuple[str, ...]:
    """The names of the channels that were chosen; none where they are not told one by one."""
    if len(names) != dimensions.n_channels:
        return ()
    return tuple(names if chosen is None else (names[index] for index in chosen))


def _index(channel: int | str, names: Sequence[str], count: int) -> int | None:
    """Of a channel by its index, or by a name that is its own; None where there is none such."""
    if isinstance(channel, int) and 0 <= channel < count:
        return channel
    # A wavelength is a name, too, that looks like an index.
    name = str(channel)
    return names.index(name) if names.count(name) == 1 else None
