"""What a finished block leaves behind: a few numbers, never voxels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from crc32c import crc32c
from numpy.typing import NDArray

U4 = Annotated[int, "<u4"]
U8 = Annotated[int, "<u8"]
F4 = Annotated[float, "<f4"]
F8 = Annotated[float, "<f8"]


@dataclass(frozen=True, slots=True)
class Receipt:
    """One block that was computed and written, as its row is stored.

    A field that is added goes to the end and has a default: of receipts from before it.

    `index` is flat, C order, images of a series one after another; `digest` is `digest_of` the
    block as it is stored; `voxels` counts space and samples, not channels; bytes are those of
    decoded voxels; `finished` is in seconds since 1970; `absent` counts chunks of the source that
    were not there, and read as its fill value; `empty` is 0 where the model computed the block,
    else says why it did not: 1 nothing of it is stored, 2 its voxels were looked at.
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


@dataclass(frozen=True, slots=True)
class FailedBlock:
    """One block that could not be computed: where, on which tile (`TileSpecs`), and why."""

    index: int
    tile: dict[str, Any] | None
    error: str
    traceback: str = ""

    def __str__(self) -> str:
        place = "" if self.tile is None else f" on the tile at {tuple(self.tile['coords'])}"
        return f"block {self.index} failed{place}: {' '.join(self.error.split())}"


def digest_of_bytes(content: bytes) -> int:
    """CRC32C of bytes."""
    return int(crc32c(content))


def digest_of(*arrays: NDArray[Any]) -> int:
    """CRC32C of the bytes of arrays in C order, one after the other (RFC 3720, appendix B.4).

    >>> hex(digest_of(np.frombuffer(b"123456", "uint8"), np.frombuffer(b"789", "uint8")))
    '0xe3069283'
    """
    digest = 0
    for values in arrays:
        flat = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
        # The memory itself, not a copy: a block is tens of megabytes.
        digest = crc32c(flat.data, digest)
    return digest
