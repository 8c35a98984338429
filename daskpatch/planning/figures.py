"""The figures of what was decided: what a plan says of itself before it runs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..block import count_tiles
from ..deciding import Choice, Decided, Memory
from ..geometry import Dimensions
from ..image import ImageStack
from ..model import Signature
from ..patching import Patching


class Figures:
    """The figures of what was decided.

    Attributes
    ----------
    n_tiles, n_blocks, n_tasks
        Tiles of the tiling, blocks of the output, tasks of a run.
    block_shape, chunks, shards
        Voxels per axis of the output.
    bytes_in, bytes_out
        Of the voxels, before compression.
    read_ratio
        Decoded bytes of the source's chunks that blocks touch, per byte of the image: what is
        read without a cache.
    fetches_per_chunk
        How often a chunk of the source is fetched and decoded, on average, at most: 1 where what
        is kept serves all blocks that touch it, more where memory is short (`cache=`). That is of
        blocks done one after another: where a thread is late, some chunks are fetched once more. On
        a cluster each worker fetches its own.
    blocks_ahead
        For how many blocks, at most, chunks are fetched before they begin: of stores behind a
        network, as memory allows.
    compute_ratio
        Voxels computed per voxel kept.
    peak_memory
        Bytes one worker holds at its peak, beyond the idle process; `memory` tells of its parts.
    io
        The back end: `tensorstore` or `zarr`.
    choice
        What `"auto"` stood for, and why; None where nothing was left to choose.
    """

    def __init__(self, decided: Decided) -> None:
        self._decided = decided

    @property
    def images(self) -> tuple[ImageStack, ...]:
        """The sources, as `S C (Z) Y X`."""
        return self._decided.recipe.images

    @property
    def patching(self) -> Patching:
        """The strategy that cuts the images into tiles."""
        return self._decided.tiling.patching

    @property
    def outputs(self) -> tuple[Dimensions, ...]:
        """Axes and shapes of the predictions, one per image: of the first array each."""
        return self._decided.recipe.primary

    @property
    def output_names(self) -> tuple[str, ...]:
        """Of the arrays, where the model (or `post`) gives several; else one empty name."""
        return tuple(output.name for output in self._decided.recipe.stored)

    @property
    def signature(self) -> Signature:
        """What the model said of itself on the trial tile."""
        return self._decided.recipe.signature

    @property
    def model_name(self) -> str:
        """What the model is called: its class or function, or its file."""
        return self._decided.recipe.model_name

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype that is stored, in the first array."""
        return self._decided.recipe.dtypes[0]

    @property
    def chunks(self) -> tuple[int, ...]:
        return self._decided.layout.chunks

    @property
    def shards(self) -> tuple[int, ...] | None:
        return self._decided.layout.shards

    @property
    def block_shape(self) -> tuple[int, ...]:
        return self._decided.layout.block_shape

    @property
    def n_tiles(self) -> int:
        recipe = self._decided.recipe
        return sum(count_tiles(recipe, data_idx) for data_idx in range(len(recipe.images)))

    @property
    def n_blocks(self) -> int:
        return self._decided.selection.n_blocks

    @property
    def n_tasks(self) -> int:
        """The number of blocks; a task of a cluster takes several where they are short."""
        return self.n_blocks

    @property
    def bytes_in(self) -> int:
        return self._decided.cost.bytes_in

    @property
    def bytes_out(self) -> int:
        return self._decided.cost.bytes_out

    @property
    def read_ratio(self) -> float:
        return self._decided.cost.read_ratio

    @property
    def fetches_per_chunk(self) -> float:
        return self._decided.memory.reading.fetches

    @property
    def blocks_ahead(self) -> int:
        return self._decided.memory.reading.ahead

    @property
    def compute_ratio(self) -> float:
        return self._decided.cost.compute_ratio

    @property
    def tile_ratio(self) -> float:
        """Voxels of all tiles per voxel predicted: what would be computed in one block."""
        recipe = self._decided.recipe
        tiles = kept = 0.0
        for data_idx, grid in enumerate(recipe.grids):
            tile = math.prod(axis.tile(axis.n_tiles // 2).size for axis in grid.axes)
            tiles += float(tile * count_tiles(recipe, data_idx))
            kept += float(math.prod(recipe.covered(data_idx)))
        return tiles / kept

    @property
    def memory(self) -> Memory:
        """What makes up the peak of one worker."""
        return self._decided.memory

    @property
    def peak_memory(self) -> int:
        return self._decided.memory.peak

    @property
    def threads(self) -> int:
        """Blocks in work at a time, where a run does not say otherwise."""
        return self._decided.memory.threads

    @property
    def tile_shape(self) -> tuple[int, ...]:
        """The size of the tile in the middle."""
        return self._decided.tiling.trial.tile_shape

    @property
    def step(self) -> tuple[int, ...]:
        """Distance of neighbouring tiles, per spatial axis."""
        return self._decided.recipe.grids[len(self.images) // 2].step

    @property
    def model_seconds(self) -> float:
        """Time in the model for the whole run, from the trial tile and the plan's threads."""
        seconds = self._decided.tiling.trial.seconds / math.prod(self.tile_shape)
        return seconds * self._computed_voxels / self.threads

    @property
    def reading_seconds(self) -> float:
        """Time for the whole run in reading chunks and filling tiles, as the trial tile's took."""
        pace = self._decided.tiling.trial.pace
        times = self.fetches_per_chunk if self.memory.chunks else self.read_ratio
        filling = pace.filling * self._computed_voxels / self.threads
        return pace.reading * self.bytes_in * times + filling

    @property
    def writing_seconds(self) -> float:
        """Time for the whole run in encoding, as the trial tile's result took, in its threads.

        That is of the model's first array, as new arrays are encoded. What the output's store takes
        to answer comes on top; it is not asked before the run. 0 without an output.
        """
        pace, has_output = self._decided.tiling.trial.pace, self._decided.target is not None
        return pace.encoding * self.bytes_out / self.threads if has_output else 0.0

    @property
    def bound_by(self) -> str:
        """What is expected to take most of the time: `reading`, `model` or `writing`."""
        parts = {
            "reading": self.reading_seconds,
            "model": self.model_seconds,
            "writing": self.writing_seconds,
        }
        return max(parts, key=lambda part: parts[part])

    @property
    def _computed_voxels(self) -> float:
        """Of all tiles that are given to the model."""
        recipe = self._decided.recipe
        voxels = sum(float(math.prod(recipe.covered(i))) for i in range(len(recipe.images)))
        return voxels * self.compute_ratio

    @property
    def io(self) -> str:
        return self._decided.back_end.name

    @property
    def choice(self) -> Choice | None:
        return self._decided.choice
