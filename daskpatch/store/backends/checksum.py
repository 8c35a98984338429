"""The checksum of Zarr v3."""

from __future__ import annotations

from typing import Any

import crc32c


class Checksum:
    """`crc32c`: four bytes at the end.

    >>> Checksum().decode(Checksum().encode(b"voxels")).tobytes()
    b'voxels'
    """

    n_bytes = 4

    def encode(self, buf: Any) -> bytes:
        content = bytes(buf)
        return content + crc32c.crc32c(content).to_bytes(self.n_bytes, "little")

    def decode(self, buf: Any) -> memoryview:
        whole = memoryview(buf)
        content, checksum = whole[: -self.n_bytes], whole[-self.n_bytes :]
        if crc32c.crc32c(content) != int.from_bytes(checksum, "little"):
            raise ValueError("its checksum is that of other bytes")
        return content
