"""Names of lazy arrays: equal for equal plans, so that Dask computes what is asked twice once."""

from __future__ import annotations

from dataclasses import replace

import msgspec
from dask.base import tokenize

from ..deciding import Decided, code_identity
from ..image import SAMPLES, identity_of_image, location_of, look_at_all, token_of
from ..receipts import SourceRecord
from ..running import PredictionPass, StatisticsCache


def name_of(decided: Decided) -> str | None:
    """A name for what a plan predicts; None where source or model have no identity.

    A stored source is told by metadata and a sample of its voxels, of this moment; NumPy and Dask
    arrays as Dask tells them. The model's result for the trial tile is part of the name, too: what
    code reads from elsewhere shows there.

    Raises
    ------
    OSError
        If a source is gone, another than was opened, or cannot be read.
    """
    images = decided.recipe.images
    look_at_all(images)
    identity = decided.identity or code_identity(decided.options)
    tokens = [token_of(image) for image in images]
    if identity.text() is None or None in tokens:
        return None
    sources = [
        SourceRecord(
            **identity_of_image(image, samples=SAMPLES if location_of(image) else 0),
            number=number,
            of=len(images),
        )
        for number, image in enumerate(images)
    ]
    told = PredictionPass(
        replace(decided, identity=identity), StatisticsCache(), side_by_side=True, sources=sources
    ).fingerprints()
    settings = [msgspec.json.encode(each) for each in (*told, decided.tiling.trial.samples)]
    return f"daskpatch-{tokenize(settings, tokens, decided.layout.block_shape)}"
