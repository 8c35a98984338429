"""Globals of a module that were set from outside, or when it ran: its source does not tell them."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FunctionType, ModuleType

from .files import content_of_module

_NOT_LITERAL = object()


def set_at_run_time(module: ModuleType, file: Path) -> dict[str, object]:
    """The globals that are another value than the literal that the source gives them.

    And those that the source does not name. What it computes is told by the source.
    """
    literals = _literals(file)
    return {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("__")
        and not isinstance(value, ModuleType | type | FunctionType)
        and (name not in literals or _is_other(literals[name], value))
    }


def _is_other(literal: object, value: object) -> bool:
    if literal is _NOT_LITERAL:
        return False
    return type(literal) is not type(value) or repr(literal) != repr(value)


def _literals(file: Path) -> Mapping[str, object]:
    """What a source names at its top level, with the literals that it gives them last."""
    try:
        tree = ast.parse(content_of_module(file))
    except (OSError, SyntaxError, ValueError):
        return {}
    found: dict[str, object] = {}
    for node in ast.walk(tree):
        for name in _names_bound(node):
            found[name] = _NOT_LITERAL
    for statement in tree.body:
        for name, value in _assigned(statement):
            found[name] = value
    return found


def _names_bound(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Name(id=name, ctx=ast.Store()):
            yield name
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.alias(name=name, asname=asname):
            yield asname or name.partition(".")[0]


def _assigned(statement: ast.stmt) -> Iterator[tuple[str, object]]:
    match statement:
        case ast.Assign(targets=targets, value=value):
            named = [each.id for each in targets if isinstance(each, ast.Name)]
        case ast.AnnAssign(target=ast.Name(id=name), value=value) if value is not None:
            named = [name]
        case _:
            return
    try:
        literal = ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        literal = _NOT_LITERAL
    for name in named:
        yield name, literal
