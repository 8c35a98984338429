"""What a scheduler holds: tasks per block, bytes per task, with a 500 MB model and 1,000 images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
from distributed import Client, LocalCluster, SchedulerPlugin
from volumes import microscopy

import daskpatch


class Heavy:
    """A model that weighs 500 MB."""

    def __init__(self, nbytes: int) -> None:
        self.weights = np.zeros(nbytes, "uint8")

    def __call__(self, batch: Any) -> Any:
        return batch + self.weights[0]


class TaskSizes(SchedulerPlugin):
    """Adds up the pickled bytes of every task that reaches the scheduler."""

    name = "task-sizes"

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def update_graph(self, scheduler: Any, *, tasks: list[Any], **others: Any) -> None:  # noqa: ARG002
        self.sizes += [len(cloudpickle.dumps(scheduler.tasks[key].run_spec)) for key in tasks]


def run(smoke: bool, folder: Path) -> list[dict[str, Any]]:
    source = folder / "small.zarr"
    microscopy(source, (64, 128, 128))
    n_images, nbytes = (10, 10**6) if smoke else (1000, 500 * 10**6)
    planned = daskpatch.plan(
        [source] * n_images,
        Heavy(nbytes),
        folder / "series.zarr",
        patch_size=128,
        overwrite=True,
    )
    sizes = TaskSizes()
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0"
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        cluster.scheduler.add_plugin(sizes)
        report = planned.run(client=client, progress=False)
    view = planned.arrays[0]
    return [
        {
            "images": n_images,
            "model MB": nbytes / 1e6,
            "blocks": report.blocks,
            "tasks per block": len(sizes.sizes) / report.blocks,
            "bytes per task, largest": max(sizes.sizes),
            "lazy array's graph entries": len(dict(view.__dask_graph__())),
        }
    ]
