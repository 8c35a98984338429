"""Boxes, axes and 1-D tilings: arithmetic, nothing else."""

from .axis import AlignedAxis, AxisTile, AxisTiling, TableAxis, TiledAxis, WholeAxis
from .dimensions import Dimensions, check_axes, example_axes
from .region import Region, RegularGrid, unravel

__all__ = [
    "AlignedAxis",
    "AxisTile",
    "AxisTiling",
    "Dimensions",
    "Region",
    "RegularGrid",
    "TableAxis",
    "TiledAxis",
    "WholeAxis",
    "check_axes",
    "example_axes",
    "unravel",
]
