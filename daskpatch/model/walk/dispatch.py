"""What a function or object is made of, by its kind."""

from __future__ import annotations

import os
import random
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np

from ..contents import WHOLE, Contents, Look
from ..installed import is_library_function, module_of
from .classes import look_at_class
from .functions import look_at_code, look_at_function, look_at_module, look_at_settings
from .instances import look_at_instance
from .torch_modules import look_at_tensor, look_at_torch_module
from .torch_script import look_at_script_graph
from .values import look_at_array, look_at_mapping, look_at_sequence, look_at_stored
from .walk import Walk

_GENERATORS = (
    getattr(np.random.random, "__self__", None),
    getattr(random.random, "__self__", None),
)
"""The process's own random numbers, of NumPy and Python: their state is nobody's setting."""


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
    return Walk(look, _look_at).contents(lambda walk: walk.visit(value, "model", ""))


def held_by(value: object) -> list[object]:
    """What a function or object is made of, itself: as far as it can be told what that is.

    >>> numbers = np.zeros(2)
    >>> any(each is numbers for each in held_by([numbers, 1]))
    True
    """
    walk = Walk(Look(weights=False, is_cursory=True), _look_at)
    met = walk.contents(lambda walk: walk.visit(value, "model", "")).places
    return [each for each, _ in met.values()]


def contents_of_settings(module: types.ModuleType, file: Path, look: Look = WHOLE) -> Contents:
    """What was set in a module of the user's own while it ran."""
    return Walk(look, _look_at).contents(lambda walk: look_at_settings(walk, module, file, "model"))


def _look_at(walk: Walk, value: Any, path: str, holder: str) -> None:
    torch = sys.modules.get("torch")
    kind = type(value)
    if isinstance(value, np.ndarray | np.generic):
        look_at_array(walk, value, path, holder)
    elif kind in (list, tuple):
        look_at_sequence(walk, value, path, holder)
    elif kind is slice:
        look_at_sequence(walk, [value.start, value.stop, value.step], path, holder)
    elif kind in (set, frozenset):
        look_at_sequence(walk, walk.in_order(value), path, holder)
    elif kind in (dict, types.MappingProxyType):
        look_at_mapping(walk, value, path, holder)
    elif kind is types.ModuleType:
        look_at_module(walk, value, path)
    elif kind is types.FunctionType:
        look_at_function(walk, value, path, holder)
    elif kind is types.CodeType:
        look_at_code(walk, value, path, holder)
    elif isinstance(value, type):
        look_at_class(walk, value, path)
    elif torch is not None and isinstance(value, torch.nn.Module):
        look_at_torch_module(walk, value, path)
    elif torch is not None and isinstance(value, torch.Tensor):
        look_at_tensor(walk, value, path, holder)
    elif torch is not None and isinstance(value, torch.jit.ScriptFunction):
        walk.add_library("torch", "ScriptFunction", path)
        look_at_script_graph(walk, value.inlined_graph, path)
    elif is_library_function(value):
        walk.add_library(module_of(value), value.__name__, path)
    elif value is not None and any(value is each for each in _GENERATORS):
        walk.add_library(module_of(type(value)), type(value).__name__, path)
    elif value is os.environ:
        walk.add_library("os", "environ", path)
    elif module_of(kind).partition(".")[0] == "zarr" and hasattr(value, "store_path"):
        look_at_stored(walk, value, path, holder)
    else:
        look_at_instance(walk, value, path, holder)
