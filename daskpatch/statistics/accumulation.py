"""What is known of values so far: added to, merged, stored and taken up again."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..values import Normalize, Statistics
from .extremes import Extremes
from .moments import Moments
from .percentiles import Percentiles


class Accumulator(Protocol):
    """What is known of the values of one channel."""

    @property
    def count(self) -> int:
        """Finite values that were added."""

    def add(self, values: NDArray[Any]) -> None: ...

    def found(self) -> tuple[float, float, float]:
        """Offset, scale, and by how much they may be off."""

    def state(self) -> list[Any]:
        """All that is known, as plain values."""

    def merge(self, state: Sequence[Any]) -> None:
        """Add what another one of this kind knows."""


def fresh(dtype: np.dtype[Any], normalize: Normalize) -> Accumulator:
    """What is known of no values, of a dtype."""
    if normalize.name == "zscore":
        return Moments()
    if normalize.name == "minmax":
        return Extremes()
    return Percentiles(dtype, normalize.percentiles)


def encode_known(known: Mapping[int, Sequence[Accumulator]]) -> bytes:
    """What is known of some images' channels, by the images' numbers, as bytes."""
    states = {number: [channel.state() for channel in known[number]] for number in known}
    # Counts of values take megabytes, and most of them are small.
    return zlib.compress(msgspec.msgpack.encode(states), 1)


def merge_encoded(totals: Sequence[Sequence[Accumulator]], content: bytes) -> None:
    """Add what `encode_known` gave to what is known, per image and channel."""
    for number, states in msgspec.msgpack.decode(zlib.decompress(content), strict=False).items():
        for total, state in zip(totals[int(number)], states, strict=True):
            total.merge(state)


def conclude(
    parts: Sequence[Sequence[Accumulator]], normalize: Normalize, fractions: Sequence[float]
) -> tuple[Statistics, ...]:
    """Statistics per image; channels and images taken together, where that was asked for.

    `fractions` say how much of each image was read.
    """
    if not normalize.per_channel:
        parts = [[_merged(channels)] for channels in parts]
    if normalize.over == "image":
        return tuple(_statistics(p, normalize, f) for p, f in zip(parts, fractions, strict=True))
    together = [_merged(channel) for channel in zip(*parts, strict=True)]
    statistics = _statistics(together, normalize, sum(fractions) / len(fractions))
    return (statistics,) * len(parts)


def _merged(accumulators: Sequence[Accumulator]) -> Accumulator:
    first, *others = accumulators
    for other in others:
        first.merge(other.state())
    return first


def _statistics(
    channels: Sequence[Accumulator], normalize: Normalize, fraction: float
) -> Statistics:
    offset, scale, error = zip(*(channel.found() for channel in channels), strict=True)
    return Statistics(
        kind=normalize.name,
        offset=offset,
        scale=tuple(s or 1.0 for s in scale),
        error=error,
        voxels=tuple(channel.count for channel in channels),
        fraction=fraction,
    )
