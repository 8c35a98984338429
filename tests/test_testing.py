"""The contract checks find what they are for."""

import pytest

from daskpatch import SequentialPatching, TiledPatching
from daskpatch.testing import check_patching, check_tiling

SHAPES = [(2, 1, 20, 30)]


class Spoilt:
    """A good tiling of which one thing is wrong."""

    def __init__(self, **changes):
        self.tiling = TiledPatching(SHAPES, 8, 2)
        self.changes = changes

    @property
    def n_patches(self):
        return self.changes.get("n_patches", self.tiling.n_patches)

    def get_patch_spec(self, index):
        changes = {k: v for k, v in self.changes.items() if k != "n_patches"}
        return {**self.tiling.get_patch_spec(index), **(changes if index == 3 else {})}

    def get_patch_indices(self, data_idx):
        return self.tiling.get_patch_indices(data_idx)


def test_good_strategies_pass():
    check_tiling(Spoilt(), SHAPES)
    check_patching(SequentialPatching(SHAPES, 8), SHAPES)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"n_patches": 7}, "share out"),
        ({"coords": (0, 0.5)}, "plain ints"),
        ({"coords": [0, 0]}, "plain ints"),
        ({"data_idx": 1}, "data_idx 1"),
        ({"sample_idx": 2}, "2 samples"),
        ({"coords": (0, 0, 0)}, "spatial axes"),
        ({"patch_size": (0, 8)}, "patch_size"),
    ],
)
def test_bad_strategies_fail(changes, words):
    with pytest.raises(AssertionError, match=words):
        check_patching(Spoilt(**changes), SHAPES)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"crop_size": (7, 1)}, "kept exactly once|keeps"),
        ({"crop_size": (9, 9)}, "keeps"),
        ({"stitch_coords": (0, 0)}, "stitched"),
        ({"total_tiles": 1}, "total_tiles"),
    ],
)
def test_bad_tilings_fail(changes, words):
    with pytest.raises(AssertionError, match=words):
        check_tiling(Spoilt(**changes), SHAPES)


def test_patches_are_no_tiling():
    with pytest.raises(AssertionError, match="no TileSpecs"):
        check_tiling(SequentialPatching(SHAPES, 8), SHAPES)
