"""How two runs differ."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from .document import Fingerprint, Json, as_json
from .going_on import RESUMED, GoingOn

_LISTED = 6
"""Fields that are named at most."""

_LONGEST = 300
"""Letters of what is told of them."""

_LONGEST_VALUE = 80

_DTYPE = re.compile(r"[<>|][biufc]\d+")

_DIGEST = re.compile(r"[0-9a-f]{8,}")
"""Says nothing to anybody but that something is another."""

_TELLING = ("kind", "where", "function")
"""Of several values these say enough: of a normalisation, a mask, what is beside a function."""


def check_same(
    recorded: Fingerprint | Json,
    current: Fingerprint | Json,
    name: str,
    going_on: GoingOn = RESUMED,
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
    told = [_told(*each) for each in differing]
    n_told = min(_LISTED, len(told))
    while n_told > 1 and len("; ".join(told[:n_told])) > _LONGEST:
        n_told -= 1
    lines = "; ".join(told[:n_told])
    if len(differing) > n_told:
        lines += f"; and {len(differing) - n_told} more"
    raise ValueError(
        f"{name} cannot be {going_on.done}, the run began otherwise: {lines}. Give what it began "
        f"with{going_on.or_anew}."
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
    elif _differ(as_json(recorded), as_json(current)):
        yield field, recorded, current


def _differ(one: object, other: object) -> bool:
    """Whether two plain values differ; True is no 1."""
    return one != other or isinstance(one, bool) != isinstance(other, bool)


def _told(field: str, was: object, now: object) -> str:
    if any(isinstance(each, str) and _DIGEST.fullmatch(each) for each in (was, now)):
        return f"{field} changed"
    texts = _in_words(was), _in_words(now)
    begins = [_begin(text) for text in texts]
    before, after = begins if begins[0] != begins[1] else [_end(text) for text in texts]
    return f"{field} was {before} and is {after}"


def _begin(text: str) -> str:
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"


def _end(text: str) -> str:
    return text if len(text) <= _LONGEST_VALUE else f"…{text[1 - _LONGEST_VALUE :]}"


def _in_words(value: object) -> str:
    """A value of a record as whoever gave it would write it.

    >>> _in_words(None), _in_words("<f4"), _in_words([16, 16]), _in_words({"kind": "zscore"})
    ('not given', 'float32', '(16, 16)', "'zscore'")
    """
    if value is None:
        return "not given"
    if isinstance(value, str) and _DTYPE.fullmatch(value):
        return np.dtype(value).name
    if isinstance(value, dict):
        telling = next((key for key in _TELLING if key in value), None)
        if telling is not None:
            return _in_words(value[telling])
        given = {key: each for key, each in value.items() if each is not None}
        return ", ".join(f"{key} {_in_words(each)}" for key, each in given.items())
    return repr(_with_tuples(value))


def _with_tuples(value: object) -> object:
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value
