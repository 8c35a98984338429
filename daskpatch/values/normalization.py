"""How values are normalised: the same way everywhere in an image."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypedDict

import numpy as np
from numpy.typing import NDArray

from ..support import (
    NORMALIZATION,
    NUMBER,
    Options,
    as_flag,
    declarations,
    is_number,
    need,
    option,
    shown,
)
from .conversion import convert
from .value_map import ValueMap

_LEAST = float(np.finfo(np.float32).tiny)
"""What values may be divided by at least: float32 holds its inverse."""

_PERCENTILES = (1.0, 99.8)
"""As CSBDeep, StarDist and their kin have it by default."""

Numbers = float | Sequence[float]
"""One number for all channels, or one for each."""

NormalizeLike = (
    Literal["zscore", "minmax", "percentile"]
    | tuple[Literal["percentile"], float, float]
    | Mapping[str, Numbers]
    | ValueMap
)
"""What values are normalised by, as the user says it."""


def _as_kind(name: str, normalize: object) -> object:  # noqa: ARG001 (the interface of a check)
    """The normal form: a name, percentiles with their name, or a map of constants."""
    if normalize is None or isinstance(normalize, ValueMap):
        return normalize
    if isinstance(normalize, Mapping):
        return _constants(normalize)
    if isinstance(normalize, str) and normalize in ("zscore", "minmax"):
        return normalize
    if isinstance(normalize, str) and normalize == "percentile":
        return (normalize, *_PERCENTILES)
    if isinstance(normalize, list | tuple) and len(normalize) == 3 and normalize[0] == "percentile":
        return ("percentile", *_as_percentiles(*normalize[1:]))
    raise ValueError(
        f"normalize is {shown(normalize)}; needed is 'zscore', 'minmax', 'percentile', "
        "('percentile', low, high), {'mean': …, 'std': …} or {'low': …, 'high': …}."
    )


def _check_over(name: str, over: object) -> object:
    need(over in ("image", "series"), name, over, "'image' or 'series'")
    return over


def _check_fraction(name: str, fraction: Any) -> float:
    need(is_number(fraction) and 0 < fraction <= 1, name, fraction, "a number in (0, 1]")
    return float(fraction)


_OF_STATISTICS = ("over", "per_channel", "fraction")
"""Options that say what is measured."""


def _restored_kind(recorded: Mapping[str, Any]) -> object:
    if recorded["kind"] == "percentile":
        return ("percentile", *recorded["percentiles"])
    if recorded["kind"] == "constants":
        constants = recorded["constants"]
        return ValueMap(tuple(constants["offset"]), tuple(constants["scale"]))
    return recorded["kind"]


@dataclass(frozen=True, repr=False)
class Normalize(Options):
    """How values are mapped before the model sees them.

    Parameters
    ----------
    kind
        `"zscore"`, `"minmax"`, `"percentile"` (1 to 99.8) or `("percentile", low, high)`, whose
        statistics are measured once; or constants, which are not: `{"mean": …, "std": …}` or
        `{"low": …, "high": …}`, numbers or one per channel. None leaves values as they are.
    over, per_channel, fraction
        Statistics of each `"image"` or of the whole `"series"`; of each channel or of all
        together; and the share of the chunks that is read for them.
    undo
        Whether the model's results are mapped back.

    Raises
    ------
    ValueError
        If it is nothing that normalises.

    Examples
    --------
    >>> Normalize("percentile", fraction=0.1)
    Normalize(kind=('percentile', 1.0, 99.8), fraction=0.1)
    """

    kind: NormalizeLike | None = option(
        None,
        word=None,
        flag="--normalize",
        parser=NORMALIZATION,
        check=_as_kind,
        guard="treatment.normalize",
        record=lambda normalize: normalize.to_dict(),
        restore=_restored_kind,
        say=lambda normalize, _: normalize.told(),
        help="zscore, minmax, percentile, percentile:1,99.8, mean=3,std=2 or low=0,high=4095; "
        "constants for each channel as mean=3:4,std=2:2.",
        example="minmax",
    )
    over: Literal["image", "series"] = option(
        "image",
        word="normalize_over",
        parser=("image", "series"),
        check=_check_over,
        shows_in="treatment.normalize.over",
        restore=lambda recorded: recorded,
        help="What its statistics are of.",
        example="series",
    )
    per_channel: bool = option(
        True,
        word="normalize_per_channel",
        flag="--normalize-per-channel/--normalize-all-channels",
        check=as_flag,
        shows_in="treatment.normalize.per_channel",
        restore=lambda recorded: recorded,
        help="Statistics of each channel, or of all together.",
        example=False,
    )
    fraction: float = option(
        1.0,
        word="normalize_fraction",
        parser=NUMBER,
        check=_check_fraction,
        shows_in="treatment.normalize.fraction",
        restore=lambda recorded: recorded,
        help="The share that is read for them.",
        example=0.5,
    )
    undo: bool = option(
        False,
        word="denormalize",
        check=as_flag,
        guard="treatment.denormalize",
        help="Map the model's results back.",
        example=True,
    )

    def _check(self) -> None:
        if self.undo and self.kind is None:
            raise ValueError(
                "denormalize is True: it maps back what normalize= did, which is None; give "
                "normalize= too."
            )
        if self.kind is None:
            self._check_measuring()

    def _check_measuring(self) -> None:
        """No option of statistics where there are none to measure."""
        for name in _OF_STATISTICS:
            declared = declarations(Normalize)[name]
            if getattr(self, name) != declared.default:
                raise ValueError(
                    f"{declared.word} is {getattr(self, name)!r}, which says how statistics are "
                    "measured, and normalize= is None: nothing is; leave it out, or give "
                    "normalize='zscore'."
                )

    @property
    def name(self) -> str:
        """`"zscore"`, `"minmax"`, `"percentile"` or `"constants"`."""
        if isinstance(self.kind, ValueMap):
            return "constants"
        return str(self.kind[0] if isinstance(self.kind, tuple) else self.kind)

    @property
    def percentiles(self) -> tuple[float, float]:
        """The low one, which becomes 0, and the high one, which becomes 1."""
        return self.kind[1:] if isinstance(self.kind, tuple) else _PERCENTILES

    @property
    def constants(self) -> ValueMap | None:
        """What is applied, where it need not be measured."""
        return self.kind if isinstance(self.kind, ValueMap) else None

    @property
    def measures(self) -> bool:
        """Whether it needs statistics."""
        return self.kind is not None and self.constants is None

    def fill(self, given: NDArray[Any], values: NDArray[Any], value_map: ValueMap | None) -> None:
        """Fill what the model is given, `C(Z)YX`, from what was read and what was measured."""
        if value_map is None:
            convert(given, values)
        else:
            value_map.apply(given, values)

    def to_dict(self) -> dict[str, Any] | None:
        """Plain values, ready for JSON; None where nothing is normalised."""
        if self.kind is None:
            return None
        return {
            "kind": self.name,
            "percentiles": self.percentiles,
            "constants": None if self.constants is None else asdict(self.constants),
            "over": self.over,
            "per_channel": self.per_channel,
            "fraction": self.fraction,
        }

    def told(self) -> str:
        """A line of the plan's text."""
        if self.kind is None:
            return ""
        return f"values normalised: {self}{', mapped back afterwards' if self.undo else ''}"

    def __str__(self) -> str:
        if self.constants is not None:
            return "constants given"
        name = self.name
        if name == "percentile":
            name = "percentile {:g} to {:g}".format(*self.percentiles)
        text = f"{name} of the whole {self.over}"
        text += ", each channel" if self.per_channel else ", all channels"
        return text if self.fraction == 1 else f"{text}, {self.fraction:.3g} of it read"


