"""How far a run is: a bar in a terminal or a notebook, lines in a log elsewhere."""

from __future__ import annotations

import logging
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dask.utils import format_time

from ..support import speed_of

_EVERY = 30.0
"""Seconds between two lines."""

_log = logging.getLogger("daskpatch")


@contextmanager
def progress_of(
    total: int, done: int, *, shown: bool, name: str = "daskpatch"
) -> Iterator[Callable[[int], None]]:
    """A function that is told of voxels (of space and samples) as they are done."""
    if not shown:
        yield lambda _: None
    elif sys.stderr.isatty() or "ipykernel" in sys.modules:
        with _bar(total, done, name) as advance:
            yield advance
    else:
        lines = _Lines(total, done, name)
        yield lines
        lines.say()


@contextmanager
def _bar(total: int, done: int, name: str) -> Iterator[Callable[[int], None]]:
    with warnings.catch_warnings():
        # A notebook without ipywidgets gets a text bar; tqdm says so in a warning.
        warnings.simplefilter("ignore")
        from tqdm.auto import tqdm
    with tqdm(
        total=total, initial=done, unit="voxel", unit_scale=True, mininterval=0.5, desc=name
    ) as bar:
        yield bar.update


class _Lines:
    def __init__(self, total: int, done: int, name: str) -> None:
        self._total, self._done, self._new = total, done, 0
        self._prefix = "" if name == "daskpatch" else f"{name}: "
        self._begin = self._last = time.monotonic()

    def __call__(self, voxels: int) -> None:
        self._new += voxels
        now = time.monotonic()
        if now - self._last >= _EVERY:
            self._last = now
            self.say()

    def say(self) -> None:
        # Only what was done now: blocks that an earlier run wrote would flatter the rate.
        rate = self._new / max(time.monotonic() - self._begin, 1e-9)
        left = self._total - self._done - self._new
        _log.info(
            "%s%.1f %% done, %s%s",
            self._prefix,
            100 * (self._done + self._new) / max(self._total, 1),
            speed_of(rate),
            f", {format_time(left / rate) if rate else 'unknown time'} left" if left else "",
        )
