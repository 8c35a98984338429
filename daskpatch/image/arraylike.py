"""Arrays that are not Zarr: NumPy, Dask, xarray, and whatever has shape, dtype, __getitem__."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import cloudpickle  # dask's and distributed's own way to send things
import numpy as np
from numpy.typing import NDArray

from ..engine import Client, client_of
from ..model import module_of
from ..store import BackEnd, Location, Places, StoredArray, existing_array, locate
from ..support import as_voxels, said_by, within_xarray
from .leaves import arrays_read_by, folders_of_tensorstore, why_array_is_endangered

_HELD = (
    "it was persisted on a cluster, or is of scattered data, which its own tasks cannot wait for; "
    "save it as Zarr first"
)

_WATCHED = 16
"""Zarr arrays that are looked at, of those that an array is computed from."""

PORTABLE_BYTES = 1_000_000
"""The largest NumPy array that is sent to other processes."""


_CHANNEL = ("c", "channel", "channels")


@runtime_checkable
class IndexedArray(Protocol):
    """An array of any kind: NumPy's, Dask's, or your own."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    def __getitem__(self, key: Any, /) -> Any: ...


class ArrayLike:
    """An array-like, read in boxes; the counterpart of `StoredArray`."""

    location: Location | None = None
    locations: tuple[Location, ...] = ()
    back_end: BackEnd | None = None

    def __init__(self, array: IndexedArray) -> None:
        self.array: Any = _from_zero(array)
        self.shape: tuple[int, ...] = tuple(int(n) for n in array.shape)
        self.dtype = dtype_of(array)
        # Now: once it is gone, nobody can tell any more what it was.
        self._stored = _read_by_tensorstore(array)

    @property
    def axis_names(self) -> tuple[str, ...] | None:
        """What the array calls its axes: xarray's `dims`, tensorstore's labels; else None."""
        domain = getattr(self.array, "domain", None)
        names = getattr(self.array, "dims", None) or getattr(domain, "labels", None)
        if not isinstance(names, list | tuple) or not any(names):
            return None
        return tuple(map(str, names))

    @property
    def channel_names(self) -> tuple[str, ...]:
        """What the array calls its channels: the coordinate of xarray's axis C; else nothing."""
        axis = next((n for n in self.axis_names or () if n.lower() in _CHANNEL), None)
        labels = None if axis is None else self.labels(axis)
        return () if labels is None else tuple(map(str, np.asarray(labels)))

    def labels(self, axis_name: str) -> Any | None:
        """The coordinate of xarray along an axis; None where there is none."""
        known = getattr(self.array, "coords", None)
        return known[axis_name] if isinstance(known, Mapping) and axis_name in known else None

    @property
    def places(self) -> Places | None:
        """Where voxels lie, by xarray's coordinates that are evenly spaced; None without any."""
        along = [self.labels(name) for name in self.axis_names or ()]
        found = [None if labels is None else _spaced(labels) for labels in along]
        return tuple(each or (1.0, 0.0, None) for each in found) if any(found) else None

    def is_uneven(self, axis_name: str) -> bool:
        """Whether xarray's coordinate along an axis says no scale: others than numbers, or such."""
        labels = self.labels(axis_name)
        return labels is not None and _spaced(labels) is None

    @property
    def chunks(self) -> tuple[int, ...] | None:
        """The largest chunk of a Dask array; None for an array without chunks."""
        layout = getattr(self.array, "chunk_layout", None)  # tensorstore's
        chunks = getattr(self.array, "chunks", None) if layout is None else layout.read_chunk.shape
        if not isinstance(chunks, tuple) or len(chunks) != len(self.shape) or None in chunks:
            return None
        return tuple(max(c) if isinstance(c, tuple) else int(c) for c in chunks)

    @property
    def is_at_hand(self) -> bool:
        """Whether it is there already, and not computed when it is read."""
        return isinstance(self.array, np.ndarray)

    def identity(self) -> None:
        """Nothing beside its voxels."""

    def look(self) -> None:
        """Look at Zarr arrays that it is computed from: see `StoredArray.look`."""
        for array in self._watched:
            array.look()

    @cached_property
    def _watched(self) -> tuple[StoredArray, ...]:
        """Zarr arrays that it is read or computed from; of many, some that are spread evenly."""
        found = () if self.is_at_hand else arrays_read_by(self.array)
        kept = found[:: -(-len(found) // _WATCHED) or 1]
        places = map(locate, kept)
        return self._stored + tuple(
            StoredArray(array)
            for array, place in zip(kept, places, strict=True)
            if place.is_comparable and not place.lives_in_this_process
        )

    def with_io(self, io: str) -> ArrayLike:  # noqa: ARG002 (of Zarr)
        return self

    def with_delays(self, delays: tuple[float, ...]) -> ArrayLike:
        twin = ArrayLike.__new__(ArrayLike)
        watched = tuple(array.with_delays(delays) for array in self._watched)
        twin.__dict__.update(self.__dict__, _watched=watched)
        return twin

    def read(self, box: tuple[slice, ...]) -> NDArray[np.generic]:
        values = within_xarray(self.array[box])
        if hasattr(values, "compute"):
            values = self._computed(values)
        return as_voxels(values, "the source")

    def _computed(self, values: Any) -> Any:
        client = self._held_by
        if client is not None:
            return client.compute(values, sync=True)
        # Inside a worker's task the default scheduler would be the cluster itself.
        return values.compute(scheduler="synchronous")

    @cached_property
    def _held_by(self) -> Client | None:
        """The client of the cluster that holds what was persisted or scattered."""
        return client_of(self.array)

    def why_not_portable(self) -> str | None:
        """Why another process could not use this array, or None if it could."""
        if self.is_at_hand and self.array.nbytes > PORTABLE_BYTES:
            return (
                f"it is a NumPy array of {self.array.nbytes / 1e6:.0f} MB in this process; "
                "save it as Zarr first"
            )
        if self.is_held_by_cluster:
            return _HELD
        kind = type(self.array).__name__
        try:
            nbytes = _pickled_nbytes(self.array)
        except Exception as error:  # noqa: BLE001 (pickling runs code of any class)
            return f"its {kind} cannot be pickled ({said_by(error)}); save it as Zarr first"
        # Dask ships what its graphs hold; whoever made one large was told so by Dask.
        if nbytes > PORTABLE_BYTES and not hasattr(self.array, "dask"):
            return (
                f"it is a {kind} that holds {nbytes / 1e6:.0f} MB in this process; "
                "save it as Zarr first"
            )
        return None

    @property
    def is_held_by_cluster(self) -> bool:
        """Whether tasks of a cluster would wait for others of its tasks to read it."""
        return self._held_by is not None

    def __getstate__(self) -> dict[str, Any]:
        if self.is_held_by_cluster:
            raise TypeError(f"The source {self!r} cannot be used by workers: {_HELD}.")
        here = ("_held_by", "_watched")  # as this process found them
        return {name: value for name, value in self.__dict__.items() if name not in here}

    def why_endangered(self, place: Location) -> str:
        """Why it may read from a place; empty where it does not."""
        return why_array_is_endangered(self.array, place)

    def __repr__(self) -> str:
        return f"<{type(self.array).__name__} {self.shape} {self.dtype}>"


def dtype_of(array: IndexedArray) -> np.dtype[Any]:
    """The NumPy dtype of an array; tensorstore's have their own kind, which names it.

    Raises
    ------
    TypeError
        If it is none.
    """
    return np.dtype(getattr(array.dtype, "numpy_dtype", array.dtype))


def _read_by_tensorstore(array: object) -> tuple[StoredArray, ...]:
    """The Zarr arrays in local folders that a `tensorstore.TensorStore` reads, if zarr can."""
    found = []
    for folder in folders_of_tensorstore(array):
        with suppress(OSError):  # of dtypes and codecs that zarr lacks
            found.append(existing_array(locate(folder, read_only=True)))
    return tuple(filter(None, found))


def _from_zero(array: Any) -> Any:
    """The array with indices from 0 on: a part of a `tensorstore.TensorStore` keeps the whole's."""
    is_tensorstores = module_of(type(array)).partition(".")[0] == "tensorstore"
    return array.translate_to[0] if is_tensorstores else array


def _spaced(coordinate: Any) -> tuple[float, float, str | None] | None:
    """Distance, place of the first, and unit of numbers that are evenly spaced; None of others."""
    values = np.asarray(coordinate)
    if values.dtype.kind not in "iuf" or values.ndim != 1 or not np.isfinite(values).all():
        return None
    first, last, n = float(values[0]), float(values[-1]), len(values)
    step = (last - first) / (n - 1) if n > 1 else 1.0
    if not step or not np.allclose(values, np.linspace(first, last, n), 0, abs(step) / 100):
        return None
    unit = getattr(coordinate, "attrs", {}).get("units")
    return step, first, unit if isinstance(unit, str) else None


def _pickled_nbytes(array: object) -> int:
    """Bytes of the buffers that go along when an array is pickled; they are not copied for it."""
    buffers: list[pickle.PickleBuffer] = []
    cloudpickle.dumps(array, protocol=5, buffer_callback=buffers.append)
    return sum(buffer.raw().nbytes for buffer in buffers)
