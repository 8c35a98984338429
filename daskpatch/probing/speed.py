"""What tiles cost: seconds and memory of the model, over tile size and batch size."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, repeat
from typing import Any

import numpy as np
import psutil

from ..model import restore_threads, single_threaded
from ..support import DaemonThreads, Seconds, peak_memory
from .probed_model import ProbedModel, RefusedError, Shape, Values
from .sizes import AxisSizes

_BATCHES = (1, 2, 4, 8)

_SHORT = 0.05
"""Seconds: shorter calls are timed again, and the fastest counts."""

_OF_RUN = 0.05
"""Of the time of a run that it may take to find out how it is fastest: better tiles gain more, and
in a run of seconds next to nothing."""

_SHARE = 0.5
"""Of the free memory that a call may be expected to take."""


@dataclass(frozen=True, slots=True)
class CallCost:
    """One call of the model: `seconds` and `nbytes` (its working memory) for a batch of tiles.

    On a CPU it is a call with one thread, as blocks side by side make it.
    """

    tile: Shape
    batch: int
    seconds: Seconds
    nbytes: int

    @property
    def voxels_per_second(self) -> float:
        return self.batch * math.prod(self.tile) / self.seconds


@dataclass(frozen=True, slots=True)
class Budget:
    """What it may take to find out how fast tiles are.

    Attributes
    ----------
    seconds
        At most.
    largest
        Voxels of a tile after which there is no need for larger ones; None: there is.
    of_run
        Voxels that each thread of a run is going to compute, of which this may take a part only;
        None: no run is near.
    """

    seconds: float
    largest: int | None = None
    of_run: float | None = None

    def covers(self, other: Budget) -> bool:
        """Whether who had this one has measured all that the other would."""
        mine, theirs = (
            [math.inf if each is None else each for each in (b.seconds, b.largest, b.of_run)]
            for b in (self, other)
        )
        return all(a >= b for a, b in zip(mine, theirs, strict=True))

    def seconds_at(self, speed: float) -> float:
        """Seconds, for a run that computes so many voxels a second in each thread."""
        of_run = math.inf if self.of_run is None else self.of_run
        return min(self.seconds, _OF_RUN * of_run / speed)


def measure_costs(
    subject: ProbedModel, sizes: Sequence[AxisSizes], aligns: Shape, budget: Budget
) -> tuple[CallCost, ...]:
    """Ever larger tiles and batches, until time or memory would run out.

    `sizes` are those that the model takes, and `aligns` is its grid.
    """
    begin = time.perf_counter()
    deadline = begin + budget.seconds
    costs: list[CallCost] = []
    for tile in _tiles(sizes, aligns):
        for batch in _BATCHES:
            cost = _cost(subject, tile, batch, deadline, _like(costs, tile))
            if cost is None:
                break
            costs.append(cost)
            deadline = begin + budget.seconds_at(max(each.voxels_per_second for each in costs))
            if batch > 1 and cost.voxels_per_second < 1.05 * costs[-2].voxels_per_second:
                break  # larger batches do not help
        # Nothing of this size was measured: there was no time or memory for it, and less for
        # larger.
        if not costs or costs[-1].tile != tile or math.prod(tile) >= (budget.largest or math.inf):
            break
    return tuple(costs)


def _like(costs: Sequence[CallCost], tile: Shape) -> CallCost | None:
    """The last measurement that a guess of the next can start from."""
    same = [cost for cost in costs if cost.tile == tile]
    return same[-1] if same else costs[-1] if costs else None


def _tiles(sizes: Sequence[AxisSizes], aligns: Shape) -> Iterator[Shape]:
    """Cubes whose voxels grow by 2 to 3 each time, of sizes that the model takes."""
    factor = 2 ** (1.25 / len(sizes))
    first = 64 if len(sizes) == 2 else 24
    seen: set[Shape] = set()
    for n in accumulate(repeat(factor), lambda n, f: n * f, initial=float(first)):
        tile = tuple(
            along.at_least(-(-math.ceil(n) // align) * align)
            for along, align in zip(sizes, aligns, strict=True)
        )
        if tile in seen:
            if all(along.step == 0 for along in sizes):
                return
            continue
        seen.add(tile)
        yield tile


def _cost(
    subject: ProbedModel, tile: Shape, batch: int, deadline: float, like: CallCost | None
) -> CallCost | None:
    """A measurement, or None where there is no time or memory for it."""
    free = _free_memory()
    if like is not None:
        factor = batch * math.prod(tile) / (like.batch * math.prod(like.tile))
        if time.perf_counter() + factor * like.seconds > deadline:
            return None
        if factor * like.nbytes > _SHARE * free:
            return None
    image = subject.noise(tile, 0)
    if batch * image.nbytes > _SHARE * free:
        return None
    given = np.stack([image] * batch)
    try:
        if like is None:
            _timed(subject, given)  # the first call loads libraries: it took twice as long
        seconds, nbytes = _timed(subject, given)
        if seconds < _SHORT:
            seconds = min(seconds, *(_timed(subject, given)[0] for _ in range(2)))
    except (RefusedError, MemoryError):
        return None
    return CallCost(tile, batch, seconds, nbytes)


def _timed(subject: ProbedModel, batch: Values) -> tuple[float, int]:
    """Seconds of one call, and its working memory."""

    def call() -> tuple[float, int]:
        single_threaded()
        _reset_device()
        with peak_memory() as peak:
            begin = time.perf_counter()
            subject(batch)
            seconds = time.perf_counter() - begin
        return seconds, peak[0] + _device_peak()

    before = restore_threads(None)
    executor = DaemonThreads(1, "daskpatch-probe")
    try:
        return executor.submit(call).result()
    finally:
        executor.shutdown(wait=False)
        restore_threads(before)


def _cuda() -> Any | None:
    """CUDA as torch has it; None where the model cannot use it through torch."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_initialized() else None


def _reset_device() -> None:
    cuda = _cuda()
    if cuda is not None:
        cuda.reset_peak_memory_stats()


def _device_peak() -> int:
    cuda = _cuda()
    return 0 if cuda is None else int(cuda.max_memory_allocated())


def _free_memory() -> int:
    """Bytes that a call can take: of the GPU, where the model uses one, else of the machine."""
    cuda = _cuda()
    return int(psutil.virtual_memory().available if cuda is None else cuda.mem_get_info()[0])
