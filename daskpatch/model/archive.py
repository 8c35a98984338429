"""Exported programs (`.pt2`) that hold tensors and a graph, and nothing known to run when loaded.

`torch.export.load` unpickles what an archive says is pickled, and loads compiled libraries. So an
entry must be JSON that says no more than torch writes, a mark of the format, a tensor whose table
says that it is raw bytes, or something that `torch.load` takes with `weights_only=True`; the
archive is refused otherwise. Two readers of ZIP may see two archives in one file (entries of one
name, a second table of contents), so torch is never given the file, but what was looked at, written
anew. Written for torch 2.5 to 2.13.
"""

from __future__ import annotations

import io
import pickle
import posixpath
import re
import tempfile
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from ..support import parsed, said_by
from .exported_json import check_example_keys, check_json

_MARKS = ("archive_format", "archive_version", "version", "byteorder", "serialization_id")
"""Entries of a few characters that say what the archive is."""

_OBJECTS = ("custom_obj_", "opaque_obj_")
"""What begins the names of constants that are objects, with code of their own."""

_RAW = re.compile(r"[^/]+/data/(weights/weight|constants/tensor)_\d+")
"""Entries that torch takes as raw bytes where their table says so; it may unpickle all others."""

_EXTRA = re.compile(r"[^/]+/extra/|extra_files/")

_KNOWN = re.compile(
    r"[^/]+/(\.data/)?(archive_format|archive_version|version|byteorder|serialization_id)"
    r"|[^/]+/data/weights/(weight_\d+|model_weights_config\.json|model\.pt)"
    r"|[^/]+/data/constants/(tensor_\d+|(custom|opaque)_obj_\d+|model_constants_config\.json|model\.pt)"
    r"|[^/]+/(data/sample_inputs/model\.pt|models/model\.json|extra/[^/]+)"
    r"|version|serialized_(state_dict|constants|example_inputs|exported_program)\.(pt|json)"
    r"|extra_files/[^/]+"
)
"""What lies in an archive of `torch.export.save`: today's, and those of torch before 2.8."""

_MOST = 64
"""Bytes of a mark."""

_GLOBAL = re.compile(r"GLOBAL ([\w.]+)")
"""How torch names what a pickle would load."""


def checked_archive(torch: Any, path: Path) -> IO[bytes]:
    """An exported program that runs no code of its own when it is loaded from this open file.

    Raises
    ------
    ValueError
        If it is no archive, or an entry holds more than tensors.
    """
    checked = tempfile.TemporaryFile()  # noqa: SIM115 (whoever loads it closes it)
    try:
        with (
            zipfile.ZipFile(path) as archive,
            zipfile.ZipFile(checked, "w") as copy,
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")  # torch's, of pickles that it goes on to refuse
            _copy(torch, archive, copy)
    except Exception as error:  # noqa: BLE001 (what hostile bytes end in is anything)
        checked.close()
        raise ValueError(
            f"{path} is not loaded: it is no exported program, or holds more than tensors and "
            f"would run code ({type(error).__name__}: {said_by(error)}). Save it with "
            "torch.export.save, or name a module in a Python file: file.py:attribute."
        ) from None

    checked.seek(0)
    return checked


def _copy(torch: Any, archive: zipfile.ZipFile, copy: zipfile.ZipFile) -> None:
    """All entries, in their order, each looked at."""
    names = archive.namelist()
    if len({name.casefold() for name in names}) < len(names):  # torch's reader asks in any case
        raise ValueError("two entries have one name")
    if not all(map(_KNOWN.fullmatch, names)):
        unknown = next(name for name in names if not _KNOWN.fullmatch(name))
        raise ValueError(f"{unknown} is no entry that torch.export.save writes")
    raw, pickled = _told_entries(archive)
    for name in names:
        content, key = archive.read(name), name.casefold()
        if posixpath.basename(key).startswith(_OBJECTS):
            raise ValueError(f"{name} is an object with code")
        # What is unpickled may have the name of anything.
        is_plain = key not in pickled and _is_plain(name, content)
        if key not in raw and not is_plain:
            _check_entry(torch, name, content)
        copy.writestr(zipfile.ZipInfo(name), content)


def _check_entry(torch: Any, name: str, content: bytes) -> None:
    try:
        held = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # whose text tells how to load it all the same
        found = _GLOBAL.search(str(error))
        holds = f"holds {found[1]}" if found else "is no pickle of tensors alone"
        raise ValueError(f"{name} {holds}") from None
    if "inputs" in name:
        check_example_keys(held)


def _is_plain(name: str, content: bytes) -> bool:
    """Whether an entry is a mark, a text of the user's, or JSON.

    Raises
    ------
    ValueError
        If it is JSON of which code would be made.
    """
    if posixpath.basename(name) in _MARKS:
        return len(content) <= _MOST
    if _EXTRA.match(name):  # which torch takes for texts
        return True
    if not name.endswith(".json"):
        return False
    check_json(content)
    return True


def _told_entries(archive: zipfile.ZipFile) -> tuple[set[str], set[str]]:
    """Tensors of which every table that names them says that they are raw; all that one says not.

    By their names in lower case.
    """
    raw: set[str] = set()
    pickled: set[str] = set()
    for name in archive.namelist():
        if name.endswith("_config.json"):
            for entry, is_pickled in _entries_of(name, parsed(archive.read(name))):
                (pickled if is_pickled else raw).add(entry.casefold())
    return {entry for entry in raw - pickled if _RAW.fullmatch(entry)}, pickled


def _entries_of(table: str, said: Any) -> Iterator[tuple[str, bool]]:
    entries = said.get("config") if isinstance(said, Mapping) else None
    for each in entries.values() if isinstance(entries, Mapping) else ():
        path = f"{posixpath.dirname(table)}/{each['path_name']}"
        if not _KNOWN.fullmatch(path):
            raise ValueError(f"{table} names {each['path_name']}")
        yield path, each.get("use_pickle") is not False
