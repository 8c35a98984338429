"""Handles: models as small values that travel, and load once per process."""

from __future__ import annotations

import inspect
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from ..importing import import_attribute

Batch = NDArray[Any]


@runtime_checkable
class ModelHandle(Protocol):
    """A model that can be sent to another process and loaded there."""

    @property
    def name(self) -> str:
        """What the model is called in messages and in the output's provenance."""

    def load(self) -> Callable[[Batch], Any]:
        """The model itself: a callable of `(N, C, (Z), Y, X)` arrays."""

    def nbytes(self) -> int:
        """Bytes of the model's weights; 0 where it does not say."""


class LoadedModel:
    """A model in this process's memory, shared by its threads."""

    def __init__(self, call: Callable[[Batch], Any]) -> None:
        self._call = call

    def __call__(self, batch: Batch) -> NDArray[Any]:
        result = np.asarray(self._call(batch))
        return result.astype(result.dtype.newbyteorder("="), copy=False)


@dataclass(frozen=True)
class SharedModel:
    """A handle with a token that stays its own on every journey: loaded once per process."""

    handle: ModelHandle
    token: str = field(default_factory=lambda: uuid4().hex)


_KEPT = 4
"""Models that stay loaded in a process: its tasks come and go, and forget them."""

_loaded: OrderedDict[str, LoadedModel] = OrderedDict()
_locks: defaultdict[str, threading.RLock] = defaultdict(threading.RLock)


def load(shared: SharedModel) -> LoadedModel:
    """The model of a handle, loaded on the first call in this process."""
    token = shared.token
    with _locks[token]:  # of this model alone: loading runs the user's code
        model = _loaded.get(token)
        if model is None:
            model = LoadedModel(shared.handle.load())
            _loaded[token] = model
            while len(_loaded) > _KEPT:
                _loaded.popitem(last=False)
        return model


@dataclass(frozen=True)
class CallableModel:
    """Any function or callable object."""

    function: Callable[[Batch], Any]

    @property
    def name(self) -> str:
        function = self.function
        name = getattr(function, "__qualname__", None) or type(function).__qualname__
        module = getattr(function, "__module__", None)
        return f"{module}.{name}" if module else name

    def load(self) -> Callable[[Batch], Any]:
        return self.function

    def nbytes(self) -> int:
        return 0


@dataclass(frozen=True)
class ImportedModel:
    """`package.module:attribute` or `file.py:attribute`, imported where it is used."""

    module: str
    attribute: str

    @property
    def name(self) -> str:
        return f"{self.module}:{self.attribute}"

    def load(self) -> Callable[[Batch], Any]:
        from .adaptation import as_handle

        value = import_attribute(self.module, self.attribute)
        if inspect.isclass(value):
            raise TypeError(
                f"{self.name} is a class; give a function or an instance, for example a line "
                f"model = {self.attribute}() in the module, and :model."
            )
        return as_handle(value).handle.load()

    def nbytes(self) -> int:
        return 0


@dataclass(frozen=True)
class ExclusiveModel:
    """Lets one thread at a time into a model: on a GPU the others read and write meanwhile."""

    call: Callable[[Batch], Any]
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, batch: Batch) -> Any:
        with self.lock:
            return self.call(batch)
