"""Boxes, axes and 1-D tilings: arithmetic, nothing else."""

from .axis import (
    AlignedAxis,
    AxisTile,
    AxisTiling,
    TableAxis,
    TiledAxis,
    WholeAxis,
    representatives,
)
from .coordinates import Coordinates
from .dimensions import (
    Dimensions,
    check_axes,
    check_count,
    counterparts,
    differing_scales,
    example_axes,
    whole_voxels,
)
from .levels import (
    Factors,
    FactorsLike,
    as_factors,
    coarser_region,
    coarser_shape,
    factors_along,
    finer_region,
    halvings,
)
from .overlay import Overlay
from .per_axis import Margin, Ratio, Scale, Sides, Sizes, as_margin, as_scale, as_sizes, plain_sizes
from .region import Region, RegularGrid, unravel
from .short_repr import given
from .slices import RegionLike, ranges_of
from .units import long_unit
