"""Patterns that name files: `folder/*.tif`."""

from __future__ import annotations

import glob
import os
import re

from ..support import redacted


def is_pattern(source: object) -> bool:
    """Whether a source is a pattern of names, and not the name of something that is there."""
    if not isinstance(source, str | os.PathLike):
        return False
    text = os.fsdecode(source)
    return glob.has_magic(text) and "://" not in text and not os.path.lexists(text)


def matching(pattern: str | os.PathLike[str]) -> list[str]:
    """What a pattern matches, in the order of the numbers in the names.

    Raises
    ------
    FileNotFoundError
        If it matches nothing.
    """
    found = sorted(glob.glob(os.path.expanduser(pattern), recursive=True), key=_natural)
    if not found:
        raise FileNotFoundError(
            f"Nothing matches {redacted(os.fsdecode(pattern)):.300}; check the pattern."
        )
    return found


def _natural(name: str) -> list[tuple[bool, int, str]]:
    """A key by which t2 comes before t10.

    >>> sorted(["t10.tif", "t2.tif"], key=_natural)
    ['t2.tif', 't10.tif']
    """
    parts = re.split(r"([0-9]+)", name)
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]
