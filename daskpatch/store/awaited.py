"""An object store whose requests end before Python does.

Of several requests that zarr makes at once the first that fails is raised, and the others go on. A
thread of obstore's (seen with 0.12 and Python 3.11) that gets an answer while Python is taken down
asks for an interpreter that is gone: the process ends with SIGSEGV, whatever it had done.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import time
import weakref
from typing import Any

from zarr.abc.buffer import Buffer, BufferPrototype
from zarr.abc.store import ByteRequest
from zarr.storage import ObjectStore

from ..support import redacted

_PATIENCE = 2.0
"""Seconds that requests have to end."""

_LAST_WORDS = 0.05
"""Seconds in which threads of obstore's notice that nobody waits for their answers."""

_loops: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()
"""Those on which requests were made."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_loops.clear)  # their threads stayed with the parent


class AwaitedStore(ObjectStore[Any]):
    """Remembers on which event loops it is used; what goes on there at the end is cancelled."""

    def __str__(self) -> str:
        return redacted(super().__str__())  # zarr puts it into its warnings

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        _loops.add(asyncio.get_running_loop())
        return await super().get(key, prototype, byte_range)

    async def set(self, key: str, value: Buffer) -> None:
        _loops.add(asyncio.get_running_loop())
        await super().set(key, value)


async def _end_others() -> None:
    """Cancel the other tasks of this event loop, and wait until they ended."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others, timeout=_PATIENCE)
        time.sleep(_LAST_WORDS)


# Later than zarr, which closes its loop then: what is registered last is called first.
@atexit.register
def _end_requests() -> None:
    for loop in [each for each in _loops if each.is_running()]:
        ended = asyncio.run_coroutine_threadsafe(_end_others(), loop)
        try:
            ended.result(2 * _PATIENCE)
        except TimeoutError:
            ended.cancel()
