"""What is installed, and told by its version, and what is the user's own, and told by its code."""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Mapping
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path
from types import FunctionType, ModuleType

import numpy as np

from ..support import installed_version

_STDLIB = Path(sysconfig.get_path("stdlib"))

_OURS = Path(__file__).parents[1]


def module_of(value: object) -> str:
    """The module that a function or class says it is from."""
    if isinstance(value, np.ufunc):
        return "numpy"
    module = getattr(value, "__module__", None)
    # Of some compiled types it is a descriptor, for the objects' own.
    return module if isinstance(module, str) else "builtins"


def is_installed(module: str | None) -> bool:
    """Whether a module is Python's own or an installed package's, which versions identify.

    One that is installed for development is not: its code changes under one version.
    """
    if module is None or module == "__main__":  # made by exec; or run by whatever launcher
        return False
    loaded = sys.modules.get(module)
    file = getattr(loaded, "__file__", None)
    if file is not None:
        return is_installed_file(Path(file))
    folders = [*getattr(loaded, "__path__", ())]  # of a package without a file of its own
    if folders:
        return all(is_installed_file(Path(folder)) for folder in folders)
    return module.partition(".")[0] in sys.stdlib_module_names


def is_installed_file(file: Path) -> bool:
    """Whether a file lies where packages are installed, or is Python's own.

    >>> is_installed_file(Path("/usr/lib/python3/dist-packages/numpy/__init__.py"))
    True
    """
    is_package = not {"site-packages", "dist-packages"}.isdisjoint(file.parts)
    return is_package or file.is_relative_to(_STDLIB) or file.is_relative_to(_OURS)


def is_library_code(function: FunctionType) -> bool:
    """Whether a package wrote a function, whatever its decorators say that it is called.

    >>> is_library_code(is_library_code)
    True
    """
    file = function.__code__.co_filename
    if not file.startswith("<"):
        return is_installed_file(Path(file))
    return is_installed(function.__globals__.get("__name__"))


_NOBODYS = ("builtins", "types")
"""Modules that classes say they are from which are made of text, or by `make_dataclass`."""

_IS_MADE = 1 << 9
"""The flag of classes that were made while Python ran: those of `builtins` were not."""


def is_library_class(kind: type) -> bool:
    """Whether a package, or Python, has a class, and versions identify it.

    >>> is_library_class(Path), is_library_class(type("Own", (), {"__module__": "builtins"}))
    (True, False)
    """
    module = module_of(kind)
    if module in _NOBODYS and kind.__flags__ & _IS_MADE:
        return getattr(sys.modules[module], kind.__name__, None) is kind
    return is_installed(module)


def is_library_function(value: object) -> bool:
    """Whether it is something callable that an installed package has under its name.

    A ufunc, a builtin, a method of a module's own generator; not what it made for the user.

    >>> is_library_function(np.sin), is_library_function(np.vectorize(abs))
    (True, False)
    """
    if isinstance(value, type | FunctionType | ModuleType) or not callable(value):
        return False
    # Of the class first: a wrapper of the user's may pass on whatever is asked of it.
    if not is_installed(module_of(type(value))) and not is_of_cython(value):
        return False
    name = getattr(value, "__name__", None)
    homes = (home for home in (module_of(value), "numpy.random", "random") if is_installed(home))
    return isinstance(name, str) and any(
        _is_same(getattr(sys.modules.get(home), name, None), value) for home in homes
    )


def is_of_cython(value: object) -> bool:
    """Whether it is a function that Cython compiled: of a type that each of its versions has."""
    return module_of(type(value)).startswith("_cython_")


def _is_same(one: object, other: object) -> bool:
    # A bound method is made anew each time.
    return one is other or (type(one) is type(other) is not type and one == other)


@lru_cache(maxsize=256)
def version_of(top: str) -> str:
    """The version of the distribution that a top-level module is from; empty where there is none.

    >>> version_of("sys")
    ''
    """
    if top in sys.stdlib_module_names:
        return ""
    if _is_named_so(top):
        return installed_version(top)
    names = _distributions().get(top, [])
    return installed_version(names[0]) if names else ""


def _is_named_so(top: str) -> bool:
    """Whether a distribution has the name of a top-level module that is from it, as most have."""
    try:
        found = distribution(top)
    except PackageNotFoundError:
        return False
    files = (found.read_text("RECORD") or "").splitlines()
    return any(line.startswith((f"{top}/", f"{top}.py,")) for line in files)


@cache
def _distributions() -> Mapping[str, list[str]]:
    """By top-level module; all that is installed is looked through, which takes half a second."""
    return packages_distributions()
