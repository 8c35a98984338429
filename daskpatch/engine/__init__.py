"""Many small tasks run on threads or a cluster, in one loop that knows nothing of images."""

from .clients import active_client, client_of, is_asynchronous
from .deadline import TimedOutError, end_if_written_off, is_written_off, once_within
from .interruption import Interruption
from .jobs import Job, Outlook, why_not_sent
from .lanes import Visits
from .progress import progress_of
from .window import Done, Window, has_other_processes
from .workers import TASKS_PER_THREAD, Client, NoWorkersError
