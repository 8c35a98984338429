"""Handles: models as small values that travel, and load once per process."""

from __future__ import annotations

import inspect
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path
from typing import Any, Protocol, runtime_checkable
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from ..support import all_said_by, shown, unmasked, within_xarray
from .contents import WHOLE, Contents, Look
from .walk import contents_of, held_by

Batch = NDArray[Any]


@runtime_checkable
class ModelHandle(Protocol):
    """A model that can be sent to another process and loaded there."""

    @property
    def name(self) -> str:
        """What the model is called in messages and in the output's provenance."""

    def load(self) -> Callable[[Batch], Any]:
        """The model itself: a callable of `(N, C, (Z), Y, X)` arrays."""

    @property
    def file(self) -> Path | None:
        """The file that the model is in, where it is in one."""

    def nbytes(self) -> int:
        """Bytes of the model's weights; 0 where it does not say."""

    def contents(self, look: Look = WHOLE) -> Contents:
        """What the model is made of: the same in any process, and otherwise for any other model.

        Raises
        ------
        NoIdentityError
            If it holds something that cannot be told from another one.
        """


Results = dict[str, NDArray[Any]]
"""What a model gives, by name; where it is one array, its name is empty."""


class LoadedModel:
    """A model in this process's memory, shared by its threads."""

    def __init__(self, call: Callable[[Any], object]) -> None:
        self._call = call

    @property
    def held(self) -> list[object]:
        """What it is made of, as far as that can be told."""
        return held_by(self._call)

    def __call__(self, given: Batch | Results) -> Results:
        size = self.fixed_batch
        if size is None or isinstance(given, Mapping):
            return self._results(given)
        parts = [self._results(part) for part in _filled(given, size)]
        return {
            name: np.concatenate([part[name] for part in parts])[: len(given)] for name in parts[0]
        }

    def _results(self, given: Batch | Results) -> Results:
        try:
            return as_results(self._call(given))
        except SystemExit as error:  # which would end a notebook's kernel, or a worker
            raise RuntimeError(
                f"it called sys.exit({error.code!r}), which is to end a program; raise an error"
            ) from error
        except (Exception, KeyboardInterrupt):
            raise
        except BaseException as error:  # a kind of its own, which nobody expects
            raise RuntimeError(f"{type(error).__name__}: {all_said_by(error)}") from error

    @property
    def fixed_batch(self) -> int | None:
        """How many tiles the model takes at a time, where it takes no other number."""
        return getattr(self._call, "fixed_batch", None)

    @property
    def fixed_size(self) -> tuple[int, ...] | None:
        """The spatial size of the only tiles that the model takes, where it says so."""
        return getattr(self._call, "fixed_size", None)

    @property
    def spatial_axes(self) -> int | None:
        """Of the tiles that the layers of a network are made for, where all say the same."""
        return getattr(self._call, "spatial_axes", None)


def as_results(result: object) -> Results:
    """An array, a sequence or a mapping of arrays by name: those without names are numbered.

    >>> list(as_results((np.zeros(1), np.zeros(1))))
    ['output0', 'output1']

    Raises
    ------
    TypeError
        If one of several is none, or it is a coroutine.
    """
    if inspect.iscoroutine(result):
        result.close()
        raise TypeError(
            "it gives a coroutine, no array: it is async. Give a function that is not, and waits "
            "(asyncio.run) where it must"
        )
    if isinstance(result, Mapping):
        named = dict(zip(distinct(result), result.values(), strict=True))
    elif isinstance(result, tuple) and (fields := fields_of(type(result))):
        named = dict(zip(fields, result, strict=True))
    elif isinstance(result, tuple | list):
        named = {f"output{i}": value for i, value in enumerate(result)}
    else:
        named = {"": result}
    lacking = [name for name, value in named.items() if value is None]
    if lacking and any(lacking):
        raise TypeError(
            f"its result {shown(lacking[0])} is None, no array: give arrays alone, in a function "
            "that leaves it out"
        )
    if len(named) == 1:
        named = {"": next(iter(named.values()))}
    return {name: _native(value) for name, value in named.items()}


