"""Probes from wherever they are: values, saved files, descriptions."""

from __future__ import annotations

import os
from pathlib import Path

from ..support import what_is, without_secrets
from .description import description_in, is_description, read_description
from .findings import Probe


def as_probe(probe: Probe | str | os.PathLike[str] | None) -> Probe | None:
    """A probe, or what the file of one, or of a description, says; None is none.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        If it is neither.
    """
    if probe is None or isinstance(probe, Probe):
        return probe
    if isinstance(probe, str | os.PathLike):
        path = Path(probe)
        if not path.is_file():
            name = without_secrets(os.fspath(probe))
            raise FileNotFoundError(f"There is no probe at {name!r}.{_hint(path)}")
        return read_description(path) if is_description(path) else Probe.load(path)
    raise TypeError(
        f"probe is {what_is(probe)}; needed is a daskpatch.Probe, or the path of a saved "
        "one or of an rdf.yaml."
    )


def _hint(path: Path) -> str:
    """What to name instead of a folder."""
    if not path.is_dir():
        return ""
    inside = description_in(path)
    needed = "what Probe.save wrote, or an rdf.yaml" if inside is None else f"its {inside}"
    return f" That is a folder; name a file: {needed}."
