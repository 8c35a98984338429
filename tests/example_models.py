"""Models that tests name from the command line or send to other processes."""

import time

import numpy as np
from scipy import ndimage


def identity(batch):
    return batch


def double(batch):
    return batch * 2


def channels(batch):
    """Three channels out, whatever comes in."""
    total = batch.sum(axis=1, keepdims=True)
    return np.concatenate([total, total + 1, -total], axis=1)


def gaussian(batch):
    """Sigma 1 reaches 4 voxels."""
    axes = tuple(range(2, batch.ndim))
    return ndimage.gaussian_filter(batch, 1.0, axes=axes, mode="mirror")


def slowly(batch):
    """Slow enough to be stopped on the way."""
    time.sleep(0.02)
    return gaussian(batch)


def standardised(batch):
    """Each tile by its own mean and standard deviation, then smoothed: it sees all of a tile."""
    axes = tuple(range(2, batch.ndim))
    return gaussian((batch - batch.mean(axes, keepdims=True)) / batch.std(axes, keepdims=True))


def finer(batch):
    """Twice the size along Y and X."""
    return batch.repeat(2, -1).repeat(2, -2)


def median(batch):
    size = (1, 1) + (3,) * (batch.ndim - 2)
    return ndimage.median_filter(batch, size=size, mode="mirror")


def smaller(batch):
    return batch[..., 1:-1]


def fails(batch):
    raise RuntimeError("out of ideas")


class NotAnInstance:
    def __call__(self, batch):
        return batch


def __getattr__(name):
    if name == "patching":
        from daskpatch import TiledPatching

        return TiledPatching([(1, 1, 37, 61, 53)], 24, 7)
    raise AttributeError(name)
