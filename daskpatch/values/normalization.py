"""Values moved and stretched, the same way everywhere in an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

_LEAST = float(np.finfo(np.float32).tiny)
"""What values may be divided by at least: float32 holds its inverse."""

_PERCENTILES = (1.0, 99.8)
"""As CSBDeep, StarDist and their kin have it by default."""


@dataclass(frozen=True, slots=True)
class ValueMap:
    """`(x - offset) / scale`, with one number for all channels or one for each.

    >>> ValueMap((2.0,), (4.0,)).undo(np.float32([[0.5]]))
    array([[4.]], dtype=float32)
    """

    offset: tuple[float, ...]
    scale: tuple[float, ...]

    def apply(self, target: NDArray[Any], values: NDArray[Any]) -> None:
        """Map `C(Z)YX` values into an array of floats; differences are taken in float64."""
        for channel, (given, mapped) in enumerate(zip(values, target, strict=True)):
            offset, scale = self._of(channel)
            np.subtract(given, offset, out=mapped, dtype=np.float64, casting="unsafe")
            np.divide(mapped, scale, out=mapped, dtype=mapped.dtype, casting="unsafe")

    def undo(self, results: NDArray[Any]) -> NDArray[Any]:
        """The inverse, of `(C, …)`; a new array."""
        mapped = np.empty(results.shape, np.result_type(results.dtype, np.float32))
        for channel, (given, restored) in enumerate(zip(results, mapped, strict=True)):
            offset, scale = self._of(channel)
            np.multiply(given, scale, out=restored, dtype=np.float64, casting="unsafe")
            np.add(restored, offset, out=restored, dtype=np.float64, casting="unsafe")
        return mapped

    def _of(self, channel: int) -> tuple[float, float]:
        at = channel if len(self.offset) > 1 else 0
        return self.offset[at], self.scale[at]


@dataclass(frozen=True, slots=True)
class Normalization:
    """How images are to be normalised.

    Attributes
    ----------
    kind
        `"zscore"`, `"percentile"`, `"minmax"` or `"constants"`.
    percentiles
        The low one, which becomes 0, and the high one, which becomes 1.
    constants
        For the last kind: what is applied; None where it is to be measured.
    over
        What statistics are of: each `"image"`, or all of the `"series"`.
    per_channel
        Whether each channel has its own.
    fraction
        Of the image that is read for them.
    """

    kind: str
    percentiles: tuple[float, float] = _PERCENTILES
    constants: ValueMap | None = None
    over: str = "image"
    per_channel: bool = True
    fraction: float = 1.0

    def __str__(self) -> str:
        names = {
            "zscore": "zscore",
            "minmax": "minmax",
            "percentile": "percentile {:g} to {:g}".format(*self.percentiles),
            "constants": "constants given",
        }
        if self.kind == "constants":
            return names[self.kind]
        text = f"{names[self.kind]} of the whole {self.over}"
        text += ", each channel" if self.per_channel else ", all channels"
        return text if self.fraction == 1 else f"{text}, {self.fraction:.3g} of it read"


def as_normalization(
    normalize: Any, *, over: str, per_channel: bool, fraction: float
) -> Normalization | None:
    """What was asked for, checked.

    Raises
    ------
    ValueError
        If it is nothing that normalises.
    """
    if over not in ("image", "series"):
        raise ValueError(f"normalize_over is {over!r}; needed is 'image' or 'series'.")
    if not _is_number(fraction) or not 0 < fraction <= 1:
        raise ValueError(f"normalize_fraction is {fraction!r}; needed is a number in (0, 1].")
    if not isinstance(per_channel, bool):
        raise ValueError(f"normalize_per_channel is {per_channel!r}; needed is True or False.")
    if normalize is None:
        return None
    settings: Any = {"over": over, "per_channel": per_channel, "fraction": float(fraction)}
    if isinstance(normalize, Mapping):
        return Normalization("constants", constants=_constants(normalize))
    if isinstance(normalize, str) and normalize in ("zscore", "minmax", "percentile"):
        return Normalization(normalize, **settings)
    if isinstance(normalize, list | tuple) and len(normalize) == 3 and normalize[0] == "percentile":
        return Normalization("percentile", _as_percentiles(*normalize[1:]), **settings)
    raise ValueError(
        f"normalize is {normalize!r}; needed is 'zscore', 'minmax', 'percentile', ('percentile', "
        "low, high), {'mean': …, 'std': …} or {'low': …, 'high': …}."
    )


def options_of(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """The options of `plan` that a normalisation, as plain values, was made from."""
    normalize: Any = recorded["kind"]
    if normalize == "percentile":
        normalize = ("percentile", *recorded["percentiles"])
    elif normalize == "constants":
        constants = recorded["constants"]
        normalize = {"mean": constants["offset"], "std": constants["scale"]}
    return {
        "normalize": normalize,
        "normalize_over": recorded["over"],
        "normalize_per_channel": recorded["per_channel"],
        "normalize_fraction": recorded["fraction"],
    }


def _as_percentiles(low: Any, high: Any) -> tuple[float, float]:
    if not (_is_number(low) and _is_number(high) and 0 <= low < high <= 100):
        raise ValueError(
            f"percentiles are {low!r} and {high!r}; needed are two numbers, 0 <= low < high <= 100."
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
            f"normalize holds {', '.join(map(repr, names))}; needed are 'mean' and 'std', or 'low' "
            "and 'high'."
        )
    _check_same_length(names, offset, scale)
    if not all(_LEAST <= s < np.inf for s in scale):
        raise ValueError(
            f"normalize is {dict(given)!r}; std, or high - low, must be above 0 ({_LEAST:.2g} at "
            "least) and finite."
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
            f"normalize has {name} {value!r}; needed is a number, or one for each channel."
        )
    return tuple(map(float, entries))


def _is_finite(value: Any) -> bool:
    return _is_number(value) and abs(value) <= float(np.finfo(np.float64).max)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
