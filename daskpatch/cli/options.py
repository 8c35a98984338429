"""The options of `plan` and `predict`: one flag for each parameter, of the same name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from .types import Indices, RegionSlices, Resources, Seconds, Share, Sizes

F = TypeVar("F", bound=Callable[..., Any])

_PLAN: list[Callable[[Any], Any]] = [
    click.option(
        "--model",
        required=True,
        metavar="NAME",
        help="package.module:attribute, file.py:attribute (runs the file), or a path.onnx.",
    ),
    click.option("--axes", help="The source's axes, of STCZYX; by default from its metadata."),
    click.option("--channels", type=Indices(), help="Channels to use; all by default."),
    click.option("--patch-size", type=Sizes(), help="Voxels per spatial axis."),
    click.option("--overlaps", type=Sizes(), default=0, help="Voxels that neighbours share."),
    click.option("--align", type=Sizes(), default=1, help="The network's total stride."),
    click.option("--min-size", type=Sizes(), default=1, help="The smallest tile."),
    click.option(
        "--patching", metavar="NAME", help="A strategy, as file.py:attribute (runs the file)."
    ),
    click.option("--batch-size", type=int, default=1, help="Tiles per call of the model."),
    click.option("--chunks", type=Sizes(), help="Chunks of the output."),
    click.option("--shards", type=Sizes(), help="Shards of the output."),
    click.option("--block-shape", type=Sizes(), help="What one task computes and writes."),
    click.option("--dtype", help="The output's dtype; by default the model's."),
    click.option("--input-dtype", default="float32", help="What the model is given."),
    click.option("--padding", default="reflect", help="reflect, edge or a number."),
    click.option("--memory-limit", help="For one worker, for example '8 GB'."),
    click.option("--threads", type=click.IntRange(min=1), help="Blocks in work at a time."),
    click.option("--io", type=click.Choice(["auto", "zarr", "tensorstore"]), default="auto"),
    click.option(
        "--overwrite/--no-overwrite", default=False, help="Delete an array that is there."
    ),
    click.option("--model-id", help="Tells the model from others, where its code cannot."),
]

_RUN: list[Callable[[Any], Any]] = [
    click.option("--region", type=RegionSlices(), help="A part of the output: 0:64,:,:."),
    click.option("--resume/--no-resume", default=False, help="Go on with an interrupted run."),
    click.option("--part", type=Share(), help="The i-th of n shares of the blocks."),
    click.option(
        "--retries", type=click.IntRange(min=0), default=2, help="Tries after the first that fails."
    ),
    click.option("--resources", type=Resources(), help="What a block takes of a worker's."),
    click.option("--patience", type=Seconds(), default=600.0, help="Seconds to wait for workers."),
    click.option("--progress/--no-progress", default=True, help="Show a bar."),
]

RUN_OPTIONS = ("region", "resume", "part", "retries", "resources", "patience", "progress")

_WORKERS: list[Callable[[Any], Any]] = [
    click.option("--scheduler", metavar="ADDRESS", help="A dask.distributed scheduler to run on."),
    click.option(
        "--workers",
        type=click.IntRange(min=1),
        help="Run on so many processes; --threads are of each.",
    ),
    click.option(
        "--grace",
        type=Seconds(),
        default=60.0,
        help="Seconds that running blocks have after Ctrl-C.",
    ),
]

_PROBE: list[Callable[[Any], Any]] = [
    click.option("--ndim", type=click.IntRange(2, 3), required=True, help="Spatial axes."),
    click.option("--channels", type=click.IntRange(min=1), default=1, help="Of its input."),
    click.option("--sample", metavar="PATH", help="An image that the model is made for."),
    click.option("--tolerance", type=float, help="In standard deviations of the result.  [1e-6]"),
    click.option("--input-dtype", default="float32", help="What the model is given."),
    click.option("--patch-size", type=Sizes(), help="A size that the model takes."),
    click.option("--seconds", type=Seconds(), default=20.0, help="For measuring the cost."),
    click.option("--save", metavar="FILE", help="Also write the probe, as JSON."),
]

_COMMON: list[Callable[[Any], Any]] = [
    click.option("--json", "as_json", is_flag=True, help="Print JSON."),
    click.option("--debug", is_flag=True, help="Show tracebacks."),
]


def plan_options(command: F) -> F:
    """Every option of `daskpatch.plan`."""
    return _with(command, _PLAN)


def run_options(command: F) -> F:
    """Every option of `Plan.run`, and who runs it."""
    return _with(command, _RUN + _WORKERS)


def probe_options(command: F) -> F:
    """Every option of `daskpatch.probe`."""
    return _with(command, _PROBE)


def common_options(command: F) -> F:
    """What every command has."""
    return _with(command, _COMMON)


def _with(command: F, options: list[Callable[[Any], Any]]) -> F:
    for option in reversed(options):
        command = option(command)
    return command
