"""What an array that is computed is computed from: the stores, files and arrays in its graph."""

from __future__ import annotations

import glob
import inspect
import os
from collections.abc import Iterator
from typing import Any

import cloudpickle  # dask's and distributed's own way to send things
import numpy as np

from ..model import is_installed, module_of
from ..store import Location, is_stored, locate
from ..support import said_by

_LOCAL = "file://"


def why_endangered(array: object, place: Location) -> str:
    """Why reading an array may read from a place; empty where it certainly does not.

    It does not where all that its graph holds, and its pickle would, are values, functions of
    installed packages, and stores, files and paths elsewhere. Code of the user's own may read
    anything.
    """
    leaves = _Leaves()
    try:
        leaves.dump(array)
    except _UntoldError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 (pickling runs code of any class)
        return f"what it reads cannot be told ({said_by(error)})"
    return next(
        (
            f"it reads from {found.name}"
            for found in leaves.places()
            if place.contains(found) or found.contains(place)
        ),
        "",
    )


class _UntoldError(Exception):
    """Something whose place cannot be told."""


class _Nowhere:
    """A file that keeps nothing."""

    def write(self, content: Any) -> int:
        return len(content)


class _Leaves(cloudpickle.Pickler):  # type: ignore[misc] # untyped
    """Meets whatever an object holds, and keeps what has a place; writes no pickle."""

    def __init__(self) -> None:
        super().__init__(_Nowhere())
        self._stored: list[Any] = []
        self._texts: set[str] = set()

    def persistent_id(self, held: Any) -> int | None:
        """Called by the pickler for all that it meets; what gets a number is not looked into."""
        if isinstance(held, str | os.PathLike):
            self._texts.add(os.fspath(held))
        elif is_stored(held):
            self._stored.append(held)
        elif isinstance(held, np.ndarray) and not held.dtype.hasobject:
            self._texts.update(_files_under(held))
        elif inspect.isroutine(held) or inspect.isclass(held):
            if not is_installed(module_of(held)):
                raise _UntoldError(f"it calls {held.__qualname__}, which may read anything")
        else:
            return self._of_a_library(held)
        return 0

    def _of_a_library(self, held: Any) -> int | None:
        """Arrays that other libraries read, by their public names for where those lie."""
        package = module_of(type(held)).partition(".")[0]
        if package == "h5py":
            self._texts.add(held.file.filename)
        elif package == "tensorstore" and hasattr(held, "kvstore"):
            self._texts.update([] if held.kvstore is None else [held.kvstore.url])
        elif package == "distributed":
            raise _UntoldError("parts of it are on a cluster, and may be read again there")
        else:
            return None
        return 0

    def places(self) -> Iterator[Location]:
        yield from map(locate, self._stored)
        for text in self._texts:
            yield from _named(text)


def _files_under(array: np.ndarray[Any, Any]) -> Iterator[str]:
    """The file that a memory map shows, through whatever views."""
    base: Any = array
    while isinstance(base, np.ndarray):
        if isinstance(base, np.memmap) and base.filename is not None:
            yield os.fspath(base.filename)
        base = base.base


def _named(text: str) -> Iterator[Location]:
    """The places that a text may be the name of: a URL, or what lies there now."""
    path = text.removeprefix(_LOCAL)
    if "://" in path:
        if "::" in path or path.startswith("memory:"):
            raise _UntoldError(f"it reads through {text}")
        try:
            yield locate(text, read_only=True)
        except ValueError:  # no kind of URL that outputs have
            return
        return
    # A pattern names what is below the folder that it begins with.
    while glob.has_magic(path):
        path = os.path.dirname(path)
    if path and "\0" not in path and os.path.lexists(path):
        yield locate(path, read_only=True)
