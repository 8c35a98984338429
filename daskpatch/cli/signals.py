"""Ctrl-C and SIGTERM: once to stop in order, twice to leave at once.

While no block runs (before the run, and at its end) the first one leaves at once, too.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import click

from ..engine import Interruption

INTERRUPTED = 130
"""The exit code of a shell for what Ctrl-C ended."""


@contextmanager
def interruptible(interruption: Interruption, grace: float) -> Iterator[None]:
    """Turn signals into requests to stop, for the time of a `with` block."""

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 (the interface)
        if interruption.is_requested:
            raise KeyboardInterrupt("Finished blocks are kept; --resume goes on from there.")
        if not interruption.is_heeded:
            raise KeyboardInterrupt("No block was running.")
        click.echo(
            f"Stopping: running blocks have {grace:g} s to end; once more to leave at once.",
            err=True,
        )
        interruption.request()

    handlers = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def leave_at_once() -> None:
    """End the process without waiting for threads that still compute a block."""
    sys.stdout.flush()
    sys.stderr.flush()
    # Python would wait for the threads of its executors, and a block may take minutes.
    os._exit(INTERRUPTED)
