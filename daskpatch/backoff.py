"""Waiting for a store that is busy, throttled or away for a while."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

DELAYS = (0.2, 1.0, 5.0, 20.0)
"""Seconds before each new try."""

_LASTING = (PermissionError, NotADirectoryError, IsADirectoryError, TypeError)
"""Errors that waiting does not help."""

_log = logging.getLogger("daskpatch")


def with_backoff(call: Callable[[], T], what: str) -> T:
    """The result of a call, tried again after each delay while it fails; then its last error.

    >>> with_backoff(lambda: 7, "Counting")
    7
    """
    for delay in DELAYS:
        try:
            return call()
        except _LASTING:
            raise
        except Exception as error:  # noqa: BLE001 (each kind of store raises its own)
            _log.info("%s failed (%s: %s); again in %g s", what, type(error).__name__, error, delay)
        time.sleep(delay)
    return call()
