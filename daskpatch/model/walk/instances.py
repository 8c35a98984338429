"""What instances of classes are made of: what they wrap, or what pickle would build them from."""

from __future__ import annotations

import copyreg
import functools
import sys
import types
import weakref
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from ...support import all_said_by, cause_of
from ..contents import NoIdentityError
from ..installed import is_installed, is_library_class, is_of_cython, module_of
from .functions import look_at_module
from .walk import PLAIN, Walk

_OFFSETS = ("__dictoffset__", "__weaklistoffset__", "__vectorcalloffset__")
"""What compiled classes have for the interpreter: places in memory."""


def look_at_instance(walk: Walk, value: object, path: str, holder: str) -> None:
    """An instance: what it wraps, or its class, and what pickle would build it from."""
    match value:
        case staticmethod() | classmethod():
            _wrapper(walk, value, value.__func__, path, holder)
        case property():
            _wrapper(walk, value, [value.fget, value.fset, value.fdel], path, holder)
        case functools.cached_property():
            _wrapper(walk, value, value.func, path, holder)
        case weakref.ref():
            walk.visit(value(), path, holder)
        case types.MethodType():
            walk.visit(value.__func__, f"{path}.__func__", holder)
            walk.visit(value.__self__, f"{path}.__self__", holder)
        case functools.partial() if type(value) is functools.partial:
            walk.visit(value.func, f"{path}.func", holder)
            walk.visit([value.args, value.keywords], f"{path}.arguments", holder)
            _noted(walk, value, path)
        case functools.partialmethod():
            _wrapper(walk, value, [value.func, value.args, value.keywords], path, holder)
        case np.ufunc() if value.__name__.endswith("(vectorized)"):
            raise NoIdentityError(f"{path}, what numpy.frompyfunc made")
        case _ if _is_of_numba(value):  # which pickles it under a name of chance
            walk.add_library(module_of(type(value)), type(value).__name__, path)
            options = getattr(value, "targetoptions", None)
            walk.visit([getattr(value, "py_func"), options], path, holder)  # noqa: B009
        case _ if type(value) is type(functools.lru_cache(abs)):
            cached: Any = value
            walk.visit(cached.__wrapped__, f"{path}.__wrapped__", holder)
            walk.visit(cached.cache_parameters(), f"{path}.cache_parameters", holder)
            _noted(walk, value, path)
        case types.BuiltinFunctionType() if _home_of(value) is not None:
            look_at_module(walk, sys.modules[value.__module__], path)
            walk.add("attributes", path, holder, value.__name__)
        case _ if is_of_cython(value):
            _of_cython(walk, value, path, holder)
        case _:
            _reduced(walk, value, path, holder)


def _of_cython(walk: Walk, function: Any, path: str, holder: str) -> None:
    """A method of a compiled class, or a function of a compiled module of the user's own."""
    name = function.__qualname__
    if "<locals>" in name:
        raise NoIdentityError(f"{path}, {name}, which holds what compiled code does not tell")
    if _home_of(function) is None:
        walk.add_library(module_of(function), name, path)
        return
    look_at_module(walk, sys.modules[function.__module__], path)
    walk.add("attributes", path, holder, name)


def _noted(walk: Walk, value: object, path: str) -> None:
    """Attributes of what wraps a function, but those that it has from it."""
    notes = {*functools.WRAPPER_ASSIGNMENTS, "__wrapped__"}
    for name in sorted({*vars(value)} - notes):
        walk.hold(vars(value)[name], f"{path}.{name}")


def _wrapper(walk: Walk, value: object, wrapped: object, path: str, holder: str) -> None:
    """A method as its class has it: what is wrapped, and what a class of wrappers adds."""
    walk.visit(wrapped, path, holder)
    if not is_library_class(type(value)):
        walk.visit(type(value), f"{path}.__class__", "")
        _dropped(walk, value, (), path)


