"""A series of images and the model that predicts them: what every region needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..geometry import Dimensions, RegularGrid
from ..image import ImageStack
from ..model import Output, SharedModel, Signature
from ..patching import TileGrid
from ..values import Position, ValueMap


@dataclass(frozen=True)
class Prediction:
    """What a region of any image is predicted from.

    Attributes
    ----------
    stored
        What is stored: one entry per array, in the dtype that is stored.
    outputs
        Per image, the dimensions of each of these arrays. Blocks are counted in the first one's.
    positions
        In which tiles are predicted: more than one for test-time augmentation.
    post
        What makes the stored arrays of the stitched ones; None where they are the same.
    maps
        Per image, how its values are normalised; None where they are not.
    denormalize
        Whether the model's results are mapped back.
    """

    images: tuple[ImageStack, ...]
    grids: tuple[TileGrid, ...]
    model: SharedModel
    signature: Signature
    stored: tuple[Output, ...]
    outputs: tuple[tuple[Dimensions, ...], ...]
    input_dtype: np.dtype[Any]
    batch_size: int
    stitch: str = "crop"
    positions: tuple[Position, ...] = (Position(),)
    post: SharedModel | None = None
    maps: tuple[ValueMap, ...] | None = None
    denormalize: bool = False

    @property
    def primary(self) -> tuple[Dimensions, ...]:
        """Per image, the dimensions of the first array."""
        return tuple(arrays[0] for arrays in self.outputs)

    @property
    def dtypes(self) -> tuple[np.dtype[Any], ...]:
        """What is stored, per array."""
        return tuple(np.dtype(output.dtype) for output in self.stored)

    @property
    def stored_itemsize(self) -> int:
        """Bytes that a voxel takes in all arrays, per channel of the first."""
        channels = self.stored[0].channels
        sizes = (output.channels * np.dtype(output.dtype).itemsize for output in self.stored)
        return -(-sum(sizes) // channels)

    @property
    def blends(self) -> bool:
        """Whether a voxel comes from all tiles that reach it, not from one."""
        return self.stitch != "crop"


def block_grids(prediction: Prediction, block_shape: tuple[int, ...]) -> tuple[RegularGrid, ...]:
    """The blocks of every image of a series."""
    return tuple(
        block_grid(prediction, data_idx, block_shape) for data_idx in range(len(prediction.images))
    )


def block_grid(prediction: Prediction, data_idx: int, block_shape: tuple[int, ...]) -> RegularGrid:
    """The blocks of one image.

    A last block that only the end of the last tile touches joins the one before: its voxels
    come out of a tile that is computed there anyway.
    """
    dims, grid = prediction.outputs[data_idx][0], prediction.grids[data_idx]
    starts = dims.spread(-1, -1, kept_of_last(prediction.signature, grid))
    merge = tuple(
        0 <= start < size // block * block
        for start, size, block in zip(starts, dims.shape, block_shape, strict=True)
    )
    return RegularGrid(dims.shape, block_shape, merge)


def kept_of_last(signature: Signature, grid: TileGrid) -> tuple[int, ...]:
    """Where the crop of the last tile lands along each spatial axis."""
    tile = tuple(axis.tile(axis.n_tiles - 1) for axis in grid.axes)
    return signature.kept(tile).start
