"""Whether a model treats the tiles of a batch one by one, as it must."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..model import LoadedModel, ModelError, Results, advice_for, is_out_of_memory
from ..probing import Remembered, digest_of_values
from ..support import converted, failure_told
from ..values import ResultSample, Samples
from .noise import noise_within, raised


def check_batch(
    model: LoadedModel,
    batch: NDArray[Any],
    alone: Results,
    specs: Mapping[str, Any],
    remembered: Remembered,
) -> None:
    """Refuse a model that gives another result for a tile when other tiles come with it.

    It is called for the trial tile with noise in front of it, and behind it if the tile is small,
    and for that noise alone; of its mirror images where it takes no noise. What it gives for either
    must be the same alone. Unless it is remembered to treat them one by one, and gives what it
    gave; where there is no memory for that, nothing can be told.

    Raises
    ------
    ModelError
        If it fails, or mixes them.
    """
    asked = {"batch": "by channel", "tile": digest_of_values(batch)}
    samples = _samples_of(alone)
    if _agree(samples, remembered.recall(asked, _as_samples)):
        return
    try:
        seen = _among_others(model, batch)
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
    if seen is None:
        return
    # A network that normalises gives of one value what is rounded, in full contrast.
    is_flat = batch.dtype.kind == "f" and batch.min() == batch.max()
    if seen.is_as_alone(seen.tile if is_flat else samples):
        remembered.keep(asked, msgspec.to_builtins(samples))
        return
    if not _agree(samples, _samples_of(model(batch.copy()))):
        return  # a model that never gives the same says nothing of batches
    raise ModelError(
        "The model gives another result for a tile when another tile is in its batch, so that "
        "results would depend on what is predicted together; give batch_size=1, or treat the "
        "tiles of a batch one by one (functions of SciPy filter along all axes: leave out the "
        "first two).",
        specs,
    )


_NONE: Mapping[str, ResultSample] = {}

_SMALL = 2**20
"""Voxels of a tile of which three are tried together: other tiles take seconds, and memory."""


class _Seen(NamedTuple):
    """What a model gives for others alone, and for them and for the tile in one batch."""

    other_alone: Samples
    other: Samples
    tile: Samples

    def is_as_alone(self, tile_alone: Samples) -> bool:
        # A tile of little contrast may give next to nothing, which moves by what is rounded.
        return _agree(tile_alone, self.tile, self.other_alone) and _agree(
            self.other_alone, self.other, tile_alone
        )


def _among_others(model: LoadedModel, batch: NDArray[Any]) -> _Seen | None:
    """What it gives for a tile behind noise, or its mirror image; None without memory for that."""
    noise, mirrored = noise_within(batch), batch[..., ::-1]
    lasts = [noise[..., ::-1]] if batch.size <= _SMALL else []
    for first, last in ((raised(noise), lasts), (mirrored, [])):
        try:
            together = model(np.concatenate([first, batch, *last]))
            other = _samples_of(model(first.copy()))
            return _Seen(other, _samples_of(together, 0), _samples_of(together, 1))
        except Exception as error:
            if is_out_of_memory(error):
                return None
            if first is mirrored:
                raise
    return None


def _samples_of(results: Results, place: int | None = None) -> Samples:
    """Of a whole result, or of one tile in it."""
    chosen = slice(None) if place is None else slice(place, place + 1)
    return {
        name: ResultSample.of(values[chosen] if values.ndim else values)
        for name, values in results.items()
    }


def _as_samples(found: Any) -> Samples:
    return converted(found, Samples)


def _agree(one: Samples, other: Samples | None, beside: Mapping[str, ResultSample] = _NONE) -> bool:
    """Whether samples are of one result; they are measured by what is `beside` them, too."""
    if other is None or one.keys() != other.keys():
        return False
    return not any(
        sample.how_differs(other[name], beside.get(name)) for name, sample in one.items()
    )
