"""What a run depends on: changed, its blocks would come out otherwise."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np

from ..block import Prediction
from ..image import SAMPLES, identity_of_image
from ..patching import TileStrategy
from ..receipts import Fingerprint, as_json
from .provenance import tiling_of
from .treatment import Treatment

NUMERICS = 1
"""Raised when the same input, tiling and model would give other voxels than before."""


_READERS = 8

_SERIES_SAMPLES, _LEAST = 512, 4
"""Chunks that are read of a whole series, and of each of its images at least."""


def fingerprints_of(
    prediction: Prediction, patching: Any, treatment: Treatment, model_id: str | None
) -> list[Fingerprint]:
    """The fields that guard a resume, for each image of a series; the layout is added later.

    What a machine chooses (threads, batch size, memory, back end, client) is not among them.
    """
    samples = max(_LEAST, min(SAMPLES, _SERIES_SAMPLES // len(prediction.images)))
    with ThreadPoolExecutor(_READERS) as pool:
        sources = list(pool.map(partial(identity_of_image, samples=samples), prediction.images))
    return [
        as_json(
            {
                "numerics": NUMERICS,
                "source": {**source, "number": data_idx, "of": len(sources)},
                "tiling": _tiling(prediction, patching, data_idx),
                "model": model_id,
                "input_dtype": prediction.input_dtype.str,
                "treatment": treatment_of(prediction, treatment),
                "output": {
                    output.name: {
                        "axes": dims.axes,
                        "shape": dims.shape,
                        "dtype": np.dtype(output.dtype).str,
                    }
                    for output, dims in zip(
                        prediction.stored, prediction.outputs[data_idx], strict=True
                    )
                },
            }
        )
        for data_idx, source in enumerate(sources)
    ]


def treatment_of(prediction: Prediction, treatment: Treatment) -> dict[str, Any]:
    """What happens to values beside the model, as JSON; defaults are left out."""
    normalization, signature = treatment.normalization, prediction.signature
    facts = {
        "stitch": treatment.stitch if prediction.blends else None,
        "augment": list(treatment.augment),
        "normalize": None if normalization is None else asdict(normalization),
        "denormalize": treatment.denormalize,
        "post": None if treatment.post is None else treatment.post.handle.name,
        "scale": None if signature.keeps_size else [str(s) for s in signature.scale],
        "margin": None if signature.keeps_size else signature.margin,
    }
    return {name: fact for name, fact in facts.items() if fact}


def _tiling(prediction: Prediction, patching: Any, data_idx: int) -> dict[str, Any]:
    if isinstance(patching, TileStrategy):
        return tiling_of(patching)
    tiles = repr(prediction.grids[data_idx])
    return {
        "strategy": type(patching).__name__,
        "tiles": hashlib.sha256(tiles.encode()).hexdigest(),
    }
