"""The client that is used where none is named; distributed is not imported for it."""

from __future__ import annotations

import logging
import os
import sys
import weakref
from typing import Any

from .tasks import is_in_task
from .workers import Client

_log = logging.getLogger("daskpatch")

_inherited: list[weakref.ref[Any]] = []


def active_client() -> Client | None:
    """The current `dask.distributed` client, where it can be waited for.

    Not inside a task, which would wait for the very threads that it occupies; not one of the
    process that this one was forked from, whose threads stayed there.
    """
    client = None if is_in_task() else _current()
    if client is None or any(known() is client for known in _inherited):
        return None
    if is_asynchronous(client):
        _log.warning(
            "The active client is asynchronous and cannot be waited for: computing in threads of "
            "this process. Open one that is not, Client(address), and give it as client=."
        )
        return None
    return client


def client_of(collection: object) -> Client | None:
    """The client whose cluster holds parts of a Dask collection; None where none does."""
    distributed = sys.modules.get("distributed")
    if distributed is None or not hasattr(collection, "__dask_graph__"):
        return None
    held = distributed.futures_of(collection)
    return held[0].client if held else None


def is_asynchronous(client: object) -> bool:
    """Whether calls of a client give coroutines, here."""
    return bool(getattr(client, "asynchronous", False))


def _current() -> Client | None:
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return None
    try:
        client: Client = distributed.Client.current()
        return client
    except ValueError:
        return None


def _notice_fork() -> None:
    client = _current()
    if client is not None:
        _inherited.append(weakref.ref(client))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_notice_fork)
