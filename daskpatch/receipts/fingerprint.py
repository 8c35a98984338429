"""How two runs differ."""

from __future__ import annotations

import json
from collections.abc import Iterator

from .document import Fingerprint, Json, as_json

_LISTED = 6
"""Fields that are named at most."""

_LONGEST = 300
"""Letters of what is told of them."""


def check_same(
    recorded: Fingerprint | Json,
    current: Fingerprint | Json,
    name: str,
    *,
    is_overwritable: bool = True,
) -> None:
    """Refuse to go on with a run that began otherwise.

    Raises
    ------
    ValueError
        If fields differ; it lists them, with both values.
    """
    differing = list(differences(as_json(recorded), as_json(current)))
    if not differing:
        return
    told = [f"{field} was {_shown(was)} and is {_shown(now)}" for field, was, now in differing]
    n_told = min(_LISTED, len(told))
    while n_told > 1 and len("; ".join(told[:n_told])) > _LONGEST:
        n_told -= 1
    lines = "; ".join(told[:n_told])
    if len(differing) > n_told:
        lines += f"; and {len(differing) - n_told} more"
    raise ValueError(
        f"{name} cannot be resumed, the run began otherwise: {lines}. Give what it began with"
        f"{', or overwrite=True to start anew' if is_overwritable else ''}."
    )


def differences(
    recorded: object, current: object, field: str = ""
) -> Iterator[tuple[str, object, object]]:
    """The innermost fields that differ, with both values; fields without a name are skipped.

    >>> list(differences({"tiling": {"align": 1}, "a": 0}, {"tiling": {"align": 4}, "a": 0}))
    [('tiling.align', 1, 4)]
    """
    if isinstance(recorded, dict) and isinstance(current, dict):
        for key in sorted({*recorded, *current}):
            inner = ".".join(filter(None, (field, key)))
            yield from differences(recorded.get(key), current.get(key), inner)
    elif as_json(recorded) != as_json(current):
        yield field, recorded, current


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
