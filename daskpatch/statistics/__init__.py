"""What the values of whole images are like, found in one pass over them, out of core."""

from .measurement import BOX, measure, n_voxels, statistics_of
from .result import Statistics

__all__ = ["BOX", "Statistics", "measure", "n_voxels", "statistics_of"]
