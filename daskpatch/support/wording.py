"""Numbers in sentences."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """So many of something.

    >>> counted(1, "block"), counted(1200, "block")
    ('1 block', '1,200 blocks')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def shown(value: object, most: int = 80) -> str:
    """A value as Python writes it, cut where it is long.

    >>> shown("a" * 100, 10)
    "'aaaaaaaa…"
    """
    text = repr(value)
    return text if len(text) <= most else f"{text[: most - 1]}…"
