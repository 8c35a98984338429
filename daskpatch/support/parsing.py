"""How the values of options are written as text, on a command line."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from .wording import shown


@dataclass(frozen=True, slots=True)
class Parser:
    """What a kind of text is called, and what it stands for.

    `problem` says of text that is none what it is not.
    """

    metavar: str
    convert: Callable[[str], object]
    problem: str = ""

    def __call__(self, text: str) -> object:
        """What the text stands for.

        Raises
        ------
        ValueError
            If it is none.
        """
        try:
            return self.convert(text)
        except ValueError:
            raise ValueError(f"{shown(text)} {self.problem}") from None


_NONE = "none"

_RANGE = re.compile(r"(-?\d+)?:(-?\d+)?")


def _number_or_auto(text: str) -> int | str | None:
    if text == _NONE:
        return None
    return text if text == "auto" else int(text)


_OME = {"yes": True, "no": False, "0.4": "0.4", "0.5": "0.5"}


def _ome(text: str) -> object:
    if text not in _OME:
        raise ValueError
    return _OME[text]


def _emptiness(text: str) -> object:
    if text == "yes":
        return True
    try:
        return int(text) if text.lstrip("-").isdecimal() else float(text)
    except ValueError:
        if ":" not in text:
            raise
        return text


def _sizes(text: str) -> int | tuple[int, ...]:
    numbers = tuple(int(part) for part in text.split(","))
    return numbers if "," in text else numbers[0]


def _indices_or_names(text: str) -> tuple[int | str, ...] | slice:
    if _RANGE.fullmatch(text):
        start, _, stop = text.partition(":")
        return slice(int(start) if start else None, int(stop) if stop else None)
    parts = text.split(",")
    if not all(parts):
        raise ValueError
    return tuple(int(part) if part.lstrip("-").isdecimal() else part for part in parts)


def _seconds(text: str) -> float:
    seconds = float(text)
    if not seconds >= 0:  # also for what is no number: nan
        raise ValueError
    return seconds


def _names(text: str) -> str | tuple[str, ...]:
    entries = tuple(text.split(","))
    return entries if len(entries) > 1 else text


def _pairs(text: str) -> dict[str, str]:
    return dict(part.split("=") for part in text.split(","))


_NORMALIZATIONS = ("zscore", "minmax", "percentile")


def _normalization(text: str) -> object:
    if "=" in text:
        return {
            name: [float(n) for n in numbers.split(":")] for name, numbers in _pairs(text).items()
        }
    kind, _, numbers = text.partition(":")
    if kind not in _NORMALIZATIONS:
        raise ValueError
    if not numbers:
        return kind
    low, high = map(float, numbers.split(","))
    return kind, low, high


def _slice(text: str) -> slice | int:
    if ":" not in text:
        return int(text)
    start, stop = text.split(":")
    return slice(int(start) if start else None, int(stop) if stop else None)


def _share(text: str) -> tuple[int, int]:
    first, _, second = text.partition("/")
    number, of = int(first), int(second)
    if not 1 <= number <= of:
        raise ValueError
    return number, of


_NO_SIZES = "is no integer, and no list of integers such as 80,160,160"

# 64, or 80,160,160; or auto
SIZES = Parser("n[,n…]", _sizes, _NO_SIZES)
SIZES_OR_AUTO = Parser(
    "n[,n…]|auto", lambda t: t if t == "auto" else _sizes(t), f"{_NO_SIZES}, nor auto"
)
# 0, or 0,2, or DAPI,GFP: always a sequence; or 0:2
CHANNELS = Parser("i[,i…]|a:b", _indices_or_names, "holds an empty entry; needed is 0,2 or names")
INTEGER = Parser("n", int, "is no integer")
NUMBER = Parser("x", float, "is no number")
# 60, 0.5 or inf
SECONDS = Parser("seconds", _seconds, "is no number of seconds such as 60")
# flips, or flips,rot90
KINDS = Parser("kind[,kind]", _names)
# 2, or 1,1/4,1/4
SCALES = Parser("s[,s…]", _names)
# uint8, or of several arrays some by name: prob=float16,labels=uint8
DTYPES = Parser(
    "dtype", lambda t: _pairs(t) if "=" in t else t, "holds something else than name=dtype"
)
# zscore, percentile:1,99.8, mean=3,std=2; for each channel mean=3:4,std=2:2
NORMALIZATION = Parser(
    "how", _normalization, "is no normalisation such as zscore, percentile:1,99.8 or mean=3,std=2"
)
# 100:200,:,0:512
REGION = Parser(
    "a:b,…",
    lambda text: tuple(map(_slice, text.split(","))),
    "holds something else than slices such as 100:200,:,0:512",
)
# 3/16: the third of sixteen
SHARE = Parser("i/n", _share, "is no share i/n with 1 <= i <= n, such as 3/16")
# GPU=1,memory=8e9
RESOURCES = Parser(
    "name=n[,…]",
    lambda text: {name: float(amount) for name, amount in _pairs(text).items()},
    "holds something else than resources such as GPU=1",
)
NAME = Parser("NAME", str)
FILE = Parser("FILE", str)

# auto, none, or 3
PYRAMID = Parser("n|auto|none", _number_or_auto, "is no number of levels, auto or none")
# 1,2,2/2,2,2: of two levels
FACTORS = Parser(
    "f[,f…][/…]",
    lambda text: tuple(map(_sizes, text.split("/"))),
    "holds something else than factors of levels such as 1,2,2/2,2,2",
)
# alone, or 0, or file.py:name
SKIP_EMPTY = Parser("[x|FILE.py:NAME]", _emptiness, "is no number, and no file.py:name")
OME = Parser("[yes|no|0.4|0.5]", _ome, "is none of yes, no, 0.4 and 0.5")
# membrane,nuclei
NAMES = Parser("name[,name…]", lambda text: tuple(text.split(",")))