def _reduced(walk: Walk, value: object, path: str, holder: str) -> None:
    kind = type(value)
    try:
        reduce = copyreg.dispatch_table.get(kind)
        reduced = value.__reduce_ex__(4) if reduce is None else reduce(value)
    except Exception as error:  # noqa: BLE001 (pickling runs code of any class)
        raise NoIdentityError(
            f"{path} is a {kind.__module__}.{kind.__qualname__}: {all_said_by(error)}"
        ) from cause_of(error)
    walk.visit(kind, f"{path}.__class__", "")
    if isinstance(reduced, str):  # the name of a global, such as torch.float32
        walk.add("attributes", path, holder, reduced)
        _dropped(walk, value, (), path)
        return
    made_by, arguments, *state = reduced[:3]
    if isinstance(value, set | frozenset) and arguments == ([*value],):
        # Sets have the order of hashes, which differ between processes.
        arguments = (walk.in_order(value),)
    _dropped(walk, value, state, path)
    walk.visit(made_by, f"{path}.__reduce__", "")
    walk.visit(list(arguments), f"{path}.__new__", holder)
    for each in state:
        _state(walk, each, path, holder)
    for name, items in zip(("items", "entries"), reduced[3:5], strict=False):
        if items is not None:
            told: Any = [*items]
            if name == "entries":
                with suppress(TypeError):  # of a class that makes something else of its entries
                    told = dict(told)
            walk.visit(told, f"{path}.{name}", holder)


def _dropped(walk: Walk, value: object, state: Sequence[object], path: str) -> None:
    """Attributes that a class of the user's own leaves out of its pickle, where they are told.

    Or puts something else in the place of. Weights that are read again where it is unpickled are a
    part of it; a lock is none.
    """
    if is_library_class(type(value)):
        return
    kept = {name: held for each in state for one in _dicts(each) for name, held in one.items()}
    own = {**dict(_in_slots(value)), **getattr(value, "__dict__", {})}
    with walk.foreign():
        for name in sorted(own, key=str):
            if name not in kept or not _is_the_same(kept[name], own[name]):
                walk.hold(own[name], f"{path}.{name}")


def _is_the_same(kept: object, own: object) -> bool:
    """Whether a state has an attribute itself: what is equal may be a copy of a part of it."""
    return kept is own or (type(kept) is type(own) and type(own) in PLAIN and kept == own)


def _state(walk: Walk, state: object, path: str, holder: str) -> None:
    # With slots, it is the attributes in the dictionary and those in slots.
    with_slots = isinstance(state, tuple) and len(state) == 2
    for each in state if with_slots and isinstance(state, tuple) else (state,):
        if type(each) is dict and all(isinstance(name, str) for name in each):
            for name in sorted(each):
                walk.hold(each[name], f"{path}.{name}")
        else:
            walk.visit(each, f"{path}.state", holder)


def _dicts(state: object) -> Iterator[dict[Any, Any]]:
    """The attributes in a state, in a dictionary and in slots."""
    for each in state if isinstance(state, tuple) else (state,):
        if isinstance(each, dict):
            yield each


def _in_slots(value: object) -> Iterator[tuple[str, object]]:
    """What an object holds in slots of classes of the user's own."""
    for base in type(value).__mro__:
        slots = {} if is_library_class(base) else vars(base)
        for name, slot in slots.items():
            is_slot = isinstance(slot, types.MemberDescriptorType) and name not in _OFFSETS
            if is_slot and hasattr(value, name):
                yield name, slot.__get__(value)


def _home_of(value: object) -> types.ModuleType | None:
    """The module of the user's own that a compiled function is from."""
    name = getattr(value, "__module__", None)
    if not isinstance(name, str) or is_installed(name):
        return None
    return sys.modules.get(name)


def _is_of_numba(value: object) -> bool:
    """Whether it is a function that numba compiles, and has the Python of."""
    return module_of(type(value)).startswith("numba.") and hasattr(value, "py_func")
