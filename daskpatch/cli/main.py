"""The commands, their exit codes and their one-line errors."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

import daskpatch

from ..image import information
from ..importing import import_attribute, split_name
from .options import common_options, plan_options
from .types import RegionSlices

_RUN_FAILED, _WRONG_USE, _INTERRUPTED = 1, 2, 130

_WRONG_USE_ERRORS = (
    ValueError,
    TypeError,
    FileNotFoundError,
    FileExistsError,
    PermissionError,
    NotADirectoryError,
    ImportError,
    AttributeError,
    MemoryError,
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(daskpatch.__version__)
def cli() -> None:
    """Tiled prediction on image volumes too large for memory."""


@cli.command()
@click.argument("source")
@click.option("--axes", help="The source's axes, of STCZYX; by default from its metadata.")
@common_options
def info(source: str, axes: str | None, as_json: bool, debug: bool) -> None:  # noqa: ARG001
    """Say what SOURCE is: shape, dtype, axes, chunks."""
    found = information(source, axes)
    if as_json:
        click.echo(json.dumps(found))
        return
    for name, value in found.items():
        if name == "members":
            for member, facts in value.items():
                array = f"{tuple(facts['shape'])} {facts['dtype']}" if facts else "group"
                click.echo(f"{member:<10}{array}")
        elif name == "axes" and value is None:
            click.echo(f"{name:<10}not named; pass --axes")
        else:
            click.echo(f"{name:<10}{tuple(value) if isinstance(value, list) else value}")


@cli.command()
@click.argument("source")
@click.argument("output", required=False)
@plan_options
@common_options
def plan(source: str, output: str | None, as_json: bool, debug: bool, **options: Any) -> None:  # noqa: ARG001
    """Say what predicting SOURCE (to OUTPUT) would do and cost."""
    planned = _plan(source, output, options)
    click.echo(json.dumps(planned.to_dict()) if as_json else repr(planned))


@cli.command()
@click.argument("source")
@click.argument("output")
@plan_options
@click.option("--region", type=RegionSlices(), help="A part of the output, such as 0:64,:,:.")
@click.option("--scheduler", metavar="ADDRESS", help="A dask.distributed scheduler to run on.")
@click.option("--progress/--no-progress", default=True, help="Show a bar.")
@common_options
def predict(
    source: str,
    output: str,
    region: Any,
    scheduler: str | None,
    progress: bool,
    as_json: bool,
    debug: bool,  # noqa: ARG001
    **options: Any,
) -> None:
    """Predict SOURCE tile by tile and write OUTPUT."""
    if scheduler is not None and options["threads"] is not None:
        raise click.UsageError("give --threads or --scheduler, not both")
    planned = _plan(source, output, options)
    if not as_json:
        click.echo(repr(planned))
    with _client(scheduler) as client:
        threads = None if client else planned.threads
        report = planned.run(client=client, threads=threads, region=region, progress=progress)
    facts = {**report.to_dict(), "plan": planned.to_dict()}
    click.echo(json.dumps(facts) if as_json else str(report))


@cli.command()
@click.argument("folder", default="daskpatch-demo")
@common_options
def demo(folder: str, as_json: bool, debug: bool) -> None:  # noqa: ARG001
    """Denoise a real image tile by tile, in FOLDER, and compare with the whole image."""
    from ..demo import run_demo

    result = run_demo(folder, progress=not as_json)
    if as_json:
        click.echo(json.dumps(result.to_dict()))
        return
    click.echo(str(result))


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0, 1 (the run failed), 2 (wrong use), 130 (interrupted)."""
    sys.exit(_run(sys.argv[1:] if arguments is None else arguments))


def _run(arguments: list[str]) -> int:
    try:
        cli.main(arguments, prog_name="daskpatch", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted; what was written stays.", err=True)
        return _INTERRUPTED
    except Exception as error:  # noqa: BLE001 (the last resort: one line and an exit code)
        if "--debug" in arguments:
            traceback.print_exc()
        else:
            click.echo(f"Error: {_one_line(error)}", err=True)
        return _WRONG_USE if isinstance(error, _WRONG_USE_ERRORS) else _RUN_FAILED
    return 0


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text or type(error).__name__


def _plan(source: str, output: str | None, options: dict[str, Any]) -> daskpatch.Plan:
    patching = options.pop("patching")
    if patching is not None:
        options["patching"] = import_attribute(*split_name(patching, "patching"))
    return daskpatch.plan(source, options.pop("model"), output, **options)


@contextmanager
def _client(address: str | None) -> Iterator[Any]:
    if address is None:
        yield None
        return
    from ..running.cluster import connect

    with connect(address) as client:
        yield client
