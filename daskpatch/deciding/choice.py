"""What was chosen automatically, why, and what else there was."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from dask.utils import format_bytes, format_time


@dataclass(frozen=True, slots=True)
class Candidate:
    """A tiling, and what a run with it is expected to take.

    `compute_ratio`: voxels computed per voxel of the image; `model_memory`: bytes that the model
    and its tiles take in a worker; `seconds` for the whole run; `reason`: why it was rejected,
    empty for the one that was not.
    """

    patch_size: tuple[int, ...]
    overlaps: tuple[int, ...]
    batch_size: int
    threads: int
    compute_ratio: float
    model_memory: int
    seconds: float
    reason: str = ""

    @property
    def tiling(self) -> str:
        """What it is, without what it takes."""
        return (
            f"tiles of {self.patch_size}, overlaps {self.overlaps}, batches of {self.batch_size}: "
            f"{self.compute_ratio:.2f} voxels computed per voxel kept"
        )

    def __str__(self) -> str:
        text = (
            f"{self.tiling}, about {format_time(self.seconds)}, {format_bytes(self.model_memory)}"
        )
        return f"{text} ({self.reason})" if self.reason else text


@dataclass(frozen=True, slots=True)
class Choice:
    """The tiling that was chosen, the constraints it meets, and the best of those rejected."""

    chosen: Candidate
    why: str
    rejected: tuple[Candidate, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)
