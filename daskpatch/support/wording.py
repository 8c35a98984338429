"""Numbers and values in sentences."""

from __future__ import annotations

import re

from .redaction import redacted


def counted(number: int, noun: str) -> str:
    """So many of something.

    >>> counted(1, "block"), counted(1200, "block")
    ('1 block', '1,200 blocks')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def speed_of(voxels_per_second: float) -> str:
    """A speed, in the largest unit that shows it.

    >>> speed_of(11_000_000), speed_of(4_700), speed_of(0.0)
    ('11.00 Mvoxel/s', '4.70 kvoxel/s', '0.00 kvoxel/s')
    """
    unit, factor = ("M", 1e6) if voxels_per_second >= 1e5 else ("k", 1e3)
    return f"{voxels_per_second / factor:.2f} {unit}voxel/s"


def what_is(value: object) -> str:
    """What a value is: a plain one as Python writes it, any other by its type.

    Others may be large, hold secrets, or take long to write.

    >>> what_is(None), what_is(3), what_is([1]), what_is(object())
    ('None', '3', 'a list', 'an object')
    """
    if value is None or isinstance(value, bool | int | float | complex):
        return shown(value)
    kind = type(value).__name__
    return f"{'an' if _SPOKEN_WITH_A_VOWEL.match(kind) else 'a'} {kind}"


_SPOKEN_WITH_A_VOWEL = re.compile("[AEIOaeio]|nd")


def shown(value: object, most: int = 80) -> str:
    """A value as Python writes it, without secrets, cut where it is long.

    >>> shown("a" * 100, 10)
    "'aaaaaaaa…"
    >>> shown("https://me:secret@example.org/a.zarr?token=1")
    "'https://example.org/a.zarr'"
    """
    try:
        text = redacted(repr(value)[:_LOOKED_AT])
    except Exception:  # noqa: BLE001 (code of whoever made the class)
        text = f"<{type(value).__name__}>"
    return text if len(text) <= most else f"{text[: most - 1]}…"


_LOOKED_AT = 4000
"""Characters of a value that may come to be shown."""
