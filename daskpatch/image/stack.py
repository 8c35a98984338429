"""The `ImageStack` interface, and the one implementation that serves all arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Protocol, TypeGuard, runtime_checkable

import cloudpickle  # dask's and distributed's own way to send things
import numpy as np
import psutil
from dask.utils import format_bytes
from numpy.typing import NDArray

from ..geometry import Coordinates, Dimensions, Region
from ..store import BackEnd, ChangedError, Location, StoredArray
from ..support import cause_of, html_table, said_by
from ..values import Padding, read_padded, source_box
from .drawing import drawing_of
from .readable import Readable

_LOOKERS = 16


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
    dimensions
        The array's named axes.
    chunk_shape
        The (Z)YX part of what is decoded at once; None where there are no chunks.
    chunk_nbytes
        Bytes of what is decoded at once, all its axes; 0 where there are no chunks.
    location
        Where it is stored; None where it is computed, or in this process's memory.
    back_end
        What reads it; None where that is no Zarr array.
    is_at_hand
        Whether reading is all that a box costs: a Dask array computes it.
    """

    @property
    def dimensions(self) -> Dimensions: ...
    @property
    def chunk_shape(self) -> tuple[int, ...] | None: ...
    @property
    def chunk_nbytes(self) -> int: ...
    @property
    def location(self) -> Location | None: ...
    @property
    def back_end(self) -> BackEnd | None: ...
    @property
    def is_at_hand(self) -> bool: ...

    def why_not_portable(self) -> str | None:
        """Why another process could not use this image, or None if it could."""

    def with_ndim(self, ndim: int) -> ImageStack:
        """The same image for tiles of so many spatial axes: with 2, Z counts samples."""

    def with_io(self, io: str) -> ImageStack:
        """The same image, read through a back end."""

    def with_delays(self, delays: tuple[float, ...]) -> ImageStack:
        """The same image, waited for as long."""

    def look(self) -> None:
        """Refuse to go on, with a `ChangedError`, where it is gone or another than was opened."""


