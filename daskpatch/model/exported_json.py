"""What the JSON of an exported program may say, of which torch makes code when it is loaded.

Sizes are texts that sympy evaluates, guards are Python that is compiled, trees of arguments name
modules that are imported, names and texts are put into the source of a function as they are. So
each may only be what torch itself writes there. Written for torch 2.5 to 2.13.
"""

from __future__ import annotations

import json
import re
from typing import Any

from ..support import shown
from .exported_expressions import check_guard, check_size

_FACTORIES = frozenset({"int", "float", "bool", "str", "list", "dict", "set", "tuple"})

_NAME = re.compile(r"([A-Za-z_]\w*(\.\w+)*)?", re.ASCII)
"""Of a value, an argument, a parameter in its modules; some arguments of operators have none."""

_KEY = re.compile(r"[\w.$ -]*", re.ASCII)

_LOOKED_UP = re.compile(r"[\w.$ +*/(),-]*", re.ASCII)
"""Keys of tables, such as sizes (`8*s39`), which are compared and not evaluated."""

_TARGET = re.compile(
    r"torch\.ops\.(aten|torchvision|quantized_decomposed)\.(?!\w*(file|save|load))\w+(\.\w+)?"
    r"|torch\.ops\.higher_order\.(cond|map_impl|scan|while_loop|associative_scan|out_dtype"
    r"|wrap_with_set_grad_enabled|wrap_with_autocast|invoke_subgraph|flex_attention)"
    r"|_operator\.[a-z]\w*|math\.[a-z]\w*|torch\._?sym_\w+",
    re.ASCII,
)
"""What a graph calls: operators on tensors that read and write no files, and arithmetic."""


def check_json(content: bytes) -> None:
    """Refuse a document that says more than torch writes.

    Raises
    ------
    ValueError
        If it is no JSON, or something in it would run.
    """
    _check(json.loads(content.decode(), object_pairs_hook=_once))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    return found


def _check(value: Any) -> None:
    if isinstance(value, dict):
        for key, inside in value.items():
            _check_entry(key, inside)
            _check(inside)
    elif isinstance(value, list):
        for each in value:
            _check(each)
    elif isinstance(value, str) and value.lstrip()[:1] in ("{", "["):  # trees are JSON in JSON
        try:
            inside = json.loads(value, object_pairs_hook=_once)
        except json.JSONDecodeError:
            return
        _check(inside)


def _check_tree(value: Any) -> None:
    """Refuse texts in a tree of arguments, whose keys become code, that are no words."""
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            _check_tree(each)
    elif isinstance(value, str) and _KEY.fullmatch(value) is None:
        _check_tree(json.loads(value, object_pairs_hook=_once))


def _check_entry(key: str, value: Any) -> None:
    if _LOOKED_UP.fullmatch(key) is None:
        raise ValueError(f"{shown(key)} is no name")
    if key == "name" or key.endswith("_name"):
        _check_text(value, _NAME)
    if key == "forward_arg_names" and value is not None:
        for name in value:
            _check_text(name, _NAME)
    if key in ("target", "as_operator"):
        _check_text(value, _TARGET)
    if key == "as_string":
        _check_text(value, _KEY)
    if key.endswith("_spec") and isinstance(value, str):
        _check_tree(json.loads(value, object_pairs_hook=_once))
    if key == "__enum__":
        raise ValueError("a tree of its arguments names a class, which would be imported")
    if key == "default_factory_module" and value != "builtins":
        raise ValueError(f"a tree of its arguments names the module {shown(value)}")
    if key == "default_factory_name" and value not in _FACTORIES:
        raise ValueError(f"a tree of its arguments names {shown(value)}")
    if key == "expr_str":
        check_size(value)
    if key == "guards_code":
        for guard in value:
            check_guard(guard)


def _check_text(text: Any, pattern: re.Pattern[str]) -> None:
    if text is not None and (not isinstance(text, str) or pattern.fullmatch(text) is None):
        raise ValueError(f"{shown(text)} is nothing that torch writes there")


def check_example_keys(value: object) -> None:
    """Refuse example inputs with keys that are no words: torch puts them into code.

    Raises
    ------
    ValueError
        If there is one.
    """
    if isinstance(value, dict):
        for key in value:
            _check_text(str(key), _KEY)
    if isinstance(value, dict | list | tuple):
        for each in value.values() if isinstance(value, dict) else value:
            check_example_keys(each)
