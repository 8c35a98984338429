"""What calls of the model need beyond their tiles: the same each time that it is asked."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

from ..support import converted
from .first_look import FirstLook

LARGE = 16_000_000
"""Bytes of a call from which on it is looked at closely."""

_ALLOCATOR = ("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD")
"""Begins of the names of variables that say how memory is allocated."""


@dataclass(frozen=True, slots=True)
class CallMemory:
    """Bytes beyond tiles and results.

    Attributes
    ----------
    working
        Of each call, while it goes on.
    left
        Of all calls of a process, for good: libraries that the first one loads, ends of heaps.
    """

    working: int
    left: int = 0


def working_memory(
    first: CallMemory,
    again: Callable[[], CallMemory],
    asked: Mapping[str, object],
    look: FirstLook,
) -> CallMemory:
    """What calls take.

    Parameters
    ----------
    first
        What the first call took.
    again
        Calls the model once more: twice, where the first call took much and nothing is remembered.
        What a call finds free in pieces, or puts there, makes it differ by half.
    asked
        What is asked of the model, as plain values: the answer is remembered by it.
    look
        At the model, with what is remembered of it.
    """
    question = {**asked, "memory": "of three", "allocator": allocator()}
    kept = look.remembered.recall(question, lambda found: converted(found, CallMemory))
    if kept is not None:
        return kept
    if first.working < LARGE:
        return CallMemory(first.working)
    try:
        calls = [first, again(), again()]
    except Exception:  # noqa: BLE001 (the user's own code; whether it can be called again is asked elsewhere)
        return first
    found = CallMemory(max(c.working for c in calls), sum(c.left for c in calls))
    look.remembered.keep(question, asdict(found))
    return found


def allocator() -> dict[str, str]:
    """The variables that say how memory is allocated."""
    return {name: value for name, value in os.environ.items() if name.startswith(_ALLOCATOR)}
