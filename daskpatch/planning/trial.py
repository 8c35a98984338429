"""One tile from the middle of the data, run through the model once."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..block import check_result
from ..conversion import convert
from ..image import ImageStack
from ..model import (
    ModelError,
    Output,
    Signature,
    load,
    restore_threads,
    single_threaded,
)
from ..model.errors import describe_tile
from ..model.handles import SharedModel
from ..patching import TileGrid
from ..resident import peak_memory


@dataclass(frozen=True, slots=True)
class Trial:
    """What one call of the model on one tile showed."""

    signature: Signature
    tile_shape: tuple[int, ...]
    seconds: float
    working_bytes: int


def trial_tile(
    images: tuple[ImageStack, ...], grids: tuple[TileGrid, ...]
) -> tuple[ImageStack, tuple[int, ...]]:
    """The image in the middle of the series, and the size of the tile in its middle."""
    grid = grids[len(images) // 2]
    size = tuple(tile.size for tile in grid.tiles([n // 2 for n in grid.counts]))
    return images[len(images) // 2], size


def run_trial(
    images: tuple[ImageStack, ...],
    grids: tuple[TileGrid, ...],
    model: SharedModel,
    *,
    input_dtype: np.dtype[Any],
    side_by_side: bool,
) -> Trial:
    """Read the tile in the middle of the series and run the model on it.

    Raises
    ------
    ModelError
        If the model fails, or gives another shape or no numbers; the tile is named.
    """
    data_idx = len(images) // 2
    grid = grids[data_idx]
    sample_idx = grid.n_samples // 2
    specs = grid.specs_of(data_idx, sample_idx, grid.tiles([n // 2 for n in grid.counts]))
    patch = images[data_idx].extract_patch(sample_idx, None, specs["coords"], specs["patch_size"])
    batch = np.empty((1, *patch.shape), input_dtype)
    convert(batch[0], patch)

    loaded = load(model)

    def call() -> tuple[NDArray[Any], float]:
        if side_by_side:
            single_threaded()
        begin = time.perf_counter()
        return loaded(batch), time.perf_counter() - begin

    try:
        with peak_memory() as peak:
            result, seconds = _as_a_worker(call) if side_by_side else call()
    except Exception as error:
        raise ModelError(
            f"The model failed on the trial tile ({describe_tile(specs)}), given {batch.dtype} "
            f"{batch.shape}: {type(error).__name__}: {error}",
            specs,
            error,
        ) from error
    channels = max(result.shape[1], 1) if result.ndim == batch.ndim else batch.shape[1]
    check_result(result, batch.shape, (1, channels, *batch.shape[2:]), dict(specs))
    signature = Signature.same_size(
        Output(channels, result.dtype.name), ndim=len(specs["patch_size"])
    )
    working = max(0, peak[0] - result.nbytes)
    return Trial(signature, tuple(specs["patch_size"]), seconds, working)


def _as_a_worker(call: Any) -> Any:
    """Run in a thread of its own, as blocks will: one thread inside the model."""
    threads = restore_threads(None)
    executor = ThreadPoolExecutor(1, thread_name_prefix="daskpatch-trial")
    try:
        return executor.submit(call).result()
    finally:
        executor.shutdown(wait=False)  # whoever interrupts it need not wait for the model
        restore_threads(threads)
