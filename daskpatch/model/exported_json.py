"""What the JSON of an exported program may say, of which torch makes code when it is loaded.

Sizes are texts that sympy evaluates, guards are Python that is compiled, trees of arguments name
modules that are imported, names and texts are put into the source of a function as they are. So
each may only be what torch itself writes there. Written for torch 2.5 to 2.13.
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
        *(
            "RoundDecimal",
            "ExprCondPair",
            "IsNonOverlappingAndDenseIndicator",
            "floor",
            "ceiling",
            "sqrt",
        ),
    }
)
"""Of sympy's, and torch's own, in sizes."""

_METHODS = frozenset({"size", "stride", "storage_offset", "dim", "numel", "floor", "ceil", "trunc"})
"""That guards call, of tensors and of `math`."""

_CALLED = frozenset({"len", "int", "float", "bool", "min", "max", "abs", "round"})

_ROOTS = frozenset({"L", "math", "torch"})
"""Names in guards: the arguments, and modules of which functions of numbers are called."""

_OF_TORCH = re.compile(r"_?sym_[a-z]\w*", re.ASCII)

_OPAQUE = re.compile(r"(OpaqueUnaryFn|BitwiseFn)_[a-z]\w*", re.ASCII)

_FACTORIES = frozenset({"int", "float", "bool", "str", "list", "dict", "set", "tuple"})

_OPERATIONS = (
    *(ast.Expression, ast.Load, ast.Constant, ast.Tuple, ast.Name, ast.Call, ast.keyword),
    *(ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare),
    *(ast.operator, ast.unaryop, ast.boolop, ast.cmpop),
)

_IN_GUARDS = (*_OPERATIONS, ast.Subscript, ast.Attribute, ast.IfExp)

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
        _check_code(value, _OPERATIONS, _is_of_size)
    if key == "guards_code":
        for guard in value:
            _check_code(guard, _IN_GUARDS, _is_of_guard)


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
