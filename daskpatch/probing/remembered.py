"""What was found out about models, kept between processes in the user's cache folder.

A file for each finding, named by the digest of its key: what the model is made of, what it ran on,
and what was asked. So a model that is changed, another machine or a new version asks anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import platform
import sys
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import platformdirs
from dask.system import CPU_COUNT
from numpy.typing import NDArray

from ..model import Contents, Look, NoIdentityError, SharedModel, load
from ..support import installed_version, parsed

_log = logging.getLogger("daskpatch")

_RULE = 4
"""Raised when the same model is found to be something else than before."""

_MOST = 500
"""Findings that are kept: the latest."""

T = TypeVar("T")

Json = Mapping[str, Any]
"""JSON values by name."""


@dataclass(frozen=True)
class Remembered:
    """Findings about one model on this machine.

    `model` tells it from others; where it is None, nothing is kept.
    """

    model: Json | None

    @classmethod
    def of(cls, shared: SharedModel, contents: Contents | None = None) -> Remembered:
        """What is known of a model, if it can be told from others.

        `contents` is what it is made of, weights too; looked at where it is None.
        """
        try:
            contents = shared.handle.contents(Look()) if contents is None else contents
            parts = asdict(contents.parts())
        except NoIdentityError as error:
            _log.info("what is found out about the model is not remembered: %s", error)
            return cls(None)
        load(shared)  # now it is known whether it runs on a GPU
        told = {name: parts[name] for name in _TELLING}
        return cls({"model": told, **_surroundings()})

    def recall(self, asked: Json, of: Callable[[Any], T]) -> T | None:
        """What was kept for a question, made of plain values; None where there is nothing."""
        if self.model is None:
            return None
        try:
            kept = parsed(self._path(asked).read_text())
            return of(kept["found"]) if kept["key"] == self._key(asked) else None
        except (OSError, ValueError, TypeError, LookupError, ArithmeticError):
            return None

    def keep(self, asked: Json, found: object) -> None:
        """Keep plain values, where the folder allows it."""
        if self.model is None:
            return
        path = self._path(asked)
        content = json.dumps({"key": self._key(asked), "found": found})
        partial = path.with_suffix(f".{uuid.uuid4().hex}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(content)
            os.replace(partial, path)
            _forget_oldest(path.parent)
        except OSError as error:
            _log.info("what was found out about the model could not be kept: %s", error)
            with contextlib.suppress(OSError):
                partial.unlink()

    def _key(self, asked: Json) -> Json:
        key: Json = parsed(json.dumps({**(self.model or {}), "asked": asked}))
        return key

    def _path(self, asked: Json) -> Path:
        key = json.dumps(self._key(asked), sort_keys=True).encode()
        return folder() / f"{hashlib.sha256(key).hexdigest()}.json"


_TELLING = ("tag", "bytecode", "weights", "attributes", "versions")
"""The parts of a model that its findings depend on."""


def folder() -> Path:
    """Where findings are kept."""
    return platformdirs.user_cache_path("daskpatch") / "probes"


def digest_of_values(values: NDArray[Any]) -> str:
    """What tells an array from others.

    >>> digest_of_values(np.zeros(3)) == digest_of_values(np.zeros(3, "f4"))
    False
    """
    told = f"{values.dtype.str} {values.shape} ".encode()
    return hashlib.sha256(told + np.ascontiguousarray(values).tobytes()).hexdigest()


def _surroundings() -> dict[str, Any]:
    return {
        "rule": _RULE,
        "daskpatch": installed_version("daskpatch"),
        "numpy": np.__version__,
        "processor": _processor(),
        "processors": CPU_COUNT,
        "device": _device(),
    }


@lru_cache(maxsize=1)
def _processor() -> str:
    """The name of the processor, where the system tells it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def _device() -> str:
    """The GPU that torch works on, if it does."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return ""
    return str(torch.cuda.get_device_name())


def _forget_oldest(where: Path) -> None:
    kept = [(path.stat().st_mtime_ns, path) for path in where.iterdir()]
    for _, path in sorted(kept, reverse=True)[_MOST:]:
        path.unlink(missing_ok=True)
