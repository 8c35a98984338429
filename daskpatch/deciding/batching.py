"""Whether a model treats the tiles of a batch one by one, as it must."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..model import LoadedModel, ModelError, Results, advice_for, is_out_of_memory
from ..probing import Remembered, digest_of_values
from ..support import failure_told
from ..values import ResultSample
from .noise import noise_like


def check_batch(
    model: LoadedModel,
    batch: NDArray[Any],
    alone: Results,
    specs: Mapping[str, Any],
    remembered: Remembered,
) -> None:
    """Refuse a model that gives another result for a tile when another tile comes with it.

    It is called for a batch of two, the trial tile and noise, or its mirror image where it takes no
    noise, unless it is remembered to treat them one by one; where there is no memory for that,
    nothing can be told. Beside a tile of background its mirror image would tell nothing.

    Raises
    ------
    ModelError
        If it fails, or mixes them.
    """
    asked = {"batch": "beside noise", "tile": digest_of_values(batch)}
    if remembered.recall(asked, bool):
        return
    try:
        together = _beside_another(model, batch)
    except Exception as error:
        shape = (2, *batch.shape[1:])
        advice = advice_for(error, shape, batch.dtype.name)
        raise ModelError(
            failure_told(
                f"The model failed on a batch of two tiles, given {batch.dtype} {shape}, and "
                "not on one",
                error,
                advice or "Give batch_size=1.",
            ),
            specs,
            error,
        ) from error
    if together is None:
        return
    if _agree(alone, _first_of(together)):
        remembered.keep(asked, True)
        return
    if not _agree(alone, model(batch.copy())):
        return  # a model that never gives the same says nothing of batches
    raise ModelError(
        "The model gives another result for a tile when another tile is in its batch, so that "
        "results would depend on what is predicted together; give batch_size=1, or treat the "
        "tiles of a batch one by one (functions of SciPy filter along all axes: leave out the "
        "first two).",
        specs,
    )


def _beside_another(model: LoadedModel, batch: NDArray[Any]) -> Results | None:
    """What it gives for a tile and noise, or its mirror image; None without memory for two."""
    noise, mirrored = _noise_within(batch), batch[..., ::-1]
    for other in (noise, mirrored):
        try:
            return model(np.concatenate([batch, other]))
        except Exception as error:
            if is_out_of_memory(error):
                return None
            if other is mirrored:
                raise
    return None


def _noise_within(batch: NDArray[Any]) -> NDArray[Any]:
    """Noise of the values that a tile has: a model may know what to do with these only."""
    low, high = batch.min(), batch.max()
    if batch.dtype.kind == "b":
        return np.random.default_rng(0).random(batch.shape) < 0.5
    if low == high and batch.dtype.kind in "iu":
        high = low + 1 if high < np.iinfo(batch.dtype).max else high
    noise = noise_like(batch, batch)
    return noise if low == high or not np.isfinite(high - low) else np.clip(noise, low, high)


def _first_of(results: Results) -> Results:
    return {name: values[:1] if values.ndim else values for name, values in results.items()}


def _agree(one: Results, other: Results) -> bool:
    return one.keys() == other.keys() and not any(
        ResultSample.of(values).how_differs(ResultSample.of(other[name]))
        for name, values in one.items()
    )
