"""Patching strategies: where patches and tiles lie, in O(1) per index."""

from .checks import as_margin, as_sizes
from .fixed import FixedPatching
from .foreign import grids_of
from .grid import TileGrid
from .sampling import FixedRandomPatching, RandomPatching
from .sequential import SequentialPatching
from .tiling import AlignedPatching, TiledPatching, TileStrategy, WholeSamplePatching
from .types import Patching, PatchSpecs, TileSpecs, is_tile_specs

__all__ = [
    "AlignedPatching",
    "FixedPatching",
    "FixedRandomPatching",
    "PatchSpecs",
    "Patching",
    "RandomPatching",
    "SequentialPatching",
    "TileGrid",
    "TileSpecs",
    "TileStrategy",
    "TiledPatching",
    "WholeSamplePatching",
    "as_margin",
    "as_sizes",
    "grids_of",
    "is_tile_specs",
]
