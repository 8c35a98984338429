"""What was decided, as data."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from ..block import Recipe
from ..output import Layout, Pyramid, Target
from ..statistics import box_voxels
from ..store import BackEnd
from .choice import Choice
from .cost import Cost
from .identity import Identity
from .memory import Memory
from .plan_options import PlanOptions
from .selection import Selection
from .strategy import Tiling


@dataclass(frozen=True)
class Decided:
    """Everything that is decided before the first block is computed; it can do nothing.

    Attributes
    ----------
    options
        What was asked for, with what was left open filled in: sizes, scale and margin.
    pyramid
        The levels beside full resolution, of each image.
    identity
        What tells model and `post` from others in a later run; None where no run is possible.
    """

    options: PlanOptions
    recipe: Recipe
    tiling: Tiling
    layout: Layout
    pyramid: Pyramid
    memory: Memory
    cost: Cost
    target: Target | None
    choice: Choice | None
    back_end: BackEnd
    identity: Identity | None

    @cached_property
    def selection(self) -> Selection:
        """All blocks."""
        return Selection.everything(self.recipe, self.layout.block_shape)

    def statistics_voxels(self, threads: int) -> int:
        """Voxels that a pass for statistics reads at a time, so that they fit memory."""
        return box_voxels(self.options.limits.nbytes, threads)
