"""What the JSON of an exported program may say, of which torch makes code when it is loaded.

Sizes are texts that sympy evaluates, guards are Python that is compiled, trees of arguments name
modules that are imported. So each may only be what torch itself writes there. Written for torch 2.5
to 2.13.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Collection
from typing import Any

from ..support import shown

_FUNCTIONS = frozenset(
    {
        *("Symbol", "Integer", "Float", "Rational", "Add", "Mul", "Pow", "Abs", "Max", "Min"),
        *("Eq", "Ne", "Ge", "Gt", "Le", "Lt", "Equality", "Unequality", "And", "Or", "Not"),
        *("GreaterThan", "StrictGreaterThan", "LessThan", "StrictLessThan", "Piecewise"),
        *("Mod", "PythonMod", "FloorDiv", "CeilDiv", "CleanDiv", "IntTrueDiv", "FloatTrueDiv"),
        *("FloatPow", "PowByNatural", "ModularIndexing", "Where", "Identity", "LShift", "RShift"),
        *("ToFloat", "TruncToInt", "TruncToFloat", "CeilToInt", "FloorToInt", "RoundToInt"),
        *("RoundDecimal", "IsNonOverlappingAndDenseIndicator", "floor", "ceiling", "sqrt"),
    }
)
"""Of sympy's, and torch's own, in sizes."""

_METHODS = frozenset({"size", "stride", "storage_offset", "dim", "numel", "floor", "ceil", "trunc"})
"""That guards call, of tensors and of `math`."""

_CALLED = frozenset({"len", "int", "float", "bool", "min", "max", "abs", "round"})

_ROOTS = frozenset({"L", "math"})
"""Names in guards: the arguments, and Python's module."""

_FACTORIES = frozenset({"int", "float", "bool", "str", "list", "dict", "set", "tuple"})

_OPERATIONS = (
    *(ast.Expression, ast.Load, ast.Constant, ast.Tuple, ast.Name, ast.Call, ast.keyword),
    *(ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare),
    *(ast.operator, ast.unaryop, ast.boolop, ast.cmpop),
)

_IN_GUARDS = (*_OPERATIONS, ast.Subscript, ast.Attribute)

_WORD = re.compile(r"[A-Za-z]\w*|[-+.\de]+", re.ASCII)
"""A name, or a number as text."""


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


def _check_entry(key: str, value: Any) -> None:
    if key == "__enum__":
        raise ValueError("a tree of its arguments names a class, which would be imported")
    if key == "default_factory_module" and value != "builtins":
        raise ValueError(f"a tree of its arguments names the module {shown(value)}")
    if key == "default_factory_name" and value not in _FACTORIES:
        raise ValueError(f"a tree of its arguments names {shown(value)}")
    if key == "expr_str":
        _check_code(value, _OPERATIONS, _is_of_size)
    if key == "guards_code":
        for guard in value:
            _check_code(guard, _IN_GUARDS, _is_of_guard)


def _check_code(text: Any, kinds: tuple[type, ...], fits: Callable[[ast.AST], bool]) -> None:
    tree = ast.parse(text.strip(), mode="eval")
    # sympy takes lines apart otherwise than Python does.
    if not text.isprintable() or not all(
        isinstance(node, kinds) and fits(node) for node in ast.walk(tree)
    ):
        raise ValueError(f"{shown(text)} is none of torch's expressions")


def _is_of_size(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        settings = [each.value for each in node.keywords]
        are_plain = all(isinstance(each, ast.Constant) for each in settings)
        return _is_named(node.func, _FUNCTIONS) and are_plain
    return _is_plain(node) and not (isinstance(node, ast.Name) and node.id.startswith("_"))


def _is_of_guard(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        is_method = isinstance(node.func, ast.Attribute) and node.func.attr in _METHODS
        return (is_method or _is_named(node.func, _CALLED)) and not node.keywords
    if isinstance(node, ast.Attribute):
        return not node.attr.startswith("_")
    if isinstance(node, ast.Name):
        return node.id in _ROOTS | _CALLED
    return isinstance(node, ast.Constant) or _is_plain(node)


def _is_named(function: ast.expr, names: Collection[str]) -> bool:
    return isinstance(function, ast.Name) and function.id in names


def _is_plain(node: ast.AST) -> bool:
    """Whether a text in it is a word."""
    text = node.value if isinstance(node, ast.Constant) else None
    return not isinstance(text, str | bytes) or (
        isinstance(text, str) and _WORD.fullmatch(text) is not None
    )
