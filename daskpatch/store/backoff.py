"""Waiting for a store that is busy, throttled or away for a while."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

DELAYS = (0.2, 1.0, 5.0, 20.0)
"""Seconds before each new try."""

_LASTING = (
    PermissionError,
    NotADirectoryError,
    IsADirectoryError,
    TypeError,
)

_log = logging.getLogger("daskpatch")


def is_lasting(error: Exception) -> bool:
    """Whether waiting would not help: no permission, no such place, broken data.

    tensorstore names the kind of each of its `ValueError`s in front of the text.
    """
    if isinstance(error, _LASTING):
        return True
    kinds = ("DATA_LOSS", "INVALID_ARGUMENT", "FAILED_PRECONDITION", "PERMISSION_DENIED")
    return isinstance(error, ValueError) and str(error).startswith(kinds)


def with_backoff(call: Callable[[], T], what: str) -> T:
    """The result of a call, tried again after each delay while it fails; then its last error.

    >>> with_backoff(lambda: 7, "Counting")
    7
    """
    for delay in DELAYS:
        try:
            return call()
        except Exception as error:
            if is_lasting(error):
                raise
            _say(what, error, delay)
        time.sleep(delay)
    return call()


async def with_backoff_async(call: Callable[[], Awaitable[T]], what: str) -> T:
    """`with_backoff` for a coroutine function."""
    for delay in DELAYS:
        try:
            return await call()
        except Exception as error:
            if is_lasting(error):
                raise
            _say(what, error, delay)
        await asyncio.sleep(delay)
    return await call()


def _say(what: str, error: Exception, delay: float) -> None:
    text = str(error).partition("\n")[0]  # object stores append pages of their inner state
    _log.info("%s failed (%s: %s); again in %g s.", what, type(error).__name__, text, delay)
