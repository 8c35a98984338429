"""Jobs by name: a task carries a key and a number, whatever its job weighs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Job = Callable[[int], Any]

_jobs: dict[str, Job] = {}


def register(key: str, job: Job) -> None:
    """Make a job known in this process; the first one under a key stays."""
    _jobs.setdefault(key, job)


def forget(key: str) -> None:
    """Drop a job, if it is known."""
    _jobs.pop(key, None)


def registered(key: str) -> Job:
    """The job of a key in this process."""
    return _jobs[key]


def run_registered(key: str, index: int) -> Any:
    """A task: one block of a registered job."""
    return _jobs[key](index)
