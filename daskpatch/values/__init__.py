"""What happens to values: converted, padded, normalised, turned, weighted, compared."""

from .augmentation import Position, as_augment, positions
from .conversion import convert, has_nan, is_number, number_dtype, store_values
from .differences import Values, deviation_of, difference_of
from .normalization import Normalization, ValueMap, as_normalization, options_of
from .padding import Padding, check_padding, read_padded
from .weights import STITCHES, check_stitch, weights

__all__ = [
    "STITCHES",
    "Normalization",
    "Padding",
    "Position",
    "ValueMap",
    "Values",
    "as_augment",
    "as_normalization",
    "check_padding",
    "check_stitch",
    "convert",
    "deviation_of",
    "difference_of",
    "has_nan",
    "is_number",
    "number_dtype",
    "options_of",
    "positions",
    "read_padded",
    "store_values",
    "weights",
]
