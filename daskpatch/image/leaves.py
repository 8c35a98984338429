"""What an array that is computed is computed from: the stores, files and arrays in its graph."""

from __future__ import annotations

import glob
import inspect
import math
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import FunctionType, ModuleType
from typing import Any
from urllib.parse import unquote

import cloudpickle  # dask's and distributed's own way to send things
import numpy as np
from dask.blockwise import Blockwise
from dask.highlevelgraph import Layer

from ..model import is_installed, is_library_code, module_of
from ..store import Location, is_array, is_stored, locate
from ..support import MappedFiles, said_by, without_secrets

_SCHEMES = ("file", "s3", "gs", "az", "azure", "abfs", "http", "https")
"""Places that can be compared; behind other stores there may be anything (references, folders)."""

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")

_LOCAL = "file://"

_DRIVERS = {
    *("zarr", "zarr3", "n5", "neuroglancer_precomputed", "array", "stack", "cast", "downsample"),
    *("file", "memory", "s3", "gcs", "http"),
}
"""tensorstore's, whose places are in their specs."""

_READING = ("dask", "h5py", "tensorstore", "torch", "xarray")
"""Libraries whose arrays are read from somewhere, or may be."""

_TASKS = 1_000
"""Tasks of a Dask graph that are looked into: a million take minutes."""

_LONGEST = 4096
"""Bytes of a path."""


def why_array_is_endangered(array: object, place: Location) -> str:
    """Why reading an array may read from a place; empty where it certainly does not.

    It does not where all that its graph holds, and its pickle would, are values, functions of
    installed packages, and stores, files and paths elsewhere. Code of the user's own may read
    anything. Names that are made up while it is computed are not seen, nor links far inside an
    array.
    """
    leaves = _Leaves()
    try:
        leaves.dump(array)
        for told in leaves.untold:
            return told
        return next((f"it reads from {n}" for n in leaves.names_in_the_way_of(place)), "")
    except _UntoldError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 (pickling runs code of any class)
        return next(iter(leaves.untold), f"what it reads cannot be told ({said_by(error)})")


def places_of(held: object, mapped: MappedFiles) -> tuple[Location, ...]:
    """Where a store lies, or an array or a group of one; or the files that an array is read from.

    Of arrays in memory, and tensors, it is the file that is `mapped` there.
    None of what reads from nowhere, and of what a text may be the name of.
    """
    package = module_of(type(held)).partition(".")[0]
    is_named = isinstance(held, str | bytes | os.PathLike)
    if is_named or not (is_stored(held) or isinstance(held, np.ndarray) or package in _READING):
        return ()
    leaves = _Leaves(tasks=_TASKS, mapped=mapped)
    with suppress(Exception):  # pickling runs code of any class; what was met until then is there
        leaves.dump(held)
    found = [locate(stored) for stored in leaves.stored]
    for name in leaves.files:
        with suppress(_UntoldError):
            found += filter(None, [_named(name)])
    return tuple(found)


def arrays_read_by(array: object) -> tuple[Any, ...]:
    """The Zarr arrays that reading an array reads from, as far as they are found.

    They are where `why_array_is_endangered` looks, but for layers of Dask's graphs that would
    take long.
    """
    leaves = _Leaves(tasks=_TASKS)
    with suppress(Exception):  # pickling runs code of any class; what was met until then is there
        leaves.dump(array)
    return tuple({id(found): found for found in leaves.stored if is_array(found)}.values())


def folders_of_tensorstore(array: Any) -> tuple[str, ...]:
    """The local folders of the Zarr arrays that a `tensorstore.TensorStore` reads."""
    if module_of(type(array)).partition(".")[0] != "tensorstore" or not hasattr(array, "kvstore"):
        return ()
    spec = _spec_of(array)
    return () if spec is None else tuple(dict.fromkeys(_folders_in(spec)))


def _spec_of(store: Any) -> Any:
    """What a `tensorstore.TensorStore` is, as JSON; None where a function makes its chunks up."""
    try:
        return store.spec().to_json()
    except NotImplementedError:  # of `virtual_chunked`
        return None


def _folders_in(spec: Any) -> Iterator[str]:
    driver, stored = spec.get("driver"), spec.get("kvstore")
    if driver in ("cast", "downsample"):
        yield from _folders_in(spec["base"])
    elif driver == "stack":
        for layer in spec["layers"]:
            yield from _folders_in(layer)
    elif driver in ("zarr", "zarr2", "zarr3") and "path" in stored and stored["driver"] == "file":
        yield os.path.join(stored["path"], spec.get("path", ""))


class _UntoldError(Exception):
    """Something whose place cannot be told."""


class _Nowhere:
    """A file that keeps nothing."""

    def write(self, content: Any) -> int:
        return len(content)


