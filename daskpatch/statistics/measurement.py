"""One look at images: boxes read in parallel, each summed up on its own, then together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

from numpy.typing import NDArray

from ..engine import Client, Interruption, Window
from ..image import ImageStack
from ..values import Normalize, Statistics
from .accumulation import conclude, fresh
from .boxes import BOX, Boxes


def measure(
    images: Sequence[ImageStack],
    normalize: Normalize,
    *,
    threads: int,
    client: Client | None = None,
    voxels: int = BOX,
    advance: Callable[[int], None] = lambda _: None,
    interruption: Interruption | None = None,
) -> tuple[Statistics, ...]:
    """The statistics that each image is normalised by; reads every voxel once, keeps no record.

    The result does not depend on threads or workers. Where a `fraction` is asked for, so many
    chunks are read, evenly spread. Values that are not finite don't count.

    Parameters
    ----------
    images, normalize
        Of what, and what for.
    threads, client
        Who reads: so many threads of this process, or a client's workers.
    voxels
        How many are read at a time (channels count), where all are read.
    advance
        Told of the voxels of space and samples that were read.
    interruption
        What stops it early, when it is requested.

    Raises
    ------
    OSError
        If an image cannot be read.
    KeyboardInterrupt
        If it was stopped.
    """
    boxes = Boxes(tuple(images), normalize, voxels)
    stop = Interruption() if interruption is None else interruption
    totals = [boxes.nothing(data_idx) for data_idx in range(len(images))]
    window = Window(
        boxes,
        range(len(boxes)),
        key=f"daskpatch-statistics-{uuid4().hex}",
        threads=threads,
        client=client,
        retries=2,
        interruption=stop,
    )
    for outcome in window:
        if outcome.error is not None:
            raise outcome.error
        data_idx, found, read = outcome.result
        for total, part in zip(totals[data_idx], found, strict=True):
            total.merge(part.state())
        advance(read)
    if stop.is_requested:
        raise KeyboardInterrupt("The statistics were not measured to the end.")
    return conclude(totals, normalize, boxes.fractions)


def statistics_of(values: NDArray[Any], normalize: Normalize) -> Statistics:
    """The statistics of one array `C(Z)YX`, or the constants that were given."""
    constants = normalize.constants
    if constants is not None:
        none = (0.0,) * len(constants.offset)
        counts = (0,) * len(constants.offset)
        return Statistics("constants", constants.offset, constants.scale, none, counts, 0.0)
    channels = [fresh(values.dtype, normalize) for _ in values]
    for accumulator, channel in zip(channels, values, strict=True):
        accumulator.add(channel)
    return conclude([channels], normalize, [1.0])[0]
