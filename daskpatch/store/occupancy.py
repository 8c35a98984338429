"""Which write units of an array are stored, from one listing: the others read as fill value."""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from operator import floordiv
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from .arrays import StoredArray
from .backends import Box
from .backoff import with_backoff
from .objects import Objects
from .sight import ChangedError

MOST_CELLS = 2**24
"""Of all images of a run together: a byte each, while it is listed."""

_DOCUMENTS = ("zarr.json", ".zarray")


@dataclass(frozen=True, eq=False)
class Occupancy:
    """Cells of so many units along each axis, in which something is stored.

    A cell is one unit, or several where there are very many: then units that are not stored may
    count as stored, never the other way round.
    """

    unit: tuple[int, ...]
    units_per_cell: tuple[int, ...]
    cells: NDArray[np.bool_]

    @classmethod
    def of_shape(cls, shape: tuple[int, ...], unit: tuple[int, ...], most_cells: int) -> Occupancy:
        """One of an array in which nothing is, of at most so many cells."""
        counts = tuple(-(-n // u) for n, u in zip(shape, unit, strict=True))
        per_cell = _per_cell(counts, most_cells)
        cells = tuple(-(-n // m) for n, m in zip(counts, per_cell, strict=True))
        return cls(unit, per_cell, np.zeros(cells, bool))

    @property
    def is_exact(self) -> bool:
        """Whether a cell is one unit."""
        return set(self.units_per_cell) == {1}

    def is_any_in(self, box: Box) -> bool:
        """Whether something of a box may be stored."""
        edges = (u * n for u, n in zip(self.unit, self.units_per_cell, strict=True))
        inside = tuple(
            slice(s.start // edge, -(-s.stop // edge)) for s, edge in zip(box, edges, strict=True)
        )
        return bool(self.cells[inside].any())

    def check_there(self, array: StoredArray, box: Box, n_absent: int) -> None:
        """Refuse a read of a box that did not find so many chunks, where stored ones are gone.

        Raises
        ------
        ChangedError
            If a chunk is, that was listed.
        """
        if not self.is_exact:
            return  # what was not stored, before either, cannot be told
        listed = [
            key
            for key, inside in array.units(box)
            if self.cells[tuple(s.start // u for s, u in zip(inside, self.unit, strict=True))]
        ]
        # One that was not found twice counts twice: how many there are says nothing by itself.
        objects = Objects(array.location, delays=array.delays)
        gone = next((key for key in listed if not objects.exists(key)), None) if n_absent else None
        if gone is not None:
            raise ChangedError(
                f"{array.location.name} has no chunk {gone} any more, which was there when the run "
                "began"
            )

    def __reduce__(self) -> tuple[Callable[[bytes], Occupancy], tuple[bytes]]:
        return Occupancy.of_bytes, (self.encoded(),)

    def encoded(self) -> bytes:
        """As bytes, for records and workers."""
        told = (self.unit, self.units_per_cell, self.cells.shape, _packed(self.cells))
        return msgspec.msgpack.encode(told)

    @classmethod
    def of_bytes(cls, content: bytes) -> Occupancy:
        """What `encoded` gave."""
        unit, per_cell, shape, packed = msgspec.msgpack.decode(
            content, type=tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], bytes]
        )
        bits = np.unpackbits(np.frombuffer(zlib.decompress(packed), np.uint8))
        cells: NDArray[np.bool_] = bits[: math.prod(shape)].reshape(shape).view(bool)
        return cls(unit, per_cell, cells)


def _packed(cells: NDArray[np.bool_]) -> bytes:
    return zlib.compress(np.packbits(cells).tobytes(), 1)


def occupancy_of(array: StoredArray, most_cells: int = MOST_CELLS) -> Occupancy | None:
    """What is stored of an array, from one listing; None where its store cannot be listed.

    Raises
    ------
    OSError
        If the store does not answer.
    """
    found = Occupancy.of_shape(array.shape, array.shards or array.chunks, most_cells)
    documents: set[str] = set()

    def see(key: str) -> None:
        at = array.position(key)
        if at is not None:
            found.cells[tuple(map(floordiv, at, found.units_per_cell))] = True
        elif key in _DOCUMENTS:
            documents.add(key)

    if array.location.is_web or not _visit(array, see):
        return None
    # A listing without the array itself is none: an index page, or a share that is not mounted.
    return found if documents else None


def _per_cell(counts: tuple[int, ...], most: int) -> tuple[int, ...]:
    """Units per cell along each axis, so that there are no more than `most` cells."""
    per_cell = [1] * len(counts)
    left = list(counts)
    while math.prod(left) > most:
        axis = int(np.argmax(left))
        per_cell[axis] *= 2
        left[axis] = -(-counts[axis] // per_cell[axis])
    return tuple(per_cell)


def _visit(array: StoredArray, see: Callable[[str], None]) -> bool:
    """Show each key that there is inside an array's prefix; whether that was possible."""
    root = array.location.local_path
    if root is None:
        return Objects(array.location, delays=array.delays).visit(see)
    depth = array.array.metadata.encode_chunk_key((0,) * len(array.shape)).count("/")
    what = f"Listing {array.location.name}"
    with_backoff(lambda: _walk(root, "", depth, see), what, array.delays)
    return True


def _walk(folder: Path, prefix: str, depth: int, see: Callable[[str], None]) -> None:
    """Show all names so deep below a folder, through links too: chunks may lie on another disk.

    A link to nothing is shown where chunks are: reading it then says what it lacks.

    Raises
    ------
    OSError
        If a folder of chunks is a link to nothing.
    """
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") and entry.name not in _DOCUMENTS:
                continue
            if entry.is_dir():
                if depth:
                    _walk(folder / entry.name, f"{prefix}{entry.name}/", depth - 1, see)
            elif depth and entry.is_symlink() and not os.path.exists(entry.path):
                raise OSError(f"{entry.path} is a link to {os.readlink(entry.path)}, not there")
            else:
                see(prefix + entry.name)
