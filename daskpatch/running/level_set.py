"""Levels that are built: what the passes over them have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from ..deciding import Decided, Memory
from ..image import ImageStack, identity_of_image
from ..output import Level
from ..receipts import Json, as_json
from ..store import Location
from ..support import DEFAULT_PACING, Pacing
from ..values import Downsample

Placed = Sequence[Sequence[Location]]
"""Where the arrays of each image lie."""


@dataclass(frozen=True)
class Origin:
    """An image of which the first of the levels is made, where no prediction makes it.

    Attributes
    ----------
    image
        The level before.
    attributes
        What the group of the levels says of the image, where it says nothing yet.
    beside
        Arrays on which nobody may hold a claim: whoever has one may write what is read, or levels.
    """

    image: ImageStack
    attributes: Mapping[str, Any]
    beside: tuple[Location, ...]

    @cached_property
    def identity(self) -> Json:
        """What tells the image from others, looked at once."""
        return self.looked_at()

    def looked_at(self, pacing: Pacing = DEFAULT_PACING) -> Json:
        """What tells the image from others now; it may be moved."""
        image: Any = self.image
        told = identity_of_image(image.with_delays(pacing.delays))
        return {name: as_json(told[name]) for name in ("axes", "shape", "dtype", "content")}


@dataclass(frozen=True)
class LevelSet:
    """Levels of images, and where they lie.

    Attributes
    ----------
    images
        The levels of each image.
    methods, dtypes
        Of each array: how it is made coarser, and what it holds.
    root
        From which the ways to arrays are told.
    placed
        Where arrays lie, by the number of their level; also of that which the first is made of.
    records
        Of each image, the array inside which the records of its levels lie.
    zarr_format
        Of arrays and groups.
    io
        What reads and writes.
    origin
        Of levels that are built of an image that is there.
    """

    images: tuple[tuple[Level, ...], ...]
    methods: tuple[Downsample, ...]
    dtypes: tuple[np.dtype[Any], ...]
    root: Location
    placed: Mapping[int, Placed]
    records: tuple[Location, ...]
    zarr_format: Literal[2, 3]
    io: str
    memory: Memory
    origin: Origin | None = None

    @property
    def numbers(self) -> list[int]:
        """Of the levels, from the finest on."""
        return sorted({level.number for levels in self.images for level in levels})

    def having(self, number: int) -> dict[int, Level]:
        """The level of each image that has it, by the image's number."""
        return {
            data_idx: level
            for data_idx, levels in enumerate(self.images)
            for level in levels
            if level.number == number
        }


def level_set_of(decided: Decided) -> LevelSet:
    """The levels beside full resolution of a prediction's output."""
    target, recipe, pyramid = decided.target, decided.recipe, decided.pyramid
    assert target is not None, "checked before a run"
    return LevelSet(
        images=pyramid.images,
        methods=pyramid.methods,
        dtypes=tuple(np.dtype(dtype) for dtype in recipe.dtypes),
        root=target.location,
        placed={
            0: target.places(recipe),
            **{n: target.level_places(recipe, n) for n in range(1, pyramid.n_levels + 1)},
        },
        records=tuple(target.record_places(recipe)),
        zarr_format=target.zarr_format,
        io=decided.options.limits.io,
        memory=decided.memory,
    )
