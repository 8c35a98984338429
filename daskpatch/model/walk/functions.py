"""What functions and modules are made of: code, and what it takes from elsewhere."""

from __future__ import annotations

import argparse
import sys
import types
from pathlib import Path

from ..code import bytecode_digest, tree_digest
from ..files import digest_of_module, is_own_code, origin_of_module, source_digests
from ..installed import is_installed, is_library_code, module_of
from ..names import cells_used, globals_used, imports_inside
from ..settings import set_at_run_time
from .walk import Walk

_OF_MODULES = {
    "__file__", "__name__", "__package__", "__spec__", "__loader__", "__builtins__", "__doc__",
    "__path__", "__cached__",
}  # fmt: skip

_NAMESPACES = (argparse.Namespace, types.SimpleNamespace)
"""Of these it is told what is taken from them: other arguments of a script are no part of it."""


def look_at_module(walk: Walk, module: types.ModuleType, path: str) -> None:
    name = module.__name__
    if is_installed(name):
        walk.add_library(name, name, path)
        return
    file = origin_of_module(name)
    if file is None:
        names = sorted({*vars(module)} - _OF_MODULES)
        for each in names:
            walk.hold(vars(module)[each], f"{path}.{each}")
    elif file.suffix == ".py":
        _sources(walk, source_digests(file, name), path)
        look_at_settings(walk, module, file, path)
    else:
        digest = digest_of_module(file)
        walk.add_code(path, "", digest, digest)


def look_at_settings(walk: Walk, module: types.ModuleType, file: Path, path: str) -> None:
    """What was set in a module, where it has a place: a logger or a lock is no setting."""
    with walk.foreign():
        for name, value in sorted(set_at_run_time(module, file).items()):
            walk.hold(value, f"{path}.{name}")


def _sources(walk: Walk, digests: dict[str, str], path: str) -> None:
    for name, digest in digests.items():
        walk.add_code(f"{path}:{name}", "", digest, digest)


def look_at_code(walk: Walk, code: types.CodeType, path: str, holder: str) -> None:
    walk.add_code(path, holder, bytecode_digest(code), tree_digest(code))


def look_at_function(walk: Walk, function: types.FunctionType, path: str, holder: str) -> None:
    code = function.__code__
    if is_library_code(function):
        home = function.__globals__.get("__name__") or ""
        walk.add_library(home, code.co_qualname, path)
        if "<locals>" in code.co_qualname:
            # A package made it, of what it was given; and of its own, which has a version.
            walk.is_foreign = True
            _bound(walk, function, path)
        return
    walk.is_foreign = False  # whatever decorates it, it is the user's own
    look_at_code(walk, code, path, holder)
    _bound(walk, function, path)
    used = globals_used(code)
    for name in sorted(used.keys() & function.__globals__.keys() - _OF_MODULES):
        _taken(walk, function.__globals__[name], used[name], f"{path}.{name}")
    for name in sorted(imports_inside(function)):
        file = origin_of_module(name)
        if file is not None and is_own_code(file):
            _sources(walk, source_digests(file, name), f"{path}.{name}")
            if file.suffix == ".py" and name in sys.modules:
                look_at_settings(walk, sys.modules[name], file, f"{path}.{name}")
    for name in sorted(vars(function)):
        walk.hold(vars(function)[name], f"{path}.{name}")


def _bound(walk: Walk, function: types.FunctionType, path: str) -> None:
    """What was bound when a function was made: defaults and closure."""
    walk.hold([function.__defaults__, function.__kwdefaults__], f"{path}.defaults")
    names, cells = function.__code__.co_freevars, function.__closure__ or ()
    used = {} if is_library_code(function) else cells_used(function.__code__)
    for name, cell in zip(names, cells, strict=True):
        if _has_content(cell):  # else a name that is assigned later
            _taken(walk, cell.cell_contents, used.get(name, {()}), f"{path}.{name}")


def _taken(walk: Walk, value: object, chains: set[tuple[str, ...]], path: str) -> None:
    """A variable; of a module of the user's own, or arguments, what is taken from it."""
    is_own = type(value) is types.ModuleType and not is_installed(value.__name__)
    is_taken_apart = is_own or type(value) in _NAMESPACES
    if not is_taken_apart or not all(c and _has(value, c[0]) for c in chains):
        walk.hold(value, path)
        return
    for name in sorted({chain[0] for chain in chains}):
        rest = {chain[1:] for chain in chains if chain[0] == name}
        _taken(walk, vars(value)[name], rest, f"{path}.{name}")


def is_own(function: object) -> bool:
    """Whether a callable is not one of an installed package."""
    if isinstance(function, types.FunctionType):
        return not is_library_code(function)
    return not is_installed(module_of(type(function)))


def _has(value: object, name: str) -> bool:
    return name in vars(value)


def _has_content(cell: types.CellType) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True
