"""The one image that serves all arrays: opened, its axes named."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import psutil
from dask.utils import format_bytes
from numpy.typing import NDArray

from ..geometry import Coordinates, Dimensions, Region
from ..store import ChangedError, Location, StoredArray
from ..support import cause_of, checked_shape, html_table, said_by
from ..values import Padding, read_padded, source_box
from .drawing import drawing_of
from .readable import Readable


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
        with self._reading([box]):
            shape = tuple(each.stop - each.start for each in box)
            return checked_shape(self.array.read(box), shape, "What it gave")

    def read_chunks(self, boxes: Sequence[tuple[slice, ...]]) -> list[NDArray[Any] | None]:
        """Chunks of a Zarr array, in its own axes, many at a time; None where one is absent.

        Raises
        ------
        MemoryError, OSError
            As `read_box`.
        """
        assert isinstance(self.array, StoredArray), "others are read in boxes"
        with self._reading(boxes):
            return self.array.read_chunks(boxes)

    @contextmanager
    def _reading(self, boxes: Sequence[tuple[slice, ...]]) -> Iterator[None]:
        """Errors of reading boxes, in words."""
        self._check_chunk()
        try:
            yield
        except ChangedError:
            raise
        except Exception as error:  # noqa: BLE001 (each back end raises its own kinds)
            whole = [
                (min(s.start for s in along), max(s.stop for s in along))
                for along in zip(*boxes, strict=True)
            ]
            place = ", ".join(f"{start}:{stop}" for start, stop in whole)
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

    def why_not_portable(self) -> str | None:
        return self.array.why_not_portable()

    def with_ndim(self, ndim: int) -> ArrayImage:
        return replace(self, dimensions=replace(self.dimensions, ndim=ndim))

    def with_io(self, io: str) -> ArrayImage:
        return replace(self, array=self.array.with_io(io))

    def with_delays(self, delays: tuple[float, ...]) -> ArrayImage:
        return replace(self, array=self.array.with_delays(delays))

    def _read(
        self, sample_idx: int, channels: slice, region: Region, shape: tuple[int, ...]
    ) -> NDArray[np.generic]:
        dims = self.dimensions

        def read(inside: Region) -> NDArray[np.generic]:
            values = dims.canonical(self.read_box(dims.box(sample_idx, channels, inside)))
            first: Any = (0,) * len(dims.sample_axes)
            sample: NDArray[np.generic] = values[first]
            return sample

        n_channels = channels.stop - channels.start
        nothing = np.empty((n_channels, *(0 for _ in shape)), self.data_dtype)
        return read_padded(read, region, shape, self.padding, nothing)

    def _stored_channels(self, channels: Sequence[int] | None, n_channels: int) -> Sequence[int]:
        """Indices along the array's own C axis."""
        chosen: Sequence[int] = range(n_channels) if channels is None else channels
        if any(not 0 <= c < n_channels for c in chosen):
            raise IndexError(f"channels {tuple(chosen)} are out of range for {n_channels} channels")
        return chosen if self.channels is None else [self.channels[c] for c in chosen]


@cache
def _total_memory() -> int:
    return int(psutil.virtual_memory().total)


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
