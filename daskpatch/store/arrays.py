"""Bulk reads and writes of one Zarr array, through one of the back ends."""

from __future__ import annotations

import gzip
import logging
import os
import re
import threading
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from copy import copy
from functools import cached_property, partial
from itertools import accumulate
from typing import Any, TypeVar

import cloudpickle  # dask's and distributed's own way to send things
import numpy as np
from numpy.typing import NDArray
from zarr.types import AnyArray

from ..support import said_by
from .absence import counting, notice
from .backends import BackEnd, Box, Handle, back_end_at, cells_of, check_io, open_handle
from .backoff import DELAYS, at_first
from .fidelity import documents_of, is_lossless
from .guard import writing
from .location import Location, locate
from .objects import Objects
from .patience import PatientStore
from .reopening import remembering, reopened, through
from .sight import ChangedError, Sight
from .syncing import flush_metadata

_log = logging.getLogger("daskpatch")

T = TypeVar("T")

_OF_CODECS = (ValueError, RuntimeError, EOFError, zlib.error, gzip.BadGzipFile)
"""What codecs raise of bytes that are none of theirs."""


def _broken_way(root: str, key: str) -> str:
    """Why a chunk that has no file may have one elsewhere; empty where nothing says so.

    Only the nearest thing that is there, on the way from the root, can say it.
    """
    chunk = path = f"{root}/{key}"
    if os.path.isdir(path):
        return f"{path} is a folder"
    while path != root and not os.path.lexists(path):
        path = os.path.dirname(path)
    if os.path.islink(path) and not os.path.exists(path):
        return f"{path} is a link to {os.readlink(path)}, which is not there"
    if path != chunk and not os.path.isdir(path):
        return f"{path} is no folder"
    return ""


