"""Blocks of nothing through a distributed client: their rate, and what the scheduler keeps."""

from __future__ import annotations

import time
from typing import Any

import psutil
from distributed import Client, LocalCluster

from daskpatch.engine import Window

BLOCKS = {False: 100_000, True: 2_000}


def nothing(index: int) -> int:
    return index


def run(smoke: bool) -> list[dict[str, Any]]:
    total = BLOCKS[smoke]
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        # The scheduler lives in this process.
        process = psutil.Process()
        job = Window(nothing, range(total), key="nothing", threads=1, client=client)
        early = 0
        begin = time.perf_counter()
        for count, _ in enumerate(job, start=1):
            if count == total // 10:
                early = process.memory_info().rss
        taken = time.perf_counter() - begin
        late = process.memory_info().rss
    return [
        {
            "blocks": total,
            "blocks per second": total / taken,
            "scheduler MB more, from a tenth of them to the last": (late - early) / 1e6,
        }
    ]
