"""From what the user names to an array in a file: `stack.tif`, `volume.h5:/raw`."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ..store import format_at_path
from ..support import without_secrets
from .array_choice import ArrayChoice
from .file_array import FileArray

_NAMED = "hdf5"
"""The reader of files that hold several arrays, by name."""


def find_file(source: object, level: int = 0, image: int | str | None = None) -> FileArray | None:
    """The array in a file that a path stands for; None where it is no file that is read here.

    Raises
    ------
    ImportError, ValueError, OSError
        If it is one, and cannot be opened.
    """
    if not isinstance(source, str | os.PathLike):
        return None
    path, name = _split(_local(os.fspath(source)))
    if path is None:
        return None
    found = format_at_path(Path(path))
    if found is None or not found.reader:
        return None
    called = without_secrets(os.fsdecode(source))
    return FileArray(path, found.reader, ArrayChoice(name, level, image), name=called)


def _local(text: str | bytes) -> str | None:
    """A path, also of a URL; None for what is elsewhere."""
    named = os.fsdecode(text)
    if "://" not in named:
        return os.path.abspath(os.path.expanduser(named)) if named else None
    try:
        parts = urlsplit(named)
    except ValueError:  # no URL; whoever opens it says so
        return None
    is_local = parts.scheme == "file" and parts.netloc in ("", "localhost")
    return unquote(parts.path) if is_local else None


def _split(named: str | None) -> tuple[str | None, str | None]:
    """A file and, after a colon, the name of an array in it."""
    if named is None or "\0" in named:
        return None, None
    if os.path.isfile(named):
        return named, None
    path, colon, name = named.rpartition(":")
    if colon and os.path.isfile(path):
        found = format_at_path(Path(path))
        if found is not None and found.reader == _NAMED:
            return path, name
    return None, None
