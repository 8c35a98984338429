"""Texts of an exported program that torch evaluates: sizes, by sympy, and guards, as Python.

Each may be only what torch's printers write: arithmetic, and calls of functions that are known.
Written for torch 2.5 to 2.13.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Collection

from ..support import shown

_FUNCTIONS = frozenset(
    {
        *("Symbol", "Integer", "Float", "Rational", "Add", "Mul", "Pow", "Abs", "Max", "Min"),
        *("Eq", "Ne", "Ge", "Gt", "Le", "Lt", "Equality", "Unequality", "And", "Or", "Not"),
        *("GreaterThan", "StrictGreaterThan", "LessThan", "StrictLessThan", "Piecewise"),
        *("Mod", "PythonMod", "FloorDiv", "CeilDiv", "CleanDiv", "IntTrueDiv", "FloatTrueDiv"),
        *("FloatPow", "PowByNatural", "ModularIndexing", "Where", "Identity", "LShift", "RShift"),
        *("ToFloat", "TruncToInt", "TruncToFloat", "CeilToInt", "FloorToInt", "RoundToInt"),
        *("RoundDecimal", "ExprCondPair", "floor", "ceiling", "sqrt"),
        "IsNonOverlappingAndDenseIndicator",
    }
)
"""Of sympy's, and torch's own, in sizes."""

_METHODS = frozenset({"size", "stride", "storage_offset", "dim", "numel"})
"""Of tensors, that guards call."""

_CALLED = frozenset({"len", "int", "float", "bool", "min", "max", "abs", "round"})

_ROOTS = frozenset({"L", "math", "torch"})
"""Names in guards: the arguments, and modules of which functions of numbers are called."""

_OF_TORCH = re.compile(r"_?sym_[a-z]\w*", re.ASCII)

_OPAQUE = re.compile(r"(OpaqueUnaryFn|BitwiseFn)_[a-z]\w*", re.ASCII)

_OPERATIONS = (
    *(ast.Expression, ast.Load, ast.Constant, ast.Tuple, ast.Name, ast.Call, ast.keyword),
    *(ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare),
    *(ast.operator, ast.unaryop, ast.boolop, ast.cmpop),
)

_IN_GUARDS = (*_OPERATIONS, ast.Subscript, ast.Attribute, ast.IfExp)

_WORD = re.compile(r"[A-Za-z]\w*|[-+.\de]+", re.ASCII)
"""A name, or a number as text."""


def check_size(text: str) -> None:
    """Refuse a size that is more than an expression of numbers and symbols.

    >>> check_size("Mul(Integer(2), Symbol('s39', positive=True, integer=True))")

    Raises
    ------
    ValueError, SyntaxError
        If it is.
    """
    _check(text, _OPERATIONS, _is_of_size)


def check_guard(text: str) -> None:
    """Refuse a guard that is more than a comparison of sizes of the arguments, `L`.

    >>> check_guard("L['x'].size()[2] % 8 == 0")

    Raises
    ------
    ValueError, SyntaxError
        If it is.
    """
    _check(text, _IN_GUARDS, _is_of_guard)


def _check(text: str, kinds: tuple[type, ...], fits: Callable[[ast.AST], bool]) -> None:
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
        is_opaque = isinstance(node.func, ast.Name) and _OPAQUE.fullmatch(node.func.id) is not None
        return (_is_named(node.func, _FUNCTIONS) or is_opaque) and are_plain
    return _is_plain(node) and not (isinstance(node, ast.Name) and node.id.startswith("_"))


def _is_of_guard(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        is_method = isinstance(node.func, ast.Attribute) and _is_called(node.func)
        return (is_method or _is_named(node.func, _CALLED)) and not node.keywords
    if isinstance(node, ast.Attribute):
        return not node.attr.startswith("_") or _is_called(node)
    if isinstance(node, ast.Name):
        return node.id in _ROOTS | _CALLED
    return _is_plain(node)


def _is_called(method: ast.Attribute) -> bool:
    """Whether guards call such a method, or function of a module."""
    module = method.value.id if isinstance(method.value, ast.Name) else ""
    if module == "torch":
        return _OF_TORCH.fullmatch(method.attr) is not None
    return method.attr in _METHODS or (module == "math" and method.attr.isalnum())


def _is_named(function: ast.expr, names: Collection[str]) -> bool:
    return isinstance(function, ast.Name) and function.id in names


def _is_plain(node: ast.AST) -> bool:
    """Whether a text in it is a word."""
    text = node.value if isinstance(node, ast.Constant) else None
    return not isinstance(text, str | bytes) or (
        isinstance(text, str) and _WORD.fullmatch(text) is not None
    )
