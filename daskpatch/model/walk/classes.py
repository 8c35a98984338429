"""What classes are made of: the code and attributes of all that are the user's own."""

from __future__ import annotations

import dataclasses
import enum
import inspect
import types
from typing import Any, NamedTuple

from ..code import bytecode_digest
from ..fields import defaults_of
from ..installed import is_installed, is_library_class, is_library_code, module_of
from .walk import Walk

_NOTES = {
    "__doc__", "__module__", "__dict__", "__weakref__", "__firstlineno__", "__static_attributes__",
    "__annotations__", "__annotate__", "__annotate_func__", "__annotations_cache__", "__qualname__",
    "__slots__", "__slotnames__", "__orig_bases__", "__parameters__",
    "__abstractmethods__", "__type_params__", "__classcell__", "__dataclass_fields__",
    "__dataclass_params__", "__attrs_attrs__", "__attrs_own_setattr__", "__attrs_props__",
}  # fmt: skip
"""What Python, a library or a decorator notes of a class."""

_NOTED = ("_abc_", "__pydantic_", "__struct_")
"""What names of other such notes begin with; of their fields see `defaults_of`."""

_WRITTEN = {
    "__init__", "__repr__", "__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "__hash__",
    "__new__", "__setattr__", "__delattr__", "__getstate__", "__setstate__", "__replace__",
    "__getnewargs__", "_make", "_replace", "_asdict",
}  # fmt: skip
"""Methods that `dataclass`, `namedtuple` and attrs write."""

_FIELD = type(vars(NamedTuple("_Pair", [("one", int)]))["one"])
"""What a namedtuple has for each of its fields."""


def look_at_class(walk: Walk, kind: type, path: str) -> None:
    if issubclass(kind, enum.Enum) and not is_library_class(kind):
        walk.hold({name: member.value for name, member in kind.__members__.items()}, path)
        for name, member in kind.__members__.items():
            for key in sorted(key for key in vars(member) if not _is_of_enumerations(key)):
                walk.hold(vars(member)[key], f"{path}.{name}.{key}")
    if not is_installed(module_of(type(kind))):
        walk.visit(type(kind), f"{path}.__class__", "")
    for base in kind.__mro__:
        if is_library_class(base):
            walk.add_library(module_of(base), base.__qualname__, path)
            continue
        for name in sorted(vars(base)):
            _member(walk, base, name, f"{path}.{name}")
        for name, default in defaults_of(base):
            walk.hold(default, f"{path}.{name}")


def _member(walk: Walk, kind: type, name: str, path: str) -> None:
    member = vars(kind)[name]
    if name in _NOTES or name.startswith(_NOTED):
        return
    if name == "__hash__" and member is None:
        return
    if isinstance(member, types.MemberDescriptorType | types.GetSetDescriptorType | _FIELD):
        return
    is_method = isinstance(member, types.FunctionType | staticmethod | classmethod | property)
    if issubclass(kind, enum.Enum) and name in kind.__members__:
        return
    plain = member.__func__ if isinstance(member, staticmethod) else member  # `__new__`
    written = inspect.unwrap(plain) if isinstance(plain, types.FunctionType) else None
    is_library = isinstance(plain, types.FunctionType) and is_library_code(plain)
    is_of_enumeration = issubclass(kind, enum.Enum) and _is_of_enumerations(name)
    if is_of_enumeration and (is_library or not is_method):
        return  # what the enumeration knows of its members
    if name in _WRITTEN and is_library:
        return  # of a dataclass, a namedtuple or a protocol, as this version of Python has it
    if written is not None and name in _WRITTEN and _is_generated(kind, written):
        # What it does follows from the fields; attrs puts a random number into `__hash__`.
        told = "" if name == "__hash__" else bytecode_digest(written.__code__)
        walk.add_code(path, "", told, repr(written.__code__.co_varnames))
        return
    walk.hold(member, path)


def _is_of_enumerations(name: str) -> bool:
    """Whether it is such a name as `_value_`, `_sort_order_` or `__new__`."""
    return name.startswith("_") and name.endswith("_")


def _is_generated(kind: type, written: Any) -> bool:
    file = written.__code__.co_filename
    is_named = issubclass(kind, tuple) and hasattr(kind, "_fields")
    is_data = dataclasses.is_dataclass(kind) or is_named
    return file.startswith("<attrs generated") or (is_data and file.startswith("<string>"))
