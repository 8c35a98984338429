"""Named facts, a line each, for terminals and notebooks."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

Rows = Iterable[tuple[str, str]]


def text_table(caption: str, rows: Rows, width: int) -> str:
    """A caption and indented lines, names in a column of `width`.

    >>> print(text_table("Plan", [("tiles", "3")], 8))
    Plan
      tiles   3
    """
    return "\n".join([caption, *(f"  {name:<{width}}{text}" for name, text in rows)])


def html_table(caption: str, rows: Rows) -> str:
    """The same as an HTML table."""
    cells = "".join(
        f"<tr><th style='text-align:left'>{escape(name)}</th>"
        f"<td style='text-align:left'>{escape(text)}</td></tr>"
        for name, text in rows
    )
    return f"<table><caption><b>{escape(caption)}</b></caption>{cells}</table>"