class _Opening:
    """A handle that is opened once, however many threads ask for it at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._opened: tuple[BackEnd, Handle] | None = None
        self._error: Exception | None = None
        self._n_failed = 0

    def of(self, open_anew: Callable[[], tuple[BackEnd, Handle]]) -> tuple[BackEnd, Handle]:
        if self._opened is not None:
            return self._opened
        n_before = self._n_failed
        with self._lock:
            # What failed while this one waited would take as long again.
            if self._opened is None and self._error is not None and self._n_failed > n_before:
                raise self._error
            if self._opened is None:
                try:
                    self._opened = open_anew()
                except Exception as error:
                    self._error, self._n_failed = error, self._n_failed + 1
                    raise
            return self._opened


_join = "{}/{}".format


class StoredArray:
    """A Zarr array with a back end, opened when it is first used.

    Pickles small, without the open handles, and opens anew in another process.
    """

    is_at_hand = True
    is_held_by_cluster = False

    def __init__(
        self, array: AnyArray, *, io: str = "auto", delays: tuple[float, ...] = DELAYS
    ) -> None:
        opened = _portable(array)
        self.array = through(opened, opened.store)  # the caller's may be resized
        self.io = check_io(io)
        self.delays = delays
        self._sight = Sight(self.array, delays)
        self._opened: dict[int, _Opening] = {}
        self._is_lasting = False
        self._is_from_here = True

    @property
    def location(self) -> Location:
        return locate(self.array)

    @property
    def locations(self) -> tuple[Location, ...]:
        return (self.location,)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.array.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.array.dtype)

    @property
    def attributes(self) -> dict[str, Any]:
        return self.array.attrs.asdict()

    @property
    def chunks(self) -> tuple[int, ...]:
        """What is decoded at once."""
        return tuple(self.array.chunks)

    @property
    def shards(self) -> tuple[int, ...] | None:
        return None if self.array.shards is None else tuple(self.array.shards)

    @property
    def fill_value(self) -> str:
        """What absent chunks are read as: its bytes, in hex, the least significant first.

        One NaN for all: metadata may say no more than "NaN".
        """
        fill = np.nan if self._is_filled_with_nan else self.array.fill_value
        return np.asarray(0 if fill is None else fill, self.dtype.newbyteorder("<")).tobytes().hex()

    @property
    def absent_value(self) -> np.generic:
        """What absent chunks are read as."""
        raw = np.frombuffer(bytes.fromhex(self.fill_value), self.dtype.newbyteorder("<"))
        value: np.generic = raw.astype(self.dtype.newbyteorder("="))[0]
        return value

    @property
    def _is_filled_with_nan(self) -> bool:
        fill = self.array.fill_value
        return self.dtype.kind == "f" and fill is not None and bool(np.isnan(fill))

    @property
    def back_end(self) -> BackEnd:
        """What is used in this process."""
        return self._open()[0]

    def _open(self) -> tuple[BackEnd, Handle]:
        # By process: what a fork inherits has no threads any more.
        return self._opened.setdefault(os.getpid(), _Opening()).of(self._open_anew)

    def _open_anew(self) -> tuple[BackEnd, Handle]:
        try:
            opened = open_handle(self._as_it_is, self.io, self.delays)
        except Exception:
            self.look()  # it may be gone, which is what is to be said then
            raise
        self._sight.notice_folder()
        return opened

    @property
    def _as_it_is(self) -> AnyArray:
        """The array; what another process opened may have been made anew since."""
        if self._is_from_here:
            return self.array
        patient = PatientStore(remembering(self.array), delays=self.delays)
        return through(reopened(self.array, patient), self.array.store, like=self.array)

    def read(self, box: Box) -> NDArray[np.generic]:
        """Read a box; absent chunks are fill value, as long as the array is there.

        Raises
        ------
        ChangedError
            If chunks are absent because the array is gone, or another.
        OSError
            If a chunk's file is there and cannot be had: a link without a target.
        """

        def keys() -> Iterator[str]:
            return self.keys(box)

        values, n_absent = self._settled(lambda: self._read(box), keys)
        notice(n_absent)
        return values

    def read_chunks(self, boxes: Sequence[Box]) -> list[NDArray[Any] | None]:
        """Read chunks, many at a time; None where one is absent, as long as the array is there.

        Raises
        ------
        ChangedError, OSError
            As `read`.
        """
        found: list[NDArray[Any] | None] = [None] * len(boxes)

        def absent() -> list[int]:
            return [i for i, values in enumerate(found) if values is None]

        def read() -> tuple[list[NDArray[Any] | None], int]:
            asked = absent()  # at first all
            read = self._open()[1].read_chunks([boxes[i] for i in asked])
            for i, values in zip(asked, read, strict=True):
                found[i] = values
            return found, len(absent())

        def keys() -> Iterator[str]:
            return iter({key for i in absent() for key in self.keys(boxes[i])})

        return self._settled(read, keys)[0]

    def _settled(
        self, read: Callable[[], tuple[T, int]], keys: Callable[[], Iterator[str]]
    ) -> tuple[T, int]:
        """What is read, and how many chunks of it are absent: for good, as far as can be told.

        `keys` are those of what may be absent.
        """
        values, n_absent = self._understood(read)
        while n_absent:
            self.look()
            # What was away while it was read may be back when it is looked at: an absence counts
            # that is met twice, with the array there in between and afterwards.
            if self._count_missing(keys()) == n_absent:
                self._sight.check_folder()
                break
            n_before, (values, n_absent) = n_absent, self._understood(read)
            if n_absent == n_before:
                self.look()
                break
        if n_absent:
            self._check_links(keys())
        return values, n_absent

    def _understood(self, read: Callable[[], T]) -> T:
        """What is read; where it is none of its codecs, it may be that of another array by now."""
        try:
            return read()
        except _OF_CODECS:
            try:
                self.look()
            except ChangedError:
                raise
            except OSError:
                pass  # what the codec says tells more
            raise

    def _count_missing(self, keys: Iterator[str]) -> int | None:
        """How many chunks have no file; None where that says nothing of what is read."""
        if self._folder is None or self.shards is not None:
            return None
        # Far cheaper than to read those again that are there.
        return sum(not os.path.exists(f"{self._folder}/{key}") for key in keys)

    def _read(self, box: Box) -> tuple[NDArray[np.generic], int]:
        """A box, and how many chunks of it were absent."""
        with counting() as absence:
            values = self._open()[1].read(box)
        return values, absence.count

    def _check_links(self, keys: Iterator[str]) -> None:
        """Refuse chunks that only seem absent: links to what is not mounted, or not fetched."""
        if self._folder is None:
            return
        for key in keys:
            broken = _broken_way(self._folder, key)
            if broken:
                raise OSError(f"{self.location.name} has no chunk {key}: {broken}")

    def write(self, box: Box, values: NDArray[np.generic]) -> None:
        """Write a box; the caller owns every write unit it touches.

        zarr 3.1 reads a shard before it replaces it, and tensorstore a chunk at the array's edge;
        they fail where it is torn: then it is deleted, and written again.

        Raises
        ------
        RuntimeError
            If the guard of this thread refuses it.
        OSError
            If a folder of it is a link, or it cannot be written.
        """
        self._check_ways(box)
        with writing() as wrote:
            self._sight.check_folder()
            self._write(box, values)
            self._sight.check_folder()  # what is written where a share was mounted is not in it
            wrote(self, list(self.keys(box)))

    def flush(self, names: Collection[str]) -> None:
        """See that write units outlast the machine, by their keys, and what makes an array of them.

        Raises
        ------
        OSError
            If they may be lost.
        """
        self._open()[1].flush(names)
        if not self._is_lasting:
            flush_metadata(self.location)
            self._is_lasting = True

    def _check_ways(self, box: Box) -> None:
        """Refuse to write through links among the array's folders: they may lead to any other."""
        if self._folder is None:
            return
        # Once each: most chunks of a block share theirs.
        for folder in {f for key in self.keys(box) for f in accumulate(key.split("/")[:-1], _join)}:
            way = f"{self._folder}/{folder}"
            if os.path.islink(way):
                raise OSError(
                    f"{way} is a link to {os.path.realpath(way)}, and nothing is written "
                    "through links inside an array: put the folder there, or link the array"
                )

    @cached_property
    def _folder(self) -> str | None:
        path = self.location.local_path
        return None if path is None else os.fspath(path)

    def _write(self, box: Box, values: NDArray[np.generic]) -> None:
        try:
            self._open()[1].write(box, values)
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
            self._open()[1].write(box, values)

    def units(self, box: Box) -> Iterator[tuple[str, Box]]:
        """The write units that a box touches: the key inside the array's prefix, and the box."""
        unit, shape = self.shards or self.chunks, self.shape
        encoded = self.array.metadata.encode_chunk_key
        for at in cells_of(box, unit):
            inside = tuple(
                slice(i * u, min((i + 1) * u, n)) for i, u, n in zip(at, unit, shape, strict=True)
            )
            yield encoded(at), inside

    def keys(self, box: Box) -> Iterator[str]:
        """The keys, inside the array's prefix, of the write units that a box touches."""
        return map(self.array.metadata.encode_chunk_key, cells_of(box, self.shards or self.chunks))

    @cached_property
    def is_lossless(self) -> bool:
        """Whether it gives back what is written: filters may round."""
        return is_lossless(self.array, documents_of(self.array, Objects(self.location).read))

    @cached_property
    def _nan(self) -> Any:
        """What absent chunks are read as: metadata say no more than "NaN", or all bits of it."""
        return reopened(self.array).fill_value

    def settle(self, values: NDArray[Any]) -> None:
        """Make values that read back as others bits what they read back as, in place.

        Where the fill value is NaN, a chunk of NaNs of any kind is not stored, and is that one.
        """
        if values.dtype.kind == "f" and self._is_filled_with_nan:
            values[np.isnan(values)] = self._nan

    def has_key(self, key: str) -> bool:
        """Whether a key inside the array's prefix is that of one of its write units.

        >>> import zarr
        >>> array = StoredArray(zarr.create_array({}, shape=(8, 8), chunks=(4, 4), dtype="u1"))
        >>> array.has_key("c/1/1"), array.has_key("c/2/0"), array.has_key("c/notes.txt")
        (True, False, False)
        """
        return self.position(key) is not None

    def position(self, key: str) -> tuple[int, ...] | None:
        """Which write unit a key inside the array's prefix is that of, counted along each axis."""
        unit = self.shards or self.chunks
        # The only key of an array without axes says nothing of a place, and is "0" in v2.
        at = tuple(map(int, re.findall(r"\d+", key))) if self.shape else ()
        is_key = len(at) == len(self.shape) and self.array.metadata.encode_chunk_key(at) == key
        is_inside = is_key and all(i * u < n for i, u, n in zip(at, unit, self.shape, strict=True))
        return at if is_inside else None

    def _delete_torn(self, box: Box) -> bool:
        """Delete the units of a box that are there and cannot be read; whether there were any."""
        # At once: that the unit cannot be read is what is asked here.
        objects = Objects(self.location, delays=())
        torn = [
            key for key, unit in self.units(box) if objects.exists(key) and not self._reads(unit)
        ]
        for key in torn:
            objects.delete(key)
        return bool(torn)

    def _reads(self, box: Box) -> bool:
        try:
            self._open()[1].read(box)
        except Exception:  # noqa: BLE001 (each codec raises its own)
            return False
        return True

    def with_io(self, io: str) -> StoredArray:
        """The same array through another back end.

        Raises
        ------
        ValueError, ImportError
            If it cannot be used there.
        """
        back_end_at(io, self.location)
        return self._with(io=check_io(io))

    def check_opens(self, io: str) -> None:
        """Refuse a back end that cannot open it, before anything is written with it.

        Raises
        ------
        ValueError, ImportError
            If it cannot be used there, or does not know the dtype or a codec.
        """
        try:
            self.with_io(io)._open()
        except (ValueError, NotImplementedError) as error:
            raise ValueError(
                f"{self.location.name} cannot be opened with io={io!r}: {said_by(error)}. Leave "
                "io= out: what opens it is found."
            ) from error

    def with_delays(self, delays: tuple[float, ...]) -> StoredArray:
        """The same array, waited for as long."""
        return self._with(delays=delays)

    def look(self) -> None:
        """Look whether it is still the array that was opened: its metadata, its folder.

        Raises
        ------
        ChangedError
            If it is gone, or another.
        OSError
            If the store does not answer.
        """
        self._sight.look()

    def identity(self) -> None:
        """Nothing beside its place, metadata and voxels."""

    def why_endangered(self, place: Location) -> str:  # noqa: ARG002 (its location says it)
        return ""

    def why_not_portable(self) -> str | None:
        """Why another process could not use this array, or None if it could."""
        if self.location.lives_in_this_process:
            return f"{self.location.name} lives in this process's memory; save it to disk first"
        try:
            cloudpickle.dumps(self.array)
        except Exception as error:  # noqa: BLE001 (pickling runs code of any class)
            return (
                f"its store, a {type(self.array.store).__name__}, cannot be sent to worker "
                f"processes ({said_by(error)}); name it by path or URL"
            )
        return None

    def __getstate__(self) -> dict[str, Any]:
        # Open handles belong to this process.
        return {**self.__dict__, "_opened": {}, "_is_from_here": False}

    def _with(self, **changes: Any) -> StoredArray:
        twin = copy(self)
        twin.__dict__.update(changes, _opened={}, _is_from_here=self._is_from_here)
        twin._sight = self._sight.with_delays(twin.delays)
        return twin

    def __repr__(self) -> str:
        return f"<{self.location.name} {self.shape} {self.dtype}>"


def _portable(array: AnyArray) -> AnyArray:
    """The array through a store that other processes and working directories can open too."""
    location = locate(array)
    if location.store is array.store or location.store == array.store:
        return array
    reopen = partial(reopened, array, location.store)
    return through(at_first(reopen, f"Opening {location.name}"), location.store, like=array)


def check_io_at(io: str, location: Location) -> None:
    """Refuse a back end where it cannot be used.

    Raises
    ------
    ValueError, ImportError
        If arrays at the place are not opened by it, or it is missing.
    """
    back_end_at(io, location)
