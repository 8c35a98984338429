"""What was given where numbers or axes are needed, in errors."""

from __future__ import annotations

import re

_FOREIGN = re.compile(r"//|[@=]")
"""What numbers and axes have not, and URLs, which hold secrets, have."""


def given(value: object, most: int = 80) -> str:
    """A value as Python writes it, cut where it is long; what was meant for elsewhere by its type.

    >>> given((8, "a")), given("https://me:secret@example.org")
    ("(8, 'a')", 'a str')
    """
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 (code of whoever made the class)
        return f"a {type(value).__name__}"
    return f"a {type(value).__name__}" if _FOREIGN.search(text) else text[:most]
