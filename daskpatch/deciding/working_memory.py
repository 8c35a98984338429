"""What calls of the model need beyond their tiles: the same each time that it is asked."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from ..support import converted
from .first_look import FirstLook

T = TypeVar("T")

LARGE = 16_000_000
"""Bytes of a call from which on it is looked at closely."""

_FEW = 20
"""Tiles of each thread of a run: where there are fewer, two calls more cost a good part of it."""

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


@dataclass(frozen=True, slots=True)
class Calling:
    """How a run calls the model.

    Attributes
    ----------
    side_by_side
        In several threads, each with one thread inside the model.
    is_brief
        A few times only.
    """

    side_by_side: bool
    is_brief: bool

    @classmethod
    def of(cls, n_tiles: int, threads: int) -> Calling:
        return cls(side_by_side=threads > 1, is_brief=n_tiles < _FEW * threads)


def working_memory(
    first: CallMemory,
    again: Callable[[], CallMemory],
    asked: Mapping[str, object],
    look: FirstLook,
    calling: Calling,
) -> CallMemory:
    """What calls take.

    Parameters
    ----------
    first
        What the first call took.
    again
        Calls the model once more: twice, where the first call took much, nothing is remembered,
        and the run is long. What a call finds free in pieces, or puts there, makes it differ by
        half.
    asked
        What is asked of the model, as plain values: the answer is remembered by it.
    look
        At the model, with what is remembered of it.
    calling
        How a run calls it.
    """
    kept = recalled(look, asked, CallMemory, calling)
    if kept is not None:
        return kept
    if first.working < LARGE:
        return CallMemory(first.working)
    try:
        calls = [first] if calling.is_brief else [first, again(), again()]
    except Exception:  # noqa: BLE001 (the user's own code; whether it can be called again is asked elsewhere)
        return first
    found = CallMemory(max(c.working for c in calls), sum(c.left for c in calls))
    keep(look, asked, found, calling)
    return found


def recalled(
    look: FirstLook, asked: Mapping[str, object], kind: type[T], calling: Calling
) -> T | None:
    """What is remembered of three calls; for a brief run that of one does."""
    for n_calls in (3, 1) if calling.is_brief else (3,):
        question = _question(asked, n_calls, calling)
        kept = look.remembered.recall(question, lambda found: converted(found, kind))
        if kept is not None:
            return kept
    return None


def keep(look: FirstLook, asked: Mapping[str, object], found: Any, calling: Calling) -> None:
    """Remember what calls showed, by what was asked of the model, as plain values."""
    n_calls = 1 if calling.is_brief else 3
    look.remembered.keep(_question(asked, n_calls, calling), asdict(found))


def _question(asked: Mapping[str, object], n_calls: int, calling: Calling) -> dict[str, object]:
    allocator = {name: value for name, value in os.environ.items() if name.startswith(_ALLOCATOR)}
    return {
        **asked,
        "side_by_side": calling.side_by_side,
        "calls": n_calls,
        "allocator": allocator,
    }
