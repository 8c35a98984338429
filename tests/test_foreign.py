"""Strategies from elsewhere: taken after a check, refused with the first offending index."""

import numpy as np
import pytest

from daskpatch import AlignedPatching, FixedPatching, SequentialPatching, TiledPatching
from daskpatch.patching import grids_of

SHAPES = [(2, 1, 20, 30), (1, 1, 9, 11)]


class Elsewhere:
    """A strategy that only follows the protocol; `change` spoils its specs."""

    def __init__(self, patching, change=lambda index, specs: specs, indices=None):
        self.patching, self.change = patching, change
        self.n_patches = patching.n_patches
        self.indices = indices or patching.get_patch_indices

    def get_patch_spec(self, index):
        return self.change(index, dict(self.patching.get_patch_spec(index)))

    def get_patch_indices(self, data_idx):
        return self.indices(data_idx)


@pytest.mark.parametrize("tiling", [TiledPatching, AlignedPatching])
@pytest.mark.parametrize(("patch", "overlap"), [((8, 12), (3, 4)), (64, 0), ((1, 30), (0, 7))])
def test_grids_of_a_foreign_strategy_are_those_of_ours(tiling, patch, overlap):
    ours = tiling(SHAPES, patch, overlap)
    theirs = grids_of(Elsewhere(ours), SHAPES)
    for mine, found in zip(ours.grids, theirs, strict=True):
        assert mine.counts == found.counts
        assert [mine.tile_specs(0, i) for i in range(mine.n_tiles)] == [
            found.tile_specs(0, i) for i in range(found.n_tiles)
        ]


def test_numpy_integers_and_lists_are_taken():
    def change(index, specs):
        return {k: np.array(v) if isinstance(v, tuple) else np.int64(v) for k, v in specs.items()}

    ours = TiledPatching(SHAPES, 8, 3)
    assert grids_of(Elsewhere(ours, change), SHAPES)[0].counts == ours.grids[0].counts


def moved(index, specs):
    if index == 13:
        specs["coords"] = (specs["coords"][0] + 1, specs["coords"][1])
    return specs


def widened(index, specs):
    if index == 13:
        specs["crop_size"] = (specs["crop_size"][0], specs["crop_size"][1] + 1)
    return specs


def without_crop(index, specs):
    return {k: v for k, v in specs.items() if not k.startswith("crop")}


def wrong_total(index, specs):
    return {**specs, "total_tiles": 7}


def with_gap(index, specs):
    if specs["stitch_coords"][1]:
        specs["stitch_coords"] = (specs["stitch_coords"][0], specs["stitch_coords"][1] + 1)
    return specs


def outside(index, specs):
    return {**specs, "coords": tuple(c + 5 for c in specs["coords"])}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (moved, ["tile 13", "coords"]),
        (widened, ["tile 13", "crop_size"]),
        (without_crop, ["spec 0", "no TileSpecs"]),
        (wrong_total, ["tile 0", "total_tiles 7"]),
        (with_gap, ["tile 1", "gap"]),
        (outside, ["tile 0", "part of the tile"]),
    ],
)
def test_what_is_no_grid_is_refused_with_the_first_offending_index(change, words):
    with pytest.raises(ValueError) as caught:
        grids_of(Elsewhere(TiledPatching(SHAPES, (8, 12), (3, 4)), change), SHAPES)
    for word in words:
        assert word in str(caught.value)


def test_indices_that_are_not_contiguous_are_refused():
    ours = TiledPatching(SHAPES, 8, 0)
    with pytest.raises(ValueError, match="not contiguous"):
        grids_of(Elsewhere(ours, indices=lambda i: list(ours.get_patch_indices(i))[::-1]), SHAPES)


def test_an_image_without_tiles_is_refused():
    with pytest.raises(ValueError, match="image 1"):
        grids_of(FixedPatching(TiledPatching(SHAPES[:1], 8, 0)), SHAPES)


def test_patches_for_training_are_no_tiles():
    with pytest.raises(ValueError, match="no TileSpecs"):
        grids_of(SequentialPatching(SHAPES, 8), SHAPES)


def test_a_strategy_made_for_other_shapes_is_refused():
    with pytest.raises(ValueError, match=r"made for data_shapes .*\(1, 1, 9, 12\)"):
        grids_of(TiledPatching([SHAPES[0], (1, 1, 9, 12)], 8, 0), SHAPES)


def test_channels_do_not_matter_to_a_tiling():
    tiling = TiledPatching([(2, 4, 20, 30), (1, 4, 9, 11)], 8, 0)
    assert grids_of(tiling, SHAPES) == tiling.grids


def test_tiles_that_start_outside_the_image_are_taken():
    class Centred:
        """Tiles with a halo that reaches out of the image on every side."""

        n_patches = 4

        def get_patch_spec(self, index):
            y, x = divmod(index, 2)
            return {
                "data_idx": 0,
                "sample_idx": 0,
                "coords": (y * 8 - 2, x * 8 - 2),
                "patch_size": (12, 12),
                "crop_coords": (2, 2),
                "crop_size": (8, 8),
                "stitch_coords": (y * 8, x * 8),
                "total_tiles": 4,
            }

        def get_patch_indices(self, data_idx):
            return range(4)

    (grid,) = grids_of(Centred(), [(1, 1, 16, 16)])
    assert grid.tile_specs(0, 3)["coords"] == (6, 6)
