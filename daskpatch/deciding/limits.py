"""What a run may take of the machine: the option of that name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import psutil
from dask.system import CPU_COUNT
from dask.utils import format_bytes, parse_bytes

from ..store import BACK_ENDS, check_io
from ..support import INTEGER, Options, as_flag, as_optional_count, option, shown

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]


def _as_bytes(name: str, value: int | float | str | None) -> int | None:
    if value is None:
        return None
    try:
        number = 0 if value == "" else int(parse_bytes(value))
    except (TypeError, ValueError, AttributeError, OverflowError):
        number = 0
    if number < 1:
        raise ValueError(f"{name} is {shown(value)}; needed are bytes, for example '8 GB'.")
    return number


def _as_memory(name: str, value: int | float | str | None) -> int | None:
    number = _as_bytes(name, value)
    if number is not None and number < _LEAST_MEMORY:
        raise ValueError(
            f"{name} is {shown(value)}, which are {number} bytes; with a unit, for example '8 GB'."
        )
    return number


_LEAST_MEMORY = 1000
"""Bytes; of less a unit was left out."""


@dataclass(frozen=True, repr=False)
class Limits(Options):
    """What a run may take of the machine; nothing of this changes a voxel.

    Parameters
    ----------
    memory
        Bytes, or text such as `"8 GB"`, for one worker; by default what the machine has.
    threads
        Blocks in work at a time; by default one per processor.
    io
        `"auto"`, or the name of a back end: `"zarr"` or `"tensorstore"`.
    cache
        Bytes, or text, of decoded chunks of the source that are kept for blocks to come; by default
        what the order of the blocks needs, at most a quarter of the memory and 1 GB.
    durable
        Whether what counts as done outlasts a machine that loses its power: files are flushed to
        the disk before their receipts are stored. False for scratch disks: a run that is killed
        loses nothing either way.
    cache_probe
        Whether what is found out about a model (where tiles are left to `"auto"`; the memory of
        its calls, where that is much) is kept in the user's cache folder, and taken from there in
        later plans of the same model and image.

    Raises
    ------
    ValueError
        If one is not what it needs to be.

    Examples
    --------
    >>> Limits("8 GB", threads=2)
    Limits(memory=8000000000, threads=2)
    """

    memory: int | float | str | None = option(
        None,
        word="memory_limit",
        check=_as_memory,
        help="For one worker, for example '8 GB'.",
        example="4 GB",
    )
    threads: int | None = option(
        None, parser=INTEGER, check=as_optional_count, help="Blocks in work at a time.", example=1
    )
    io: str = option(
        "auto",
        parser=("auto", *BACK_ENDS),
        check=lambda _, io: check_io(io),
        help="What reads and writes.",
        example="zarr",
    )
    cache: int | float | str | None = option(
        None,
        check=_as_bytes,
        help="Decoded chunks that are kept for blocks to come, for example '2 GB'.",
        example="1 MB",
    )
    durable: bool = option(
        True, check=as_flag, help="Have results outlast a loss of power.", example=False
    )
    cache_probe: bool = option(
        True,
        check=as_flag,
        help="Remember what is found out about the model.",
        example=False,
    )

    @property
    def nbytes(self) -> int:
        """Bytes that one worker may take."""
        return available_memory() if self.memory is None else int(self.memory)

    @property
    def n_threads(self) -> int:
        """Blocks in work at a time, where nothing else limits them."""
        return self.threads or CPU_COUNT


class LimitsWords(TypedDict, total=False):
    """The flat words of `Limits`."""

    memory_limit: int | float | str | None
    threads: int | None
    io: str
    cache: int | float | str | None
    durable: bool
    cache_probe: bool


def limited(nbytes: int) -> str:
    """Bytes, as they are told whoever may have set them: a round number as it was said.

    >>> limited(8_000_000_000), limited(1000), limited(2**30 + 1)
    ('8 GB', '1 kB', '1.00 GiB')
    """
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if nbytes % factor == 0 and nbytes < 1000 * factor:
            return f"{nbytes // factor} {unit}"
    return format_bytes(nbytes)


def available_memory() -> int:
    """Bytes that this machine has for us: its memory, or what limits us to less of it."""
    # Of the machine, not what is free just now: a plan must not depend on who else is running.
    total = int(psutil.virtual_memory().total)
    if resource is not None:
        most, _ = resource.getrlimit(resource.RLIMIT_AS)
        total = min(total, most) if most != resource.RLIM_INFINITY else total
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        limit = Path("/sys/fs/cgroup") / name
        try:
            total = min(total, int(limit.read_text()))
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return total
