"""A walk through a function or object and everything that it uses, giving what it is made of.

Values are told by where they are (a path of names), never by address, file name, line, or an order
that chance made. What is met again is told by where it was met first.
"""

from __future__ import annotations

import argparse
import copyreg
import dataclasses
import enum
import functools
import hashlib
import inspect
import os
import re
import sys
import types
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..support import all_said_by, cause_of
from .code import bytecode_digest, tree_digest
from .contents import WHOLE, Contents, Leaf, Look, NoIdentityError, PartName
from .fields import defaults_of
from .files import digest_of_file, is_own_code, origin_of_module, source_digests
from .installed import (
    is_installed,
    is_library_class,
    is_library_code,
    is_library_function,
    module_of,
    version_of,
)
from .names import imports_inside, names_used
from .settings import set_at_run_time

_UNSEEN = "ConstantMKLDNNTensor"
"""What TorchScript says of constants that it does not show."""

_PLAIN = {bool, float, complex, str, bytes, range, slice, type(None), type(Ellipsis)}
"""Types whose values their repr tells from others."""

_NOTES = {
    "__doc__", "__module__", "__dict__", "__weakref__", "__firstlineno__", "__static_attributes__",
    "__annotations__", "__annotate__", "__annotate_func__", "__annotations_cache__", "__qualname__",
    "__slots__", "__slotnames__", "__match_args__", "__orig_bases__", "__parameters__",
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

_OF_MODULES = {
    "__file__", "__name__", "__package__", "__spec__", "__loader__", "__builtins__", "__doc__",
    "__path__", "__cached__",
}  # fmt: skip

_NAMESPACES = (argparse.Namespace, types.SimpleNamespace)
"""Of these it is told what is taken from them: other arguments of a script are no part of it."""

_ATTRIBUTE = re.compile(r"\.(\w+)")
"""Names after a dot in TorchScript: attributes, among others."""

_QUALIFIED = re.compile(r"__torch__(\.\w+)*\.")
"""What comes before names of the user's own functions and classes in TorchScript: their module, and
a number that counts through the whole process."""

_PLACE = re.compile(r" # .*:\d+:\d+$", re.MULTILINE)
"""Where a line of a graph of TorchScript is from."""

_COMPILED = "OptimizedModule"
"""The class of what torch.compile makes of a module."""

_FIELD = type(vars(NamedTuple("_Pair", [("one", int)]))["one"])
"""What a namedtuple has for each of its fields."""

_HOOKS = ("_forward_pre_hooks", "_forward_hooks")

_HOOK_FLAGS = ("_with_kwargs", "_always_called")
"""Tables of torch's that say how hooks are called, by what the names of theirs end in."""


def contents_of(value: object, look: Look = WHOLE) -> Contents:
    """What a function or object is made of.

    A function is its code, defaults, closure, attributes, and the globals that it uses; an object
    its class and its attributes; a torch module its submodules' classes, attributes and hooks, its
    parameters and buffers.

    Raises
    ------
    NoIdentityError
        If it uses something that has none, such as an open file or a compiled object; it says
        where that is.

    Examples
    --------
    >>> one, other = contents_of([np.zeros(2), 1]).parts(), contents_of([np.ones(2), 1]).parts()
    >>> one.weights == other.weights, one.attributes == other.attributes
    (False, True)
    """
    walk = _Walk(look)
    walk.start(value)
    return Contents(tuple(walk.leaves), walk.versions, walk.met)


def contents_of_settings(module: types.ModuleType, file: Path, look: Look = WHOLE) -> Contents:
    """What was set in a module of the user's own while it ran."""
    walk = _Walk(look)
    walk.start_with(lambda: walk.settings(module, file, "model"))
    return Contents(tuple(walk.leaves), walk.versions, walk.met)


@dataclass(frozen=True)
class _Visit:
    """Something that is still to be looked at; `is_foreign` in what a package made for itself."""

    value: Any
    path: str
    holder: str
    is_foreign: bool


@dataclass
class _Walk:
    look: Look
    leaves: list[Leaf] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    met: dict[int, tuple[object, str]] = field(default_factory=dict)
    # A queue, not calls within calls: a model may be a chain of hundreds of functions.
    _coming: deque[_Visit] = field(default_factory=deque)
    _is_foreign: bool = False

    def start(self, value: object) -> None:
        self.start_with(lambda: self.visit(value, "model", ""))

    def start_with(self, visit: Callable[[], None]) -> None:
        self._left_out = set(self.look.left_out)
        before = self.look.before
        self._known = {} if before is None else before.places
        self._elsewhere: dict[int, tuple[object, str]] = {}
        visit()
        self._go_on()
        # What an earlier look met at a place where it is no longer.
        for known, path in list(self._elsewhere.values()):
            if id(known) not in self.met:
                self._elsewhere = {}
                self._known = {}
                self.visit(known, path, path)
        self._go_on()

    def _go_on(self) -> None:
        while self._coming:
            coming = self._coming.popleft()
            self._is_foreign = coming.is_foreign
            try:
                self._visit_new(coming.value, coming.path, coming.holder)
            except NoIdentityError:
                if not coming.is_foreign:
                    raise
            except Exception as error:  # noqa: BLE001 (the user's classes may do anything)
                if not coming.is_foreign:
                    told = f"{coming.path}: {type(error).__name__}: {all_said_by(error)}"
                    raise NoIdentityError(told) from cause_of(error)

    def visit(self, value: object, path: str, holder: str) -> None:
        kind = type(value)
        if kind is int:
            assert isinstance(value, int)
            self._add("attributes", path, holder, f"int {value:x}")
        elif kind in _PLAIN or isinstance(value, np.dtype | PurePath):
            told = _description(value) if isinstance(value, np.dtype) else repr(value)
            self._add("attributes", path, holder, f"{kind.__name__} {told}")
        elif id(value) in self.met:
            self._add("attributes", path, holder, f"as {self.met[id(value)][1]}")
        elif id(value) in self._known and self._known[id(value)][1] != path:
            # Told where it was before: a call may have put it in a second place.
            self._elsewhere[id(value)] = (value, self._known[id(value)][1])
            self._add("attributes", path, holder, f"as {self._known[id(value)][1]}")
        else:
            self.met[id(value)] = (value, path)
            self._add("attributes", path, holder, kind.__name__)
            self._coming.append(_Visit(value, path, holder, self._is_foreign))

    def _add(self, part: PartName, path: str, holder: str, told: str) -> None:
        self.leaves.append(Leaf(part, path, holder, told.encode("utf-8", "surrogatepass")))

    def _add_code(self, path: str, holder: str, told: str, tree: str | None) -> None:
        tree_told = None if tree is None else tree.encode("utf-8", "surrogatepass")
        told_bytes = told.encode("utf-8", "surrogatepass")
        self.leaves.append(Leaf("code", path, holder, told_bytes, tree_told))

    def _held(self, value: object, path: str) -> None:
        """What an attribute, a variable or an entry holds."""
        if path not in self._left_out:
            self.visit(value, path, path)

    def _visit_new(self, value: Any, path: str, holder: str) -> None:
        torch = sys.modules.get("torch")
        kind = type(value)
        if isinstance(value, np.ndarray | np.generic):
            self._array(value, path, holder)
        elif kind in (list, tuple):
            self._sequence(value, path, holder)
        elif kind in (set, frozenset):
            # Sets have the order of hashes, which differ between processes.
            self._sequence(sorted(value, key=_order), path, holder)
        elif kind in (dict, types.MappingProxyType):
            self._mapping(value, path, holder)
        elif kind is types.ModuleType:
            self._module(value, path)
        elif kind is types.FunctionType:
            self._function(value, path, holder)
        elif kind is types.CodeType:
            self._code(value, path, holder)
        elif isinstance(value, type):
            self._class(value, path)
        elif torch is not None and isinstance(value, torch.nn.Module):
            self._torch_module(value, path)
        elif torch is not None and isinstance(value, torch.Tensor):
            self._tensor(value, path, holder)
        elif torch is not None and isinstance(value, torch.jit.ScriptFunction):
            self._library("torch", "ScriptFunction", path)
            self._script_graph(value.inlined_graph, path)
        elif is_library_function(value):
            self._library(module_of(value), value.__name__, path)
        elif value is os.environ:
            self._library("os", "environ", path)
        else:
            self._object(value, path, holder)

    def _sequence(self, items: Any, path: str, holder: str) -> None:
        if all(type(item) in _PLAIN or type(item) is int for item in items):
            # Long ones are no leaves each: a table of a million numbers is one thing.
            digest = hashlib.sha256()
            for item in items:
                told = f"{item:x}" if type(item) is int else repr(item)
                digest.update(f"{type(item).__name__} {told}\n".encode("utf-8", "surrogatepass"))
            self._add("attributes", path, holder, digest.hexdigest())
            return
        # Where one grows, it is the whole that changed, not the items that came.
        self._add("attributes", path, holder, f"{len(items)} items")
        for number, item in enumerate(items):
            self._held(item, f"{path}[{number}]")

    def _mapping(self, mapping: Any, path: str, holder: str) -> None:
        self._add("attributes", path, holder, f"{len(mapping)} entries")
        for number, (key, value) in enumerate(mapping.items()):
            name = key if type(key) is str else number
            self._held(key, f"{path}[{number}].key")
            self._held(value, f"{path}[{name}]")

    def _array(self, values: NDArray[Any] | np.generic, path: str, holder: str) -> None:
        array = np.asarray(values)
        told = f"{_description(array.dtype)} {array.shape}"
        if array.dtype.names is not None:
            self._add("weights", path, holder, told)
            for name in array.dtype.names:  # without what lies between the fields
                self._array(array[name], f"{path}[{name}]", holder)
        elif array.dtype.hasobject:
            self._add("weights", path, holder, told)
            self._sequence(array.reshape(-1).tolist(), path, holder)
        else:
            content = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
            self._add("weights", path, holder, f"{told} {hashlib.sha256(content).hexdigest()}")
        if isinstance(values, np.ma.MaskedArray):
            self._array(np.ma.getmaskarray(values), f"{path}.mask", holder)
            self._array(np.asarray(values.fill_value), f"{path}.fill_value", holder)
        elif type(values) not in (np.ndarray, np.memmap) and isinstance(values, np.ndarray):
            self.visit(type(values), f"{path}.__class__", "")
            self._attributes(values, path)

    def _tensor(self, tensor: Any, path: str, holder: str) -> None:
        import torch

        if type(tensor) not in (torch.Tensor, torch.nn.Parameter, torch.nn.Buffer):
            self.visit(type(tensor), f"{path}.__class__", "")
        self._attributes(tensor, path)
        told = f"{tensor.dtype} {tuple(tensor.shape)}"
        tensor = tensor.detach()
        if tensor.is_quantized:
            told += f" {tensor.q_scale()} {tensor.q_zero_point()}"
            tensor = tensor.int_repr()
        if tensor.layout != torch.strided:
            tensor = tensor.to_dense()
        tensor = tensor.resolve_conj().resolve_neg().cpu().contiguous()
        # NumPy has no bfloat16: bytes serve for all dtypes.
        content = tensor.reshape(-1).view(torch.uint8).numpy().data if tensor.numel() else b""
        self._add("weights", path, holder, f"{told} {hashlib.sha256(content).hexdigest()}")

    def _library(self, module: str, name: str, path: str) -> None:
        """Something of an installed package: its name, and the package's version."""
        top = module.partition(".")[0]
        if version_of(top):
            self.versions[top] = version_of(top)
        told = f"{module}:{name}"
        self._add_code(path, "", told, told)

    def _module(self, module: types.ModuleType, path: str) -> None:
        name = module.__name__
        if is_installed(name):
            self._library(name, name, path)
            return
        file = origin_of_module(name)
        if file is None:
            names = sorted({*vars(module)} - _OF_MODULES)
            for each in names:
                self._held(vars(module)[each], f"{path}.{each}")
        elif file.suffix == ".py":
            self._sources(source_digests(file, name), path)
            self.settings(module, file, path)
        else:
            digest = digest_of_file(file)
            self._add_code(path, "", digest, digest)

    def settings(self, module: types.ModuleType, file: Path, path: str) -> None:
        """What was set in a module, where it has a place: a logger or a lock is no setting."""
        before, self._is_foreign = self._is_foreign, True
        for name, value in sorted(set_at_run_time(module, file).items()):
            self._held(value, f"{path}.{name}")
        self._is_foreign = before

    def _sources(self, digests: dict[str, str], path: str) -> None:
        for name, digest in digests.items():
            self._add_code(f"{path}:{name}", "", digest, digest)

    def _code(self, code: types.CodeType, path: str, holder: str) -> None:
        self._add_code(path, holder, bytecode_digest(code), tree_digest(code))

    def _function(self, function: types.FunctionType, path: str, holder: str) -> None:
        code = function.__code__
        if is_library_code(function):
            home = function.__globals__.get("__name__") or ""
            self._library(home, code.co_qualname, path)
            if "<locals>" in code.co_qualname:
                # A package made it, of what it was given; and of its own, which has a version.
                self._is_foreign = True
                self._bound(function, {}, path)
            return
        self._is_foreign = False  # whatever decorates it, it is the user's own
        used = names_used(code)
        self._code(code, path, holder)
        self._bound(function, used, path)
        for name in sorted(used.keys() & function.__globals__.keys() - _OF_MODULES):
            self._taken(function.__globals__[name], used[name], f"{path}.{name}")
        for name in sorted(imports_inside(function)):
            file = origin_of_module(name)
            if file is not None and is_own_code(file):
                self._sources(source_digests(file, name), f"{path}.{name}")
                if file.suffix == ".py" and name in sys.modules:
                    self.settings(sys.modules[name], file, f"{path}.{name}")
        for name in sorted(vars(function)):
            self._held(vars(function)[name], f"{path}.{name}")

    def _bound(
        self, function: types.FunctionType, used: dict[str, set[tuple[str, ...]]], path: str
    ) -> None:
        """What was bound when a function was made: defaults and closure."""
        self._held([function.__defaults__, function.__kwdefaults__], f"{path}.defaults")
        names, cells = function.__code__.co_freevars, function.__closure__ or ()
        for name, cell in zip(names, cells, strict=True):
            if _has_content(cell):  # else a name that is assigned later
                self._taken(cell.cell_contents, used.get(name, {()}), f"{path}.{name}")

    def _taken(self, value: object, chains: set[tuple[str, ...]], path: str) -> None:
        """A variable; of a module of the user's own, or arguments, what is taken from it."""
        is_own = type(value) is types.ModuleType and not is_installed(value.__name__)
        is_taken_apart = is_own or type(value) in _NAMESPACES
        if not is_taken_apart or not all(c and _has(value, c[0]) for c in chains):
            self._held(value, path)
            return
        for name in sorted({chain[0] for chain in chains}):
            rest = {chain[1:] for chain in chains if chain[0] == name}
            self._taken(vars(value)[name], rest, f"{path}.{name}")

    def _class(self, kind: type, path: str) -> None:
        if issubclass(kind, enum.Enum) and not is_library_class(kind):
            self._held({name: member.value for name, member in kind.__members__.items()}, path)
            for name, member in kind.__members__.items():
                for key in sorted(key for key in vars(member) if not _is_of_enumerations(key)):
                    self._held(vars(member)[key], f"{path}.{name}.{key}")
        if not is_installed(module_of(type(kind))):
            self.visit(type(kind), f"{path}.__class__", "")
        for base in kind.__mro__:
            if is_library_class(base):
                self._library(module_of(base), base.__qualname__, path)
                continue
            for name in sorted(vars(base)):
                self._member(base, name, f"{path}.{name}")
            for name, default in defaults_of(base):
                self._held(default, f"{path}.{name}")

    def _member(self, kind: type, name: str, path: str) -> None:
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
            self._add_code(path, "", told, repr(written.__code__.co_varnames))
            return
        self._held(member, path)

    def _object(self, value: object, path: str, holder: str) -> None:
        """Any other object: what it wraps, or its class, and what pickle would build it from."""
        match value:
            case staticmethod() | classmethod():
                self._wrapper(value, value.__func__, path, holder)
            case property():
                self._wrapper(value, [value.fget, value.fset, value.fdel], path, holder)
            case functools.cached_property():
                self._wrapper(value, value.func, path, holder)
            case weakref.ref():
                self.visit(value(), path, holder)
            case types.MethodType():
                self.visit(value.__func__, f"{path}.__func__", holder)
                self.visit(value.__self__, f"{path}.__self__", holder)
            case functools.partial() if type(value) is functools.partial:
                self.visit(value.func, f"{path}.func", holder)
                self.visit([value.args, value.keywords], f"{path}.arguments", holder)
                notes = {*functools.WRAPPER_ASSIGNMENTS, "__wrapped__"}
                for name in sorted({*vars(value)} - notes):
                    self._held(vars(value)[name], f"{path}.{name}")
            case functools.partialmethod():
                self._wrapper(value, [value.func, value.args, value.keywords], path, holder)
            case np.ufunc() if value.__name__.endswith("(vectorized)"):
                raise NoIdentityError(f"{path}, what numpy.frompyfunc made")
            case _ if _is_of_numba(value):  # which pickles it under a name of chance
                self._library(module_of(type(value)), type(value).__name__, path)
                options = getattr(value, "targetoptions", None)
                self.visit([getattr(value, "py_func"), options], path, holder)  # noqa: B009
            case _ if type(value) is type(functools.lru_cache(abs)):
                self.visit(getattr(value, "__wrapped__"), f"{path}.__wrapped__", holder)  # noqa: B009
            case types.BuiltinFunctionType() if _home_of(value) is not None:
                self._module(sys.modules[value.__module__], path)
                self._add("attributes", path, holder, value.__name__)
            case _:
                self._reduced(value, path, holder)

    def _wrapper(self, value: object, wrapped: object, path: str, holder: str) -> None:
        """A method as its class has it: what is wrapped, and what a class of wrappers adds."""
        self.visit(wrapped, path, holder)
        if not is_library_class(type(value)):
            self.visit(type(value), f"{path}.__class__", "")
            self._dropped(value, (), path)

    def _reduced(self, value: object, path: str, holder: str) -> None:
        kind = type(value)
        try:
            reduce = copyreg.dispatch_table.get(kind)
            reduced = value.__reduce_ex__(4) if reduce is None else reduce(value)
        except Exception as error:  # noqa: BLE001 (pickling runs code of any class)
            raise NoIdentityError(
                f"{path} is a {kind.__module__}.{kind.__qualname__}: {all_said_by(error)}"
            ) from cause_of(error)
        self.visit(kind, f"{path}.__class__", "")
        if isinstance(reduced, str):  # the name of a global, such as torch.float32
            self._add("attributes", path, holder, reduced)
            return
        made_by, arguments, *state = reduced[:3]
        self._dropped(value, state, path)
        self.visit(made_by, f"{path}.__reduce__", "")
        self.visit(list(arguments), f"{path}.__new__", holder)
        for each in state:
            self._state(each, path, holder)
        for name, items in zip(("items", "entries"), reduced[3:5], strict=False):
            if items is not None:
                self.visit([*items], f"{path}.{name}", holder)

    def _dropped(self, value: object, state: Sequence[object], path: str) -> None:
        """Attributes that a class of the user's own leaves out of its pickle, where they are told.

        Weights that are read again where it is unpickled are a part of it; a lock is none.
        """
        if is_library_class(type(value)):
            return
        kept = {name for each in state for one in _dicts(each) for name in one}
        own = {**dict(_in_slots(value)), **getattr(value, "__dict__", {})}
        before, self._is_foreign = self._is_foreign, True
        for name in sorted({*own} - kept, key=str):
            self._held(own[name], f"{path}.{name}")
        self._is_foreign = before

    def _state(self, state: object, path: str, holder: str) -> None:
        # With slots, it is the attributes in the dictionary and those in slots.
        with_slots = isinstance(state, tuple) and len(state) == 2
        for each in state if with_slots and isinstance(state, tuple) else (state,):
            if type(each) is dict and all(isinstance(name, str) for name in each):
                for name in sorted(each):
                    self._held(each[name], f"{path}.{name}")
            else:
                self.visit(each, f"{path}.state", holder)

    def _attributes(self, value: object, path: str) -> None:
        for name in sorted(vars(value)):
            self._held(vars(value)[name], f"{path}.{name}")

    def _torch_module(self, module: Any, path: str) -> None:
        import torch

        if type(module).__name__ == _COMPILED:
            module = module._orig_mod
        of_every_module = set(vars(torch.nn.Module()))
        first: dict[int, str] = {}
        scripted = [each for each in module.modules() if isinstance(each, torch.jit.ScriptModule)]
        # One may use an attribute of another: `self.inner.gain`.
        named = {name for each in scripted for name in _names_in_script(each)}
        for name, inner in module.named_modules(remove_duplicate=False):
            here = f"{path}.{name}" if name else path
            if id(inner) in first:
                self._add("attributes", here, "", f"as {first[id(inner)]}")
                continue
            first[id(inner)] = here
            if isinstance(inner, torch.jit.ScriptModule):
                self._script_module(inner, here, named)
                continue
            if type(inner).__name__ == _COMPILED:  # what it compiles is its only submodule
                self._library("torch", _COMPILED, here)
                continue
            if isinstance(inner, torch.fx.GraphModule):
                self._library("torch", "GraphModule", here)
                self._add_code(here, "", inner.code, inner.code)
                # The code names what is of torch or Python; the user's own functions are looked at.
                called = [node.target for node in inner.graph.nodes if callable(node.target)]
                self.visit([each for each in called if _is_own(each)], f"{here}.graph", "")
            else:
                self.visit(type(inner), f"{here}.__class__", "")
            own = {*vars(inner)} - of_every_module
            for key in sorted(own - {"_graph", "_code", "_graphmodule_cls_name"}):
                self._held(vars(inner)[key], f"{here}.{key}")
            for key in _HOOKS:
                # In order: their keys are counted through the whole process.
                hooks = vars(inner)[key]
                self.visit([*hooks.values()], f"{here}.{key}", "")
                flags = [vars(inner).get(f"{key}{flag}", {}) for flag in _HOOK_FLAGS]
                told = [[each in hooked for each in hooks] for hooked in flags]
                if any(map(any, told)):
                    self.visit(told, f"{here}.{key}.flags", "")
        self._tensors_of(module, path)

    def _tensors_of(self, module: Any, path: str) -> None:
        # A call may change buffers: a counter, a table that grows.
        named = [(name, t, True) for name, t in module.named_buffers(remove_duplicate=False)]
        if self.look.weights:
            named += [(n, t, False) for n, t in module.named_parameters(remove_duplicate=False)]
        for name, tensor, is_held in named:
            here = f"{path}.{name}"
            if is_held:
                self._held(tensor, here)
            else:
                self.visit(tensor, here, "")

    def _script_module(self, module: Any, path: str, named: set[str]) -> None:
        """A traced or scripted module: its code as TorchScript prints it, and its constants.

        Its serialised bytes differ for one module traced twice. `named` are names of attributes in
        the code of modules around it.
        """
        import torch

        self._library("torch", "ScriptModule", path)
        known, codes = set(dir(torch.nn.Module())), []
        for method in sorted(module._c._method_names()):
            # Of the compiled module: Python's face of a list of modules hides its own.
            compiled = module._c._get_method(method)
            code, constants = compiled.code_with_constants
            codes.append(_QUALIFIED.sub("", code))
            if _UNSEEN in code:
                raise NoIdentityError(f"{path}, whose weights torch.jit.optimize_for_inference hid")
            _refuse_python(compiled.inlined_graph, path)
            if codes[-1] == code and not compiled.graph.findAllNodes("prim::CallFunction"):
                self._add_code(f"{path}.{method}", "", code, code)
            else:  # it calls what it does not show, and is laid out by the lengths of their names
                self._script_graph(compiled.inlined_graph, f"{path}.{method}")
            mapping = getattr(constants, "const_mapping", constants)  # of a method, of a module
            self.visit(dict(mapping), f"{path}.{method}.constants", "")
        own = {*_ATTRIBUTE.findall("".join(codes))}
        theirs = {name for name in named - own if module._c.hasattr(name)}
        for name in sorted((own | theirs) - known):
            held = getattr(module, name, None)
            is_told = isinstance(held, torch.nn.Module | torch.nn.Parameter | torch._C.ScriptMethod)
            if not is_told:
                self._held(held, f"{path}.{name}")

    def _script_graph(self, graph: Any, path: str) -> None:
        """All that a scripted function does, with that of the functions and classes it uses."""
        _refuse_python(graph, path)
        told = _PLACE.sub("", _QUALIFIED.sub("", graph.str(False)))
        self._add_code(path, "", told, told)
        constants = graph.findAllNodes("prim::Constant")
        has_tensor = [c.hasAttribute("value") and c.kindOf("value") == "t" for c in constants]
        tensors = [c.t("value") for c, has in zip(constants, has_tensor, strict=True) if has]
        self.visit(tensors, f"{path}.tensors", "")


def _refuse_python(graph: Any, path: str) -> None:
    """TorchScript says that it calls Python, and not what that does."""
    if graph.findAllNodes("prim::PythonOp"):
        raise NoIdentityError(
            f"{path}, which calls Python that TorchScript does not hold (@torch.jit.ignore, or an "
            "autograd.Function that was traced)"
        )


def _names_in_script(module: Any) -> set[str]:
    """Names after a dot in all that a scripted module does."""
    methods = (module._c._get_method(name) for name in module._c._method_names())
    return {name for method in methods for name in _ATTRIBUTE.findall(method.code)}


def _description(dtype: np.dtype[Any]) -> str:
    return repr(dtype.descr) if dtype.names is not None else dtype.str


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
            if isinstance(slot, types.MemberDescriptorType) and hasattr(value, name):
                yield name, slot.__get__(value)


def _order(item: object) -> str:
    """What items of a set are put in order by: what they are made of."""
    if type(item) in _PLAIN or type(item) is int:
        return f"{type(item).__name__} {item!r}"
    return repr(contents_of(item).leaves)


def _home_of(value: types.BuiltinFunctionType) -> types.ModuleType | None:
    """The module of the user's own that a compiled function is from."""
    name = getattr(value, "__module__", None)
    if not isinstance(name, str) or is_installed(name):
        return None
    return sys.modules.get(name)


def _is_of_numba(value: object) -> bool:
    """Whether it is a function that numba compiles, and has the Python of."""
    return module_of(type(value)).startswith("numba.") and hasattr(value, "py_func")


def _is_own(function: object) -> bool:
    """Whether a callable is not one of an installed package."""
    if isinstance(function, types.FunctionType):
        return not is_library_code(function)
    return not is_installed(module_of(type(function)))


def _is_of_enumerations(name: str) -> bool:
    """Whether it is such a name as `_value_`, `_sort_order_` or `__new__`."""
    return name.startswith("_") and name.endswith("_")


def _has(value: object, name: str) -> bool:
    return name in vars(value)


def _has_content(cell: types.CellType) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True


def _is_generated(kind: type, written: Any) -> bool:
    file = written.__code__.co_filename
    is_named = issubclass(kind, tuple) and hasattr(kind, "_fields")
    is_data = dataclasses.is_dataclass(kind) or is_named
    return file.startswith("<attrs generated") or (is_data and file.startswith("<string>"))
