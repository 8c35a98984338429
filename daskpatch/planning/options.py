"""The options of a run, checked before anything else happens."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

from ..engine import Interruption
from ..receipts import Part


@dataclass(frozen=True)
class Options:
    """The options of `Plan.run`, which documents them.

    Raises
    ------
    ValueError
        If one is not what it needs to be, or does not go with another.
    """

    client: Any | None
    threads: int | None
    region: Any | None
    progress: bool
    resume: bool
    part: tuple[int, int] | None
    retries: int
    resources: Mapping[str, float] | None
    patience: float
    interruption: Interruption

    def __post_init__(self) -> None:
        _need(isinstance(self.resume, bool), "resume", self.resume, "True or False")
        _need(
            _is_integer(self.retries) and self.retries >= 0,
            "retries",
            self.retries,
            "an integer, 0 or more",
        )
        _need(
            _is_number(self.patience) and self.patience >= 0,
            "patience",
            self.patience,
            "a number of seconds, 0 or more",
        )
        _need(
            isinstance(self.interruption, Interruption),
            "interruption",
            self.interruption,
            "a daskpatch.Interruption",
        )
        _need(
            self.resources is None or _are_resources(self.resources),
            "resources",
            self.resources,
            "amounts above 0 by name, such as {'GPU': 1}",
        )
        if self.part is not None:
            _need(_is_part(self.part), "part", self.part, "(i, n) with 1 <= i <= n")
            if self.region is not None:
                raise ValueError("Give region or part, not both.")

    @property
    def share(self) -> Part:
        return Part() if self.part is None else Part(*map(int, self.part))


def _need(holds: bool, name: str, value: Any, needed: str) -> None:
    if not holds:
        raise ValueError(f"{name} is {value!r}; needed is {needed}.")


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and not math.isnan(value)


def _is_integer(value: Any) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool)


def _are_resources(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(name, str) and _is_number(amount) and 0 < amount < math.inf
        for name, amount in value.items()
    )


def _is_part(value: Any) -> bool:
    if not isinstance(value, tuple | list) or len(value) != 2:
        return False
    number, of = value
    return _is_integer(number) and _is_integer(of) and 1 <= number <= of
