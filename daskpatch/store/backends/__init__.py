"""Back ends: libraries that read and write Zarr arrays, behind one interface.

One more is a file beside these and an entry in `BACK_ENDS`, first those that `io="auto"` prefers.
"""

from __future__ import annotations

import logging
from typing import Any

import zarr
from zarr.types import AnyArray

from ...support import said_by, shown
from ..location import Location, locate
from .chunk_boxes import cells_of
from .protocol import BackEnd, Box, Handle
from .tensorstore import TensorStore
from .zarr_python import ZarrPython

__all__ = [
    "BACK_ENDS",
    "BackEnd",
    "Box",
    "Handle",
    "back_end_at",
    "cells_of",
    "check_io",
    "open_handle",
]

BACK_ENDS: dict[str, BackEnd] = {
    back_end.name: back_end for back_end in (TensorStore(), ZarrPython())
}

_log = logging.getLogger("daskpatch")


def check_io(io: str) -> str:
    """Refuse names that are not of a back end.

    Raises
    ------
    ValueError
        If it is none.
    """
    if io not in ("auto", *BACK_ENDS):
        *names, last = (f"{name!r}" for name in ("auto", *reversed(BACK_ENDS)))
        raise ValueError(f"io is {shown(io)}; needed is {', '.join(names)} or {last}.")
    return io


def back_end_at(io: str, location: Location | None) -> BackEnd:
    """The back end for arrays at a place: the one that was named, else the first that opens it.

    Without a place there is nothing to open yet: the one that opens everything, or the named one.

    Raises
    ------
    ValueError, ImportError
        If one was named that cannot be used there.
    """
    if io == "auto":
        preferred = BACK_ENDS.values()
        return next(
            (each for each in preferred if location is not None and each.opens(location)),
            BACK_ENDS["zarr"],
        )
    if location is not None:
        BACK_ENDS[io].check(location)
    return BACK_ENDS[io]


def open_handle(array: AnyArray, io: str, delays: tuple[float, ...]) -> tuple[BackEnd, Handle]:
    """A handle of an array, and whose it is; `"auto"` falls back where one cannot open it.

    Raises
    ------
    ValueError
        If the back end that was named does not know the array's dtype or codecs.
    """
    location = locate(array)
    if io != "auto":
        named = back_end_at(io, location)
        return named, named.open(array, delays)
    candidates = [each for each in BACK_ENDS.values() if each.opens(location)]
    for back_end in candidates[:-1]:
        try:
            return back_end, back_end.open(array, delays)
        except ValueError as error:  # a dtype or codec that it does not know
            _log.warning(
                "%s does not open %s (%s); the next back end does.",
                back_end.name,
                location.name,
                said_by(error),
            )
    return candidates[-1], candidates[-1].open(array, delays)
