"""Whether this is a task of a `dask.distributed` worker; distributed is not imported for it."""

from __future__ import annotations

import sys


def is_in_task() -> bool:
    """Whether it is one."""
    return bool(worker_address())


def worker_address() -> str:
    """Of the worker whose task this is; empty where it is none."""
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return ""
    try:
        return str(distributed.get_worker().address)
    except ValueError:
        return ""
