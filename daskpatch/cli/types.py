"""How options are written on a command line."""

from __future__ import annotations

from typing import Any

import click


class Sizes(click.ParamType):  # type: ignore[type-arg] # generic in newer clicks only
    """`64` or `80,160,160`."""

    name = "n[,n…]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ARG002 (the interface)
        if not isinstance(value, str):
            return value
        try:
            numbers = tuple(int(part) for part in value.split(","))
        except ValueError:
            self.fail(f"{value!r} is no integer, and no list of integers such as 80,160,160", param)
        return numbers if "," in value else numbers[0]


class SizesOrAuto(Sizes):
    """The same, or `auto`."""

    name = "n[,n…]|auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if value == "auto" else super().convert(value, param, ctx)


class Scales(click.ParamType):  # type: ignore[type-arg] # generic in newer clicks only
    """`2` or `1,1/4,1/4`: checked by `plan`."""

    name = "s[,s…]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ARG002 (the interface)
        if not isinstance(value, str):
            return value
        entries = value.split(",")
        return entries if len(entries) > 1 else value


class Dtypes(click.ParamType):  # type: ignore[type-arg] # generic in newer clicks only
    """`uint8`, or of several arrays some by name: `prob=float16,labels=uint8`."""

    name = "dtype"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ARG002 (the interface)
        if not isinstance(value, str) or "=" not in value:
            return value
        try:
            return dict(part.split("=") for part in value.split(","))
        except ValueError:
            self.fail(f"{value!r} holds something else than name=dtype", param)


class Kinds(click.ParamType):  # type: ignore[type-arg] # generic in newer clicks only
    """`flips` or `flips,rot90`: checked by `plan`."""

    name = "kind[,kind]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ARG002 (the interface)
        return tuple(value.split(",")) if isinstance(value, str) else value


class Normalize(click.ParamType):  # type: ignore[type-arg] # generic in newer clicks only
    """`zscore`, `minmax`, `percentile`, `percentile:1,99.8`, `mean=3,std=2` or `low=0,high=4095`.

    Constants for each channel are written `mean=3:4,std=2:2`.
    """

    name = "how"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ARG002 (the interface)
        if not isinstance(value, str):
            return value
        try:
            if "=" in value:
                pairs = (part.split("=") for part in value.split(","))
                return {name: [float(n) for n in numbers.split(":")] for name, numbers in pairs}
            kind, _, numbers = value.partition(":")
            return (kind, *map(float, numbers.split(","))) if numbers else kind
        except ValueError:
            self.fail(
                f"{value!r} is no normalisation such as zscore, percentile:1,99.8 or mean=3,std=2",
                param,
            )


class Indices(click.ParamType):  # type: ignore[type-arg] # generic in newer clicks only
    """`0` or `0,2`: always a sequence."""

    name = "i[,i…]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        sizes = Sizes().convert(value, param, ctx)
        return (sizes,) if isinstance(sizes, int) else sizes


class RegionSlices(click.ParamType):  # type: ignore[type-arg] # generic in newer clicks only
    """`100:200,:,0:512`: slices of the output."""

    name = "a:b,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ARG002 (the interface)
        if not isinstance(value, str):
            return value
        try:
            return tuple(_as_slice(part) for part in value.split(","))
        except ValueError:
            self.fail(f"{value!r} holds something else than slices such as 100:200,:,0:512", param)


class Share(click.ParamType):  # type: ignore[type-arg] # generic in newer clicks only
    """`3/16`: the third of sixteen."""

    name = "i/n"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ARG002 (the interface)
        if not isinstance(value, str):
            return value
        first, _, second = value.partition("/")
        try:
            number, of = int(first), int(second)
        except ValueError:
            number, of = 0, 0
        if not 1 <= number <= of:
            self.fail(f"{value!r} is no share i/n with 1 <= i <= n, such as 3/16", param)
        return number, of


class Seconds(click.ParamType):  # type: ignore[type-arg] # generic in newer clicks only
    """`60`, `0.5` or `inf`."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ARG002 (the interface)
        try:
            seconds = float(value)
        except ValueError:
            seconds = -1.0
        if not seconds >= 0:  # also for what is no number: nan
            self.fail(f"{value!r} is no number of seconds, 0 or more", param)
        return seconds


class Resources(click.ParamType):  # type: ignore[type-arg] # generic in newer clicks only
    """`GPU=1,memory=8e9`."""

    name = "name=n[,…]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ARG002 (the interface)
        if not isinstance(value, str):
            return value
        try:
            pairs = [part.split("=") for part in value.split(",")]
            return {name: float(amount) for name, amount in pairs}
        except ValueError:
            self.fail(f"{value!r} holds something else than resources such as GPU=1", param)


def _as_slice(text: str) -> slice | int:
    if ":" not in text:
        return int(text)
    start, stop = text.split(":")
    return slice(int(start) if start else None, int(stop) if stop else None)
