"""Libraries that a forked process must not use: their threads stayed with its parent.

tensorstore ends such a process, obstore waits for ever.
"""

from __future__ import annotations

import os
import sys

_ADVICE = (
    "Start processes by 'spawn' or 'forkserver' (of a DataLoader: multiprocessing_context='spawn')"
)

_THREADED = ("tensorstore", "obstore")

_inherited: set[str] = set()


def _notice() -> None:
    _inherited.update(name for name in _THREADED if name in sys.modules)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_notice)


def is_inherited(library: str) -> bool:
    """Whether this is a forked process whose parent had a library loaded."""
    return library in _inherited


def refuse_inherited(library: str, what: str, instead: str = "") -> None:
    """Refuse what does not work in a forked process.

    Raises
    ------
    RuntimeError
        If it is one, and its parent had the library loaded.
    """
    if is_inherited(library):
        raise RuntimeError(
            f"{what} does not work in a forked process: the threads of {library} stay with its "
            f"parent. {_ADVICE}{instead}."
        )
