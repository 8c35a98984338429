"""What else is given as code: functions of blocks as `post`, and strategies as `patching`."""

from functools import partial, wraps

import numpy as np

from daskpatch import (
    AlignedPatching,
    RandomPatching,
    SequentialPatching,
    TiledPatching,
    WholeSamplePatching,
)

# Of blocks `C(Z)YX`: some of them of each voxel for itself, and never falling where it rises


def of_each(function):
    """The same of several arrays, each for itself."""

    @wraps(function)
    def post(block):
        if isinstance(block, dict):
            return {name: function(values) for name, values in block.items()}
        return function(block)

    return post


@of_each
def thirds(block):
    """Floats stay floats; integers become some."""
    return block / np.float32(3) - 1


@of_each
def as_bytes(block):
    return np.clip(np.rint(block.astype("f8")), 0, 255).astype("u1")


@of_each
def brightest(block):
    """One channel, without an axis for it."""
    return block.max(axis=0)


@of_each
def with_another(block):
    """Twice as many channels."""
    return np.concatenate([block, block + block.dtype.type(1)])


@of_each
def cut(block):
    return block[..., :-1]


@of_each
def hidden(block):
    return np.ma.masked_less(block, 10**6)


@of_each
def as_text(block):
    return block.astype("U8")


def nothing(block):
    """No array."""


def of_no_channels(block):
    return block[:0]


def fails(given):
    raise KeyError(type(given))


POSTS = [thirds, as_bytes, brightest, with_another]
"""What a result goes through."""

NO_POSTS = [cut, hidden, as_text, nothing, of_no_channels, fails]


# Strategies


class Handed:
    """A strategy from elsewhere: tiles are handed on one by one."""

    def __init__(self, data_shapes):
        self._tiles = TiledPatching(data_shapes, patch_size=5, overlaps=2)
        self.n_patches = self._tiles.n_patches

    def get_patch_spec(self, index):
        return dict(self._tiles.get_patch_spec(index))

    def get_patch_indices(self, data_idx):
        return list(self._tiles.get_patch_indices(data_idx))


class Failing(Handed):
    """One that does not know its tiles."""

    def get_patch_spec(self, index):
        return fails(index)


class Shifted(Handed):
    """One whose last tile is put elsewhere."""

    def get_patch_spec(self, index):
        specs = super().get_patch_spec(index)
        if index == self.n_patches - 1:
            specs["stitch_coords"] = tuple(n + 1 for n in specs["stitch_coords"])
        return specs


STRATEGIES = [
    partial(TiledPatching, patch_size=5, overlaps=2),
    partial(TiledPatching, patch_size=8, overlaps=3),
    partial(AlignedPatching, patch_size=8, overlaps=4, align=2),
    Handed,
    WholeSamplePatching,
]
"""They change nothing of a voxel."""
NO_STRATEGIES = [
    fails,
    partial(TiledPatching, patch_size=4, overlaps=4),
    partial(RandomPatching, patch_size=4),
    partial(SequentialPatching, patch_size=4),
    TiledPatching,
    TiledPatching([(1, 1, 8, 8)], 4, 2),
    Shifted,
    Failing,
    str,
]
