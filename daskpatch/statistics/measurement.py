"""One pass over images: boxes read in parallel, each summed up on its own, then together."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Protocol
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from ..engine import Interruption, Run
from ..geometry import RegularGrid
from ..image import ImageStack, chunks_of
from ..values import Normalization
from .extremes import Extremes
from .moments import Moments
from .percentiles import Percentiles
from .result import Statistics

_BYTES_PER_VOXEL = 64
"""Of the limit for each voxel of a box: several times what it takes."""

_SLICES = 2**22
"""Bytes of the slices of a box that are looked at at a time."""

BOX = 2**23
"""Voxels that are read at a time, where all are read; else a chunk."""


class Accumulator(Protocol):
    """What is known of the values so far."""

    @property
    def count(self) -> int:
        """Finite values that were added."""

    def add(self, values: NDArray[Any]) -> None: ...

    def merge(self, other: Any) -> None: ...

    def found(self) -> tuple[float, float, float]:
        """Offset, scale, and by how much they may be off."""


def measure(
    images: Sequence[ImageStack],
    normalization: Normalization,
    *,
    threads: int,
    client: Any | None = None,
    voxels: int = BOX,
    advance: Callable[[int], None] = lambda _: None,
    interruption: Interruption | None = None,
) -> tuple[Statistics, ...]:
    """The statistics that each image is normalised by; reads every voxel once.

    The result does not depend on threads or workers. Where a `fraction` is asked for, so many
    chunks are read, evenly spread. Values that are not finite don't count.

    Parameters
    ----------
    images, normalization
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
    job = _Pass(tuple(images), normalization, voxels)
    stop = Interruption() if interruption is None else interruption
    parts = [
        [_fresh(image.data_dtype, normalization) for _ in range(image.data_shape[1])]
        for image in images
    ]
    run = Run(
        job,
        range(job.n_boxes),
        key=f"daskpatch-statistics-{uuid4().hex}",
        threads=threads,
        client=client,
        retries=2,
        interruption=stop,
    )
    for outcome in run:
        if outcome.error is not None:
            raise outcome.error
        data_idx, found, read = outcome.result
        for total, part in zip(parts[data_idx], found, strict=True):
            total.merge(part)
        advance(read)
    if stop.is_requested:
        raise KeyboardInterrupt("The statistics were not measured to the end.")
    return _concluded(parts, normalization, job.fractions)


