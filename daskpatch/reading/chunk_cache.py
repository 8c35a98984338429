"""Decoded chunks, shared by the threads of a process: each is fetched once for all who wait."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from .fetches import Fetches
from .uses import Chunk, Needs, Uses

Voxels = NDArray[Any] | None
"""What is in a chunk, in the axes of its array; None where it is absent."""

Fetch = Callable[[Sequence[Chunk]], Sequence[Voxels]]

CACHE_BYTES = 300_000_000
"""What is kept where nobody says how much may be."""

_PATIENCE = 60.0
"""Seconds after which a thread waits no longer for another one's fetch: that one may hang."""


@dataclass
class _Entry:
    voxels: Voxels = None
    error: BaseException | None = None
    has_ended: threading.Event = field(default_factory=threading.Event)
    n_holders: int = 0
    n_uses: int | None = None  # None: nobody counts
    is_spare: bool = False

    @property
    def nbytes(self) -> int:
        return 0 if self.voxels is None else self.voxels.nbytes

    @property
    def is_of_no_use(self) -> bool:
        return not self.n_holders and self.n_uses is not None and self.n_uses <= 0


class ChunkCache:
    """Decoded chunks by image and place.

    Chunks that are held stay, also beyond `limit`, in bytes. Others go after their last use, or
    when memory is short: those first that were asked for longest ago. Pickles empty.

    Parameters
    ----------
    spare
        Chunks that are there before anybody asks. Kept for blocks that need them, while nothing
        else wants the room.

    Attributes
    ----------
    fetches
        How many chunks were fetched so far, and how many of them not for the first time.
    changed
        Held around any change, and told of those that others may wait for: of what is in it, and
        of what is still needed.
    """

    def __init__(
        self, limit: int = CACHE_BYTES, spare: Mapping[Chunk, Voxels] | None = None
    ) -> None:
        self.limit, self.fetches = limit, Fetches()
        self._spare = dict(spare or {})
        self._uses: Uses | None = None
        self._entries: OrderedDict[Chunk, _Entry] = OrderedDict()
        self._nbytes = self._nbytes_reserved = 0
        self._reserved: dict[Chunk, int] = {}
        self.changed = threading.Condition()

    def __reduce__(self) -> tuple[type[ChunkCache], tuple[int]]:
        return ChunkCache, (self.limit,)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, chunk: Chunk) -> bool:
        return chunk in self._entries

    @property
    def nbytes(self) -> int:
        """Bytes of all chunks that are in it."""
        return self._nbytes

    def is_due(self, index: int, sample_idx: int) -> bool:
        """Whether a block will still ask for what it needs for a sample."""
        with self.changed:
            return self._uses is not None and self._uses.is_due(index, sample_idx)

    def reserve(self, chunks: Sequence[Chunk], nbytes: int, beside: Collection[Chunk] = ()) -> bool:
        """Take room for chunks that will be fetched, of so many bytes each; False without any.

        What is spare makes room, but for the chunks that these are to be `beside`.
        """
        with self.changed:
            wanted = nbytes * len(chunks)
            if not self._drop_spare(wanted, beside):
                return False
            self._reserved |= dict.fromkeys(chunks, nbytes)
            self._nbytes_reserved += wanted
            return True

    def give_back(self, chunks: Iterable[Chunk]) -> None:
        """Take no room any more for chunks that are there, or will not come."""
        with self.changed:
            self._nbytes_reserved -= sum(self._reserved.pop(chunk, 0) for chunk in chunks)
            self.changed.notify_all()

    def count(self, needs: Needs | None) -> None:
        """Keep chunks for the blocks that need them; without, none is let go before it must."""
        with self.changed:
            self.fetches = Fetches()
            self._uses = None if needs is None else Uses(needs)
            for entry in self._entries.values():
                entry.n_uses = 0  # fetched for others
            self._drop(list(self._entries))
            self._take_spare()

    def recount(self) -> None:
        """Look anew at which blocks are left, and let go of what none of them needs."""
        with self.changed:
            if self._uses is None:
                return
            for chunk, entry in self._entries.items():
                if entry.n_uses is not None:
                    entry.n_uses = self._uses.left(chunk)
            self._drop(list(self._entries))

    def clear(self) -> None:
        """Let go of all that nobody holds: no block will come."""
        with self.changed:
            for entry in self._entries.values():
                entry.n_uses = 0
            self._drop(list(self._entries))

    def news(self) -> tuple[int, int]:
        """Chunks fetched since this was asked before, and how many of them again."""
        with self.changed:
            return self.fetches.news()

    @contextmanager
    def hold(self, chunks: Sequence[Chunk], fetch: Fetch) -> Iterator[list[Voxels]]:
        """The voxels of chunks, which stay for the time of the `with` block.

        Raises
        ------
        Exception
            What `fetch` raised, here or in the thread that asked first. Whoever asks next has it
            fetched again.
        """
        entries, missing = self._take(chunks)
        try:
            if missing:
                self._fetch(missing, fetch)
            yield [
                _awaited(chunk, entry, fetch) for chunk, entry in zip(chunks, entries, strict=True)
            ]
        finally:
            with self.changed:
                for entry in entries:
                    entry.n_holders -= 1
                self._drop(chunks)

    def use(self, index: int, sample_idx: int) -> None:
        """A block is done with what it needed for a sample, whether or not it asked for it."""
        with self.changed:
            if self._uses is not None:
                self._take_off(self._uses.consume(index, sample_idx))
                self.changed.notify_all()

    def finish(self, index: int) -> None:
        """A block is done, whatever became of it."""
        with self.changed:
            if self._uses is not None:
                self._take_off(self._uses.finish(index))
                self.changed.notify_all()

    def _take_off(self, chunks: Iterable[Chunk]) -> None:
        used = [chunk for chunk in chunks if chunk in self._entries]
        for chunk in used:
            entry = self._entries[chunk]
            if entry.n_uses is not None:
                entry.n_uses -= 1
        self._drop(used)

    def _take_spare(self) -> None:
        """Put in what is there already, and of use; the chunks in front first."""
        spare, self._spare = self._spare, {}
        for chunk, voxels in spare.items():
            n_uses = None if self._uses is None else self._uses.left(chunk)
            entry = _Entry(voxels, n_uses=n_uses, is_spare=True)
            entry.has_ended.set()
            if entry.is_of_no_use or chunk in self._entries or not self._has_room(entry.nbytes):
                continue
            self._entries[chunk] = entry
            self._nbytes += entry.nbytes

    def _drop_spare(self, wanted: int, beside: Collection[Chunk] = ()) -> bool:
        """Let go of what is kept as long as nothing else wants the room; the last chunks first.

        Whether there is room then; of none, nothing goes.
        """
        if self._has_room(wanted):
            return True
        spare = {
            chunk: entry.nbytes
            for chunk, entry in self._entries.items()
            if entry.is_spare and not entry.n_holders and chunk not in beside
        }
        if not self._has_room(wanted - sum(spare.values())):
            return False
        for chunk in [*spare][::-1]:
            if self._has_room(wanted):
                break
            self._remove(chunk)
        return True

    def _has_room(self, nbytes: int) -> bool:
        return self._nbytes + self._nbytes_reserved + nbytes <= self.limit

    def _take(self, chunks: Sequence[Chunk]) -> tuple[list[_Entry], dict[Chunk, _Entry]]:
        """The entries of chunks, held, and those of them that the caller has to fetch."""
        missing = {}
        with self.changed:
            for chunk in chunks:
                if chunk not in self._entries:
                    missing[chunk] = self._entries[chunk] = _Entry()
                self._entries.move_to_end(chunk)
                self._entries[chunk].n_holders += 1
            used = [chunk for chunk in chunks if self._entries[chunk].is_spare]
            self.fetches.add(used)
            for chunk in used:
                self._entries[chunk].is_spare = False
            return [self._entries[chunk] for chunk in chunks], missing

    def _fetch(self, missing: dict[Chunk, _Entry], fetch: Fetch) -> None:
        try:
            found = fetch(list(missing))
            with self.changed:
                self.fetches.add(missing)
                self.give_back(missing)
                for (chunk, entry), voxels in zip(missing.items(), found, strict=True):
                    entry.voxels = voxels
                    entry.n_uses = None if self._uses is None else self._uses.left(chunk)
                    self._nbytes += entry.nbytes
        except BaseException as error:
            with self.changed:
                for chunk, entry in missing.items():
                    entry.error = error
                    del self._entries[chunk]  # whoever asks next has it fetched anew
            raise
        finally:
            for entry in missing.values():
                entry.has_ended.set()

    def _drop(self, chunks: Iterable[Chunk]) -> None:
        """Let go of those of some chunks that are of no use, and of any that don't fit."""
        for chunk in chunks:
            entry = self._entries.get(chunk)
            if entry is not None and entry.is_of_no_use:
                self._remove(chunk)
        if self._drop_spare(0):
            return
        for chunk, entry in list(self._entries.items()):
            if self._has_room(0):
                return
            if not entry.n_holders:
                self._remove(chunk)

    def _remove(self, chunk: Chunk) -> None:
        self._nbytes -= self._entries.pop(chunk).nbytes
        self.changed.notify_all()


def _awaited(chunk: Chunk, entry: _Entry, fetch: Fetch) -> Voxels:
    """What another thread fetches."""
    if not entry.has_ended.wait(_PATIENCE) or not isinstance(entry.error, Exception | None):
        # It hangs, or was stopped, which says nothing of the chunk.
        (voxels,) = fetch([chunk])
        return voxels
    if entry.error is not None:
        raise entry.error
    return entry.voxels
