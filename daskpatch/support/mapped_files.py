"""The files that memory of this process shows: of what is mapped, no object says it reliably."""

from __future__ import annotations

import os
import re
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_MAPS = Path("/proc/self/maps")

_LINE = re.compile(r"([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \d+ +(/[^\n]*)")
"""Address, permissions, offset, device, inode, path; of other memory no path, or a name in []."""


class _Mapping(NamedTuple):
    start: int
    stop: int
    file: str


class MappedFiles:
    """The files that are mapped into memory by now; none where the system tells none (Linux does).

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     shown = np.memmap(file.name, shape=4096, mode="w+")
    ...     MappedFiles().at(shown[9:].ctypes.data) == file.name
    True
    >>> MappedFiles().at(np.zeros(9).ctypes.data)
    """

    def __init__(self) -> None:
        self._mappings = sorted(_mappings())

    def at(self, address: int) -> str | None:
        """The file that lies at an address; None where it is other memory."""
        number = bisect_right(self._mappings, address, key=lambda mapping: mapping.start) - 1
        if number < 0 or address >= self._mappings[number].stop:
            return None
        return self._mappings[number].file


def _mappings() -> Iterator[_Mapping]:
    try:
        told = os.fsdecode(_MAPS.read_bytes())
    except OSError:
        return
    for start, stop, path in _LINE.findall(told):
        # A line ends with a newline, and one in a path is told by its number.
        yield _Mapping(int(start, 16), int(stop, 16), path.replace("\\012", "\n"))
