"""How a series of images becomes its prediction: the recipe, and the prediction that it gives."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from operator import sub
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import Dimensions, Region, RegularGrid, Scale
from ..image import ImageStack, Mask, ReadBox
from ..model import OutputArray, Position, SharedModel, Signature, Sizing
from ..patching import TileGrid
from ..store import Occupancy
from ..values import Normalize, Statistics, ValueMap
from .assembly import Assembly
from .emptiness import Emptiness


@dataclass(frozen=True)
class Recipe:
    """All that is decided about the voxels of a prediction: enough for geometry and for costs.

    Attributes
    ----------
    stored
        What is stored: one entry per array, in the dtype that is stored.
    outputs
        Per image, the dimensions of each of these arrays. Blocks are counted in the first one's.
    assembly
        How blocks are made of the results of tiles.
    positions
        In which tiles are predicted: more than one for test-time augmentation.
    made
        What its `post` made of the trial tile, in its own dtypes.
    normalize
        How values are mapped before the model, and whether results are mapped back.
    emptiness
        What is not given to the model; None where all of it is.
    masks, fill
        Per image, where it is predicted, and what is stored elsewhere; no masks where everywhere.
    """

    images: tuple[ImageStack, ...]
    grids: tuple[TileGrid, ...]
    model: SharedModel
    signature: Signature
    stored: tuple[OutputArray, ...]
    outputs: tuple[tuple[Dimensions, ...], ...]
    input_dtype: np.dtype[Any]
    batch_size: int
    assembly: Assembly
    positions: tuple[Position, ...] = (Position(),)
    made: tuple[OutputArray, ...] = ()
    normalize: Normalize = Normalize()
    emptiness: Emptiness | None = None
    masks: tuple[Mask, ...] = ()
    fill: float = 0

    @property
    def primary(self) -> tuple[Dimensions, ...]:
        """Per image, the dimensions of the first array."""
        return tuple(arrays[0] for arrays in self.outputs)

    @property
    def reads_all(self) -> bool:
        """Whether blocks read all that their tiles touch, as geometry says: none is spared."""
        return self.emptiness is None and not self.masks

    @property
    def is_told_ahead(self) -> bool:
        """Whether it is known what blocks read before they are computed: masks spare some tiles."""
        return not self.masks

    @property
    def model_name(self) -> str:
        return self.model.handle.name

    @property
    def codes(self) -> dict[str, SharedModel]:
        """What of it is the user's code, by name."""
        predicate = None if self.emptiness is None else self.emptiness.predicate
        named = {"model": self.model, "post": self.assembly.function, "skip_empty": predicate}
        return {name: code for name, code in named.items() if code is not None}

    @property
    def dtypes(self) -> tuple[np.dtype[Any], ...]:
        """What is stored, per array."""
        return tuple(np.dtype(output.dtype) for output in self.stored)

    @property
    def sizings(self) -> tuple[Sizing, ...]:
        """How voxels of each stored array relate to those of its tile."""
        return self.signature.sizings_of(len(self.stored))

    @property
    def stored_itemsize(self) -> int:
        """Bytes that a voxel of the first array takes in all of them, per channel of it."""
        return math.ceil(self.nbytes_of(self.stored, self.sizings) / self.stored[0].channels)

    def nbytes_of(self, arrays: Iterable[OutputArray], sizings: Iterable[Sizing]) -> Fraction:
        """Bytes that stand for a voxel of the first array in some arrays."""
        finest, total = _product(self.signature.scale), Fraction(0)
        for array, sizing in zip(arrays, sizings, strict=True):
            nbytes = array.channels * np.dtype(array.dtype).itemsize
            total += nbytes * _product(sizing.scale) / finest
        return total

    def needed(
        self,
        data_idx: int,
        sample_idx: int,
        region: Region,
        scale: Scale,
        read: ReadBox | None = None,
    ) -> NDArray[np.bool_] | None:
        """Which voxels of a (Z)YX region of a result of a scale are predicted; None where all are.

        `read` gives boxes of the mask, where they are not to be read anew.

        Raises
        ------
        OSError
            If the mask cannot be read.
        """
        if not self.masks:
            return None
        found = self.masks[data_idx].needed(sample_idx, region, scale, read)
        return None if found.all() else found

    def covered(self, data_idx: int) -> tuple[int, ...]:
        """Samples and (Z)YX size of what is predicted of an image, in its voxels."""
        dims, image = self.outputs[data_idx][0], self.images[data_idx]
        if not dims.is_part:
            return (image.data_shape[0], *image.data_shape[2:])
        part = dims.spatial_part(Region.whole(dims.shape))
        inside = self.signature.finest.input_region(part)
        return (dims.n_samples, *inside.shape)

    def prediction(self, statistics: Sequence[Statistics] | None = None) -> Prediction:
        """The prediction, once there is all that it takes.

        Raises
        ------
        ValueError
            If values are normalised by what images are like, and `statistics` are not given.
        """
        constants = self.normalize.constants
        maps: tuple[ValueMap, ...] | None = None
        if constants is not None:
            maps = (constants,) * len(self.images)
        elif self.normalize.measures:
            if statistics is None:
                raise ValueError("Images are normalised by their statistics; measure them first.")
            maps = tuple(found.value_map for found in statistics)
        return Prediction(**{f.name: getattr(self, f.name) for f in fields(Recipe)}, maps=maps)


@dataclass(frozen=True)
class Prediction(Recipe):
    """A recipe with all that it takes: what a region of any image is predicted from.

    Made by `Recipe.prediction`, which no recipe without its statistics passes.

    Attributes
    ----------
    maps
        Per image, how its values are normalised; None where they are not.
    occupancies
        Per image, what of it is stored; None where nobody listed it.
    """

    maps: tuple[ValueMap, ...] | None = None
    occupancies: tuple[Occupancy | None, ...] | None = None

    def occupancy(self, data_idx: int) -> Occupancy | None:
        """What of an image is stored, where it was listed."""
        return None if self.occupancies is None else self.occupancies[data_idx]

    def __post_init__(self) -> None:
        if self.maps is None and self.normalize.kind is not None:
            raise ValueError(
                "Values are normalised, and nothing says by what; see Recipe.prediction."
            )


def _product(scale: Scale) -> Fraction:
    return math.prod(scale, start=Fraction(1))


def block_grids(recipe: Recipe, block_shape: tuple[int, ...]) -> tuple[RegularGrid, ...]:
    """The blocks of every image of a series."""
    return tuple(
        block_grid(recipe, data_idx, block_shape) for data_idx in range(len(recipe.images))
    )


def block_grid(recipe: Recipe, data_idx: int, block_shape: tuple[int, ...]) -> RegularGrid:
    """The blocks of one image.

    A last block that only the end of the last tile touches joins the one before: its voxels
    come out of a tile that is computed there anyway.
    """
    dims, grid = recipe.outputs[data_idx][0], recipe.grids[data_idx]
    last = map(sub, _kept_of_last(recipe.signature.finest, grid), dims.spatial_origin)
    starts = dims.spread(-1, -1, tuple(last))
    merge = tuple(
        # The end of the last tile would be a block of its own, for which the whole tile is
        # computed.
        0 <= start < size // block * block
        for start, size, block in zip(starts, dims.shape, block_shape, strict=True)
    )
    return RegularGrid(dims.shape, block_shape, merge)


def _kept_of_last(sizing: Sizing, grid: TileGrid) -> tuple[int, ...]:
    """Where the crop of the last tile lands along each spatial axis."""
    tile = tuple(axis.tile(axis.n_tiles - 1) for axis in grid.axes)
    return sizing.kept(tile).start
