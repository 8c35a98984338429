"""Arrays that are used again: touching fresh pages costs as much as filling them."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray


class BufferPool:
    """Lends arrays, and keeps what comes back; shared by the threads of a process.

    Never holds more arrays than were lent at one time. Pickles empty.
    """

    def __init__(self) -> None:
        self._free: list[NDArray[np.uint8]] = []
        self._lock = threading.Lock()

    @contextmanager
    def lend(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Iterator[NDArray[Any]]:
        """An array with arbitrary content, for the time of the `with` block."""
        nbytes = math.prod(shape) * dtype.itemsize
        raw = self._take(nbytes)
        try:
            yield raw[:nbytes].view(dtype).reshape(shape)
        finally:
            with self._lock:
                self._free.append(raw)
                # Sorted, so that small requests leave the large buffers to those that need them.
                self._free.sort(key=len)

    def __reduce__(self) -> tuple[Any, ...]:
        return BufferPool, ()

    def _take(self, nbytes: int) -> NDArray[np.uint8]:
        """The smallest free buffer that is large enough, else a new one instead of the largest."""
        with self._lock:
            for i, raw in enumerate(self._free):
                if len(raw) >= nbytes:
                    return self._free.pop(i)
            if self._free:
                # The largest of those too small goes: never more arrays than were lent at one time.
                self._free.pop()
        return np.empty(nbytes, np.uint8)
