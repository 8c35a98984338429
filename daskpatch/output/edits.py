"""Whether arrays are as a run began them: metadata can be edited, arrays replaced."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ..receipts import Record
from ..store import Location, StoredArray
from ..support import shown
from .clearing import KEY
from .layout import Layout

OutputFacts = Mapping[str, tuple[object, object]]
"""What is, and what was, by name."""


def facts_of(
    array: StoredArray,
    shape: tuple[int, ...],
    dtype: DTypeLike,
    *,
    layout: Layout | None,
    fill_value: str | None,
) -> OutputFacts:
    """What an array is, beside what it was begun with; None for what was not recorded.

    `fill_value` is as `StoredArray.fill_value` says it. Byte order is the array's own.

    Raises
    ------
    ValueError
        If the fill value that was recorded is none.
    """
    found: dict[str, tuple[object, object]] = {
        "shape": (array.shape, shape),
        "dtype": (array.dtype.newbyteorder("="), np.dtype(dtype).newbyteorder("=")),
    }
    if layout is not None:
        found["chunks"] = (_inside(array.chunks, shape), _inside(layout.chunks, shape))
        found["shards"] = (_inside(array.shards, shape), _inside(layout.shards, shape))
    if fill_value is not None and array.fill_value != fill_value:
        was = _recorded(fill_value, np.dtype(dtype), array.location)
        found["fill value"] = (str(array.absent_value), str(was))  # of -0.0 the sign, too
    return found


def _recorded(fill_value: str, dtype: np.dtype[Any], place: Location) -> np.generic:
    try:
        content = bytes.fromhex(fill_value)
    except ValueError:
        content = b""
    if len(content) != dtype.itemsize:
        raise ValueError(
            f"The record of {place.name} is broken: the fill value in it is {shown(fill_value)}; "
            f"needed are {dtype.itemsize} bytes as hexadecimal digits. Give overwrite=True to "
            "start anew."
        )
    found: np.generic = np.frombuffer(content, dtype.newbyteorder("<"))[0]
    return found


def edited(facts: OutputFacts) -> list[str]:
    """What is no longer what it was, in words."""
    return [f"{name} {now}, begun with {was}" for name, (now, was) in facts.items() if now != was]


def check_unedited(place: Location, facts: OutputFacts) -> None:
    """Refuse an array of which something is no longer what it was begun with.

    Raises
    ------
    ValueError
        If there is such a thing.
    """
    if other := edited(facts):
        raise ValueError(
            f"The output {place.name} was edited since it was begun: {'; '.join(other)}. Put its "
            "metadata right, or give overwrite=True to start anew."
        )


def check_own(array: StoredArray) -> None:
    """Refuse an array that somebody put in the place of the one that a run began with.

    Raises
    ------
    ValueError
        If daskpatch did not make it, and it has no record.
    """
    if KEY not in array.attributes and Record(array.location).document() is None:
        raise ValueError(
            f"{array.location.name} is an array that daskpatch did not make, in the place of the "
            "one that the run began with; give another output, or move it away."
        )


def _inside(sizes: tuple[int, ...] | None, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """Chunks or shards as far as they reach: an array may have larger ones than it is."""
    return None if sizes is None else tuple(map(min, sizes, shape))