class NormalizeWords(TypedDict, total=False):
    """The flat words of `Normalize`."""

    normalize_over: Literal["image", "series"]
    normalize_per_channel: bool
    normalize_fraction: float
    denormalize: bool


def _as_percentiles(low: object, high: object) -> tuple[float, float]:
    if not (is_number(low) and is_number(high) and 0 <= low < high <= 100):
        raise ValueError(
            f"normalize is {shown(('percentile', low, high))}; needed are two numbers, 0 <= low < "
            "high <= 100."
        )
    return float(low), float(high)


def _constants(given: Mapping[str, Any]) -> ValueMap:
    names = tuple(given)
    if set(names) == {"mean", "std"}:
        offset, scale = _numbers(given["mean"], "mean"), _numbers(given["std"], "std")
    elif set(names) == {"low", "high"}:
        offset, high = _numbers(given["low"], "low"), _numbers(given["high"], "high")
        _check_same_length(names, offset, high)
        scale = tuple(b - a for a, b in zip(offset, high, strict=True))
    else:
        raise ValueError(
            f"normalize is {shown(dict(given))}; needed are 'mean' and 'std', or 'low' and 'high'."
        )
    _check_same_length(names, offset, scale)
    if not all(_LEAST <= s < np.inf for s in scale):
        raise ValueError(
            f"normalize is {shown(dict(given))}; std, or high - low, must be above 0 ({_LEAST:.2g} "
            "at least) and finite."
        )
    return ValueMap(offset, scale)


def _check_same_length(names: Sequence[str], a: Sequence[float], b: Sequence[float]) -> None:
    if len(a) != len(b):
        raise ValueError(
            f"normalize has {len(a)} and {len(b)} numbers for {names[0]} and {names[1]}; needed "
            "are as many of both: one, or one per channel."
        )


def _numbers(value: Any, name: str) -> tuple[float, ...]:
    entries = tuple(value) if np.ndim(value) else (value,)
    if not entries or not all(map(_is_finite, entries)):
        raise ValueError(
            f"normalize has {name} {shown(value)}; needed is a number, or one for each channel."
        )
    return tuple(map(float, entries))


def _is_finite(value: object) -> bool:
    try:
        return is_number(value) and math.isfinite(value)
    except OverflowError:  # an integer beyond all floats
        return False
