"""The options of `plan` and `predict`: one flag for each parameter, of the same name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import click

from ..values import STITCHES
from .types import (
    Dtypes,
    Indices,
    Kinds,
    Normalize,
    RegionSlices,
    Resources,
    Scales,
    Seconds,
    Share,
    Sizes,
    SizesOrAuto,
)

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
    click.option("--patch-size", type=SizesOrAuto(), help="Voxels per spatial axis, or auto."),
    click.option(
        "--overlaps", type=SizesOrAuto(), help="Voxels that neighbours share, or auto.  [0]"
    ),
    click.option("--align", type=Sizes(), help="The network's total stride.  [the probe's, or 1]"),
    click.option("--min-size", type=Sizes(), help="The smallest tile.  [the probe's, or 1]"),
    click.option("--scale", type=Scales(), help="Voxels of the output per voxel of the input."),
    click.option("--margin", type=Sizes(), help="Voxels that the model cuts off each side."),
    click.option(
        "--probe", metavar="FILE", help="What is known of the model: of daskpatch probe --save."
    ),
    click.option(
        "--patching", metavar="NAME", help="A strategy, as file.py:attribute (runs the file)."
    ),
    click.option(
        "--batch-size", type=SizesOrAuto(), default=1, help="Tiles per call of the model, or auto."
    ),
    click.option("--stitch", type=click.Choice(STITCHES), default="crop", help="How tiles meet."),
    click.option("--augment", type=Kinds(), help="flips, rot90 or both: flips,rot90."),
    click.option(
        "--post", metavar="NAME", help="Applied to each block before it is written: file.py:name."
    ),
    click.option("--normalize", type=Normalize(), help=inspect.getdoc(Normalize)),
    click.option(
        "--normalize-over",
        type=click.Choice(["image", "series"]),
        default="image",
        help="What its statistics are of.",
    ),
    click.option(
        "--normalize-per-channel/--normalize-all-channels",
        default=True,
        help="Statistics of each channel, or of all together.",
    ),
    click.option(
        "--normalize-fraction", type=float, default=1.0, help="The share that is read for them."
    ),
    click.option(
        "--denormalize/--no-denormalize", default=False, help="Map the model's results back."
    ),
    click.option("--chunks", type=Sizes(), help="Chunks of the output."),
    click.option("--shards", type=Sizes(), help="Shards of the output."),
    click.option("--block-shape", type=Sizes(), help="What one task computes and writes."),
    click.option(
        "--dtype", type=Dtypes(), help="The output's dtype (or name=dtype,…); else the model's."
    ),
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
    click.option("--axes", help="The sample's axes, where it does not name them."),
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
