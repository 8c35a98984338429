"""Runs of many small tasks: threads or a cluster, one loop."""

from .window import TASKS_PER_THREAD, Done, active_client, has_other_processes, run_job

__all__ = [
    "TASKS_PER_THREAD",
    "Done",
    "active_client",
    "has_other_processes",
    "run_job",
]