def box_voxels(limit: int, threads: int) -> int:
    """Voxels that may be read at a time, channels included, for a limit of bytes."""
    return max(min(BOX, limit // (_BYTES_PER_VOXEL * threads)), 1)


def bytes_needed(
    images: Sequence[ImageStack], normalization: Normalization, *, voxels: int, threads: int
) -> int:
    """What a measurement holds at its peak: a box for each thread, slices of it, and counts."""
    needed = 0
    for image in images:
        n_channels, itemsize = image.data_shape[1], image.data_dtype.itemsize
        boxes = _boxes(image, normalization.fraction, voxels)
        busy = min(threads, boxes.n_cells)
        chunk = math.prod(chunks_of(image) or (0,))
        box = n_channels * (math.prod(boxes.largest) + 2 * chunk) * itemsize
        counts = 0
        if normalization.kind == "percentile":
            counts = 2 * n_channels * Percentiles(image.data_dtype, (0, 100)).nbytes
        needed = max(needed, busy * (box + counts + _SLICES))
    return needed


def statistics_of(values: NDArray[Any], normalization: Normalization) -> Statistics:
    """The statistics of one array `C(Z)YX`, or the constants that were given."""
    constants = normalization.constants
    if constants is not None:
        none = (0.0,) * len(constants.offset)
        counts = (0,) * len(constants.offset)
        return Statistics("constants", constants.offset, constants.scale, none, counts, 0.0)
    channels = [_fresh(values.dtype, normalization) for _ in values]
    for accumulator, channel in zip(channels, values, strict=True):
        accumulator.add(channel)
    return _concluded([channels], normalization, [1.0])[0]


def n_voxels(images: Sequence[ImageStack], normalization: Normalization) -> int:
    """Voxels of space and samples that a measurement reads."""
    job = _Pass(tuple(images), normalization)
    sizes = (image.data_shape[0] * math.prod(image.data_shape[2:]) for image in images)
    return round(sum(n * f for n, f in zip(sizes, job.fractions, strict=True)))


def _fresh(dtype: np.dtype[Any], normalization: Normalization) -> Accumulator:
    if normalization.kind == "zscore":
        return Moments()
    if normalization.kind == "minmax":
        return Extremes()
    return Percentiles(dtype, normalization.percentiles)


@dataclass(frozen=True)
class _Pass:
    """A box's number in; its image, what was found in each channel, and its voxels out."""

    images: tuple[ImageStack, ...]
    normalization: Normalization
    voxels: int = BOX

    grids: tuple[RegularGrid, ...] = field(init=False)
    counts: tuple[int, ...] = field(init=False)
    _ends: tuple[int, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        fraction = self.normalization.fraction
        grids = tuple(_boxes(image, fraction, self.voxels) for image in self.images)
        counts = tuple(max(1, round(fraction * grid.n_cells)) for grid in grids)
        object.__setattr__(self, "grids", grids)
        object.__setattr__(self, "counts", counts)
        object.__setattr__(self, "_ends", (0, *accumulate(counts)))

    @property
    def n_boxes(self) -> int:
        return self._ends[-1]

    @property
    def fractions(self) -> list[float]:
        """The share of each image that is read."""
        return [count / grid.n_cells for count, grid in zip(self.counts, self.grids, strict=True)]

    def __call__(self, index: int) -> tuple[int, list[Accumulator], int]:
        data_idx = bisect_right(self._ends, index) - 1
        image, grid = self.images[data_idx], self.grids[data_idx]
        at, count = index - self._ends[data_idx], self.counts[data_idx]
        cell = grid.cell((2 * at + 1) * grid.n_cells // (2 * count))
        values = image.extract_patch(cell.start[0], None, cell.start[1:], cell.shape[1:])
        found = [_fresh(image.data_dtype, self.normalization) for _ in values]
        for accumulator, channel in zip(found, values, strict=True):
            accumulator.add(np.asarray(channel))
        return data_idx, found, cell.n_voxels


def _boxes(image: ImageStack, fraction: float, voxels: int) -> RegularGrid:
    """Whole chunks: single ones where a part is read, else as many as are worth a task."""
    samples, n_channels, *spatial = image.data_shape
    shape = tuple(spatial)
    chunks = chunks_of(image) or tuple(min(64, n) for n in shape)
    box = tuple(map(min, chunks, shape))
    while fraction == 1 and n_channels * math.prod(box) < voxels and box != shape:
        axis = min((i for i in range(len(box)) if box[i] < shape[i]), key=lambda i: (box[i], -i))
        box = (*box[:axis], min(2 * box[axis], shape[axis]), *box[axis + 1 :])
    return RegularGrid.clipped((samples, *shape), (1, *box))


def _concluded(
    parts: list[list[Accumulator]], normalization: Normalization, fractions: list[float]
) -> tuple[Statistics, ...]:
    """Channels and images taken together, where that was asked for."""
    if not normalization.per_channel:
        parts = [[_merged(channels)] for channels in parts]
    if normalization.over == "image":
        return tuple(
            _statistics(p, normalization, f) for p, f in zip(parts, fractions, strict=True)
        )
    together = [_merged(channel) for channel in zip(*parts, strict=True)]
    statistics = _statistics(together, normalization, sum(fractions) / len(fractions))
    return (statistics,) * len(parts)


def _merged(accumulators: Sequence[Accumulator]) -> Accumulator:
    first, *others = accumulators
    for other in others:
        first.merge(other)
    return first


def _statistics(
    channels: Sequence[Accumulator], normalization: Normalization, fraction: float
) -> Statistics:
    offset, scale, error = zip(*(channel.found() for channel in channels), strict=True)
    return Statistics(
        kind=normalization.kind,
        offset=offset,
        scale=tuple(s or 1.0 for s in scale),
        error=error,
        voxels=tuple(channel.count for channel in channels),
        fraction=fraction,
    )
