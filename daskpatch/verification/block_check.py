"""A block of an output compared with its receipt, array by array."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..geometry import Region
from ..receipts import Receipts, digest_of, digest_of_bytes, indices_of
from ..store import Location, Objects, StoredArray
from .outputs import RecordedBlocks

NEVER_WRITTEN, MISSING, CHANGED, CORRUPT = "never written", "missing", "changed", "corrupt"

UNLIKE = "unlike the record"


class Bad(NamedTuple):
    """Why a block is bad, and which arrays of several."""

    reason: str
    arrays: tuple[str, ...] = ()


@dataclass
class BlockCheck:
    """A block's index in; what is bad of it (or None) and its voxels out."""

    recorded: Sequence[RecordedBlocks]
    receipts: list[Receipts] = field(init=False)
    _indices: list[NDArray[np.uint64]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.receipts = [blocks.record.receipts() for blocks in self.recorded]
        self._indices = [indices_of(rows) for rows in self.receipts]
        self._firsts = [blocks.first for blocks in self.recorded]

    def indices(self, number: int) -> Sequence[int]:
        """The blocks to look at; of an array that is another, whose record may say any shape, few.

        They are those with receipts, or the first one.
        """
        blocks = self.recorded[number]
        if not blocks.unlike:
            return blocks.indices
        done = self._indices[number].tolist()
        return [index for index in done if index in blocks.indices] or blocks.indices[:1]

    def __call__(self, index: int) -> tuple[Bad | None, int]:
        at = bisect_right(self._firsts, index) - 1
        blocks, receipts = self.recorded[at], self.receipts[at]
        voxels = blocks.grid.cell(index - blocks.first).n_voxels
        if blocks.unlike:
            return _bad(blocks, dict.fromkeys(blocks.unlike, UNLIKE)), voxels
        if (
            blocks.has_ended
        ):  # nobody asks for its blocks again: neither these nor receipts are missed
            return None, voxels
        row = int(np.searchsorted(self._indices[at], np.uint64(index)))
        if row == len(receipts) or self._indices[at][row] != index:
            return Bad(NEVER_WRITTEN), voxels
        digest = int(receipts["digest"][row])
        if not blocks.arrays:
            return _compared_bytes(blocks, index, digest), voxels
        partial = receipts["partial"][row].tolist() if len(blocks.arrays) > 1 else []
        return _bad(blocks, _compared(blocks, index, [*partial, digest])), voxels


def _bad(blocks: RecordedBlocks, reasons: dict[str, str]) -> Bad | None:
    """The first of the reasons, which are told by the names of arrays."""
    if not reasons:
        return None
    names = [name for name in reasons if name] if len(blocks.arrays) > 1 else []
    return Bad(next(iter(reasons.values())), tuple(names))


def _compared_bytes(blocks: RecordedBlocks, index: int, digest: int) -> Bad | None:
    left = blocks.record.left(index)
    if left is None:
        return Bad(MISSING)
    return None if digest_of_bytes(left) == digest else Bad(CHANGED)


def _compared(blocks: RecordedBlocks, index: int, digests: Sequence[int]) -> dict[str, str]:
    """Why arrays are bad, by their names; `digests` say what a block's was after each of them."""
    numbered = zip(blocks.names, blocks.locations, blocks.arrays, blocks.boxes(index), strict=True)
    parts = [_Part(*each) for each in numbered]
    # Receipts that were written before each array had its own have zeros there.
    if len(digests) > 1 and not any(digests[:-1]):
        return _compared_together(parts, digests[-1])
    befores = (0, *digests[:-1])
    reasons = {
        part.name: part.compared(before, digest)
        for part, before, digest in zip(parts, befores, digests, strict=True)
    }
    return {name: reason for name, reason in reasons.items() if reason is not None}


def _compared_together(parts: Sequence[_Part], digest: int) -> dict[str, str]:
    """Why arrays are bad that have one digest; without a name where none can be told."""
    if missing := [part.name for part in parts if part.array is None]:
        return dict.fromkeys(missing, MISSING)
    found = 0
    for part in parts:
        try:
            found = part.digest(found)
        except Exception:  # noqa: BLE001 (each codec raises its own)
            return {part.name: CORRUPT}
    if found == digest:
        return {}
    return {part.name: MISSING for part in parts if part.is_gone()} or {"": CHANGED}


@dataclass(frozen=True)
class _Part:
    """A block's box of one array, which is None where it is not there."""

    name: str
    location: Location
    array: StoredArray | None
    box: Region

    def compared(self, before: int, digest: int) -> str | None:
        """Why it is bad, if after parts of a digest it does not give another."""
        if self.array is None:
            return MISSING
        try:
            if self.digest(before) == digest:
                return None
        except Exception:  # noqa: BLE001 (each codec raises its own)
            return CORRUPT
        return MISSING if self.is_gone() else CHANGED

    def digest(self, before: int) -> int:
        """What it is after parts of a digest."""
        assert self.array is not None
        values = self.array.read(self.box.slices)
        return digest_of(values.astype(self.array.dtype.newbyteorder("="), copy=False), before)

    def is_gone(self) -> bool:
        """Whether an object of it is: asked only of what is bad, since each costs a request."""
        assert self.array is not None
        objects = Objects(self.location)
        return not all(map(objects.exists, self.array.keys(self.box.slices)))
