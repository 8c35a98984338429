"""What a finished block leaves behind: a few numbers, never voxels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate
from typing import Annotated, Any

import numpy as np
from crc32c import crc32c
from numpy.typing import NDArray

U4 = Annotated[int, "<u4"]
U8 = Annotated[int, "<u8"]
F4 = Annotated[float, "<f4"]
F8 = Annotated[float, "<f8"]
U4s = Annotated[tuple[int, ...], "<u4"]
"""One for each array of a block but the last."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """One block that was computed and written, as its row is stored.

    A field that is added goes to the end and has a default: of receipts from before it.

    `index` is flat, C order, images of a series one after another; `digest` is that of the block as
    it is stored, its arrays one after another (`digests_of`), and `partial` what it was after each
    of them but the last; `voxels` counts space and samples, not channels; bytes are those of
    decoded voxels; `finished` is in seconds since 1970; `absent` counts chunks of the source that
    were not there, and read as its fill value; `empty` is 0 where the model computed the block,
    else says why it did not: 1 nothing of it is stored, 2 its voxels were looked at. Of `seconds`
    those spent in waiting for the source and filling tiles from it, in the model, and in writing
    are told; `fetched` counts chunks that the process fetched since its last receipt, `again` those
    of them that it had fetched before.
    """

    index: U8
    digest: U4
    tiles: U4
    nan_tiles: U4
    voxels: U8
    bytes_read: U8
    bytes_written: U8
    seconds: F4
    finished: F8
    absent: U4 = 0
    empty: U4 = 0
    partial: U4s = ()
    reading: F4 = 0.0
    model: F4 = 0.0
    writing: F4 = 0.0
    fetched: U4 = 0
    again: U4 = 0


@dataclass(frozen=True, slots=True)
class FailedBlock:
    """One block that could not be computed: where, on which tile (`TileSpecs`), and why."""

    index: int
    tile: dict[str, Any] | None
    error: str
    traceback: str = ""

    def __str__(self) -> str:
        coords = (self.tile or {}).get("coords")
        place = f" on the tile at {tuple(coords)}" if isinstance(coords, list | tuple) else ""
        return f"block {self.index} failed{place}: {' '.join(self.error.split())}"


def digest_of_bytes(content: bytes) -> int:
    """CRC32C of bytes."""
    return int(crc32c(content))


def digest_of(values: NDArray[Any], before: int = 0) -> int:
    """CRC32C of the bytes of an array in C order, after others of that digest (RFC 3720, B.4).

    >>> hex(digest_of(np.frombuffer(b"789", "uint8"), digest_of(np.frombuffer(b"123456", "uint8"))))
    '0xe3069283'
    """
    flat = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
    # The memory itself, not a copy: a block is tens of megabytes.
    return int(crc32c(flat.data, before))


def digests_of(arrays: Iterable[NDArray[Any]]) -> tuple[int, ...]:
    """The digest of arrays one after the other, as it is after each of them.

    That of one alone can be checked by it, from the one before, whatever became of the others.

    >>> pieces = np.frombuffer(b"123456", "uint8"), np.frombuffer(b"789", "uint8")
    >>> [hex(digest) for digest in digests_of(pieces)]
    ['0x41357186', '0xe3069283']
    """
    _, *digests = accumulate(arrays, lambda before, values: digest_of(values, before), initial=0)
    return tuple(digests)