class _Leaves(cloudpickle.Pickler):  # type: ignore[misc] # untyped
    """Meets whatever an object holds, and keeps what has a place; writes no pickle."""

    def __init__(self, *, tasks: float = math.inf, mapped: MappedFiles | None = None) -> None:
        super().__init__(_Nowhere())
        self._tasks, self._mapped = tasks, mapped
        self.stored: list[Any] = []
        self.files: set[str] = set()
        self.untold: list[str] = []
        self._texts: set[str] = set()

    def persistent_id(self, held: Any) -> int | None:
        """Called by the pickler for all that it meets; what gets a number is not looked into."""
        if isinstance(held, str | bytes | os.PathLike):
            self._texts.add(os.fsdecode(held))
        elif is_stored(held):
            self.stored.append(held)
        elif isinstance(held, np.ndarray) and not held.dtype.hasobject:
            self.files.update(self._files_under(held))
            self._texts.update(map(os.fsdecode, held.flat) if held.dtype.kind in "US" else ())
        elif inspect.isroutine(held) or inspect.isclass(held):
            return self._of_code(held)
        elif isinstance(held, Layer) and not self._is_in_reach(held):
            pass
        else:
            return self._of_a_library(held)
        return 0

    def _files_under(self, array: np.ndarray[Any, Any]) -> Iterator[str]:
        """The file that an array shows, through whatever views: mapped by anybody."""
        base: Any = array
        while isinstance(base, np.ndarray):
            if isinstance(base, np.memmap) and base.filename is not None:
                yield os.fspath(base.filename)
            base = base.base
        yield from self._file_at(array.ctypes.data)

    def _file_at(self, address: int) -> Iterator[str]:
        if self._mapped is None:
            self._mapped = MappedFiles()
        file = self._mapped.at(address)
        if file is not None:
            yield file

    def _is_in_reach(self, layer: Layer) -> bool:
        """Whether a layer's tasks are few enough; Dask writes them all out, save for blockwise."""
        if self._tasks == math.inf or isinstance(layer, Blockwise):
            return True
        if not layer.is_materialized() or len(layer) > self._tasks:
            return False
        self._tasks -= len(layer)
        return True

    def _of_code(self, held: Any) -> int | None:
        owner = getattr(held, "__self__", None)
        if owner is not None and not isinstance(owner, ModuleType | type):
            return None  # a method: what it is of says what it reads
        if isinstance(held, FunctionType):
            # Whoever wrote it, not what its decorators say that it is called.
            is_known = is_library_code(held)
        else:
            is_known = is_installed(module_of(held))
        if is_known:
            return 0
        self.untold.append(f"it calls {held.__qualname__}, which may read anything")
        return None  # it may hold what it reads from

    def _of_a_library(self, held: Any) -> int | None:
        """Arrays that other libraries read, by their public names for where those lie."""
        package = module_of(type(held)).partition(".")[0]
        if package == "h5py":
            self.files.add(held.file.filename)
        elif package == "tensorstore" and hasattr(held, "kvstore"):
            spec = _spec_of(held)
            self.files.update(() if spec is None else _paths_of(spec))
            if spec is None:
                self.untold.append("a function makes its chunks, which may read anything")
        elif package == "distributed":
            self.untold.append("parts of it are on a cluster, and may be read again there")
        elif package == "torch":
            # Layers and tensors may be large; they read from nowhere but files that are mapped.
            pointer = getattr(held, "data_ptr", None)
            self.files.update(() if pointer is None else self._file_at(_address(pointer)))
        else:
            return None
        return 0

    def names_in_the_way_of(self, place: Location) -> Iterator[str]:
        """Of what is read in a place, or around it.

        Raises
        ------
        _UntoldError
            If something may be anywhere.
        """
        for found in map(locate, self.stored):
            if not found.is_comparable:
                raise _UntoldError(f"it reads through {found.name}")
            if place.contains(found) or found.contains(place):
                yield found.name
            elif any(map(place.contains, found.links())):
                yield f"{found.name}, by links"
        for text in self.files | self._texts:
            found_at = _named(text)
            # A word that is the name of a folder around the place is rather a word.
            is_path = os.sep in text.rstrip(os.sep) or glob.has_magic(text)
            if found_at is not None and (
                place.contains(found_at) or (is_path and found_at.contains(place))
            ):
                yield found_at.name


def _address(pointer: Callable[[], int]) -> int:
    """Of a tensor; 0 of one that has none, such as a sparse one."""
    try:
        return int(pointer())
    except Exception:  # noqa: BLE001 (torch's own kinds)
        return 0


def _paths_of(spec: Any) -> Iterator[str]:
    """Paths in the spec of a tensorstore array.

    Raises
    ------
    _UntoldError
        If it has a driver that may read from anywhere.
    """
    if isinstance(spec, dict):
        driver = spec.get("driver", "file")
        if driver not in _DRIVERS:
            raise _UntoldError(f"it reads through tensorstore's {driver}")
        if isinstance(spec.get("path"), str):
            bucket = (
                f"{driver.replace('gcs', 'gs')}://{spec['bucket']}/" if "bucket" in spec else ""
            )
            yield f"{bucket}{spec['path']}"
        for value in spec.values():
            yield from _paths_of(value)
    elif isinstance(spec, list):
        for value in spec:
            yield from _paths_of(value)
    elif isinstance(spec, str) and _URL.match(spec):
        yield spec


def _named(text: str) -> Location | None:
    """The place that a text may be the name of: a URL, or what lies there now.

    Raises
    ------
    _UntoldError
        If it is a URL that outputs cannot be compared with.
    """
    url = text.partition("|")[0]
    if len(text) > _LONGEST or "\0" in text:
        return None
    if "::" in text and "://" in text:  # of one file system through another
        raise _UntoldError(f"it reads through {without_secrets(text)}")
    if _URL.match(url) and not url.startswith(_LOCAL):
        scheme = url.partition("://")[0]
        if scheme not in _SCHEMES:
            raise _UntoldError(f"it reads through {without_secrets(text)}")
        try:
            return locate(url, read_only=True)
        except ValueError:  # no place that outputs have
            return None
    path = unquote(url.removeprefix(_LOCAL)) if url.startswith(_LOCAL) else text
    # A pattern names what is below the folder that it begins with.
    while glob.has_magic(path):
        path = os.path.dirname(path) or "."
    return locate(path, read_only=True) if path and os.path.lexists(path) else None
