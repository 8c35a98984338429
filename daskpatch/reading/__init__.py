"""Reading: chunks, each once, shared by threads, and kept for as long as blocks need them."""

from .chunk_cache import CACHE_BYTES, ChunkCache
from .chunk_places import chunk_box, chunk_positions, source_of
from .patches import Patch, patch_of, read_box
from .uses import Chunk, Needs
