"""Named facts, a line each, for terminals and notebooks."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

Rows = Iterable[tuple[str, str]]
"""A name and a line each; lines without a name belong to the name before them."""

_LEFT = "style='text-align:left; vertical-align:top'"


def text_table(caption: str, rows: Rows, width: int) -> str:
    """A caption and indented lines, names in a column of `width`.

    >>> print(text_table("Plan", [("tiles", "3")], 8))
    Plan
      tiles   3
    """
    return "\n".join([caption, *(f"  {name:<{width}}{text}" for name, text in rows)])


def html_table(caption: str, rows: Rows, *, drawing: str = "") -> str:
    """The same as an HTML table; what has several lines folds, and shows the first of them.

    `drawing`, HTML itself, stands beside it.
    """
    cells = "".join(
        f"<tr><th {_LEFT}>{escape(name)}</th><td {_LEFT}>{_folded(lines)}</td></tr>"
        for name, lines in _by_name(rows)
    )
    table = f"<table><caption><b>{escape(caption)}</b></caption>{cells}</table>"
    if not drawing:
        return table
    beside = "display:flex; flex-wrap:wrap; gap:2em; align-items:flex-start"
    return f"<div style='{beside}'><div>{table}</div><div>{drawing}</div></div>"


def _by_name(rows: Rows) -> list[tuple[str, list[str]]]:
    named: list[tuple[str, list[str]]] = []
    for name, text in rows:
        if name or not named:
            named.append((name, []))
        named[-1][1].append(text)
    return named


def _folded(lines: list[str]) -> str:
    first, *others = map(escape, lines)
    if not others:
        return first
    return f"<details><summary>{first}</summary>{'<br>'.join(others)}</details>"
