"""From a region of the prediction to its voxels: read, tile, batch, model, stitch."""

from .assembly import Assembly, AssemblyWords
from .buffers import BufferPool
from .calling import Calls, check_result
from .chunk_needs import BlockRows, ChunkNeeds
from .coverage import (
    Tile,
    bounding_box,
    bytes_decoded,
    count_tiles,
    needed_along,
    needed_tiles,
    reaching,
    touching,
)
from .emptiness import Emptiness, is_said_empty
from .filling import (
    OutputBox,
    fill_region,
    is_known_empty,
    predict_region,
    predicted_tile,
    stitched_sample,
)
from .held import HeldChunk, held_arrays, held_chunks, predict_with, without_held
from .posting import apply_post
from .recipe import Prediction, Recipe, block_grid, block_grids
from .skipping import Skipping, SkippingWords
from .stand_ins import KEPT
from .workspace import BatchLimit, Tally, Workspace
