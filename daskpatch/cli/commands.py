"""The commands, their exit codes and their one-line errors."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

import daskpatch

from ..engine import Client, Interruption
from ..image import information
from ..model import shared_model
from ..probing import description_beside, read_description
from ..support import load_extra
from .command_line import CommandLine
from .flags import (
    RUN_WORDS,
    check_flags,
    common_flags,
    info_flags,
    plan_flags,
    probe_flags,
    pyramid_flags,
    run_flags,
    verify_flags,
)
from .signals import INTERRUPTED, interruptible, leave_at_once

_RUN_FAILED, _WRONG_USE = 1, 2

_WATCH_SECONDS = 5.0

_LISTED = 20
"""Failed blocks that are listed."""

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
@info_flags
@common_flags
def info(source: str, as_json: bool, debug: bool, **chosen: Any) -> None:  # noqa: ARG001
    """Say what SOURCE is: shape, dtype, axes, chunks."""
    found = information(source, **chosen)
    if as_json:
        click.echo(json.dumps(found))
        return
    _show_facts(found)


def _show_facts(found: Mapping[str, Any]) -> None:
    for name, value in found.items():
        if name == "first":
            click.echo("The first of them:")
            _show_facts(value)
        elif name in ("images", "missing"):
            shown = ", ".join(value[:_LISTED]) + (", …" if len(value) > _LISTED else "")
            click.echo(f"{name:<12}{len(value)}: {shown}")
        elif name == "members":
            for member, facts in value.items():
                array = f"{tuple(facts['shape'])} {facts['dtype']}" if facts else "group"
                click.echo(f"{member:<12}{array}")
        elif name == "levels":
            for number, level in enumerate(value):
                scale = "" if level["scale"] is None else f", scale {tuple(level['scale'])}"
                click.echo(f"{f'level {number}':<12}{level['path']}{scale}")
        elif name == "axes" and value is None:
            click.echo(f"{name:<12}not named; pass --axes")
        else:
            click.echo(f"{name:<12}{tuple(value) if isinstance(value, list) else value}")


@cli.command()
@click.argument("source")
@click.argument("output", required=False)
@plan_flags
@common_flags
def plan(source: str, output: str | None, as_json: bool, debug: bool, **options: Any) -> None:  # noqa: ARG001
    """Say what predicting SOURCE (to OUTPUT) would do and cost."""
    planned = _plan(source, output, options)
    click.echo(json.dumps(planned.to_dict()) if as_json else repr(planned))


@cli.command()
@click.argument("source")
@click.argument("output")
@plan_flags
@run_flags
@common_flags
def predict(
    source: str,
    output: str,
    scheduler: str | None,
    workers: int | None,
    grace: float,
    as_json: bool,
    debug: bool,  # noqa: ARG001
    **options: Any,
) -> None:
    """Predict SOURCE tile by tile and write OUTPUT."""
    if options["overwrite"] and (options["resume"] or options["part"]):
        raise click.UsageError("give --overwrite, or --resume (which --part implies), not both")
    with _how(scheduler, workers, grace, options) as how:
        planned = _plan(source, output, options)
        if not as_json:
            click.echo(repr(planned))
        # The plan's own: it may have lowered them to fit memory.
        report = planned.run(how, threads=None if how.client else planned.threads)
    facts = {**report.to_dict(), "plan": planned.to_dict()}
    click.echo(json.dumps(facts) if as_json else str(report))


@cli.command()
@click.argument("image")
@click.argument("output", required=False)
@pyramid_flags
@common_flags
def pyramid(
    image: str,
    output: str | None,
    scheduler: str | None,
    workers: int | None,
    grace: float,
    as_json: bool,
    debug: bool,  # noqa: ARG001
    **options: Any,
) -> None:
    """Build or complete the pyramid of IMAGE, in place or in OUTPUT."""
    with _how(scheduler, workers, grace, options) as how:
        report = daskpatch.pyramid(image, output, run=how, **options)
    click.echo(json.dumps(report.to_dict()) if as_json else str(report))


@cli.command()
@click.argument("output")
@click.option("--watch", is_flag=True, help="Redraw it as long as somebody works on it.")
@common_flags
def status(output: str, watch: bool, as_json: bool, debug: bool) -> None:  # noqa: ARG001
    """Say how far the run that writes OUTPUT is, here or elsewhere."""
    while True:
        found = daskpatch.status(output)
        if watch and not as_json and sys.stdout.isatty():
            click.clear()
        click.echo(json.dumps(found.to_dict()) if as_json else str(found))
        # Where nobody works on what remains, nothing would change.
        if not watch or not found.remaining or not found.drivers:
            return
        time.sleep(_WATCH_SECONDS)


@cli.command()
@click.argument("output")
@verify_flags
@common_flags
def verify(output: str, as_json: bool, debug: bool, **options: Any) -> int:  # noqa: ARG001
    """Read OUTPUT back and name the blocks that are not as they were written."""
    found = daskpatch.verify(output, **options)
    click.echo(json.dumps(found.to_dict()) if as_json else str(found))
    return 0 if found.ok or found.repaired else _RUN_FAILED


@cli.command()
@click.argument("model")
@probe_flags
@common_flags
def probe(model: str, save: str | None, as_json: bool, debug: bool, **options: Any) -> None:  # noqa: ARG001
    """Find out how far MODEL looks, on which grid it works, what it takes and what it costs."""
    _check_file(save)
    found = daskpatch.probe(model, **options)
    if save is not None:
        found.save(save)
    click.echo(json.dumps(found.to_dict()) if as_json else repr(found))
    beside = description_beside(shared_model(model).handle.file)
    if beside is not None:
        for line in found.disagreements(read_description(beside)) or ["found as it states"]:
            click.echo(f"{beside}: {line}", err=True)


@cli.command()
@click.argument("source")
@plan_flags
@check_flags
@common_flags
def check(source: str, plot: str | None, as_json: bool, debug: bool, **options: Any) -> int:  # noqa: ARG001
    """Measure, at a few seams of SOURCE, whether the tiles of a plan would show."""
    of_check = {name: options.pop(name) for name in ("places", "tolerance", "seed", "progress")}
    _check_file(plot)
    _check_picture(plot)
    found = daskpatch.check_seams(_plan(source, None, options), **of_check)
    click.echo(json.dumps(found.to_dict()) if as_json else str(found))
    if plot is not None:
        found.plot().savefig(plot)
    return 0 if found.ok else _RUN_FAILED


@cli.command()
@click.argument("folder", default="daskpatch-demo")
@common_flags
def demo(folder: str, as_json: bool, debug: bool) -> None:  # noqa: ARG001
    """Denoise a real image tile by tile, in FOLDER, and compare with the whole image."""
    from ..demo import run_demo

    result = run_demo(folder, progress=not as_json)
    if as_json:
        click.echo(json.dumps(result.to_dict()))
        return
    click.echo(str(result))


def _check_file(file: str | None) -> None:
    """Refuse to write a file where there can be none, before the work is done."""
    if file is None:
        return
    folder = Path(file).absolute().parent
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {Path(file).parent} to write {file} to.")
    if Path(file).is_dir():
        raise ValueError(f"{file} is a folder; give the name of a file.")
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"The folder {folder} may not be written; give another place.")


def _check_picture(file: str | None) -> None:
    """Refuse a picture of a kind that is not drawn, before the work is done."""
    if file is None:
        return
    figure = load_extra("matplotlib.figure", "Drawing what was found")
    known = figure.Figure().canvas.get_supported_filetypes()
    if Path(file).suffix[1:].lower() not in {*known, ""}:
        raise ValueError(f"{file} is no picture that is drawn; name one that ends in .png or .pdf.")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0, 1 (the run failed), 2 (wrong use), 130 (interrupted)."""
    code = _run(sys.argv[1:] if arguments is None else arguments)
    if code == INTERRUPTED:
        leave_at_once()
    sys.exit(code)


