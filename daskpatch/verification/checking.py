"""An output read back and compared with its receipts."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import numpy as np
from dask.system import CPU_COUNT

from ..engine import Run, progress_of
from ..geometry import Region
from ..planning.memory import at_least_one
from ..receipts import Receipts, Report, digest_of
from ..store import Objects
from .mending import mend, repair_plan
from .outputs import RecordedImage, recorded_images

NEVER_WRITTEN, MISSING, CHANGED, CORRUPT = "never written", "missing", "changed", "corrupt"


@dataclass(frozen=True)
class Verification:
    """What became of an output's blocks.

    Attributes
    ----------
    ok
        Whether every block is there, as it was written.
    bad
        Indices of the blocks that are not.
    reasons
        Why, by index: `never written` (no receipt), `missing` (written, but objects of it are
        gone), `changed` (other voxels than were written) or `corrupt` (cannot be read).
    total
        Blocks of the output.
    repaired
        The report of the run that mended them, or None.
    """

    ok: bool
    bad: tuple[int, ...]
    reasons: dict[int, str]
    total: int
    repaired: Report | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "ok": self.ok,
            "bad": list(self.bad),
            "reasons": {str(index): reason for index, reason in self.reasons.items()},
            "total": self.total,
            "repaired": None if self.repaired is None else self.repaired.to_dict(),
        }

    def __str__(self) -> str:
        if not self.bad:
            return f"all {self.total:,} blocks are as they were written"
        counts = Counter(self.reasons.values())
        kinds = ", ".join(f"{count} {reason}" for reason, count in counts.items())
        shown = ", ".join(map(str, self.bad[:20])) + (", …" if len(self.bad) > 20 else "")
        mended = "" if self.repaired is None else f"; repaired: {self.repaired}"
        return f"{len(self.bad):,} of {self.total:,} blocks are bad ({kinds}): {shown}{mended}"


def verify(
    output: Any,
    *,
    repair: bool = False,
    model: Any | None = None,
    source: Any | None = None,
    patching: Any | None = None,
    post: Any | None = None,
    model_id: str | None = None,
    threads: int | None = None,
    progress: bool = True,
) -> Verification:
    """Read an output back and compare every block with the digest in its receipt.

    Parameters
    ----------
    output
        Path, URL or store of the array, or of the group of a series.
    repair
        Compute bad blocks again. The model must be the one that the run began with; no record
        makes code run.
    model, model_id
        For the repair, as in `plan`.
    source, patching, post
        For the repair: the source, where it is not in a store, a strategy that is not
        daskpatch's own, and the function that the run applied to its blocks.
    threads
        Blocks that are read at a time; by default one per processor.
    progress
        Whether to show a bar.

    Raises
    ------
    FileNotFoundError
        If there is no record of a run.
    ValueError
        If the repair's model, source or tiling is not the run's, or is missing.

    Examples
    --------
    >>> import numpy as np, zarr, daskpatch
    >>> store = zarr.storage.MemoryStore()
    >>> image = np.ones((64, 64), "uint8")
    >>> report = daskpatch.predict(
    ...     image, np.negative, store, axes="YX", patch_size=32, overlaps=8, progress=False
    ... )
    >>> print(verify(store, progress=False))
    all 1 blocks are as they were written
    """
    if repair and model is None:
        raise ValueError("A repair needs the model: the one that the run began with.")
    images = recorded_images(output)
    n_threads = CPU_COUNT if threads is None else at_least_one("threads", threads)
    planned = None
    if repair:  # refused before everything is read
        planned = repair_plan(
            output,
            images,
            model,
            source=source,
            patching=patching,
            post=post,
            model_id=model_id,
        )
    reasons = _reasons(images, n_threads, progress=progress)
    bad = tuple(sorted(reasons))
    repaired = mend(planned, output, bad, progress=progress) if planned and bad else None
    total = sum(image.grid.n_cells for image in images)
    return Verification(not bad, bad, {i: reasons[i] for i in bad}, total, repaired)


def _reasons(images: Sequence[RecordedImage], threads: int, *, progress: bool) -> dict[int, str]:
    """Why blocks are bad, by index."""
    check = _Check(images)
    blocks = (index for image in images for index in image.blocks)
    run = Run(check, blocks, key=f"daskpatch-verify-{uuid4().hex}", threads=threads)
    reasons: dict[int, str] = {}
    total = sum(image.grid.n_voxels_before(image.grid.n_cells) for image in images)
    with progress_of(total, 0, shown=progress) as advance:
        for outcome in run:
            if outcome.error is not None:
                raise outcome.error
            reason, voxels = outcome.result
            advance(voxels)
            if reason is not None:
                reasons[outcome.index] = reason
    return reasons


@dataclass
class _Check:
    """A block's index in, why it is bad (or None) and its voxels out."""

    images: Sequence[RecordedImage]
    receipts: list[Receipts] = field(init=False)

    def __post_init__(self) -> None:
        self.receipts = [image.record.receipts() for image in self.images]
        self._firsts = [image.first for image in self.images]

    def __call__(self, index: int) -> tuple[str | None, int]:
        at = bisect_right(self._firsts, index) - 1
        image, receipts = self.images[at], self.receipts[at]
        voxels = image.grid.cell(index - image.first).n_voxels
        row = int(np.searchsorted(receipts["index"], np.uint64(index)))
        if row == len(receipts) or receipts["index"][row] != index:
            return NEVER_WRITTEN, voxels
        return _compared(image, image.boxes(index), int(receipts["digest"][row])), voxels


def _compared(image: RecordedImage, boxes: Sequence[Region], digest: int) -> str | None:
    arrays = [array for array in image.arrays if array is not None]
    if len(arrays) < len(image.arrays):
        return MISSING
    try:
        values = [
            array.read(box.slices).astype(array.dtype.newbyteorder("="), copy=False)
            for array, box in zip(arrays, boxes, strict=True)
        ]
    except Exception:  # noqa: BLE001 (each codec raises its own)
        return CORRUPT
    if digest_of(*values) == digest:
        return None
    gone = not all(
        Objects(place).exists(key)
        for place, array, box in zip(image.locations, arrays, boxes, strict=True)
        for key, _ in array.units(box.slices)
    )
    return MISSING if gone else CHANGED
