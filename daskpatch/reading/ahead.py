"""Chunks fetched before the blocks that need them ask, while others are computed."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from ..image import ArrayImage, ImageStack, is_chunked
from .chunk_cache import ChunkCache
from .patches import read_all
from .uses import Chunk, Needs

_log = logging.getLogger("daskpatch")

AT_A_TIME = 4
"""Samples of blocks whose chunks are under way together; each asks for many of them at once."""

MOST_AHEAD = 64
"""Samples of blocks, where memory does not limit it: absent chunks take none."""

_PATIENCE = 5.0
"""Seconds to wait for fetches that are under way in the end."""


class _Due(NamedTuple):
    """What a block will need for a sample."""

    block: int
    sample_idx: int
    image: ArrayImage
    chunks: Sequence[Chunk]


@contextmanager
def reading_ahead(
    cache: ChunkCache, images: Sequence[ImageStack], needs: Needs, coming: Iterable[int]
) -> Iterator[None]:
    """For the time of the `with` block, fetch what the coming blocks need, in their order.

    Only from stores behind a network, whose answers take time. What is fetched must fit beside what
    is kept: blocks never wait for that, and what one of them needs goes first. An error is left to
    the block, which meets it again.
    """
    if not any(map(is_read_ahead, images)):  # else all blocks would be gone through for nothing
        yield
        return
    ahead = _ReadAhead(cache, _due(images, needs, coming))
    try:
        yield
    finally:
        ahead.close()


def is_read_ahead(image: ImageStack) -> bool:
    """Whether chunks of an image are fetched before they are asked for."""
    place = image.location if is_chunked(image) else None
    return place is not None and not place.is_near


def _due(images: Sequence[ImageStack], needs: Needs, coming: Iterable[int]) -> Iterator[_Due]:
    for index in coming:
        for sample_idx in needs.samples_of(index):
            if not needs.is_stored(index, sample_idx):
                continue
            chunks = list(needs.chunks_of(index, sample_idx))
            image = images[chunks[0][0]] if chunks else None
            if image is not None and is_chunked(image) and is_read_ahead(image):
                yield _Due(index, sample_idx, image, chunks)


class _ReadAhead:
    def __init__(self, cache: ChunkCache, due: Iterator[_Due]) -> None:
        self._cache, self._due = cache, due
        self._begun: deque[_Due] = deque(maxlen=MOST_AHEAD)
        self._is_closed = False
        self._turn = threading.Lock()
        self._threads = [
            threading.Thread(target=self._work, name=f"daskpatch-ahead-{number}", daemon=True)
            for number in range(AT_A_TIME)
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        self._is_closed = True
        with self._cache.changed:
            self._cache.changed.notify_all()
        end = time.monotonic() + _PATIENCE
        for thread in self._threads:
            thread.join(max(end - time.monotonic(), 0.0))

    def _work(self) -> None:
        while True:
            with self._turn:  # memory is given in the order of blocks
                due = None if self._is_closed else next(self._due, None)
                if due is None:
                    return
                missing = self._reserved(due)
            if missing:
                self._fetch(due, missing)

    def _reserved(self, due: _Due) -> list[Chunk]:
        """The chunks that are to be fetched, for which there is room now; none once it is late."""
        cache, nbytes = self._cache, due.image.chunk_nbytes
        with cache.changed:
            while not self._is_closed and cache.is_due(due.block, due.sample_idx):
                missing = [chunk for chunk in due.chunks if chunk not in cache]
                if not self._is_far_ahead() and cache.reserve(missing, nbytes, due.chunks):
                    self._begun.append(due)
                    return missing
                cache.changed.wait()
        return []

    def _is_far_ahead(self) -> bool:
        if len(self._begun) < MOST_AHEAD:
            return False
        first = self._begun[0]
        return self._cache.is_due(first.block, first.sample_idx)

    def _fetch(self, due: _Due, missing: Sequence[Chunk]) -> None:
        try:
            with self._cache.hold(missing, lambda chunks: read_all(due.image, chunks)):
                pass
        except Exception as error:  # noqa: BLE001 (each kind of store raises its own)
            _log.debug("Reading ahead for block %d failed: %r", due.block, error)
        finally:
            self._cache.give_back(missing)
