"""What was decided, as data: the facts of a plan, and the figures that follow from them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..block import Recipe
from ..geometry import Dimensions
from ..image import ImageStack
from ..model import Signature
from ..output import Layout, Target
from ..patching import Patching
from ..statistics import box_voxels
from ..store import BackEnd
from .choice import Choice
from .cost import Cost
from .memory import Memory
from .plan_options import PlanOptions
from .selection import Selection
from .trial import Trial


@dataclass(frozen=True)
class Decided:
    """Everything that is decided before the first block is computed; it can do nothing.

    Attributes
    ----------
    options
        What was asked for, with what was left open filled in: sizes, scale and margin.
    identity
        What tells model and `post` from others in a later run; None if nothing does.
    """

    options: PlanOptions
    recipe: Recipe
    patching: Patching
    layout: Layout
    memory: Memory
    cost: Cost
    trial: Trial
    target: Target | None
    choice: Choice | None
    back_end: BackEnd
    identity: str | None

    @property
    def images(self) -> tuple[ImageStack, ...]:
        return self.recipe.images

    @property
    def is_series(self) -> bool:
        return self.options.source.is_series

    @property
    def signature(self) -> Signature:
        return self.recipe.signature

    @property
    def outputs(self) -> tuple[Dimensions, ...]:
        """Axes and shapes of the predictions, one per image: of the first array each."""
        return self.recipe.primary

    @property
    def output_names(self) -> tuple[str, ...]:
        """Of the arrays, where the model (or `post`) gives several; else one empty name."""
        return tuple(output.name for output in self.recipe.stored)

    @property
    def model_name(self) -> str:
        return self.recipe.model.handle.name

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype that is stored, in the first array."""
        return self.recipe.dtypes[0]

    @property
    def threads(self) -> int:
        return self.memory.threads

    @property
    def tile_shape(self) -> tuple[int, ...]:
        """The size of the tile in the middle."""
        return self.trial.tile_shape

    @property
    def step(self) -> tuple[int, ...]:
        """Distance of neighbouring tiles, per spatial axis."""
        return self.recipe.grids[len(self.images) // 2].step

    @property
    def n_tiles(self) -> int:
        return sum(grid.n_tiles for grid in self.recipe.grids)

    @cached_property
    def selection(self) -> Selection:
        """All blocks."""
        return Selection.everything(self.recipe, self.layout.block_shape)

    @property
    def n_blocks(self) -> int:
        return self.selection.n_blocks

    @property
    def tile_ratio(self) -> float:
        """Voxels of all tiles per voxel of the images: what would be computed in one block."""
        tiles = kept = 0.0
        for image, grid in zip(self.images, self.recipe.grids, strict=True):
            tile = math.prod(axis.tile(axis.n_tiles // 2).size for axis in grid.axes)
            tiles += float(tile * grid.n_tiles)
            kept += float(image.data_shape[0] * math.prod(image.data_shape[2:]))
        return tiles / kept

    @property
    def model_seconds(self) -> float:
        """Time in the model for the whole run, from the trial tile and the plan's threads."""
        tile_voxels = math.prod(self.tile_shape)
        voxels = sum(
            float(image.data_shape[0] * math.prod(image.data_shape[2:])) for image in self.images
        )
        return self.trial.seconds / tile_voxels * voxels * self.cost.compute_ratio / self.threads

    def statistics_voxels(self, threads: int | None = None) -> int:
        """Voxels that a pass for statistics reads at a time, so that they fit memory."""
        return box_voxels(self.options.limits.nbytes, threads or self.threads)
