"""What is told of an image, ours or from elsewhere, which need not say more than `ImageStack`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeGuard

import cloudpickle  # dask's and distributed's own way to send things
import numpy as np

from ..geometry import Coordinates, Dimensions, Region
from ..store import BackEnd, Location, StoredArray
from ..support import DaemonThreads
from ..values import Padding
from .array_image import ArrayImage
from .readable import Readable
from .stack import ImageStack, is_located

_LOOKERS = 16


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


def array_of(image: ImageStack) -> Readable | None:
    """What an image's voxels are read from, where that can be told."""
    return image.array if is_located(image) else None


def is_held_by_cluster(image: ImageStack) -> bool:
    """Whether tasks of a cluster would wait for others of its tasks to read an image."""
    array = array_of(image)
    return array is not None and array.is_held_by_cluster


def is_placed(image: ImageStack) -> bool:
    """Whether an image says where its voxels lie."""
    return is_located(image) and image.coordinates is not None


def coordinates_of(image: ImageStack) -> Coordinates:
    """Where the voxels of an image's array lie; where it does not say so, voxels are the unit."""
    said = image.coordinates if is_located(image) else None
    return Coordinates.of_voxels(dimensions_of(image).axes) if said is None else said


def ome_version_of(image: ImageStack) -> str | None:
    """The version of OME-Zarr that an image is of; None where it is none."""
    return image.ome_version if is_located(image) else None


def channel_names_of(image: ImageStack) -> tuple[str, ...]:
    """The names of an image's channels; empty where they are not told."""
    return image.channel_names if is_located(image) else ()


def chunks_of(image: ImageStack) -> tuple[int, ...] | None:
    """The (Z)YX part of what is decoded at once, where an image has chunks."""
    return image.chunk_shape if is_located(image) else None


def chunk_nbytes_of(image: ImageStack) -> int:
    """Bytes of what is decoded at once, where an image has chunks; else 0."""
    return image.chunk_nbytes if is_located(image) else 0


def location_of(image: ImageStack) -> Location | None:
    """Where an image is stored, where that can be told."""
    return image.location if is_located(image) else None


def locations_of(image: ImageStack) -> tuple[Location, ...]:
    """All the places that an image is stored in, where that can be told: of files, each."""
    array = array_of(image)
    return () if array is None else array.locations


def back_end_of(image: ImageStack) -> BackEnd | None:
    """What reads an image; None where it is no Zarr array."""
    array = array_of(image)
    return None if array is None else array.back_end


def is_at_hand(image: ImageStack) -> bool:
    """Whether reading is all that a box of an image costs."""
    array = array_of(image)
    return array is not None and array.is_at_hand


def why_endangered(image: ImageStack, place: Location) -> str:
    """Why an image may read from a place, other than `location_of` says; empty where not."""
    array = array_of(image)
    if array is None:
        return "its place cannot be told"
    if array.location is not None and not array.location.is_comparable:
        return f"what {array.location.name} holds cannot be told"
    return array.why_endangered(place)


def stored_array_of(image: ImageStack) -> StoredArray | None:
    """The Zarr array that an image is of; None where it is none."""
    array = array_of(image)
    return array if isinstance(array, StoredArray) else None


def is_chunked(image: ImageStack) -> TypeGuard[ArrayImage]:
    """Whether an image is read chunk by chunk: a Zarr array is."""
    return isinstance(image, ArrayImage) and isinstance(image.array, StoredArray)


def absent_value_of(image: ImageStack) -> np.generic:
    """What is read of an image where nothing is stored; 0 where all of it is there."""
    array = stored_array_of(image)
    return image.data_dtype.type(0) if array is None else array.absent_value


def boxes_of(image: ImageStack, sample_idx: int, region: Region) -> list[tuple[slice, ...]] | None:
    """The boxes of its array that a patch of all channels is read from; None where it has none."""
    return image.boxes(sample_idx, region) if is_located(image) else None


def padding_of(image: ImageStack) -> Padding | None:
    """What is read outside of it, where that is known; images from elsewhere see to it."""
    return image.padding if is_located(image) else None


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
    with DaemonThreads(_LOOKERS, "daskpatch-io") as pool:
        arrays = [each if isinstance(each, StoredArray) else array_of(each) for each in things]
        looks = [pool.submit(array.look) for array in arrays if array is not None]
        for look in looks:
            look.result()