@dataclass(frozen=True, repr=False)
class ArrayImage:
    """An array with named axes as an `ImageStack`; made by `open_image`.

    `coordinates` and the names of the chosen channels are there where the source says them,
    `ome_version` where it is an OME-Zarr image.
    """

    array: Readable
    dimensions: Dimensions
    channels: tuple[int, ...] | None
    padding: Padding
    source: str
    coordinates: Coordinates | None = None
    channel_names: tuple[str, ...] = ()
    ome_version: str | None = None

    @property
    def data_shape(self) -> tuple[int, ...]:
        samples, n_channels, *spatial = self.dimensions.data_shape
        chosen = n_channels if self.channels is None else len(self.channels)
        return (samples, chosen, *spatial)

    @property
    def data_dtype(self) -> np.dtype[Any]:
        return self.array.dtype

    @property
    def original_axes(self) -> str:
        return self.dimensions.axes

    @property
    def original_data_shape(self) -> tuple[int, ...]:
        return self.dimensions.shape

    @property
    def chunk_shape(self) -> tuple[int, ...] | None:
        """The (Z)YX part of what is decoded at once, where the array has chunks."""
        chunks = self.array.chunks
        return None if chunks is None else self.dimensions.spatial_entries(chunks)

    @property
    def chunk_nbytes(self) -> int:
        """Bytes of what is decoded at once, samples and channels included."""
        chunks = self.array.chunks
        return 0 if chunks is None else math.prod(chunks) * self.data_dtype.itemsize

    def extract_patch(
        self,
        sample_idx: int,
        channels: Sequence[int] | None,
        coords: Sequence[int],
        patch_size: Sequence[int],
    ) -> NDArray[np.generic]:
        """A patch as `C(Z)YX`, padded where it lies outside the image.

        `channels` count among those the image was opened with; None takes all of them.

        Raises
        ------
        IndexError
            If the sample or a channel does not exist.
        ValueError
            If coords or patch_size don't have one entry per spatial axis.
        """
        samples, n_channels, *spatial = self.data_shape
        if any(int(n) != n or n < 1 for n in patch_size) or any(int(c) != c for c in coords):
            raise ValueError(
                f"coords {tuple(coords)} and patch_size {tuple(patch_size)} must be integers, "
                "sizes at least 1."
            )
        if not 0 <= sample_idx < samples:
            raise IndexError(f"sample_idx {sample_idx} is out of range for {samples} samples")
        if not len(coords) == len(patch_size) == len(spatial):
            raise ValueError(
                f"coords {tuple(coords)} and patch_size {tuple(patch_size)} need {len(spatial)} "
                f"entries each, one per axis of {self.dimensions.spatial_axes}."
            )
        runs = _runs(self._stored_channels(channels, n_channels))
        start = tuple(map(int, coords))
        stop = tuple(a + int(n) for a, n in zip(start, patch_size, strict=True))
        region = Region(start, stop)
        # Runs of channels, one read each: a list of channels would read chunk by chunk.
        parts = [self._read(sample_idx, run, region, tuple(spatial)) for run in runs]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def boxes(self, sample_idx: int, region: Region) -> list[tuple[slice, ...]]:
        """The boxes of the array that a patch of all channels is read from."""
        _, n_channels, *spatial = self.data_shape
        inside = source_box(region, tuple(spatial), self.padding)
        runs = _runs(self._stored_channels(None, n_channels))
        return [self.dimensions.box(sample_idx, run, inside) for run in runs]

    def read_box(self, box: tuple[slice, ...]) -> NDArray[np.generic]:
        """The voxels of a box of the array, in its own axes.

        Raises
        ------
        MemoryError
            If one of its chunks is larger than this machine's memory.
        OSError
            If they cannot be read.
        """
        self._check_chunk()
        try:
            return self.array.read(box)
        except ChangedError:
            raise
        except Exception as error:  # noqa: BLE001 (each back end raises its own kinds)
            place = ", ".join(f"{s.start}:{s.stop}" for s in box)
            raise OSError(
                f"{self.source} could not be read at [{place}]: {type(error).__name__}: "
                f"{said_by(error)}"
            ) from cause_of(error)

    def _check_chunk(self) -> None:
        """Refuse what would end the process: codecs allocate what metadata say."""
        total = _total_memory()
        if isinstance(self.array, StoredArray) and self.chunk_nbytes > total:
            raise MemoryError(
                f"One chunk of {self.source} is {format_bytes(self.chunk_nbytes)} when it is "
                f"decoded, and this machine has {format_bytes(total)}: store it in smaller chunks "
                "(or is its metadata broken?)."
            )

    def __repr__(self) -> str:
        axes = "SCZYX" if self.dimensions.ndim == 3 else "SCYX"
        return f"<daskpatch.ImageStack {axes} {self.data_shape} {self.data_dtype} of {self.source}>"

    def _repr_html_(self) -> str:
        shape, chunks = self.dimensions.shape, self.array.chunks
        nbytes = format_bytes(math.prod(shape) * self.data_dtype.itemsize)
        rows = [
            ("source", self.source),
            ("shape", f"{self.dimensions.axes} {shape}"),
            ("read as", f"S C (Z) Y X {self.data_shape}"),
            ("dtype", f"{self.data_dtype}, {nbytes}"),
            ("chunks", "none" if chunks is None else str(chunks)),
            *([] if self.coordinates is None else [("scale", str(self.coordinates))]),
        ]
        return html_table("daskpatch image", rows, drawing=drawing_of(shape, chunks))

    @property
    def location(self) -> Location | None:
        return self.array.location

    @property
    def back_end(self) -> BackEnd | None:
        return self.array.back_end

    @property
    def is_at_hand(self) -> bool:
        return self.array.is_at_hand

    def why_not_portable(self) -> str | None:
        return self.array.why_not_portable()

    def with_ndim(self, ndim: int) -> ArrayImage:
        return replace(self, dimensions=replace(self.dimensions, ndim=ndim))

    def with_io(self, io: str) -> ArrayImage:
        return replace(self, array=self.array.with_io(io))

    def with_delays(self, delays: tuple[float, ...]) -> ArrayImage:
        return replace(self, array=self.array.with_delays(delays))

    def look(self) -> None:
        self.array.look()

    def _read(
        self, sample_idx: int, channels: slice, region: Region, shape: tuple[int, ...]
    ) -> NDArray[np.generic]:
        dims = self.dimensions

        def read(inside: Region) -> NDArray[np.generic]:
            values = dims.canonical(self.read_box(dims.box(sample_idx, channels, inside)))
            first: Any = (0,) * len(dims.sample_axes)
            sample: NDArray[np.generic] = values[first]
            return sample

        return read_padded(read, region, shape, self.padding)

    def _stored_channels(self, channels: Sequence[int] | None, n_channels: int) -> Sequence[int]:
        """Indices along the array's own C axis."""
        chosen: Sequence[int] = range(n_channels) if channels is None else channels
        if any(not 0 <= c < n_channels for c in chosen):
            raise IndexError(f"channels {tuple(chosen)} are out of range for {n_channels} channels")
        return chosen if self.channels is None else [self.channels[c] for c in chosen]


def is_image(source: object) -> TypeGuard[ImageStack]:
    """Whether something is an image already, not only an object that has any attribute."""
    if isinstance(source, ArrayImage):
        return True
    return isinstance(source, ImageStack) and isinstance(source.data_shape, tuple | list)


def is_located(image: ImageStack) -> TypeGuard[LocatedImage]:
    """Whether an image says how it is stored."""
    # Ours first: asking for a protocol takes 75 microseconds, and this is asked for every block.
    return isinstance(image, ArrayImage | LocatedImage)


def dimensions_of(image: ImageStack) -> Dimensions:
    """The named axes of an image's array."""
    if is_located(image):
        return image.dimensions
    axes, shape = image.original_axes, tuple(image.original_data_shape)
    return Dimensions(axes, shape, len(image.data_shape) - 2)


def why_not_portable(image: ImageStack) -> str | None:
    """Why another process could not use an image, or None if it could."""
    if is_located(image):
        return image.why_not_portable()
    try:
        cloudpickle.dumps(image)
    except Exception as error:  # noqa: BLE001 (pickling runs code of any class)
        return f"its {type(image).__name__} cannot be pickled ({error})"
    return None


