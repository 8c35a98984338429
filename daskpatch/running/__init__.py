"""Runs of many small tasks: threads or a cluster, one loop."""

from .interruption import Interruption
from .window import Done, Run, active_client, has_other_processes
from .workers import TASKS_PER_THREAD, NoWorkersError

__all__ = [
    "TASKS_PER_THREAD",
    "Done",
    "Interruption",
    "NoWorkersError",
    "Run",
    "active_client",
    "has_other_processes",
]
