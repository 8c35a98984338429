"""Probes from wherever they are: values, saved files, descriptions."""

from __future__ import annotations

import os
from pathlib import Path

from ..support import what_is, without_secrets
from .description import is_description, read_description
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
            raise FileNotFoundError(f"There is no probe at {without_secrets(os.fspath(probe))!r}.")
        return read_description(path) if is_description(path) else Probe.load(path)
    raise TypeError(
        f"probe is {what_is(probe)}; needed is a daskpatch.Probe, or the path of a saved "
        "one or of an rdf.yaml."
    )
