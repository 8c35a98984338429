"""From a region of the prediction to its voxels: read, tile, batch, model, stitch."""

from .calling import BatchLimit, Calls, check_result
from .filling import (
    Part,
    Tally,
    fill_region,
    posted,
    predict_region,
    predicted_tile,
    stitched_sample,
)
from .prediction import Prediction, block_grid, block_grids, kept_of_last
from .tiles import Tile, bytes_decoded, cut, needed, needed_along, reaching, span, touching

__all__ = [
    "BatchLimit",
    "Calls",
    "Part",
    "Prediction",
    "Tally",
    "Tile",
    "block_grid",
    "block_grids",
    "bytes_decoded",
    "check_result",
    "cut",
    "fill_region",
    "kept_of_last",
    "needed",
    "needed_along",
    "posted",
    "predict_region",
    "predicted_tile",
    "reaching",
    "span",
    "stitched_sample",
    "touching",
]
