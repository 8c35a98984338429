"""A small tile in the middle of the trial tile: the model is called on it whenever a plan is made.

What depends on values is seen there. What depends on how large the tiles of a run are (seconds,
memory) is found out with a whole one, and remembered.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..model import Signature
from ..probing import Probe
from .trial_tile import TrialTile
from .working_memory import CallMemory

_VOXELS = 2**15
"""Of a small tile, about: 32 along each of three axes, 181 along each of two."""


@dataclass(frozen=True, slots=True)
class WholeTile:
    """What a call on a whole tile showed.

    Attributes
    ----------
    arrays
        What the model gives, in words: it gives the same for the small tile.
    """

    arrays: str
    seconds: float
    memory: CallMemory

    def is_of(self, signature: Signature) -> bool:
        return self.arrays == repr(signature)


def small_tile(tile: TrialTile, known: Probe) -> TrialTile | None:
    """The small tile, of sizes that the model is known to take; None where it is hardly smaller."""
    side = round(_VOXELS ** (1 / len(tile.shape)))
    shape = tuple(
        min(n, sizes.at_least(side)) for n, sizes in zip(tile.shape, known.sizes, strict=True)
    )
    return tile.cut_to(shape) if 2 * math.prod(shape) <= math.prod(tile.shape) else None
