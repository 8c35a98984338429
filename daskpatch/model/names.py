"""What a function's code refers to: globals, attributes taken from them, modules it imports."""

from __future__ import annotations

import dis
import types
from collections.abc import Collection, Iterator
from importlib.util import resolve_name
from itertools import takewhile

_GLOBALS = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")

_CELLS = ("LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_DEREF")

_TAKES = ("LOAD_ATTR", "LOAD_METHOD")


def globals_used(code: types.CodeType) -> dict[str, set[tuple[str, ...]]]:
    """Globals that a function, or one inside it, loads, with what it takes of each.

    >>> def norm(x):
    ...     return np.linalg.norm(x) * GAIN
    >>> globals_used(norm.__code__)
    {'np': {('linalg', 'norm')}, 'GAIN': {()}}
    """
    return _loaded(code, _GLOBALS)


def cells_used(code: types.CodeType) -> dict[str, set[tuple[str, ...]]]:
    """The same of variables of the functions around it, and of its own that those inside share."""
    return _loaded(code, _CELLS)


def _loaded(code: types.CodeType, loads: Collection[str]) -> dict[str, set[tuple[str, ...]]]:
    found: dict[str, set[tuple[str, ...]]] = {}
    for each in _codes(code):
        steps = [step for step in dis.get_instructions(each) if step.opname != "EXTENDED_ARG"]
        for at, step in enumerate(steps):
            if step.opname in loads:
                taken = takewhile(lambda later: later.opname in _TAKES, steps[at + 1 :])
                found.setdefault(step.argval, set()).add(tuple(each.argval for each in taken))
    return found


def imports_inside(function: types.FunctionType) -> set[str]:
    """Modules that a function imports when it is called."""
    package = function.__globals__.get("__package__") or ""
    found = set()
    for code in _codes(function.__code__):
        steps = [step for step in dis.get_instructions(code) if step.opname != "EXTENDED_ARG"]
        base = None
        for at, step in enumerate(steps):
            if step.opname == "IMPORT_NAME":
                level = steps[at - 2].argval
                dots = "." * level if isinstance(level, int) else ""
                base = _resolved(f"{dots}{step.argval}", package)
                found |= {base} if base else set()
            elif step.opname == "IMPORT_FROM" and base:
                found.add(f"{base}.{step.argval}")  # it may be a module of that package
    return found


def _resolved(name: str, package: str) -> str | None:
    try:
        return resolve_name(name, package)
    except ImportError:
        return None


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)
