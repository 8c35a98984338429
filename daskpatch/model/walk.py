"""A walk through a function or object and everything that it uses, giving what it is made of.

Values are told by where they are (a path of names), never by address, file name, line, or an order
that chance made.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import hashlib
import inspect
import re
import types
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .code import bytecode_digest, tree_digest
from .contents import Contents, Leaf, NoIdentityError, PartName
from .files import file_of_module, source_digests
from .installed import is_installed, is_library_function, module_of, version_of
from .names import imports_inside, names_used

_PLAIN = (
    *(bool, int, float, complex, str, bytes, range, slice),
    *(type(None), type(Ellipsis), np.dtype, Path),
)
"""Values that their repr tells from others."""

_METHODS = (types.FunctionType, staticmethod, classmethod, property)

_ATTRIBUTE = re.compile(r"\.(\w+)")
"""Names after a dot in TorchScript: attributes, among others."""

_HOOKS = ("_forward_pre_hooks", "_forward_hooks")


def contents_of(value: object, *, weights: bool = True) -> Contents:
    """What a function or object is made of.

    A function is its code, defaults, closure, attributes, and the globals that it uses; an object
    its class and its attributes; a torch module its submodules' classes, attributes and hooks, its
    parameters and buffers. Without `weights`, parameters and buffers are not read.

    Raises
    ------
    NoIdentityError
        If it uses something that has none, such as an open file or a compiled object.

    Examples
    --------
    >>> one, other = contents_of([np.zeros(2), 1]).parts(), contents_of([np.ones(2), 1]).parts()
    >>> one.weights == other.weights, one.attributes == other.attributes
    (False, True)
    """
    walk = _Walk(weights)
    try:
        walk.visit(value, "model", "")
    except RecursionError as error:
        raise NoIdentityError("values nested too deeply") from error
    return Contents(tuple(walk.leaves), walk.versions)


@dataclass
class _Walk:
    weights: bool
    leaves: list[Leaf] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    # Kept, so that no address is used twice; told by where they were first met.
    _met: dict[int, tuple[object, str]] = field(default_factory=dict)

    def visit(self, value: object, path: str, holder: str) -> None:
        if isinstance(value, _PLAIN):
            self._add("attributes", path, holder, f"{type(value).__name__} {value!r}")
        elif id(value) in self._met:
            self._add("attributes", path, holder, f"as {self._met[id(value)][1]}")
        else:
            self._met[id(value)] = (value, path)
            self._add("attributes", path, holder, type(value).__name__)
            self._visit_new(value, path, holder)

    def _add(self, part: PartName, path: str, holder: str, told: str) -> None:
        self.leaves.append(Leaf(part, path, holder, told.encode()))

    def _held(self, value: object, path: str) -> None:
        """What an attribute or a variable holds."""
        self.visit(value, path, path)

    def _visit_new(self, value: Any, path: str, holder: str) -> None:
        match value:
            case np.ndarray() | np.generic():
                self._array(np.asarray(value), path, holder)
            case list() | tuple() if all(isinstance(item, _PLAIN) for item in value):
                # Long ones are no leaves each: a table of a million numbers is one thing.
                told = repr([(type(item).__name__, item) for item in value]).encode()
                self._add("attributes", path, holder, hashlib.sha256(told).hexdigest())
            case list() | tuple():
                for number, item in enumerate(value):
                    self.visit(item, f"{path}[{number}]", holder)
            case set() | frozenset():
                # Sets have the order of hashes, which differ between processes.
                for number, item in enumerate(sorted(value, key=_sortable)):
                    self.visit(item, f"{path}[{number}]", holder)
            case dict() | types.MappingProxyType():
                for key in sorted(value, key=_sortable):
                    self.visit(key, f"{path}[key]", holder)
                    self.visit(value[key], f"{path}[{_sortable(key)}]", holder)
            case types.ModuleType():
                self._module(value, path)
            case types.FunctionType():
                self._function(value, path, holder)
            case types.MethodType():
                self.visit(value.__func__, path, holder)
                self.visit(value.__self__, f"{path}.__self__", holder)
            case types.CodeType():
                self._code(value, path, holder)
            case staticmethod() | classmethod():
                self.visit(value.__func__, path, holder)
            case property():
                self.visit([value.fget, value.fset, value.fdel], path, holder)
            case functools.cached_property():
                self.visit(value.func, path, holder)
            case functools.partial():
                self.visit(value.func, f"{path}.func", holder)
                self.visit([value.args, value.keywords], f"{path}.arguments", holder)
            case type():
                self._class(value, path)
            case _ if is_library_function(value):
                self._library(module_of(value), getattr(value, "__name__", ""), path)
                if not isinstance(getattr(value, "__self__", None), types.ModuleType | None):
                    self.visit(value.__self__, f"{path}.__self__", holder)
            case _ if hasattr(value, "__wrapped__") and callable(value):
                self.visit(value.__wrapped__, f"{path}.__wrapped__", holder)  # lru_cache
            case _ if hasattr(value, "state_dict") and hasattr(value, "named_modules"):
                self._torch_module(value, path, holder)
            case _ if hasattr(value, "detach") and hasattr(value, "cpu"):
                self._tensor(value, path, holder)
            case _:
                self._object(value, path, holder)

    def _array(self, values: NDArray[Any], path: str, holder: str) -> None:
        if values.dtype.hasobject:
            raise NoIdentityError("an array of Python objects")
        content = np.ascontiguousarray(values).reshape(-1).view(np.uint8).data
        digest = hashlib.sha256(content).hexdigest()
        self._add("weights", path, holder, f"{values.dtype.str} {values.shape} {digest}")

    def _tensor(self, tensor: Any, path: str, holder: str) -> None:
        import torch

        tensor = tensor.detach().cpu().contiguous()
        # NumPy has no bfloat16: bytes serve for all dtypes.
        content = tensor.reshape(-1).view(torch.uint8).numpy().data if tensor.numel() else b""
        digest = hashlib.sha256(content).hexdigest()
        self._add("weights", path, holder, f"{tensor.dtype} {tuple(tensor.shape)} {digest}")

    def _library(self, module: str, name: str, path: str) -> None:
        """Something of an installed package: its name, and the package's version."""
        # Where in a package it is kept is the package's own affair, and differs between versions.
        top = module.partition(".")[0]
        if version_of(top):
            self.versions[top] = version_of(top)
        told = f"{top}:{name}".encode()
        self.leaves.append(Leaf("code", path, "", told, told))

    def _sources(self, file: Path, module: str, path: str) -> None:
        for name, digest in source_digests(file, module).items():
            told = digest.encode()
            self.leaves.append(Leaf("code", f"{path}:{name}", "", told, told))

    def _module(self, module: types.ModuleType, path: str) -> None:
        file = file_of_module(module.__name__)
        if file is None:
            self._library(module.__name__, module.__name__, path)
        else:
            self._sources(file, module.__name__, path)

    def _code(self, code: types.CodeType, path: str, holder: str) -> None:
        tree = tree_digest(code)
        told = bytecode_digest(code).encode()
        self.leaves.append(Leaf("code", path, holder, told, tree.encode() if tree else None))

    def _function(self, function: types.FunctionType, path: str, holder: str) -> None:
        if is_installed(function.__module__):
            self._library(function.__module__, function.__qualname__, path)
            if "<locals>" in function.__qualname__:
                self._made_by_library(function, path)
            return
        code = function.__code__
        self._code(code, path, holder)
        self._bound(function, path)
        for names in sorted(names_used(code)):
            if names[0] in function.__globals__:
                self._global(function.__globals__[names[0]], names[1:], f"{path}.{names[0]}")
        for name in sorted(imports_inside(function)):
            file = file_of_module(name)
            if file is not None:
                self._sources(file, name, f"{path}.{name}")
        for name in sorted(vars(function)):
            self._held(vars(function)[name], f"{path}.{name}")

    def _bound(self, function: types.FunctionType, path: str) -> None:
        self._held([function.__defaults__, function.__kwdefaults__], f"{path}.defaults")
        names, cells = function.__code__.co_freevars, function.__closure__ or ()
        for name, cell in zip(names, cells, strict=True):
            if _has_content(cell):  # else a name that is assigned later
                self._held(cell.cell_contents, f"{path}.{name}")

    def _made_by_library(self, function: types.FunctionType, path: str) -> None:
        """A function that a package made, of what it was given; and of its own things."""
        n_before = len(self.leaves)
        try:
            self._bound(function, path)
        except NoIdentityError:  # of what is a package's own, its version tells
            del self.leaves[n_before:]

    def _global(self, value: object, attributes: tuple[str, ...], path: str) -> None:
        """A global variable; of a module of the user's own, what is taken from it."""
        is_own = isinstance(value, types.ModuleType) and file_of_module(value.__name__) is not None
        if is_own and attributes and hasattr(value, attributes[0]):
            name, *others = attributes
            self._global(getattr(value, name), tuple(others), f"{path}.{name}")
        else:
            self._held(value, path)

    def _class(self, kind: type, path: str) -> None:
        if issubclass(kind, enum.Enum) and not is_installed(kind.__module__):
            self._held({name: member.value for name, member in kind.__members__.items()}, path)
        for base in kind.__mro__:
            if is_installed(base.__module__):
                self._library(base.__module__, base.__qualname__, path)
                continue
            for name in sorted(vars(base)):
                self._member(base, name, f"{path}.{name}")

    def _member(self, kind: type, name: str, path: str) -> None:
        member = vars(kind)[name]
        is_special = (name.startswith("__") and name.endswith("__")) or name.startswith("_abc_")
        is_made_by_enum = issubclass(kind, enum.Enum) and not isinstance(member, _METHODS)
        is_note = not isinstance(member, _METHODS) or name.startswith("__annotate")
        if (is_special and is_note) or is_made_by_enum:
            return  # what Python, a library or a decorator notes of the class
        if isinstance(member, types.MemberDescriptorType | types.GetSetDescriptorType):
            return
        if isinstance(member, types.FunctionType) and _is_generated(kind, member):
            self._generated(inspect.unwrap(member), path)
            return
        self._held(member, path)

    def _generated(self, function: types.FunctionType, path: str) -> None:
        """A method that `dataclass` or `namedtuple` wrote: what it does follows from its names."""
        code = function.__code__
        told = repr((code.co_names, code.co_varnames)).encode()
        self.leaves.append(Leaf("code", path, "", told, told))

    def _object(self, value: object, path: str, holder: str) -> None:
        """Any other object: its class, and what it would be built from again by pickle."""
        try:
            reduced = value.__reduce_ex__(4)
        except Exception as error:
            kind = type(value)
            raise NoIdentityError(f"a {kind.__module__}.{kind.__qualname__}: {error}") from error
        self.visit(type(value), f"{path}.__class__", "")
        if isinstance(reduced, str):  # the name of a global, such as torch.float32
            self._add("attributes", path, holder, reduced)
            return
        made_by, arguments, *state = reduced[:3]
        self.visit(made_by, f"{path}.__reduce__", "")
        self.visit(list(arguments), f"{path}.__new__", holder)
        for each in state:
            self._state(each, path, holder)
        for items in reduced[3:5]:
            self.visit([*items] if items is not None else [], f"{path}.items", holder)

    def _state(self, state: object, path: str, holder: str) -> None:
        # With slots, it is the attributes in the dictionary and those in slots.
        with_slots = isinstance(state, tuple) and len(state) == 2
        for each in state if with_slots and isinstance(state, tuple) else (state,):
            if isinstance(each, dict) and all(isinstance(name, str) for name in each):
                for name in sorted(each):
                    self._held(each[name], f"{path}.{name}")
            else:
                self.visit(each, f"{path}.state", holder)

    def _torch_module(self, module: Any, path: str, holder: str) -> None:
        import torch

        module = getattr(module, "_orig_mod", module)  # of one that torch.compile wrapped
        of_every_module = set(vars(torch.nn.Module()))
        for name, inner in module.named_modules():
            here = f"{path}.{name}" if name else path
            if hasattr(inner, "code_with_constants"):
                self._script_code(inner, here)
            elif isinstance(inner, torch.fx.GraphModule):
                self._library("torch", "GraphModule", here)
                self.leaves.append(Leaf("code", here, "", *[inner.code.encode()] * 2))
            else:
                self.visit(type(inner), f"{here}.__class__", "")
                for key in sorted({*vars(inner)} - of_every_module):
                    self._held(vars(inner)[key], f"{here}.{key}")
            for key in _HOOKS:
                # In order: their keys are counted through the whole process.
                self.visit([*getattr(inner, key, {}).values()], f"{here}.{key}", holder)
        if self.weights:
            for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
                self._tensor(tensor, f"{path}.{name}", "")

    def _script_code(self, module: Any, path: str) -> None:
        """A traced or scripted module: its code as TorchScript prints it, and its constants.

        Its serialised bytes differ for one module traced twice.
        """
        import torch

        self._library("torch", "ScriptModule", path)
        try:
            code, constants = module.code_with_constants
        except RuntimeError:  # a module without forward
            return
        self.leaves.append(Leaf("code", path, "", *[code.encode()] * 2))
        self.visit(dict(constants.const_mapping), f"{path}.constants", "")
        for name in sorted(set(_ATTRIBUTE.findall(code)) - set(dir(torch.nn.Module()))):
            held = getattr(module, name, None)
            if isinstance(held, torch._C.ScriptMethod):
                self.leaves.append(Leaf("code", f"{path}.{name}", "", *[held.code.encode()] * 2))
            elif not isinstance(held, torch.nn.Module | torch.nn.Parameter):
                self._held(held, f"{path}.{name}")


def _sortable(value: object) -> str:
    return value if isinstance(value, str) else repr(value)


def _has_content(cell: types.CellType) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True


def _is_generated(kind: type, function: types.FunctionType) -> bool:
    is_named = issubclass(kind, tuple) and hasattr(kind, "_fields")
    written: Any = inspect.unwrap(function)  # `dataclass` wraps its __repr__
    has_source = not written.__code__.co_filename.startswith("<string>")
    return not has_source and (dataclasses.is_dataclass(kind) or is_named)
