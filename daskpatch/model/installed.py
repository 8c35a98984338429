"""What is installed, and told by its version, and what is the user's own, and told by its code."""

from __future__ import annotations

import sys
from functools import lru_cache
from importlib.metadata import packages_distributions, version
from pathlib import Path

import numpy as np


def module_of(value: object) -> str:
    """The module that a function or class says it is from."""
    if isinstance(value, np.ufunc):
        return "numpy"
    return getattr(value, "__module__", None) or "builtins"


def is_installed(module: str | None) -> bool:
    """Whether a module is Python's own or an installed package's, which versions identify.

    One that is installed for development is not: its code changes under one version.
    """
    if module is None:  # made by exec
        return False
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names or top == __package__.partition(".")[0]:
        return True
    file = getattr(sys.modules.get(module), "__file__", None)
    return file is not None and is_installed_file(Path(file))


def is_installed_file(file: Path) -> bool:
    """Whether a file lies where packages are installed.

    >>> is_installed_file(Path("/usr/lib/python3/dist-packages/numpy/__init__.py"))
    True
    """
    return not {"site-packages", "dist-packages"}.isdisjoint(file.parts)


def is_library_function(value: object) -> bool:
    """Whether it is a compiled function of an installed package, such as a ufunc or a builtin."""
    if isinstance(value, np.ufunc):
        return not value.__name__.endswith("(vectorized)")  # what numpy.frompyfunc made
    is_named = callable(value) and hasattr(value, "__name__")
    holds_something = bool(getattr(value, "__dict__", None))  # as an object of numpy.vectorize
    return is_named and not holds_something and is_installed(module_of(value))


@lru_cache(maxsize=256)
def version_of(top: str) -> str:
    """The version of the distribution that a top-level module is from; empty where there is none.

    >>> version_of("sys")
    ''
    """
    if top in sys.stdlib_module_names:
        return ""
    names = packages_distributions().get(top, [])
    return version(names[0]) if names else ""
