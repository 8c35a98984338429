"""What values are normalised by, in plain NumPy: of percentiles of floats, the ends of it."""

import itertools
from dataclasses import dataclass

import numpy as np

BIN = 1 / 4096
"""By how much of itself a percentile of floats may be off (docs/seams.md)."""


@dataclass(frozen=True)
class Statistics:
    """Offset and scale of each channel, or one of each for all."""

    offset: np.ndarray
    scale: np.ndarray

    def apply(self, values):
        return (values.astype("f8") - _upright(self.offset, values)) / _upright(self.scale, values)

    def undo(self, values):
        return values.astype("f8") * _upright(self.scale, values) + _upright(self.offset, values)


def _upright(numbers, values):
    """Along the channels of `N C (Z) Y X`."""
    return numbers.reshape(-1, *(1,) * (values.ndim - 2))


def measured(images, chunks, given):
    """Per image, what its values may be normalised by; None where they are not."""
    how = given.get("normalize")
    if how is None:
        return [None] * len(images)
    if isinstance(how, dict):
        return [[_constants(how)]] * len(images)
    fraction = given.get("normalize_fraction", 1)
    read = [_read(values, fraction, each) for values, each in zip(images, chunks, strict=True)]
    if not given.get("normalize_per_channel", True):
        read = [values.reshape(1, -1) for values in read]
    if given.get("normalize_over") == "series":
        read = [np.concatenate(read, axis=1)] * len(images)
    return [_statistics(values, how) for values in read]


def _constants(how):
    known = {name: np.atleast_1d(np.asarray(numbers, "f8")) for name, numbers in how.items()}
    if "mean" in known:
        return Statistics(known["mean"], known["std"])
    return Statistics(known["low"], known["high"] - known["low"])


def _read(values, fraction, chunks):
    """The values of each channel, of single chunks: `fraction` of them, each amid an equal part."""
    if fraction == 1:
        return values.swapaxes(0, 1).reshape(values.shape[1], -1)
    space = values.shape[2:]
    chunks = space if chunks is None else chunks
    starts = [range(0, n, c) for n, c in zip(space, chunks, strict=True)]
    cells = list(itertools.product(range(len(values)), *starts))
    count = max(1, round(fraction * len(cells)))
    found = []
    for at in range(count):
        sample, *start = cells[(2 * at + 1) * len(cells) // (2 * count)]
        box = tuple(slice(a, a + c) for a, c in zip(start, chunks, strict=True))
        found.append(values[(sample, slice(None), *box)].reshape(values.shape[1], -1))
    return np.concatenate(found, axis=1)


def _statistics(values, how):
    """What values `(C, n)` are normalised by: of percentiles of floats, the ends of what may be."""
    x = values.astype("f8")
    if how == "zscore":
        return [_scaled(x.mean(axis=1), x.std(axis=1), x)]
    ranks = (0, 100) if how == "minmax" else (1, 99.8) if how == "percentile" else how[1:]
    low, high = np.percentile(x, ranks, axis=1)
    if how == "minmax" or (values.dtype.kind in "biu" and values.dtype.itemsize <= 2):
        return [_scaled(low, high - low, x)]
    error = np.maximum(np.abs(low), np.abs(high)) * BIN
    return [
        _scaled(low + a * error, high - low + (b - a) * error, x)
        for a, b in itertools.product((-1, 1), repeat=2)
    ]


def _scaled(offset, scale, values):
    """Values that are all the same are shifted, not divided."""
    is_flat = (scale == 0) | (values.min(axis=1) == values.max(axis=1))
    return Statistics(offset, np.where(is_flat, 1, scale))
