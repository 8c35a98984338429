"""tensorstore: local folders. Optional, loaded when it is used."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from functools import cached_property, lru_cache
from itertools import islice
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from zarr.types import AnyArray

from ...support import is_available, load_extra
from ..absence import notice
from ..backoff import LASTING_NUMBERS, Lasts, lasts_anywhere, with_backoff
from ..forked import is_inherited, refuse_inherited
from ..location import Location, locate
from ..syncing import flush_objects
from ..withdrawal import is_denial, withdrawn
from .chunk_boxes import chunk_parts, slices_inside
from .protocol import Box, Handle

T = TypeVar("T")

_PURPOSE = "io='tensorstore'"

_LASTING = ("DATA_LOSS", "INVALID_ARGUMENT", "FAILED_PRECONDITION", "PERMISSION_DENIED")
"""Kinds of errors that stay: tensorstore names the kind in front of each `ValueError`'s text."""

_NUMBER = re.compile(r"os_error_code='(\d+)'")

_ABSENT = "NOT_FOUND"

_AT_A_TIME = 64
"""Chunks of a box that are read one by one."""

_INDEX_BYTES = 16_000_000
"""For the indices of shards, and what else of them fits."""


class TensorStore:
    """The back end of arrays in local folders."""

    name = "tensorstore"

    def opens(self, location: Location) -> bool:
        is_there = is_available("tensorstore") and not is_inherited("tensorstore")
        return location.local_path is not None and is_there

    def check(self, location: Location) -> None:
        if location.local_path is None:
            raise ValueError(
                f"io='tensorstore' opens arrays in local folders, and {location.name} is not one; "
                "use io='auto' or io='zarr'."
            )
        load_extra("tensorstore", _PURPOSE)
        refuse_inherited("tensorstore", _PURPOSE, ", or use io='zarr' or 'auto'")

    def lasts(self, error: Exception) -> bool:
        if not isinstance(error, ValueError):
            return lasts_anywhere(error)
        number = _NUMBER.search(str(error))
        is_told = number is not None and int(number[1]) in LASTING_NUMBERS
        return is_told or str(error).startswith(_LASTING)

    def open(self, array: AnyArray, delays: tuple[float, ...]) -> Handle:
        location = locate(array)
        self.check(location)
        return _TensorStoreHandle(array, location, delays, self.lasts)


class _TensorStoreHandle:
    def __init__(
        self,
        array: AnyArray,
        location: Location,
        delays: tuple[float, ...],
        lasts: Lasts,
    ) -> None:
        self._location, self._folder = location, location.local_path
        self._delays, self._lasts = delays, lasts
        self._worked: set[str] = set()
        self._stores_empty = array.config.write_empty_chunks
        self._spec = {
            "driver": "zarr3" if array.metadata.zarr_format == 3 else "zarr",
            "kvstore": {"driver": "file", "path": f"{self._folder}/"},
        }
        # What it keeps of a shard is the index, which is read for each of its chunks.
        self._reader = self._open(
            0 if array.shards is None else _INDEX_BYTES, fill_missing_data_reads=False
        )

    @cached_property
    def _writer(self) -> Any:
        # Without a cache: what is written would take the place of what is read.
        return self._open(0, store_data_equal_to_fill_value=self._stores_empty)

    @property
    def _fill_value(self) -> Any:
        value = self._reader.fill_value
        return 0 if value is None else value

    def read(self, box: Box) -> NDArray[np.generic]:
        def attempt() -> NDArray[np.generic]:
            values = self._read(box)
            return self._read_by_chunk(box) if values is None else values

        return self._insist("Reading", attempt)

    def read_chunks(self, boxes: Sequence[Box]) -> list[NDArray[Any] | None]:
        def attempt() -> list[NDArray[Any] | None]:
            reads = [self._reader[box].read(order="C") for box in boxes]
            return [_found(read) for read in reads]

        return self._insist("Reading", attempt)

    def write(self, box: Box, values: NDArray[np.generic]) -> None:
        # Instead of copying the values tensorstore may refer to them, even after the commit that
        # is waited for here: in its cache, of which the writer has none and which is never read.
        # Not with more than three axes: tensorstore 0.1.86 then takes chunks whose voxels are not
        # contiguous for chunks of fill value, and does not store them.
        refers = values.ndim <= 3

        def attempt() -> None:
            self._writer[box].write(values, can_reference_source_data_indefinitely=refers).result()

        self._insist("Writing", attempt)

    def flush(self, keys: Collection[str]) -> None:
        flush_objects(self._location, keys)

    def _insist(self, what: str, call: Callable[[], T]) -> T:
        def attempt() -> T:
            try:
                result = call()
            except Exception as error:
                if what in self._worked and is_denial(error):
                    raise withdrawn(error) from None
                raise
            self._worked.add(what)
            return result

        return with_backoff(attempt, f"{what} {self._folder}", self._delays, self._lasts)

    def _read(self, box: Box) -> NDArray[np.generic] | None:
        """The values of a box; None where a chunk is absent."""
        return _found(self._reader[box].read(order="C"))

    def _read_by_chunk(self, box: Box) -> NDArray[np.generic]:
        """The values of a box some of whose chunks are absent."""
        values = np.empty([s.stop - s.start for s in box], self._reader.dtype.numpy_dtype)
        parts = chunk_parts(box, self._reader.chunk_layout.read_chunk.shape)
        while some := list(islice(parts, _AT_A_TIME)):
            reads = [self._reader[part].read(order="C") for part in some]
            for part, read in zip(some, reads, strict=True):
                found = _found(read)
                if found is None:
                    notice()
                values[slices_inside(part, box)] = self._fill_value if found is None else found
        return values

    def _open(self, cache_bytes: int, **spec: bool) -> Any:
        tensorstore = load_extra("tensorstore", _PURPOSE)
        opened = tensorstore.open({**self._spec, **spec}, open=True, context=_context(cache_bytes))
        return opened.result()


def _found(read: Any) -> NDArray[np.generic] | None:
    """What a read gives; None where a chunk is absent."""
    try:
        values: NDArray[np.generic] = read.result()
    except ValueError as error:
        if str(error).startswith(_ABSENT):
            return None
        raise
    return values


@lru_cache(maxsize=2)
def _context(cache_bytes: int) -> Any:
    """One cache for all arrays of this process."""
    tensorstore = load_extra("tensorstore", _PURPOSE)
    # Files are seen onto the disk many at a time, by `flush`: one by one, before each is said to
    # be written, computing waits for the disk.
    # Without locks: who writes a unit owns it, and a process that sleeps with a lock of it would
    # stop whoever takes its run over. Files still take their place whole.
    spec = {
        "cache_pool": {"total_bytes_limit": cache_bytes},
        "file_io_sync": False,
        "file_io_locking": {"mode": "none"},
    }
    return tensorstore.Context(spec)