def is_held_by_cluster(image: ImageStack) -> bool:
    """Whether tasks of a cluster would wait for others of its tasks to read an image."""
    return isinstance(image, ArrayImage) and image.array.is_held_by_cluster


def coordinates_of(image: ImageStack) -> Coordinates:
    """Where the voxels of an image's array lie; where it does not say so, voxels are the unit."""
    said = image.coordinates if isinstance(image, ArrayImage) else None
    return Coordinates.of_voxels(dimensions_of(image).axes) if said is None else said


def ome_version_of(image: ImageStack) -> str | None:
    """The version of OME-Zarr that an image is of; None where it is none."""
    return image.ome_version if isinstance(image, ArrayImage) else None


def channel_names_of(image: ImageStack) -> tuple[str, ...]:
    """The names of an image's channels; empty where they are not told."""
    return image.channel_names if isinstance(image, ArrayImage) else ()


def chunks_of(image: ImageStack) -> tuple[int, ...] | None:
    """The (Z)YX part of what is decoded at once, where an image has chunks."""
    return image.chunk_shape if is_located(image) else None


@cache
def _total_memory() -> int:
    return int(psutil.virtual_memory().total)


def chunk_nbytes_of(image: ImageStack) -> int:
    """Bytes of what is decoded at once, where an image has chunks; else 0."""
    return image.chunk_nbytes if is_located(image) else 0


def location_of(image: ImageStack) -> Location | None:
    """Where an image is stored, where that can be told."""
    return image.location if is_located(image) else None


def locations_of(image: ImageStack) -> tuple[Location, ...]:
    """All the places that an image is stored in, where that can be told: of files, each."""
    if isinstance(image, ArrayImage):
        return image.array.locations
    location = location_of(image)
    return () if location is None else (location,)


def back_end_of(image: ImageStack) -> BackEnd | None:
    """What reads an image; None where it is no Zarr array."""
    return image.back_end if is_located(image) else None


def is_at_hand(image: ImageStack) -> bool:
    """Whether reading is all that a box of an image costs."""
    return is_located(image) and image.is_at_hand


def why_endangered(image: ImageStack, place: Location) -> str:
    """Why an image may read from a place, other than `location_of` says; empty where not."""
    location = location_of(image)
    if location is not None and not location.is_comparable:
        return f"what {location.name} holds cannot be told"
    if is_at_hand(image):
        return ""
    if isinstance(image, ArrayImage):
        return image.array.why_endangered(place)
    return "its place cannot be told"


def stored_array_of(image: ImageStack) -> StoredArray | None:
    """The Zarr array that an image is of; None where it is none."""
    array = image.array if isinstance(image, ArrayImage) else None
    return array if isinstance(array, StoredArray) else None


def boxes_of(image: ImageStack, sample_idx: int, region: Region) -> list[tuple[slice, ...]] | None:
    """The boxes of its array that a patch of all channels is read from; None where it has none."""
    return image.boxes(sample_idx, region) if isinstance(image, ArrayImage) else None


def padding_of(image: ImageStack) -> Padding | None:
    """What is read outside of it, where that is known; images from elsewhere see to it."""
    return image.padding if isinstance(image, ArrayImage) else None


def is_unlisted(image: ImageStack) -> bool:
    """Whether an image is a Zarr array whose chunks cannot be listed: a web server's."""
    array = stored_array_of(image)
    return array is not None and array.location.is_web


def with_io(images: Sequence[ImageStack], io: str) -> tuple[ImageStack, ...]:
    """The same images, read through a back end where they are Zarr arrays."""
    return tuple(i.with_io(io) if is_located(i) else i for i in images)


def with_delays(images: Sequence[ImageStack], delays: tuple[float, ...]) -> tuple[ImageStack, ...]:
    """The same images, waited for as long."""
    return tuple(i.with_delays(delays) if is_located(i) else i for i in images)


def look_at_all(things: Sequence[ImageStack | StoredArray]) -> None:
    """Look whether images or arrays are still what was opened, where that can be told.

    Raises
    ------
    ChangedError
        If one is gone, or another.
    OSError
        If a store does not answer.
    """
    # A request each, and far away: together they take as long as a few.
    with ThreadPoolExecutor(_LOOKERS) as pool:
        looks = [pool.submit(each.look) for each in things if _can_look(each)]
        for look in looks:
            look.result()


def _can_look(thing: ImageStack | StoredArray) -> TypeGuard[LocatedImage | StoredArray]:
    return isinstance(thing, StoredArray) or is_located(thing)


def _runs(channels: Sequence[int]) -> list[slice]:
    """Contiguous runs of channels: one read each.

    >>> _runs([0, 1, 4])
    [slice(0, 2, None), slice(4, 5, None)]
    """
    runs: list[slice] = []
    for channel in channels:
        if runs and runs[-1].stop == channel:
            runs[-1] = slice(runs[-1].start, channel + 1)
        else:
            runs.append(slice(channel, channel + 1))
    return runs
