"""What a run depends on, and how two runs differ."""

from __future__ import annotations

import json
from typing import Any

Fingerprint = dict[str, Any]
"""JSON values by field; whatever changes the result of a block changes one of them."""


def as_json(value: Any) -> Any:
    """A value as it comes back from JSON: tuples are lists."""
    return json.loads(json.dumps(value))


def check_same(recorded: Fingerprint, current: Fingerprint, name: str) -> None:
    """Refuse to go on with a run that began otherwise.

    Raises
    ------
    ValueError
        If fields differ; it lists them, with both values.
    """
    differing = differences(recorded, current)
    if not differing:
        return
    lines = "; ".join(
        f"{field} was {_shown(before)} and is {_shown(now)}" for field, before, now in differing
    )
    raise ValueError(
        f"{name} cannot be resumed, the run began otherwise: {lines}. Give what it began with, or "
        "overwrite=True to start anew."
    )


def differences(recorded: Any, current: Any, field: str = "") -> list[tuple[str, Any, Any]]:
    """The innermost fields that differ, with both values; fields without a name are skipped.

    >>> differences({"tiling": {"align": 1}, "a": 0}, {"tiling": {"align": 4}, "a": 0})
    [('tiling.align', 1, 4)]
    """
    if isinstance(recorded, dict) and isinstance(current, dict):
        return [
            found
            for key in sorted({*recorded, *current})
            for found in differences(
                recorded.get(key), current.get(key), ".".join(filter(None, (field, key)))
            )
        ]
    same = as_json(recorded) == as_json(current)
    return [] if same else [(field, recorded, current)]


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
