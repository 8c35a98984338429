"""Waiting for a store that is busy, throttled or away for a while."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import re
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ..support import DEFAULT_PACING, as_shown, redacted, said_by, text_of
from .answers import UnansweredError

T = TypeVar("T")

DELAYS = DEFAULT_PACING.delays

_AT_FIRST = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
"""Of a call that is several requests, each of which may fail."""

Lasts = Callable[[Exception], bool]
"""Whether an error would come again, however long one waits."""

_LASTING = (
    PermissionError,
    NotADirectoryError,
    IsADirectoryError,
    TypeError,
    OverflowError,
    UnansweredError,
)

LASTING_NUMBERS = (errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP, errno.EFBIG)

_NO_STORES = ("zarr", "numcodecs", "json", "obstore", "daskpatch")

_PASSING = (408, 425, 429)
"""Of HTTP's answers that say that a request is wrong, those that say that it came too soon."""

_NOT_SUPPORTED = "NotSupportedError"
"""What obstore says where a server does not know ranges, which shards are read by."""

_DENIED = ("PermissionDeniedError", "UnauthenticatedError")

CHECK_REMOTE = "Check the URL, the network and the credentials"

_HINT = " (servers that may not list answer so for what is missing, too)"

_log = logging.getLogger("daskpatch")


def lasts_anywhere(error: Exception) -> bool:
    """Whether waiting would not help: no permission, no such place."""
    is_told = isinstance(error, _LASTING) or getattr(error, "errno", None) in LASTING_NUMBERS
    return is_told or type(error).__name__ == _NOT_SUPPORTED or is_denied(error)


def is_denied(error: Exception) -> bool:
    """Whether a server says that it may not be: obstore's errors, and aiohttp's."""
    is_named = type(error).__name__ in _DENIED or isinstance(error, PermissionError)
    return is_named or getattr(error, "status", None) in (401, 403)


def at_first(call: Callable[[], T], what: str) -> T:
    """The result of a first look at a place, or of what is made there.

    A store that fails now and then is asked again for a few seconds; what is not there, may not be
    read or cannot be understood is told of at once.
    """
    return with_backoff(call, what, _AT_FIRST, _lasts_at_first)


_TRIED = re.compile(r"after [1-9]\d* retries")
"""What obstore says once it has tried again by itself, for long enough."""


def _lasts_at_first(error: Exception) -> bool:
    if isinstance(error, OSError):
        is_told = isinstance(error, FileNotFoundError) or _TRIED.search(text_of(error)) is not None
        return lasts_anywhere(error) or is_told
    return lasts_anywhere(error) or not _is_of_a_store(error)


def _is_of_a_store(error: Exception) -> bool:
    """Whether an error is of a kind of a network library's own: what it says may pass.

    Python's own kinds, and zarr's, say that something is wrong with what was read. obstore tries
    again by itself.
    """
    package = type(error).__module__.partition(".")[0]
    kinds = [k for k in type(error).__mro__ if k.__module__ == "builtins"]
    is_its_own = kinds[0] is Exception and package not in _NO_STORES
    status = getattr(error, "status", None)
    is_refused = isinstance(status, int) and 400 <= status < 500 and status not in _PASSING
    return is_its_own and not is_refused


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
    for delay in (*delays, None):
        try:
            return call()
        except Exception as error:  # noqa: BLE001 (each kind of store raises its own)
            waits = _waits(error, what, delay, lasts)
        time.sleep(waits)
    raise AssertionError("the last try returns or raises")


async def with_backoff_async(
    call: Callable[[], Awaitable[T]],
    what: str,
    delays: tuple[float, ...] = DELAYS,
    lasts: Lasts = lasts_anywhere,
) -> T:
    """`with_backoff` for a coroutine function."""
    for delay in (*delays, None):
        try:
            return await call()
        except Exception as error:  # noqa: BLE001 (each kind of store raises its own)
            waits = _waits(error, what, delay, lasts)
        await asyncio.sleep(waits)
    raise AssertionError("the last try returns or raises")


def _waits(error: Exception, what: str, delay: float | None, lasts: Lasts) -> float:
    """Seconds until the next try; raises the error where there is none."""
    if delay is not None and not lasts(error):
        kind = type(error).__name__
        _log.info("%s failed (%s: %s); again in %g s.", what, kind, said_by(error), delay)
        return delay
    if isinstance(error, IsADirectoryError) and error.filename2:  # written beside, and moved there
        raise FileExistsError(
            f"{what} failed: {redacted(os.fspath(error.filename2))} is a folder, where that file "
            "has its place. Move it away."
        ) from None
    if type(error).__name__ == _NOT_SUPPORTED:
        raise OSError(
            f"{what} failed: the server gives no ranges of bytes, by which shards are read "
            f"({said_by(error)}). Copy it to disk, or have it served by one that does, such as "
            "nginx; python -m http.server does not."
        ) from None
    shown = as_shown(error, what)
    if shown is error:
        raise error
    if is_denied(error):
        raise PermissionError(f"{shown}{_HINT}") from None
    raise shown from None
