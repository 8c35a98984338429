"""Honest figures: medians within one run, peaks of fresh processes."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import psutil

HERE = Path(__file__).parent

# Named, because they decide how much memory a process keeps that it no longer uses.
ALLOCATOR = {"MALLOC_ARENA_MAX": "2"}


def seconds(call: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def best_of(call: Callable[[], Any], *, number: int, repeat: int = 5) -> float:
    """Seconds per call: the least of some rounds, as `timeit` recommends for short calls."""
    return min(seconds(lambda: [call() for _ in range(number)]) for _ in range(repeat)) / number


def alternated(calls: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Each call's figure, round by round: the machine's drift falls on all of them."""
    figures: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            figures[name].append(call())
    return figures


def ratio(figures: dict[str, list[float]], name: str, reference: str) -> float:
    """The median of the ratios, round by round."""
    return median(a / b for a, b in zip(figures[name], figures[reference], strict=True))


class PeakMemory:
    """Resident bytes over those at the start, at the highest; looked at every 5 ms."""

    def __enter__(self) -> PeakMemory:
        self._process = psutil.Process()
        self._start = self._process.memory_info().rss
        self.peak = 0
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()
        return self

    def _watch(self) -> None:
        while not self._ended.wait(0.005):
            self.peak = max(self.peak, self._process.memory_info().rss - self._start)

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._watcher.join()


def in_fresh_process(script: str, *arguments: Any) -> dict[str, Any]:
    """Run `benchmarks/<script>.py` with arguments; the JSON of its last line."""
    command = [sys.executable, str(HERE / f"{script}.py"), *map(str, arguments)]
    result = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **ALLOCATOR}, check=False
    )
    if result.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{result.stderr}")
    answer: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return answer


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    packages = ("daskpatch", "numpy", "zarr", "dask", "distributed", "tensorstore", "torch")
    return {
        "cpus": len(os.sched_getaffinity(0)),
        "memory_GiB": round(psutil.virtual_memory().total / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: _version(name) for name in packages},
        "allocator": ALLOCATOR,
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except ModuleNotFoundError:
        return None
