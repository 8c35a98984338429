"""What the model needs beyond its tiles, called again and again as blocks call it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from .first_look import FirstLook

_CALLS = 3
"""One after another. What they free lies in pieces that the next does not fit into: two networks of
PyTorch on glibc took 1.5 and 2.6 times the memory of one call by the sixth, nine tenths of that by
the third."""

_LARGE = 16_000_000
"""Bytes of one call from which that is looked at."""

_ALLOCATOR = ("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD")
"""Begins of the names of variables that say how memory is allocated."""


def working_memory(
    of_one: int,
    again: Callable[[int], int],
    asked: Mapping[str, object],
    look: FirstLook,
) -> int:
    """Bytes that calls in one thread take, one after another, beyond what they give.

    Parameters
    ----------
    of_one
        What the first call took.
    again
        Calls the model so many times, and says what that took: asked only where `of_one` is much
        and nothing is remembered.
    asked
        What is asked of the model, as plain values: the answer is remembered by it.
    look
        At the model, with what is remembered of it.
    """
    if of_one < _LARGE:
        return of_one
    question = {**asked, "calls": _CALLS, "allocator": _allocator()}
    kept = look.remembered.recall(question, int)
    if kept is not None:
        return kept
    try:
        found = max(of_one, again(_CALLS))
    except Exception:  # noqa: BLE001 (the user's own code; whether it can be called again is asked elsewhere)
        return of_one
    look.remembered.keep(question, found)
    return found


def _allocator() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(_ALLOCATOR)}
