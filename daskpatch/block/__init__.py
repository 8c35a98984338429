"""From a region of the prediction to its voxels: read, tile, batch, model, stitch."""

from .buffers import BufferPool
from .calling import Calls, check_result
from .filling import Part, fill_region, predict_region, predicted_tile, stitched_sample
from .posting import posted
from .prediction import Prediction, block_grid, block_grids, kept_of_last
from .tiles import Tile, bytes_decoded, cut, needed, needed_along, reaching, span, touching
from .workspace import BatchLimit, Tally, Workspace

__all__ = [
    "BatchLimit",
    "BufferPool",
    "Calls",
    "Part",
    "Prediction",
    "Tally",
    "Tile",
    "Workspace",
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
