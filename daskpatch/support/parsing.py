"""How the values of options are written as text, on a command line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Parser:
    """What a kind of text is called, and what it stands for; a `ValueError` says what is wrong."""

    metavar: str
    parse: Callable[[str], object]


def _sizes(text: str) -> int | tuple[int, ...]:
    """`64` or `80,160,160`."""
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(
            f"{text!r} is no integer, and no list of integers such as 80,160,160"
        ) from None
    return numbers if "," in text else numbers[0]


def _sizes_or_auto(text: str) -> int | tuple[int, ...] | str:
    """The same, or `auto`."""
    return text if text == "auto" else _sizes(text)


def _indices(text: str) -> tuple[int, ...]:
    """`0` or `0,2`: always a sequence."""
    indices = _sizes(text)
    return (indices,) if isinstance(indices, int) else indices


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{text!r} is no integer") from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text!r} is no number") from None


def _seconds(text: str) -> float:
    """`60`, `0.5` or `inf`."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not seconds >= 0:  # also for what is no number: nan
        raise ValueError(f"{text!r} is no number of seconds, 0 or more")
    return seconds


def _names(text: str) -> str | tuple[str, ...]:
    """`flips` or `flips,rot90`; `2` or `1,1/4,1/4`."""
    entries = tuple(text.split(","))
    return entries if len(entries) > 1 else text


def _dtypes(text: str) -> str | dict[str, str]:
    """`uint8`, or of several arrays some by name: `prob=float16,labels=uint8`."""
    if "=" not in text:
        return text
    try:
        return dict(part.split("=") for part in text.split(","))
    except ValueError:
        raise ValueError(f"{text!r} holds something else than name=dtype") from None


def _normalization(text: str) -> object:
    """`zscore`, `minmax`, `percentile`, `percentile:1,99.8`, `mean=3,std=2`, `low=0,high=4095`."""
    try:
        if "=" in text:
            pairs = (part.split("=") for part in text.split(","))
            return {name: [float(n) for n in numbers.split(":")] for name, numbers in pairs}
        kind, _, numbers = text.partition(":")
        return (kind, *map(float, numbers.split(","))) if numbers else kind
    except ValueError:
        raise ValueError(
            f"{text!r} is no normalisation such as zscore, percentile:1,99.8 or mean=3,std=2"
        ) from None


def _region(text: str) -> tuple[slice | int, ...]:
    """`100:200,:,0:512`: slices of the output."""
    try:
        return tuple(map(_slice, text.split(",")))
    except ValueError:
        raise ValueError(
            f"{text!r} holds something else than slices such as 100:200,:,0:512"
        ) from None


def _slice(text: str) -> slice | int:
    if ":" not in text:
        return int(text)
    start, stop = text.split(":")
    return slice(int(start) if start else None, int(stop) if stop else None)


def _share(text: str) -> tuple[int, int]:
    """`3/16`: the third of sixteen."""
    first, _, second = text.partition("/")
    try:
        number, of = int(first), int(second)
    except ValueError:
        number, of = 0, 0
    if not 1 <= number <= of:
        raise ValueError(f"{text!r} is no share i/n with 1 <= i <= n, such as 3/16")
    return number, of


def _resources(text: str) -> dict[str, float]:
    """`GPU=1,memory=8e9`."""
    try:
        pairs = [part.split("=") for part in text.split(",")]
        return {name: float(amount) for name, amount in pairs}
    except ValueError:
        raise ValueError(f"{text!r} holds something else than resources such as GPU=1") from None


SIZES = Parser("n[,n…]", _sizes)
SIZES_OR_AUTO = Parser("n[,n…]|auto", _sizes_or_auto)
INDICES = Parser("i[,i…]", _indices)
INTEGER = Parser("n", _integer)
NUMBER = Parser("x", _number)
SECONDS = Parser("seconds", _seconds)
KINDS = Parser("kind[,kind]", _names)
SCALES = Parser("s[,s…]", _names)
DTYPES = Parser("dtype", _dtypes)
NORMALIZATION = Parser("how", _normalization)
REGION = Parser("a:b,…", _region)
SHARE = Parser("i/n", _share)
RESOURCES = Parser("name=n[,…]", _resources)
NAME = Parser("NAME", str)
FILE = Parser("FILE", str)
