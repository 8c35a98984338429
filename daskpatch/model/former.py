"""What told models apart before they were told by their parts: for records of that time.

To be removed with the release after 0.1: runs that were begun before go on with this.
"""

from __future__ import annotations

import dis
import functools
import hashlib
import inspect
import types
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..support import all_said_by, cause_of
from .adaptation import ImportedModel
from .contents import NoIdentityError
from .files import digest_of_file
from .handles import CallableModel, ModelHandle
from .installed import is_installed, module_of, version_of
from .torch import TorchModel

Buffer = bytes | memoryview

_PLAIN = (
    *(bool, int, float, complex, str, bytes, range, slice),
    *(type(None), type(Ellipsis), np.dtype, Path),
)
"""Values that their repr tells from others."""


def former_identity(handle: ModelHandle) -> str:
    """A text as it stands in records that were written before.

    Raises
    ------
    NoIdentityError
        If the model had none.
    """
    match handle:
        case ImportedModel():
            return f"{digest_of_file(handle.file or _file_of(handle.module))}:{handle.attribute}"
        case TorchModel():
            whole = handle.module_or_path
            digest = digest_of_file(whole) if isinstance(whole, Path) else identity_of_value(whole)
            return f"{digest}:{handle.autocast}"
        case CallableModel():
            return identity_of_value(handle.function)
        case _ if handle.file is not None:
            return digest_of_file(handle.file)
    raise NoIdentityError(f"{handle.name} is no model that was told apart")


def _file_of(module: str) -> Path:
    spec = find_spec(module)
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        raise NoIdentityError(f"the module {module} is no file")
    return Path(spec.origin)


def identity_of_value(value: object) -> str:
    """SHA-256 of a function or object: its code, and the values that it uses.

    A function is its source (else its bytecode), defaults, closure and globals; an object its
    class's source and its attributes; a torch module its class's source and its `state_dict`.

    Raises
    ------
    NoIdentityError
        If it uses something that has none, such as an open file or a compiled object.
    """
    digest = hashlib.sha256()
    try:
        for piece in _pieces(value, ()):
            # Lengths between, so that `ab`, `c` and `a`, `bc` differ.
            digest.update(len(piece).to_bytes(8, "little"))
            digest.update(piece)
    except NoIdentityError:
        raise
    except Exception as error:  # noqa: BLE001 (pickling and repr run code of any class)
        raise NoIdentityError(all_said_by(error)) from cause_of(error)
    return digest.hexdigest()


def _pieces(value: object, around: tuple[int, ...]) -> Iterator[Buffer]:
    """The bytes that tell a value from others; `around` are the values that hold it."""
    yield type(value).__qualname__.encode()
    if id(value) in around:
        yield str(around.index(id(value))).encode()  # it refers back to what holds it
        return
    inside = (*around, id(value))
    if isinstance(value, _PLAIN):
        yield repr(value).encode()
    elif isinstance(value, np.ndarray | np.generic):
        yield from _array(np.asarray(value))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _pieces(item, inside)
    elif isinstance(value, set | frozenset):
        # Sets have the order of hashes, which differ between processes.
        yield from sorted(identity_of_value(item).encode() for item in value)
    elif isinstance(value, dict):
        for key in sorted(value, key=repr):
            yield from _pieces(key, inside)
            yield from _pieces(value[key], inside)
    elif isinstance(value, types.ModuleType):
        yield from _module(value)
    elif isinstance(value, types.FunctionType):
        yield from _function(value, inside)
    elif isinstance(value, types.MethodType):
        yield from _pieces(value.__func__, inside)
        yield from _pieces(value.__self__, inside)
    elif isinstance(value, functools.partial):
        yield from _pieces((value.func, value.args, value.keywords), inside)
    elif isinstance(value, types.CodeType):
        yield from _code(value, inside)
    elif isinstance(value, type):
        yield from _class(value)
    elif callable(value) and hasattr(value, "__name__") and is_installed(module_of(value)):
        yield from _named(module_of(value), getattr(value, "__name__", ""))
    elif hasattr(value, "state_dict"):
        yield from _torch_module(value, inside)
    else:
        yield from _object(value, inside)


