"""An array in a file: what it says of itself, and how a box of it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..store import Places

VoxelSize = tuple[float, str | None]
"""How far apart voxels are, and in which unit."""

Box = tuple[slice, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of an array before a voxel is read.

    Attributes
    ----------
    shape, dtype
        Of the array.
    axis_names
        One per axis; None where the file does not say what they are.
    chunks
        What is decoded at once: a tile, strip, chunk or page; None where any part can be read.
    channel_names
        Empty where they are not told.
    places
        Scale, translation and unit, axis by axis; None where they are not told.
    levels
        Of a pyramid, the finest first: what each is called, and where its voxels lie.
    note
        What makes reading slow, after the name of the file; empty where nothing does.
    sizes
        Of voxels along axes of some letters, where the file tells them so, whichever it has.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    axis_names: tuple[str, ...] | None = None
    chunks: tuple[int, ...] | None = None
    channel_names: tuple[str, ...] = ()
    places: Places | None = None
    levels: Mapping[str, Places | None] = field(default_factory=dict)
    note: str = ""
    sizes: Mapping[str, VoxelSize] = field(default_factory=dict)


class Reader(Protocol):
    """An array in a file that is open; several threads read from it at a time."""

    @property
    def facts(self) -> Facts: ...

    def read(self, box: Box) -> NDArray[np.generic]:
        """The voxels of a box that lies inside; slices have a start, a stop and no step."""
