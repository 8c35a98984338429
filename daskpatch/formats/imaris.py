"""Imaris files: HDF5 with a pyramid, a dataset for each channel and time.

https://imaris.oxinst.com/support/imaris-file-format (file format 5.5)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import long_unit
from ..store import Places
from .array_choice import ArrayChoice, check_level, check_one
from .reader import Box, Facts

_INFO = "DataSetInfo"

_LEVEL, _TIME, _CHANNEL = "ResolutionLevel", "TimePoint", "Channel"


def is_imaris(file: Any) -> bool:
    """Whether an HDF5 file is one of Imaris."""
    return _INFO in file and f"DataSet/{_LEVEL} 0/{_TIME} 0/{_CHANNEL} 0/Data" in file


class ImarisReader:
    """A level of an Imaris file: times, channels, Z, Y, X, less times and channels of one.

    Raises
    ------
    ValueError
        If there is no such level.
    """

    def __init__(self, path: str, file: Any, choice: ArrayChoice) -> None:
        check_one(ArrayChoice(image=choice.image), path)
        self._info = file[_INFO]
        levels = list(_numbered(file["DataSet"], _LEVEL))
        shapes = [_size(level[f"{_TIME} 0/{_CHANNEL} 0"]) for level in levels]
        self._number = check_level(choice, shapes, path)
        times = list(_numbered(levels[self._number], _TIME))
        self._data = [[each["Data"] for each in _numbered(time, _CHANNEL)] for time in times]
        self._sizes = [(len(times), len(self._data[0]), *shape) for shape in shapes]

    @cached_property
    def facts(self) -> Facts:
        first = self._data[0][0]
        size = self._sizes[self._number]
        chunks = None if first.chunks is None else (1, 1, *map(min, first.chunks, size[2:]))
        kept = self._kept
        places = [self._places(each) for each in self._sizes]
        return Facts(
            tuple(size[axis] for axis in kept),
            np.dtype(first.dtype).newbyteorder("="),
            tuple("TCZYX"[axis] for axis in kept),
            None if chunks is None else tuple(chunks[axis] for axis in kept),
            self._channel_names,
            places[self._number],
            {f"{_LEVEL} {i}": each for i, each in enumerate(places)},
        )

    def read(self, box: Box) -> NDArray[np.generic]:
        parts = dict(zip(self._kept, box, strict=True))
        times, channels, *inner = (parts.get(axis, slice(0, 1)) for axis in range(5))
        shape = tuple(s.stop - s.start for s in (times, channels, *inner))
        out = np.empty(shape, self.facts.dtype)
        for time, channel in product(*(range(s.start, s.stop) for s in (times, channels))):
            data = self._data[time][channel]
            out[time - times.start, channel - channels.start] = data[tuple(inner)]
        return out.reshape(tuple(s.stop - s.start for s in box))

    @cached_property
    def _kept(self) -> tuple[int, ...]:
        """The axes that there are: Y and X, and those that are longer than 1."""
        finest = self._sizes[0]
        return tuple(axis for axis in range(5) if axis > 2 or finest[axis] > 1)

    @cached_property
    def _channel_names(self) -> tuple[str, ...]:
        groups = [self._info.get(f"{_CHANNEL} {i}") for i in range(len(self._data[0]))]
        names = tuple("" if each is None else _text(each, "Name") for each in groups)
        return names if any(names) else ()

    def _places(self, size: tuple[int, ...]) -> Places | None:
        """By the corners of the image, ExtMin and ExtMax of X, Y and Z."""
        image = self._info.get("Image")
        if image is None:
            return None
        unit = _text(image, "Unit")
        along = {}
        for axis, number in ((4, 0), (3, 1), (2, 2)):
            low, high = (_number(image, f"{name}{number}") for name in ("ExtMin", "ExtMax"))
            scale = (high - low) / size[axis]
            if not math.isfinite(scale) or scale <= 0:
                return None
            along[axis] = (scale, low + scale / 2, long_unit(unit) if unit else None)
        return tuple(along.get(axis, (1.0, 0.0, None)) for axis in self._kept)


def _numbered(group: Any, name: str) -> Iterator[Any]:
    """The groups `name 0`, `name 1` and so on."""
    number = 0
    while f"{name} {number}" in group:
        yield group[f"{name} {number}"]
        number += 1


def _size(channel: Any) -> tuple[int, int, int]:
    """Z, Y, X: the data may be longer, filled up to whole chunks."""
    stored = channel["Data"].shape
    told = (_text(channel, f"ImageSize{axis}") for axis in "ZYX")
    z, y, x = (int(t) if t.isdecimal() else n for t, n in zip(told, stored, strict=True))
    return z, y, x


def _text(group: Any, name: str) -> str:
    """An attribute: Imaris has arrays of letters."""
    value = group.attrs.get(name, b"")
    if isinstance(value, np.ndarray):
        value = value.tobytes()
    return value.decode(errors="replace").strip("\0 ") if isinstance(value, bytes) else str(value)


def _number(group: Any, name: str) -> float:
    try:
        return float(_text(group, name))
    except ValueError:
        return math.nan
