"""What the values of whole images are like, found in one pass over them, out of core."""

from .measurement import box_voxels, bytes_needed, measure, n_voxels, statistics_of
from .result import Statistics

__all__ = [
    "Statistics",
    "box_voxels",
    "bytes_needed",
    "measure",
    "n_voxels",
    "statistics_of",
]
