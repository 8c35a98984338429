"""What an image is to daskpatch: the `ImageStack` interface, and what ours say beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeGuard, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ..geometry import Coordinates, Dimensions, Region
from ..store import Location
from ..values import Padding
from .array_image import ArrayImage
from .readable import Readable


@runtime_checkable
class ImageStack(Protocol):
    """One image of a series, seen as `SC(Z)YX`.

    Attributes
    ----------
    source
        Where the image comes from, fit to be shown.
    data_shape
        `SC(Z)YX`: samples (time folded in), channels, space.
    data_dtype
        The dtype of the patches.
    original_axes, original_data_shape
        The array's own axes, of STCZYX, and its shape.
    """

    @property
    def source(self) -> str: ...
    @property
    def data_shape(self) -> tuple[int, ...]: ...
    @property
    def data_dtype(self) -> np.dtype[Any]: ...
    @property
    def original_axes(self) -> str: ...
    @property
    def original_data_shape(self) -> tuple[int, ...]: ...

    def extract_patch(
        self,
        sample_idx: int,
        channels: Sequence[int] | None,
        coords: Sequence[int],
        patch_size: Sequence[int],
    ) -> NDArray[np.generic]:
        """A patch as `C(Z)YX`, padded where it lies outside the image."""


@runtime_checkable
class LocatedImage(ImageStack, Protocol):
    """An image that also says how it is stored, which makes plans better; ours are.

    Attributes
    ----------
    array
        What its voxels are read from.
    location
        Where it is stored; None where it is computed, or in this process's memory.
    dimensions
        The array's named axes.
    channels
        The chosen ones; None for all.
    padding
        What is read outside of it.
    chunk_shape
        The (Z)YX part of what is decoded at once; None where there are no chunks.
    chunk_nbytes
        Bytes of what is decoded at once, all its axes; 0 where there are no chunks.
    coordinates
        Where its voxels lie; None where that is not said.
    channel_names
        The names of the chosen channels; empty where they are not told.
    ome_version
        The version of OME-Zarr that it is of; None where it is none.
    """

    @property
    def array(self) -> Readable: ...
    @property
    def location(self) -> Location | None: ...
    @property
    def dimensions(self) -> Dimensions: ...
    @property
    def channels(self) -> tuple[int, ...] | None: ...
    @property
    def padding(self) -> Padding: ...
    @property
    def chunk_shape(self) -> tuple[int, ...] | None: ...
    @property
    def chunk_nbytes(self) -> int: ...
    @property
    def coordinates(self) -> Coordinates | None: ...
    @property
    def channel_names(self) -> tuple[str, ...]: ...
    @property
    def ome_version(self) -> str | None: ...

    def boxes(self, sample_idx: int, region: Region) -> list[tuple[slice, ...]]:
        """The boxes of the array that a patch of all channels is read from."""

    def read_box(self, box: tuple[slice, ...]) -> NDArray[np.generic]:
        """The voxels of a box of the array, in its own axes."""

    def why_not_portable(self) -> str | None:
        """Why another process could not use this image, or None if it could."""

    def with_ndim(self, ndim: int) -> LocatedImage:
        """The same image for tiles of so many spatial axes: with 2, Z counts samples."""

    def with_io(self, io: str) -> LocatedImage:
        """The same image, read through a back end."""

    def with_delays(self, delays: tuple[float, ...]) -> LocatedImage:
        """The same image, waited for as long."""


def is_image(source: object) -> TypeGuard[ImageStack]:
    """Whether something is an image already, not only an object that has any attribute."""
    if isinstance(source, ArrayImage):
        return True
    return isinstance(source, ImageStack) and isinstance(source.data_shape, tuple | list)


def is_located(image: ImageStack) -> TypeGuard[LocatedImage]:
    """Whether an image says how it is stored."""
    # Ours first: asking for a protocol takes 75 microseconds, and this is asked for every block.
    return isinstance(image, ArrayImage | LocatedImage)
