"""What a function does, as digests: of its bytecode, and of its syntax tree.

Bytecode is what runs, and is the same however the source is laid out; but each version of Python
makes another. The tree is the same in all of them, where the source is at hand and is what was
compiled: a notebook's cell that was edited and not run again is not.
"""

from __future__ import annotations

import ast
import dis
import hashlib
import inspect
import linecache
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType
from typing import Any

TAG = f"{sys.implementation.cache_tag} -O{sys.flags.optimize}"
"""What bytecode can be compared within: asserts are compiled or not."""

_OF_PLACE = inspect.CO_NESTED | 0x4000000 | annotations.compiler_flag
"""Flags of where code stands, of whether it has a docstring (since Python 3.13), and of what its
annotations are."""

_OF_NAMES = {*dis.hasname, *dis.haslocal, *dis.hasfree}

SourcePosition = tuple[int | None, int | None, int | None, int | None]


def bytecode_digest(code: CodeType) -> str:
    """SHA-256 of instructions with what they refer to; not of docstrings, names or places.

    >>> bytecode_digest((lambda x: x * 2).__code__) == bytecode_digest((lambda x: x * 3).__code__)
    False
    """
    digest = hashlib.sha256()
    for piece in _instructions(code):
        digest.update(f"{len(piece)}:{piece}".encode())
    return digest.hexdigest()


def _instructions(code: CodeType) -> Iterator[str]:
    # Constants and names by value: where they are stored depends on whether there is a docstring.
    flags = code.co_flags & ~_OF_PLACE
    yield repr((code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, flags))
    yield code.co_exceptiontable.hex()  # what `try` covers is nowhere else
    yield repr(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])
    for step in dis.get_instructions(code):
        yield step.opname
        if isinstance(step.argval, CodeType):
            yield bytecode_digest(step.argval)
        elif step.opcode in dis.hasconst:
            yield _constant(step.argval)
        elif step.opcode in _OF_NAMES:
            yield str(step.argval)
        elif step.arg is not None:
            yield str(step.arg)


def _constant(value: object) -> str:
    if isinstance(value, frozenset):  # in the order of hashes, which differ between processes
        return f"frozenset({sorted(map(_constant, value))})"
    if isinstance(value, tuple):
        return f"({', '.join(map(_constant, value))})"
    return f"{type(value).__name__} {value!r}"


def tree_digest(code: CodeType) -> str | None:
    """SHA-256 of a function's syntax tree; None where its source is not what was compiled."""
    node = _node_of(code)
    if node is None:
        return None
    return hashlib.sha256(repr(_plain(node, is_outermost=True)).encode()).hexdigest()


def tree_digest_of_module(tree: ast.Module) -> str:
    """SHA-256 of the syntax tree of a whole module."""
    return hashlib.sha256(repr(_plain(tree)).encode()).hexdigest()


def _node_of(code: CodeType) -> ast.AST | None:
    """The node that a code object was compiled from, if it is still there, once."""
    source = "".join(linecache.getlines(code.co_filename))
    parsed = _parsed(source, code.co_filename) if source else None
    if parsed is None or not any(_is_same(each, code) for each in parsed.codes[_key(code)]):
        return None
    if code.co_name == "<lambda>":
        places = set(code.co_positions()) & parsed.lambdas.keys()
        nodes = [node for place in places for node in parsed.lambdas[place]]
    else:
        nodes = parsed.functions[_key(code)]
    return nodes[0] if len(nodes) == 1 else None


@dataclass(frozen=True)
class _Parsed:
    """A source's functions, as code and as nodes, by name and first line; lambdas by their body."""

    codes: Mapping[tuple[str, int], list[CodeType]]
    functions: Mapping[tuple[str, int], list[ast.AST]]
    lambdas: Mapping[SourcePosition, list[ast.AST]]


@lru_cache(maxsize=16)
def _parsed(source: str, filename: str) -> _Parsed | None:
    try:
        tree = ast.parse(source)
        compiled = compile(source, filename, "exec", dont_inherit=True)
    except (SyntaxError, ValueError):  # a cell with magics
        return None
    parsed = _Parsed(defaultdict(list), defaultdict(list), defaultdict(list))
    for code in _codes_inside(compiled):
        parsed.codes[_key(code)].append(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.Lambda):
            parsed.lambdas[_place(node.body)].append(node)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            parsed.functions[node.name, first].append(node)
    return parsed


def _key(code: CodeType) -> tuple[str, int]:
    return code.co_name, code.co_firstlineno


def _codes_inside(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes_inside(constant)


def _is_same(one: CodeType, other: CodeType) -> bool:
    return (
        one.co_firstlineno == other.co_firstlineno
        and list(one.co_positions()) == list(other.co_positions())
        and bytecode_digest(one) == bytecode_digest(other)
    )


def _place(node: ast.expr) -> SourcePosition:
    return (node.lineno, node.end_lineno, node.col_offset, node.end_col_offset)


_SILENT = {"ctx", "kind", "type_comment", "returns", "type_params"}
"""Fields that change nothing of what code does."""

_SILENT_OF_ONE = {"name", "decorator_list"}
"""Fields of a function that is at hand: how it was named, and what was made of it then."""


def _plain(node: Any, *, is_outermost: bool = False) -> Any:
    """A node as nested tuples, the same in all versions of Python."""
    if isinstance(node, list):
        return tuple(_plain(each) for each in node)
    if not isinstance(node, ast.AST):
        return _constant(node)
    told = []
    for name, value in ast.iter_fields(node):
        is_silent = name in _SILENT or (is_outermost and name in _SILENT_OF_ONE)
        is_annotation = name == "annotation" and isinstance(node, ast.arg)
        if is_silent or is_annotation or value is None or value == []:
            continue
        told.append((name, _plain(_significant(node, name, value))))
    return (type(node).__name__, *told)


def _significant(node: ast.AST, name: str, value: Any) -> Any:
    """Without docstrings, and without the empty texts of which Python 3.12 makes f-strings."""
    match value:
        case [ast.Expr(value=ast.Constant(value=str())), *others] if name == "body":
            return others
        case list() if name == "values" and isinstance(node, ast.JoinedStr):
            return [v for v in value if not (isinstance(v, ast.Constant) and v.value == "")]
    return value