def _run(arguments: list[str]) -> int:
    line = CommandLine(arguments, cli.commands)
    try:
        with _logged(), _warned(line):
            code = cli.main(arguments, prog_name="daskpatch", standalone_mode=False, obj=line.typed)
    except click.UsageError as error:
        line.misuse(error).show()
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt) as error:
        # click turns KeyboardInterrupt into its own kind, raised while it was handled.
        said = "Interrupted."
        if str(error.__context__ or error):
            said = f"{said} {line.error(error.__context__ or error)}"
        click.echo(said, err=True)
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 (the last resort: one line and an exit code)
        if line.is_debugged:
            traceback.print_exc()
        if isinstance(error, daskpatch.RunFailed):
            _list_failures(error, line)
        if not line.is_debugged:
            click.echo(f"Error: {line.error(error)}", err=True)
        return _WRONG_USE if isinstance(error, _WRONG_USE_ERRORS) else _RUN_FAILED
    return code if isinstance(code, int) else 0


def _list_failures(error: daskpatch.RunFailed, line: CommandLine) -> None:
    """The blocks that were set aside: a line each, or as JSON with their tracebacks."""
    if "--json" in line.arguments:
        click.echo(json.dumps(error.report.to_dict()))
    for failure in error.failed[:_LISTED]:
        click.echo(failure.traceback if line.is_debugged else str(failure), err=True)
    if len(error.failed) > _LISTED:
        click.echo(f"… and {len(error.failed) - _LISTED} more", err=True)


