"""Patching strategies: where patches and tiles lie, in O(1) per index."""

from .arguments import check_larger_than
from .fixed import FixedPatching
from .foreign import grids_of
from .grid import TileGrid
from .sampling import FixedRandomPatching, RandomPatching
from .sequential import SequentialPatching
from .tiling import AlignedPatching, TiledPatching, TileStrategy, WholeSamplePatching
from .types import Patching, PatchSpecs, TileSpecs, is_tile_specs
