"""What guards a resume: the fingerprint of a prediction, and whether it is the recorded one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from ..deciding import Decided
from ..geometry import differing_scales
from ..output import Layout
from ..patching import TileStrategy
from ..receipts import (
    RESUMED,
    Fingerprint,
    GoingOn,
    IdentityRecord,
    Json,
    LayoutRecord,
    OutputRecord,
    RunDocument,
    as_json,
    check_same,
)
from ..support import recorded
from .known_inputs import KnownInputs
from .provenance import tiling_of
from .same_model import compared

_FUNCTIONS = ("post", "skip_empty")
"""Treatments that may be functions, which are told as models are."""

NUMERICS = 1
"""Raised when the same input, tiling and model would give other voxels than before."""


def fingerprint_of(
    decided: Decided, inputs: KnownInputs, number: int, layout: Layout
) -> Fingerprint:
    """What the voxels of an image depend on, as a record of now would tell it.

    What a machine chooses (threads, batch size, …) is not in it.
    """
    recipe, options = decided.recipe, decided.options
    told = recorded(options.model, options.normalize, options.output)
    treatment: Json = told.get("treatment", {})
    if recipe.masks:
        treatment = {**treatment, "mask": inputs.of_masks[number]}
    return Fingerprint(
        numerics=NUMERICS,
        source=inputs.of_images[number],
        tiling=as_json(_tiling(decided, number)),
        model=None if decided.identity is None else decided.identity.text(),
        input_dtype=told["input_dtype"],
        treatment=as_json(treatment),
        output={
            output.name: OutputRecord(dims.axes, dims.shape, np.dtype(output.dtype).str, scale)
            for output, dims, scale in zip(
                recipe.stored,
                recipe.outputs[number],
                differing_scales(recipe.outputs[number]),
                strict=True,
            )
        },
        layout=LayoutRecord(**asdict(layout)),
    )


def identity_record_of(decided: Decided) -> IdentityRecord | None:
    """What a run tells of its model, `post` and `skip_empty`, by their parts."""
    identity = decided.identity
    if identity is None:
        return None
    told = {name: code.told for name, code in identity.codes.items()}
    return IdentityRecord(**{"post": None, **told}, results=identity.results, cut=identity.cut)


def check_begun_alike(
    document: RunDocument,
    current: Fingerprint,
    decided: Decided,
    name: str,
    going_on: GoingOn = RESUMED,
) -> None:
    """Refuse to go on with a run of another fingerprint, or of a model made of something else.

    Raises
    ------
    ValueError
        If they differ; it lists the fields, with both values.
    """
    identity = decided.identity
    was, now = as_json(document.fingerprint), as_json(current)
    if document.identity is None or identity is None:
        before_a_call = None if identity is None else identity.former
        now["model"] = before_a_call or decided.options.former_identity()
        check_same(was, now, name, going_on)
        return
    before, after = compared(document.identity, identity)
    if before != after:  # digests say nothing to whoever gave a model
        before["model"] = _with_name(before["model"], document.model)
        after["model"] = _with_name(after["model"], decided.recipe.model_name)
    _leave_out_what_is_told_twice(was, now, before, after)
    check_same({**was, **before}, {**now, **after}, name, going_on)


def _tiling(decided: Decided, number: int) -> Json:
    patching = decided.tiling.patching
    if isinstance(patching, TileStrategy):
        return tiling_of(patching)
    tiles = repr(decided.recipe.grids[number])
    return {
        "strategy": type(patching).__name__,
        "tiles": hashlib.sha256(tiles.encode()).hexdigest(),
    }


def _leave_out_what_is_told_twice(was: Json, now: Json, before: Json, after: Json) -> None:
    """Of functions their names, or what they are made of; of tilings what treatments say."""
    tilings, treatments = ((was[of], now[of]) for of in ("tiling", "treatment"))
    for name in _FUNCTIONS:
        values = [treatment.get(name) for treatment in treatments]
        if not all(map(_is_of_a_function, values)):
            _leave_out(name, (before, after))
            continue
        for treatment, value in zip(treatments, values, strict=True):
            treatment[name] = {**value, "function": True} if isinstance(value, dict) else True
    for name in treatments[0].keys() | treatments[1].keys():
        if treatments[0].get(name) != treatments[1].get(name):
            _leave_out({"stitch": "front"}.get(name, name), tilings)
    if all(set(treatment.get("scale") or ()) <= {"1"} for treatment in treatments):
        _leave_out("scale", treatments)  # what a margin brings along


def _is_of_a_function(value: object) -> bool:
    """Whether a treatment is told by what a function is called: alone, or beside other values."""
    return isinstance(value, str) or (isinstance(value, dict) and "function" in value)


def _leave_out(name: str, pair: Sequence[Json]) -> None:
    for each in pair:
        each.pop(name, None)


def _with_name(told: object, name: str) -> Any:
    """What is told of a model, with its name beside its parts."""
    return {"": name, **told} if isinstance(told, dict) else told