def _array(values: NDArray[Any]) -> Iterator[Buffer]:
    if values.dtype.hasobject:
        raise NoIdentityError("an array of Python objects")
    yield f"{values.dtype.str} {values.shape}".encode()
    yield np.ascontiguousarray(values).reshape(-1).view(np.uint8).data


def _module(module: types.ModuleType) -> Iterator[Buffer]:
    if is_installed(module.__name__) or getattr(module, "__file__", None) is None:
        yield from _named(module.__name__, module.__name__)
    else:
        yield digest_of_file(str(module.__file__)).encode()


def _function(function: types.FunctionType, inside: tuple[int, ...]) -> Iterator[Buffer]:
    if is_installed(function.__module__):
        yield from _named(function.__module__, function.__qualname__)
        return
    yield from _source_or_code(function, inside)
    yield from _pieces((function.__defaults__, function.__kwdefaults__), inside)
    for cell in function.__closure__ or ():
        try:
            yield from _pieces(cell.cell_contents, inside)
        except ValueError as error:
            if isinstance(error, NoIdentityError):
                raise
            yield b"empty"  # a name that is assigned later
    for name in sorted(_globals_used(function.__code__)):
        if name in function.__globals__:
            yield name.encode()
            yield from _pieces(function.__globals__[name], inside)


def _source_or_code(function: types.FunctionType, inside: tuple[int, ...]) -> Iterator[Buffer]:
    try:
        yield inspect.getsource(function).encode()
    except (OSError, TypeError):
        yield from _code(function.__code__, inside)


def _code(code: types.CodeType, inside: tuple[int, ...]) -> Iterator[Buffer]:
    """Bytecode, names and constants; not where they were written."""
    yield code.co_code
    yield from _pieces((code.co_names, code.co_varnames, code.co_freevars), inside)
    yield from _pieces(code.co_consts, inside)


def _globals_used(code: types.CodeType) -> set[str]:
    """Names of globals that a function, or one inside it, loads."""
    names = {
        step.argval for step in dis.get_instructions(code) if step.opname.startswith("LOAD_GLOBAL")
    }
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _globals_used(constant)
    return names


def _class(kind: type) -> Iterator[Buffer]:
    if is_installed(kind.__module__):
        yield from _named(kind.__module__, kind.__qualname__)
        return
    for base in kind.__mro__:
        if is_installed(base.__module__):
            yield from _named(base.__module__, base.__qualname__)
            continue
        try:
            yield inspect.getsource(base).encode()
        except (OSError, TypeError):
            yield from _class_members(base)


def _class_members(kind: type) -> Iterator[Buffer]:
    """The code of a class whose source is not to be had: one typed into an interpreter."""
    for name in sorted(vars(kind)):
        member = vars(kind)[name]
        if isinstance(member, types.FunctionType):
            yield name.encode()
            yield from _code(member.__code__, (id(kind),))


def _object(value: object, inside: tuple[int, ...]) -> Iterator[Buffer]:
    """Any other object: its class, and what it would be built from again by pickle."""
    reduced = value.__reduce_ex__(4)
    yield from _class(type(value))
    if isinstance(reduced, tuple):
        arguments, *state = reduced[1:3]
        yield from _pieces((arguments, *state), inside)
        for items in reduced[3:5]:
            yield from _pieces(list(items or ()), inside)


def _torch_module(module: Any, inside: tuple[int, ...]) -> Iterator[Buffer]:
    yield from _class(type(module))
    yield repr(module).encode()  # layers and their settings
    for name, tensor in sorted(module.state_dict().items()):
        yield name.encode()
        if hasattr(tensor, "detach"):
            tensor = tensor.detach().cpu()
            # NumPy has no bfloat16: bytes serve for all dtypes.
            yield f"{tensor.dtype} {tuple(tensor.shape)}".encode()
            flat = tensor.contiguous().reshape(-1)
            yield flat.view(_torch_bytes()).numpy().tobytes() if flat.numel() else b""
        else:
            yield from _pieces(tensor, inside)


def _torch_bytes() -> Any:
    import torch

    return torch.uint8


def _named(module: str, name: str) -> Iterator[Buffer]:
    yield f"{module}:{name} {version_of(module.partition('.')[0])}".encode()
