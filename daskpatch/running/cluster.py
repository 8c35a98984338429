"""The job on a cluster's workers. Imported only where a client is used."""

from __future__ import annotations

from typing import Any

import cloudpickle
from distributed import Client, WorkerPlugin

from .jobs import Job, forget, register


def connect(address: str) -> Any:
    """A client of the scheduler at an address.

    Raises
    ------
    ValueError
        If none answers.
    """
    try:
        return Client(address, timeout="10s", set_as_default=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"No dask scheduler answers at {address}: {error}") from error


def why_not_sent(value: Any) -> str | None:
    """Why a value cannot be sent to workers, or None if it can."""
    try:
        cloudpickle.dumps(value)
    except Exception as error:  # noqa: BLE001 (pickling runs code of any class)
        return f"{type(error).__name__}: {error}"
    return None


class JobPlugin(WorkerPlugin):  # type: ignore[misc]
    """Registers a job on every worker, also on those that join later or restart."""

    idempotent = True

    def __init__(self, key: str, job: Job) -> None:
        self.name = key
        self.job = job

    def setup(self, worker: Any) -> None:  # noqa: ARG002 (the interface)
        register(self.name, self.job)

    def teardown(self, worker: Any) -> None:  # noqa: ARG002 (the interface)
        forget(self.name)
