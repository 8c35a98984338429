"""Reading: chunks, each once, shared by threads, and kept for as long as blocks need them."""

from .ahead import AT_A_TIME, MOST_AHEAD, is_read_ahead, reading_ahead
from .chunk_cache import ChunkCache
from .chunk_places import chunk_positions, chunk_region, source_of
from .patches import Patch, patch_of, read_box
from .sampled import SAMPLED_BYTES, SampledChunks
from .uses import Chunk
