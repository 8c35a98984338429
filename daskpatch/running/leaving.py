"""What a block of a pass without arrays leaves: a few bytes, and its receipt."""

from __future__ import annotations

import time

from ..receipts import Receipt, Record, digest_of_bytes


def leave(record: Record, index: int, left: bytes, *, voxels: int, begin: float) -> Receipt:
    """Store what a block found, of so many voxels; its receipt, with the time since `begin`.

    Small, whatever the block holds, and stored by the worker: nothing of it passes the driver.
    """
    record.leave(index, left)
    return Receipt(
        index=index,
        digest=digest_of_bytes(left),
        tiles=0,
        nan_tiles=0,
        voxels=voxels,
        bytes_read=0,
        bytes_written=len(left),
        seconds=time.perf_counter() - begin,
        finished=time.time(),
    )