@contextmanager
def _logged() -> Iterator[None]:
    """What the package logs, on stderr."""
    handler = logging.StreamHandler()
    log = logging.getLogger("daskpatch")
    log.addHandler(handler)
    level = log.level
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


@contextmanager
def _warned(line: CommandLine) -> Iterator[None]:
    """Warnings as a line each, in flags, on stderr: where they arose is of no use here."""

    def show(message: Warning | str, *_: object, **__: object) -> None:
        # Beyond Python's own frames: who warns. A model's words may be those of our options.
        warner = sys._getframe(2).f_globals.get("__name__", "")
        is_ours = warner.partition(".")[0] == "daskpatch"
        click.echo(f"Warning: {line.warning(message, is_ours=is_ours)}", err=True)

    with warnings.catch_warnings():
        if not line.is_debugged:
            warnings.showwarning = show
        yield


def _plan(source: str, output: str | None, options: dict[str, Any]) -> daskpatch.Plan:
    return daskpatch.plan(source, options.pop("model"), output, **options)


@contextmanager
def _how(
    scheduler: str | None, workers: int | None, grace: float, options: dict[str, Any]
) -> Iterator[daskpatch.Run]:
    """How a run is carried out, by the options for it, which are taken out; stopped by Ctrl-C."""
    if scheduler is not None and (options["threads"] or workers):
        raise click.UsageError("give --scheduler, or --threads and --workers, not both")
    interruption = Interruption(grace)
    how = daskpatch.Run(
        interruption=interruption,
        **{word: options.pop(word) for word in RUN_WORDS if word in options},
    )
    with interruptible(interruption, grace), _client(scheduler, workers, options) as client:
        yield replace(how, client=client)


@contextmanager
def _client(
    address: str | None, workers: int | None, options: dict[str, Any]
) -> Iterator[Client | None]:
    """A client of a scheduler, or of workers on this machine; None for threads."""
    if address is None and workers is None:
        yield None
        return
    from ..engine.cluster import connected, local_workers

    if workers is None:
        with connected(str(address)) as client:
            yield client
        return
    with local_workers(workers, options.pop("threads")) as client:
        options["threads"] = None
        yield client
