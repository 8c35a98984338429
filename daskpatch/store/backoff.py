"""Waiting for a store that is busy, throttled or away for a while."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ..support import DEFAULT_PACING

T = TypeVar("T")

DELAYS = DEFAULT_PACING.delays

Lasts = Callable[[Exception], bool]
"""Whether an error would come again, however long one waits."""

_LASTING = (PermissionError, NotADirectoryError, IsADirectoryError, TypeError)

_log = logging.getLogger("daskpatch")


def lasts_anywhere(error: Exception) -> bool:
    """Whether waiting would not help: no permission, no such place."""
    return isinstance(error, _LASTING)


def with_backoff(
    call: Callable[[], T],
    what: str,
    delays: tuple[float, ...] = DELAYS,
    lasts: Lasts = lasts_anywhere,
) -> T:
    """The result of a call, tried again after each delay while it fails; then its last error.

    >>> with_backoff(lambda: 7, "Counting")
    7
    """
    for delay in delays:
        try:
            return call()
        except Exception as error:
            if lasts(error):
                raise
            _say(what, error, delay)
        time.sleep(delay)
    return call()


async def with_backoff_async(
    call: Callable[[], Awaitable[T]],
    what: str,
    delays: tuple[float, ...] = DELAYS,
    lasts: Lasts = lasts_anywhere,
) -> T:
    """`with_backoff` for a coroutine function."""
    for delay in delays:
        try:
            return await call()
        except Exception as error:
            if lasts(error):
                raise
            _say(what, error, delay)
        await asyncio.sleep(delay)
    return await call()


def _say(what: str, error: Exception, delay: float) -> None:
    text = str(error).partition("\n")[0]  # object stores append pages of their inner state
    _log.info("%s failed (%s: %s); again in %g s.", what, type(error).__name__, text, delay)
