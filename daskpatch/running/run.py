"""How a plan is carried out: the option of that name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

from ..engine import Client, Interruption, is_asynchronous
from ..geometry import RegionLike
from ..receipts import Part
from ..support import (
    DEFAULT_PACING,
    INTEGER,
    REGION,
    RESOURCES,
    SECONDS,
    SHARE,
    Options,
    Pacing,
    as_flag,
    is_integer,
    is_number,
    need,
    option,
    shown,
)


def _check_client(name: str, client: object) -> object:
    if client is not None and not hasattr(client, "nthreads"):
        raise TypeError(
            f"{name} is {shown(client)}; needed is a dask.distributed client: Client(address)."
        )
    if client is not None and is_asynchronous(client):
        raise TypeError(
            f"{name} is asynchronous; needed is one that can be waited for: open it with "
            "asynchronous=False outside of coroutines, and in a coroutine run in a thread: await "
            "asyncio.to_thread(plan.run, client=client)."
        )
    return client


def _check_part(name: str, part: Any) -> tuple[int, int] | None:
    if part is None:
        return None
    pair = isinstance(part, tuple | list) and len(part) == 2 and all(map(is_integer, part))
    need(pair and 1 <= part[0] <= part[1], name, part, "(i, n) with 1 <= i <= n")
    return int(part[0]), int(part[1])


def _check_retries(name: str, retries: Any) -> int:
    need(is_integer(retries) and retries >= 0, name, retries, "an integer, 0 or more")
    return int(retries)


def _check_patience(name: str, patience: Any) -> float:
    holds = is_number(patience) and patience >= 0
    need(holds, name, patience, "a number of seconds, 0 or more")
    return float(patience)


def _check_timeout(name: str, timeout: Any) -> float | None:
    if timeout is None:
        return None
    need(is_number(timeout) and timeout > 0, name, timeout, "a number of seconds above 0, or None")
    return float(timeout)


def _check_resources(name: str, resources: Any) -> object:
    holds = resources is None or (
        isinstance(resources, Mapping)
        and all(
            isinstance(key, str) and is_number(amount) and 0 < amount < math.inf
            for key, amount in resources.items()
        )
    )
    need(holds, name, resources, "amounts above 0 by name, such as {'GPU': 1}")
    return resources


def _check_interruption(name: str, interruption: object) -> object:
    is_one = interruption is None or isinstance(interruption, Interruption)
    need(is_one, name, interruption, "a daskpatch.Interruption")
    return interruption


def _check_pacing(name: str, pacing: object) -> object:
    need(isinstance(pacing, Pacing), name, pacing, "a daskpatch.Pacing")
    return pacing


@dataclass(frozen=True, repr=False)
class Run(Options):
    """How a plan is carried out; nothing of this changes a voxel.

    Parameters
    ----------
    client
        A `dask.distributed.Client`; by default the active one, else threads of this process.
    region
        Slices of the output (of a single image), rounded out to blocks; by default all.
    resume
        Go on with an interrupted run, or start it. Chunks, shards and block shape that were
        not given to the plan are those it began with.
    part
        `(i, n)`, 1 <= i <= n: only the i-th of n shares of the blocks. Parts may run at the
        same time, on machines that share the store; implies `resume`.
    retries
        Tries after the first one of a block that fails.
    resources
        What a block takes of a worker's resources, such as `{"GPU": 1}`; with a client.
    patience
        Seconds to wait for a worker when none is left; with a client.
    timeout
        Seconds that a block may take, its reading and writing included; by default any. In
        threads of this process a block that takes longer fails, with the stack of its thread,
        which is replaced, as often as there are threads. A worker process is ended, and the block
        tried once more, alone. A call that holds the interpreter's lock is not seen.
    interruption
        What stops the run early when it is requested: no new block begins, those that run
        end, and `KeyboardInterrupt` is raised.
    progress
        Whether to show a bar: in a terminal or a notebook; elsewhere a line is logged (to
        the logger `daskpatch`, level INFO) every half minute.
    pacing
        Times and delays: how often receipts are stored, how long stores are waited for.

    Raises
    ------
    ValueError, TypeError
        If an option is not what it needs to be, or does not go with another.

    Examples
    --------
    >>> Run(part=(3, 16)).resumes
    True
    """

    client: Client | None = option(
        None, flag=None, check=_check_client, help="A dask.distributed client.", example=None
    )
    region: RegionLike | None = option(
        None, parser=REGION, help="A part of the output: 0:64,:,:.", example=(..., slice(0, 12))
    )
    progress: bool = option(True, check=as_flag, help="Show a bar.", example=False)
    resume: bool = option(False, check=as_flag, help="Go on with an interrupted run.", example=True)
    part: tuple[int, int] | None = option(
        None,
        parser=SHARE,
        check=_check_part,
        help="The i-th of n shares of the blocks.",
        example=(1, 1),
    )
    retries: int = option(
        2, parser=INTEGER, check=_check_retries, help="Tries after the first that fails.", example=0
    )
    resources: Mapping[str, float] | None = option(
        None,
        parser=RESOURCES,
        check=_check_resources,
        help="What a block takes of a worker's.",
        example=None,
    )
    patience: float = option(
        600.0,
        parser=SECONDS,
        check=_check_patience,
        help="Seconds to wait for workers.",
        example=1.0,
    )
    timeout: float | None = option(
        None,
        parser=SECONDS,
        check=_check_timeout,
        help="Seconds that a block may take.",
        example=3600.0,
    )
    interruption: Interruption | None = option(
        None,
        flag=None,
        check=_check_interruption,
        help="What stops the run early.",
        example=Interruption(),
    )
    pacing: Pacing = option(
        DEFAULT_PACING,
        flag=None,
        check=_check_pacing,
        help="Times and delays.",
        example=Pacing(flush=0.0),
    )

    def _check(self) -> None:
        if self.part is not None and self.region is not None:
            raise ValueError(
                f"region is {shown(self.region)} and part is {self.part}; give one of them."
            )

    @property
    def resumes(self) -> bool:
        """Whether it goes on with what is there."""
        return self.resume or self.part is not None

    @property
    def share(self) -> Part:
        return Part() if self.part is None else Part(*self.part)


class RunWords(TypedDict, total=False):
    """The flat words of `Run`."""

    client: Client | None
    region: RegionLike | None
    progress: bool
    resume: bool
    part: tuple[int, int] | None
    retries: int
    resources: Mapping[str, float] | None
    patience: float
    timeout: float | None
    interruption: Interruption | None
    pacing: Pacing
