"""What the blocks of a process share while they are computed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from ..reading import ChunkCache
from ..support import Heap
from .buffers import BufferPool
from .stand_ins import StandIns

T = TypeVar("T")


class BatchLimit:
    """How many tiles a call of the model may have; lowered where memory runs out."""

    def __init__(self) -> None:
        self._size: int | None = None

    def of(self, size: int) -> int:
        return size if self._size is None else min(size, self._size)

    def lower(self, failed: int) -> int:
        """Half of a size that was too large, unless another thread lowered it already."""
        # Several threads run out of memory together; each of them halving would end at 1.
        if self.of(failed) == failed:
            self._size = max(failed // 2, 1)
        return self.of(failed)


@dataclass(frozen=True)
class Workspace:
    """Chunks, buffers and results that are used again, the largest batch, and what is resident.

    Shared by threads, travels empty.
    """

    chunks: ChunkCache = field(default_factory=ChunkCache)
    heap: Heap = field(default_factory=Heap)

    buffers: BufferPool = field(default_factory=BufferPool)
    limit: BatchLimit = field(default_factory=BatchLimit)
    stand_ins: StandIns = field(default_factory=StandIns)

    def __reduce__(self) -> tuple[type[Workspace], tuple[ChunkCache, Heap]]:
        return Workspace, (self.chunks, self.heap)


@dataclass
class Tally:
    """What a region cost.

    `samples` counts those whose tiles were given to the model, `empty` says why the others were
    not: `ABSENT` or `JUDGED`, the larger of both. `reading` and `model` are seconds: until tiles
    were filled, and in calls.
    """

    tiles: int = 0
    nan_tiles: int = 0
    bytes_read: int = 0
    absent: int = 0
    samples: int = 0
    empty: int = 0
    reading: float = 0.0
    model: float = 0.0

    @contextmanager
    def timing(self, what: Literal["reading", "model"]) -> Iterator[None]:
        """Add the time of the `with` block."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            setattr(self, what, getattr(self, what) + time.perf_counter() - begin)

    def timing_calls(self, results: Iterator[T]) -> Iterator[T]:
        """Results as they come, each out of a call of the model."""
        while True:
            with self.timing("model"):
                result = next(results, None)
            if result is None:
                return
            yield result
