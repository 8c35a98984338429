"""How fast a run will go beside the model, as its trial showed; nothing is decided by it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from numpy.typing import NDArray

from ..geometry import Region
from ..image import back_end_of, is_chunked
from ..reading import chunk_positions
from ..store import encoding_seconds
from .first_look import FirstLook
from .trial_tile import TrialTile

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds that things take.

    Attributes
    ----------
    reading
        A decoded byte of the source, where all chunks of a tile are read together.
    filling
        A voxel of a tile that is converted for the model, in one thread.
    encoding
        A byte of a result that is encoded and kept in memory, in one thread. What a store takes to
        answer is not known before it is written to.
    """

    reading: float
    filling: float
    encoding: float


def read_in(look: FirstLook, tile: TrialTile) -> tuple[NDArray[Any], float]:
    """The voxels of the trial tile, and the seconds for each byte that was decoded for it."""
    back_end_of(tile.image)  # opened once, for all blocks
    patch, seconds = timed(lambda: look.patch_of(tile))
    return patch, seconds / max(_decoded_bytes(tile, patch), 1)


def pace_of(reading: float, filled: NDArray[Any], filling: float, result: NDArray[Any]) -> Pace:
    """The pace, by what a byte took to be read, and a whole tile to be filled."""
    return Pace(reading, filling / max(filled[0, 0].size, 1), encoding_seconds(result))


def timed(call: Callable[[], T]) -> tuple[T, float]:
    """The result of a call, and the seconds that it took."""
    begin = time.perf_counter()
    result = call()
    return result, time.perf_counter() - begin


def _decoded_bytes(tile: TrialTile, patch: NDArray[Any]) -> int:
    """Of whole chunks, where the image has some."""
    specs, image = tile.specs, tile.image
    if not is_chunked(image):
        return patch.nbytes
    start = tuple(specs["coords"])
    stop = tuple(a + n for a, n in zip(start, specs["patch_size"], strict=True))
    positions = chunk_positions(image, specs["sample_idx"], Region(start, stop))
    return len(positions) * image.chunk_nbytes
