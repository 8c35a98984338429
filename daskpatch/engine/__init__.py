"""Many small tasks run on threads or a cluster, in one loop that knows nothing of images."""

from .interruption import Interruption
from .progress import progress_of
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
    "progress_of",
]
