"""Bulk reads and writes of one Zarr array, through tensorstore or zarr-python."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import cached_property, lru_cache
from itertools import product
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import zarr
from numpy.typing import NDArray

from ..support import is_installed, load_extra
from .backoff import with_backoff
from .location import Location, locate
from .objects import Objects
from .patience import PatientStore

_log = logging.getLogger("daskpatch")

CACHE_BYTES = 300_000_000
"""Decoded chunks that tensorstore keeps per process, for halos that blocks share."""

Box = tuple[slice, ...]


class Backend(Protocol):
    """Boxes in and out of one array."""

    def read(self, box: Box) -> NDArray[np.generic]: ...

    def write(self, box: Box, values: NDArray[np.generic]) -> None: ...


class StoredArray:
    """A Zarr array with a back end, opened when it is first used.

    Pickles small, without the open handles, and opens anew in another process.
    """

    def __init__(self, array: zarr.Array[Any], *, io: str = "auto") -> None:
        self.array = _portable(array)
        self.io = check_io(io)
        self._backend: Backend | None = None

    @property
    def location(self) -> Location:
        return locate(self.array)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.array.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.array.dtype)

    @property
    def chunks(self) -> tuple[int, ...]:
        """What is decoded at once."""
        return tuple(self.array.chunks)

    @property
    def shards(self) -> tuple[int, ...] | None:
        return None if self.array.shards is None else tuple(self.array.shards)

    @property
    def backend_name(self) -> str:
        """`tensorstore` or `zarr`: what is used in this process."""
        return "tensorstore" if isinstance(self.backend, _TensorStore) else "zarr"

    @property
    def backend(self) -> Backend:
        if self._backend is None:
            self._backend = _open_backend(self.array, self.io)
        return self._backend

    def read(self, box: Box) -> NDArray[np.generic]:
        return self.backend.read(box)

    def write(self, box: Box, values: NDArray[np.generic]) -> None:
        """Write a box; the caller owns every write unit it touches.

        zarr 3.1 reads a shard before it replaces it, and tensorstore a chunk at the array's edge;
        they fail where it is torn: then it is deleted, and written again.
        """
        try:
            self.backend.write(box, values)
        except Exception as error:
            if not self._delete_torn(box):
                raise
            _log.warning(
                "Replaced torn chunks or shards of %s at %s (%s: %s).",
                self.location.name,
                [f"{s.start}:{s.stop}" for s in box],
                type(error).__name__,
                error,
            )
            self.backend.write(box, values)

    def units(self, box: Box) -> Iterator[tuple[str, Box]]:
        """The write units that a box touches: the key inside the array's prefix, and the box."""
        unit = self.shards or self.chunks
        ranges = (range(s.start // u, -(-s.stop // u)) for s, u in zip(box, unit, strict=True))
        for at in product(*ranges):
            inside = tuple(
                slice(i * u, min((i + 1) * u, n))
                for i, u, n in zip(at, unit, self.shape, strict=True)
            )
            yield self.array.metadata.encode_chunk_key(at), inside

    def _delete_torn(self, box: Box) -> bool:
        """Delete the units of a box that are there and cannot be read; whether there were any."""
        objects = Objects(self.location, patient=False)
        torn = [
            key for key, unit in self.units(box) if objects.exists(key) and not self._reads(unit)
        ]
        for key in torn:
            objects.delete(key)
        return bool(torn)

    def _reads(self, box: Box) -> bool:
        try:
            self.backend.read(box)
        except Exception:  # noqa: BLE001 (each codec raises its own)
            return False
        return True

    def with_io(self, io: str) -> StoredArray:
        return StoredArray(self.array, io=io)

    def why_not_portable(self) -> str | None:
        """Why another process could not use this array, or None if it could."""
        if self.location.lives_in_this_process:
            return f"{self.location.name} lives in this process's memory; save it to disk first"
        return None

    def __getstate__(self) -> dict[str, Any]:
        return {"array": self.array, "io": self.io, "_backend": None}

    def __repr__(self) -> str:
        return f"<{self.location.name} {self.shape} {self.dtype}>"


def check_io(io: str) -> str:
    """Refuse names that are not of a back end."""
    if io not in ("auto", "zarr", "tensorstore"):
        raise ValueError(f"io is {io!r}; needed is 'auto', 'zarr' or 'tensorstore'.")
    return io


def _portable(array: zarr.Array[Any]) -> zarr.Array[Any]:
    """The array through a store that other processes and working directories can open too."""
    location = locate(array)
    if location.store is array.store or location.store == array.store:
        return array
    mode = "r" if array.read_only else "r+"
    return zarr.open_array(store=location.store, path=location.path, mode=mode)


def _open_backend(array: zarr.Array[Any], io: str) -> Backend:
    folder = locate(array).local_path
    if io == "zarr" or (io == "auto" and not tensorstore_opens(folder)):
        return _ZarrPython(array)
    check_io_at(io, locate(array))
    try:
        return _TensorStore(array, folder)  # type: ignore[arg-type]
    except ValueError:
        if io == "tensorstore":
            raise
        return _ZarrPython(array)  # a dtype or codec that tensorstore does not know


def tensorstore_opens(folder: Path | None) -> bool:
    """Whether tensorstore is there for an array in this folder (None: elsewhere)."""
    return folder is not None and is_installed("tensorstore")


def check_io_at(io: str, location: Location) -> None:
    """Refuse tensorstore where it cannot be used.

    Raises
    ------
    ValueError
        If the place is not a local folder.
    ImportError
        If tensorstore is missing.
    """
    if io != "tensorstore":
        return
    if location.local_path is None:
        raise ValueError(
            f"io='tensorstore' opens arrays in local folders, and {location.name} is not one; use "
            "io='auto' or io='zarr'."
        )
    load_extra("tensorstore", "io='tensorstore'")


class _ZarrPython:
    def __init__(self, array: zarr.Array[Any]) -> None:
        mode = "r" if array.read_only else "r+"
        self._array = zarr.open_array(store=PatientStore(array.store), path=array.path, mode=mode)
        # A store in memory may keep the very array that it is given.
        self._keeps_values = locate(array).lives_in_this_process

    def read(self, box: Box) -> NDArray[np.generic]:
        return np.asarray(self._array[box])

    def write(self, box: Box, values: NDArray[np.generic]) -> None:
        self._array[box] = values.copy() if self._keeps_values else values


class _TensorStore:
    def __init__(self, array: zarr.Array[Any], folder: Path) -> None:
        self._folder = folder
        self._spec = {
            "driver": "zarr3" if array.metadata.zarr_format == 3 else "zarr",
            "kvstore": {"driver": "file", "path": f"{folder}/"},
        }
        self._reader = self._open(CACHE_BYTES)

    @cached_property
    def _writer(self) -> Any:
        # Without a cache: what is written would take the place of what is read.
        return self._open(0)

    def read(self, box: Box) -> NDArray[np.generic]:
        def attempt() -> NDArray[np.generic]:
            values: NDArray[np.generic] = self._reader[box].read(order="C").result()
            return values

        return with_backoff(attempt, f"Reading {self._folder}")

    def write(self, box: Box, values: NDArray[np.generic]) -> None:
        # Instead of copying the values tensorstore may refer to them, even after the commit that
        # is waited for here: in its cache, of which the writer has none and which is never read.
        # Not with more than three axes: tensorstore 0.1.86 then takes chunks whose voxels are not
        # contiguous for chunks of fill value, and does not store them.
        refers = values.ndim <= 3

        def attempt() -> None:
            self._writer[box].write(values, can_reference_source_data_indefinitely=refers).result()

        with_backoff(attempt, f"Writing {self._folder}")

    def _open(self, cache_bytes: int) -> Any:
        tensorstore = load_extra("tensorstore", "io='tensorstore'")
        return tensorstore.open(self._spec, open=True, context=_context(cache_bytes)).result()


@lru_cache(maxsize=2)
def _context(cache_bytes: int) -> Any:
    """One cache of decoded chunks for all arrays of this process."""
    tensorstore = load_extra("tensorstore", "io='tensorstore'")
    return tensorstore.Context({"cache_pool": {"total_bytes_limit": cache_bytes}})
