"""Flags: derived from the declarations of options, and those that are the command line's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import click

from ..deciding import KINDS, Limits, Tiles
from ..image import Source
from ..model import Model
from ..output import Output
from ..running import Run
from ..support import (
    FILE,
    INTEGER,
    NAME,
    NUMBER,
    SECONDS,
    SIZES,
    Declaration,
    Options,
    Parser,
    declarations,
    redacted,
    shown,
    words_of,
)

F = TypeVar("F", bound=Callable[..., Any])
ClickFlag = Callable[[Any], Any]

RUN_WORDS = tuple(word for word, told in words_of(Run).items() if told.flag is not None)


class Text(click.ParamType):  # type: ignore[type-arg] # generic in newer clicks only
    """What a parser makes of text; its `ValueError` is the user's.

    The object of the context, where that is a dictionary, is told what was typed, by how Python
    writes what became of it.
    """

    def __init__(self, parser: Parser) -> None:
        self.name = parser.metavar
        self._parser = parser

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> object:
        if not isinstance(value, str):
            return value
        try:
            parsed = self._parser(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if ctx is not None and isinstance(ctx.obj, dict) and _is_written_otherwise(parsed, value):
            ctx.obj |= dict.fromkeys((repr(parsed), shown(parsed)), redacted(value))
        return parsed


def _is_written_otherwise(value: object, text: str) -> bool:
    """Whether Python writes a value otherwise than it was typed, more than a row of numbers is."""
    if isinstance(value, tuple | list) and all(isinstance(each, int) for each in value):
        return text.count(",") != len(value) - 1
    return isinstance(value, tuple | list | dict | slice | float) and repr(value) != text


def flags_of(kind: type[Options]) -> list[ClickFlag]:
    """A flag for each option of a kind of values that has one."""
    found = (_flag(declared) for declared in declarations(kind).values())
    return [flag for flag in found if flag is not None]


def _flag(declared: Declaration) -> ClickFlag | None:
    name = declared.flag_name()
    if name is None:
        return None
    parameter = parameter_of(declared)
    shown: dict[str, Any] = {"help": declared.help}
    if declared.is_required:
        shown["required"] = True
    elif declared.default is not None:
        shown["default"] = declared.default
    if isinstance(declared.parser, tuple):
        shown["type"] = click.Choice(declared.parser)
    elif declared.parser is not None:
        shown["type"] = Text(declared.parser)
    if declared.bare:
        shown |= {"is_flag": False, "flag_value": declared.bare}
    return click.option(name, parameter, **shown)


def parameter_of(declared: Declaration) -> str:
    """What an option is called in Python; by its flag, where it is no word of `plan`."""
    return declared.word or str(declared.flag_name()).lstrip("-").replace("-", "_")


_WORKERS: list[ClickFlag] = [
    click.option("--scheduler", metavar="ADDRESS", help="A dask.distributed scheduler to run on."),
    click.option(
        "--workers",
        type=click.IntRange(min=1, max=1024),  # more processes than a machine can start
        help="Run on so many processes; --threads are of each.",
    ),
    click.option(
        "--grace",
        type=Text(SECONDS),
        default=60.0,
        help="Seconds that running blocks have after Ctrl-C.",
    ),
]

_PROBE: list[ClickFlag] = [
    click.option("--ndim", type=click.IntRange(2, 3), required=True, help="Spatial axes."),
    click.option("--channels", type=click.IntRange(min=1), default=1, help="Of its input."),
    click.option("--sample", metavar="PATH", help="An image that the model is made for."),
    click.option("--axes", help="The sample's axes, where it does not name them."),
    click.option(
        "--tolerance", type=Text(NUMBER), help="In standard deviations of the result.  [1e-6]"
    ),
    click.option("--input-dtype", default="float32", help="What the model is given."),
    click.option("--patch-size", type=Text(SIZES), help="A size that the model takes."),
    click.option("--seconds", type=Text(SECONDS), default=20.0, help="For measuring the cost."),
    click.option("--save", type=Text(FILE), help="Also write the probe, as JSON."),
]

_CHECK: list[ClickFlag] = [
    click.option("--places", type=Text(INTEGER), default=4, help="Seams along each axis."),
    click.option("--tolerance", type=Text(NUMBER), default=1e-4, help="In standard deviations."),
    click.option("--seed", type=Text(INTEGER), default=0, help="Of the choice of seams."),
    click.option("--plot", type=Text(FILE), help="Also draw what was found."),
    click.option("--progress/--no-progress", default=True, help="Show a bar."),
]

_NEEDED_FOR_REPAIR: list[tuple[type[Options], str]] = [
    (Output, "post"),
    (Output, "skip_empty"),
    (Output, "mask"),
    (Tiles, "patching"),
    (Model, "id"),
    (Output, "post_id"),
]
"""Options that a record cannot hold, or whose value may have moved."""


def _for_repair(kind: type[Options], name: str) -> ClickFlag:
    declared = declarations(kind)[name]
    flag = _flag(replace(declared, help="For the repair: as it was given to predict."))
    assert flag is not None, "each of them has one"
    return flag


_VERIFY: list[ClickFlag] = [
    click.option("--repair", is_flag=True, help="Compute bad blocks again."),
    click.option("--model", type=Text(NAME), help="For the repair: the model of the run."),
    *(_for_repair(kind, name) for kind, name in _NEEDED_FOR_REPAIR),
    click.option("--threads", type=Text(INTEGER), help="Blocks that are read at a time."),
    click.option("--progress/--no-progress", default=True, help="Show a bar."),
]

_COMMON: list[ClickFlag] = [
    click.option("--json", "as_json", is_flag=True, help="Print JSON."),
    click.option("--debug", is_flag=True, help="Show tracebacks."),
]


def plan_flags(command: F) -> F:
    """Every option of `daskpatch.plan`."""
    return _with(command, [flag for kind in KINDS for flag in flags_of(kind)])


def info_flags(command: F) -> F:
    """What chooses an array of a source, of the options of `daskpatch.plan`."""
    found = (_flag(declarations(Source)[name]) for name in ("axes", "level", "image"))
    return _with(command, [flag for flag in found if flag is not None])


def run_flags(command: F) -> F:
    """Every option of `Plan.run`, and who runs it."""
    return _with(command, [*flags_of(Run), *_WORKERS])


_LEVELS = ("pyramid", "downsample", "factors", "chunks", "shards")
"""The options of an output that are those of a pyramid, too."""


def pyramid_flags(command: F) -> F:
    """Every option of `daskpatch.pyramid`, and who runs it."""
    levels = (_flag(declarations(Output)[name]) for name in _LEVELS)
    axes = click.option("--axes", help="Of an array that does not name them: of TCZYX.")
    run = (_flag(told) for name, told in declarations(Run).items() if name != "region")
    flags = [*levels, *flags_of(Limits), *run, *_WORKERS]
    return _with(command, [axes, *(flag for flag in flags if flag is not None)])


def probe_flags(command: F) -> F:
    """Every option of `daskpatch.probe`."""
    return _with(command, _PROBE)


def check_flags(command: F) -> F:
    """Every option of `daskpatch.check_seams`."""
    return _with(command, _CHECK)


def verify_flags(command: F) -> F:
    """Every option of `daskpatch.verify`."""
    return _with(command, _VERIFY)


def common_flags(command: F) -> F:
    """What every command has."""
    return _with(command, _COMMON)


def _with(command: F, flags: list[ClickFlag]) -> F:
    for flag in reversed(flags):
        command = flag(command)
    return command