def fields_of(kind: type) -> tuple[str, ...]:
    """The names of a named tuple's fields, those of torch's own too; empty where it has none."""
    is_structure = hasattr(kind, "n_sequence_fields")
    named = getattr(kind, "__match_args__" if is_structure else "_fields", ())
    return tuple(named)


def distinct(names: Iterable[object], tidy: Callable[[Any], str] = str) -> list[str]:
    """Tidied names, of which none is like another; one that was tidy stays what it was.

    >>> distinct(["score", 1, "1"])
    ['score', '1_2', '1']
    """
    given = list(names)
    tidied = [tidy(name) for name in given]
    kept = {text for name, text in zip(given, tidied, strict=True) if name == text}
    found: list[str] = []
    for name, text in zip(given, tidied, strict=True):
        if name != text:
            candidates = chain([text], (f"{text}_{n}" for n in count(2)))
            text = next(each for each in candidates if each not in kept and each not in found)
        found.append(text)
    return found


def _filled(batch: Batch, size: int) -> Iterator[Batch]:
    """Parts of a batch of so many tiles each; the last tile is repeated where some are missing."""
    for start in range(0, len(batch), size):
        part = batch[start : start + size]
        missing = size - len(part)
        yield np.concatenate([part, np.repeat(part[-1:], missing, 0)]) if missing else part


def is_beyond_numpy(tensor: Any) -> bool:
    """Whether a tensor's floats are of a kind that NumPy has not."""
    return str(tensor.dtype).startswith(("torch.bfloat16", "torch.float8"))


def _native(value: Any) -> NDArray[Any]:
    value = within_xarray(value)
    if hasattr(value, "dask"):  # its masks are lost where NumPy makes an array of it
        # Inside a worker's task the default scheduler would be the cluster itself.
        value = value.compute(scheduler="synchronous")
    if hasattr(value, "detach"):  # a tensor of torch, maybe with a gradient, maybe elsewhere
        value = value.detach().cpu()
        value = value.float() if is_beyond_numpy(value) else value
    array = unmasked(value, "the result")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


@dataclass(frozen=True)
class SharedModel:
    """A handle with a token that stays its own on every journey: loaded once per process."""

    handle: ModelHandle
    token: str = field(default_factory=lambda: uuid4().hex)


_KEPT = 4
"""Models that stay loaded in a process: its tasks come and go, and forget them."""

_loaded: OrderedDict[str, LoadedModel] = OrderedDict()
_loading: dict[str, threading.RLock] = {}
_table = threading.Lock()


def load(shared: SharedModel) -> LoadedModel:
    """The model of a handle, loaded on the first call in this process."""
    token = shared.token
    # One lock for each model: loading runs the user's code, which may load another.
    with _loading.setdefault(token, threading.RLock()):
        model = _recall(token)
        if model is None:
            model = LoadedModel(shared.handle.load())
            _keep(token, model)
        return model


def _recall(token: str) -> LoadedModel | None:
    with _table:
        if token in _loaded:
            _loaded.move_to_end(token)
        return _loaded.get(token)


def _keep(token: str, model: LoadedModel) -> None:
    with _table:
        _loaded[token] = model
        # A notebook makes a plan after another; models of gigabytes would pile up.
        while len(_loaded) > _KEPT:
            forgotten, _ = _loaded.popitem(last=False)
            _loading.pop(forgotten, None)


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

    @property
    def file(self) -> None:
        return None

    def load(self) -> Callable[[Batch], Any]:
        return self.function

    def nbytes(self) -> int:
        return 0

    def contents(self, look: Look = WHOLE) -> Contents:
        return contents_of(self.function, look)


@dataclass(frozen=True)
class ExclusiveModel:
    """Lets one thread at a time into a model: on a GPU the others read and write meanwhile."""

    call: Callable[[Batch], Any]
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def fixed_size(self) -> tuple[int, ...] | None:
        return getattr(self.call, "fixed_size", None)

    @property
    def fixed_batch(self) -> int | None:
        return getattr(self.call, "fixed_batch", None)

    @property
    def spatial_axes(self) -> int | None:
        return getattr(self.call, "spatial_axes", None)

    def __call__(self, batch: Batch) -> Any:
        with self.lock:
            return self.call(batch)
