"""tensorstore: local folders, with a cache of decoded chunks. Optional, loaded when it is used."""

from __future__ import annotations

from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from zarr.types import AnyArray

from ...support import is_installed, load_extra
from ..backoff import Lasts, lasts_anywhere, with_backoff
from ..location import Location, locate
from .protocol import Box, Handle

_PURPOSE = "io='tensorstore'"

_LASTING = ("DATA_LOSS", "INVALID_ARGUMENT", "FAILED_PRECONDITION", "PERMISSION_DENIED")
"""Kinds of errors that stay: tensorstore names the kind in front of each `ValueError`'s text."""


class TensorStore:
    """The back end of arrays in local folders."""

    name = "tensorstore"
    cache_bytes = 300_000_000
    """For the halos that blocks share."""

    def opens(self, location: Location) -> bool:
        return location.local_path is not None and is_installed("tensorstore")

    def check(self, location: Location) -> None:
        if location.local_path is None:
            raise ValueError(
                f"io='tensorstore' opens arrays in local folders, and {location.name} is not one; "
                "use io='auto' or io='zarr'."
            )
        load_extra("tensorstore", _PURPOSE)

    def lasts(self, error: Exception) -> bool:
        return lasts_anywhere(error) or (
            isinstance(error, ValueError) and str(error).startswith(_LASTING)
        )

    def open(self, array: AnyArray, delays: tuple[float, ...]) -> Handle:
        folder = locate(array).local_path
        assert folder is not None, "checked before"
        return _TensorStoreHandle(array, folder, self.cache_bytes, delays, self.lasts)


class _TensorStoreHandle:
    def __init__(
        self,
        array: AnyArray,
        folder: Path,
        cache_bytes: int,
        delays: tuple[float, ...],
        lasts: Lasts,
    ) -> None:
        self._folder, self._delays, self._lasts = folder, delays, lasts
        self._spec = {
            "driver": "zarr3" if array.metadata.zarr_format == 3 else "zarr",
            "kvstore": {"driver": "file", "path": f"{folder}/"},
        }
        # Opened once per array and process, so that all its blocks share the cache.
        self._reader = self._open(cache_bytes)

    @cached_property
    def _writer(self) -> Any:
        # Without a cache: what is written would take the place of what is read.
        return self._open(0)

    def read(self, box: Box) -> NDArray[np.generic]:
        def attempt() -> NDArray[np.generic]:
            values: NDArray[np.generic] = self._reader[box].read(order="C").result()
            return values

        return with_backoff(attempt, f"Reading {self._folder}", self._delays, self._lasts)

    def write(self, box: Box, values: NDArray[np.generic]) -> None:
        # Instead of copying the values tensorstore may refer to them, even after the commit that
        # is waited for here: in its cache, of which the writer has none and which is never read.
        # Not with more than three axes: tensorstore 0.1.86 then takes chunks whose voxels are not
        # contiguous for chunks of fill value, and does not store them.
        refers = values.ndim <= 3

        def attempt() -> None:
            self._writer[box].write(values, can_reference_source_data_indefinitely=refers).result()

        with_backoff(attempt, f"Writing {self._folder}", self._delays, self._lasts)

    def _open(self, cache_bytes: int) -> Any:
        tensorstore = load_extra("tensorstore", _PURPOSE)
        return tensorstore.open(self._spec, open=True, context=_context(cache_bytes)).result()


@lru_cache(maxsize=2)
def _context(cache_bytes: int) -> Any:
    """One cache of decoded chunks for all arrays of this process."""
    tensorstore = load_extra("tensorstore", _PURPOSE)
    return tensorstore.Context({"cache_pool": {"total_bytes_limit": cache_bytes}})
