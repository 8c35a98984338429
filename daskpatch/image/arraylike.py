"""Arrays that are not Zarr: NumPy, Dask, and whatever has shape, dtype and __getitem__."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import cloudpickle  # dask's and distributed's own way to send things
import numpy as np
from numpy.typing import NDArray

from ..engine import Client, client_of
from ..support import unmasked

PORTABLE_BYTES = 1_000_000
"""The largest NumPy array that is sent to other processes."""


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

    def __init__(self, array: IndexedArray) -> None:
        self.array: Any = array
        self.shape: tuple[int, ...] = tuple(int(n) for n in array.shape)
        self.dtype: np.dtype[Any] = np.dtype(array.dtype)

    @property
    def chunks(self) -> tuple[int, ...] | None:
        """The largest chunk of a Dask array; None for an array without chunks."""
        chunks = getattr(self.array, "chunks", None)
        if not isinstance(chunks, tuple) or len(chunks) != len(self.shape):
            return None
        return tuple(max(c) if isinstance(c, tuple) else int(c) for c in chunks)

    @property
    def is_in_memory(self) -> bool:
        """Whether it is there already, and not computed when it is read."""
        return isinstance(self.array, np.ndarray)

    def read(self, box: tuple[slice, ...]) -> NDArray[np.generic]:
        values = self.array[box]
        if hasattr(values, "compute"):
            values = self._computed(values)
        return unmasked(values, "the source")

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
        if self.is_in_memory and self.array.nbytes > PORTABLE_BYTES:
            return (
                f"it is a NumPy array of {self.array.nbytes / 1e6:.0f} MB in this process; "
                "save it as Zarr first"
            )
        if self._held_by is not None:
            return (
                "it was persisted on a cluster, or is of scattered data, which its own tasks "
                "cannot wait for; save it as Zarr first"
            )
        try:
            cloudpickle.dumps(self.array)
        except Exception as error:  # noqa: BLE001 (pickling runs code of any class)
            return f"its {type(self.array).__name__} cannot be pickled ({error})"
        return None

    def __repr__(self) -> str:
        return f"<{type(self.array).__name__} {self.shape} {self.dtype}>"
