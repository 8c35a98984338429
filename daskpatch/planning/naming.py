"""Names of lazy arrays: equal for equal plans, so that Dask computes what is asked twice once."""

from __future__ import annotations

from dataclasses import replace

import msgspec
from dask.base import tokenize

from ..deciding import Decided, code_identity
from ..image import look_at_all, token_of
from ..running import PredictionPass, StatisticsCache


def name_of(decided: Decided) -> str | None:
    """A name for what a plan predicts; None where source or model have no identity.

    Sources are told by metadata and a sample of their voxels, of this moment; what lies in this
    process's memory by all of it.

    Raises
    ------
    OSError
        If a source is gone, another than was opened, or cannot be read.
    """
    look_at_all(decided.recipe.images)
    identity = decided.identity or code_identity(decided.options)
    sources = [token_of(image) for image in decided.recipe.images]
    if identity.text() is None or None in sources:
        return None
    told = PredictionPass(
        replace(decided, identity=identity), StatisticsCache(), side_by_side=True
    ).fingerprints()
    settings = [msgspec.json.encode(fingerprint) for fingerprint in told]
    return f"daskpatch-{tokenize(settings, sources, decided.layout.block_shape)}"
