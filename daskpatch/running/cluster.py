"""The job on a cluster's workers. Imported only where a client is used."""

from __future__ import annotations

from typing import Any

from distributed import WorkerPlugin

from .jobs import Job, forget, register


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
