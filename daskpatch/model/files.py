"""Files that models are in: their content, and the user's own modules that a source imports."""

from __future__ import annotations

import ast
import hashlib
import marshal
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec, PathFinder
from importlib.util import MAGIC_NUMBER
from pathlib import Path
from zipfile import BadZipFile, ZipFile, is_zipfile

from .code import bytecode_digest, tree_digest_of_module
from .installed import is_installed_file

_BEFORE_CODE = 16
"""Bytes of a `.pyc`: version of Python, flags, time and size of its source."""

_PYTHON = (".py", ".pyc")
"""Sources, and what Python made of some that are not there."""


def digest_of_file(path: str | Path) -> str:
    """SHA-256 of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of_module(file: Path) -> str:
    """A digest of a module's file, or of its place in an archive; of bytecode, of what it does."""
    content = content_of_module(file)
    if file.suffix == ".pyc" and content.startswith(MAGIC_NUMBER):
        with suppress(ValueError, EOFError, TypeError):  # whoever imports it tells of that
            return bytecode_digest(marshal.loads(content[_BEFORE_CODE:]))
    return hashlib.sha256(content).hexdigest()


def source_digests(path: Path, name: str = "") -> dict[str, str]:
    """Digests of the syntax trees of a source and of the user's own modules that it imports.

    Found by reading: nothing is imported. Of compiled modules it is the digest of the file.
    Installed packages are left out; `name` is the module's own, which relative imports begin at.
    The first is under an empty name.
    """
    found: dict[str, str] = {}
    waiting = [("", name, path)]
    while waiting:
        key, module, file = waiting.pop()
        if key in found:
            continue
        if file.suffix != ".py":
            found[key] = digest_of_module(file)
            continue
        try:
            tree = ast.parse(content_of_module(file))
        except (SyntaxError, ValueError):  # told by whoever imports it
            found[key] = digest_of_module(file)
            continue
        found[key] = tree_digest_of_module(tree)
        package = module if file.name == "__init__.py" else module.rpartition(".")[0]
        for each in _imported(tree, package):
            there = _own_source(each, beside=path.parent)
            if there is not None and there != path:
                waiting.append((each, each, there))
    return found


_seen: dict[str, tuple[ModuleSpec | None, str]] = {}
"""Of modules that are loaded: what loaded them last, and the digest of their source by then."""


def check_loaded_alike(digests: Mapping[str, str]) -> None:
    """Refuse modules that are loaded, by their names, of which the files are others by now.

    This process goes on with what it loaded, and workers would load what there is now.

    Raises
    ------
    ImportError
        If there is one.
    """
    for name, digest in digests.items():
        module = sys.modules.get(name)
        if module is None:
            continue
        before = _seen.get(name)
        if before is None or before[0] is not module.__spec__:
            _seen[name] = (module.__spec__, digest)
        elif before[1] != digest:
            raise ImportError(
                f"The module {name} was changed in its file after it was imported: this process "
                "would compute with what it was, others with what it is. Load it again "
                f"(importlib.reload({name}), and what imported from it), or restart Python.",
                name=name,
            )


def check_neighbours(path: Path) -> None:
    """Refuse a source that would get another of the user's modules in place of one beside it.

    Raises
    ------
    ImportError
        If there is one of that name that is loaded already, or found first.
    """
    met, waiting = {path}, [path]
    while waiting:
        try:
            tree = ast.parse(waiting.pop().read_bytes())
        except (SyntaxError, ValueError):  # told when it is loaded
            continue
        for name in _imported(tree, ""):
            beside = _neighbour(name, path.parent)
            if beside is None or beside in met:
                continue
            met.add(beside)
            found = origin_of_module(name)
            if found is not None and is_own_code(found) and not _is_same(found, beside):
                raise ImportError(
                    f"{path} imports {name}, and would get {found} instead of {beside}: Python has "
                    "one module of a name. Rename one of them, or use this model in a process of "
                    "its own.",
                    name=name,
                )
            if beside.suffix == ".py":
                waiting.append(beside)


def _imported(tree: ast.Module, package: str) -> Iterator[str]:
    """Names of all modules that a source may import, wherever it does."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _with_parents(alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node.module or "", node.level, package)
            if base:
                yield from _with_parents(base)
            # What is taken from a package may be a module of it.
            yield from (f"{base}.{alias.name}".lstrip(".") for alias in node.names)


def _with_parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    return (".".join(parts[: n + 1]) for n in range(len(parts)))


def _absolute(module: str, level: int, package: str) -> str:
    """The name of a module that is named from within a package, `level` dots up.

    >>> _absolute("tools", 2, "lab.models")
    'lab.tools'
    """
    if not level:
        return module
    base = package.split(".")[: len(package.split(".")) - level + 1]
    return ".".join(filter(None, (*base, module)))


def _own_source(name: str, beside: Path) -> Path | None:
    """The file of one of the user's own modules; None where it has none or is installed.

    `beside` is a folder whose files can be imported, too.
    """
    file = origin_of_module(name) or _neighbour(name, beside)
    return file if file is not None and is_own_code(file) else None


def is_own_code(file: Path) -> bool:
    """Whether a module's file is the user's own, a source or compiled."""
    is_code = file.suffix in _PYTHON or file.name.endswith(tuple(EXTENSION_SUFFIXES))
    return is_code and not is_installed_file(file)


def _is_same(one: Path, other: Path) -> bool:
    return one.is_file() and one.samefile(other)  # it may be inside an archive


def _archive_around(file: Path) -> Path | None:
    """The ZIP file that a module is in, as Python imports from some."""
    return next((each for each in file.parents if each.is_file() and is_zipfile(each)), None)


def content_of_module(file: Path) -> bytes:
    """What is in a module's file, or in its place in an archive."""
    archive = None if file.is_file() else _archive_around(file)
    if archive is None:
        return file.read_bytes()
    try:
        with ZipFile(archive) as opened:
            return opened.read(file.relative_to(archive).as_posix())
    except (KeyError, BadZipFile) as error:
        raise FileNotFoundError(f"{file} is gone: {archive} was made anew") from error


def origin_of_module(name: str) -> Path | None:
    """The file that a module is in; None where it is in none, or there is no such module.

    Found without importing anything, also what lies around it.
    """
    loaded = getattr(sys.modules.get(name), "__file__", None)
    file = Path(loaded) if loaded else _found(name)
    is_there = file is not None and (file.is_file() or _archive_around(file) is not None)
    return file if is_there else None


def _found(name: str) -> Path | None:
    path = None
    spec = None
    for part in _with_parents(name):
        try:
            spec = PathFinder.find_spec(part, path)
        except (ImportError, AttributeError, ValueError, KeyError):
            return None  # a KeyError of a folder without __init__.py that was not imported yet
        if spec is None or (spec.origin and part != name and is_installed_file(Path(spec.origin))):
            return None
        path = spec.submodule_search_locations
        if path is None and part != name:
            return None
    return Path(spec.origin) if spec is not None and spec.origin and spec.has_location else None


def _neighbour(name: str, folder: Path) -> Path | None:
    place = folder.joinpath(*name.split("."))
    compiled = (place.with_name(place.name + suffix) for suffix in EXTENSION_SUFFIXES)
    candidates = (place / "__init__.py", *compiled, place.with_suffix(".py"))  # as Python looks
    return next((each for each in candidates if each.is_file()), None)
