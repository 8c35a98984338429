"""What happens to values: converted, padded, normalised, weighted, compared."""

from .blending import STITCHES, check_stitch, weights
from .conversion import convert, has_nan, store_values
from .differences import Values, deviations_of, difference_of, finite_mean_and_deviation
from .downsampling import DOWNSAMPLES, Downsample, downsampled, downsampling_bytes
from .normalization import Normalize, NormalizeLike, NormalizeWords
from .padding import Padding, check_padding, read_padded, source_box
from .renumbering import are_never_ids, are_renumbered, may_be_ids
from .result_sample import ResultSample, Samples
from .uniformity import are_all, constants_of
from .value_map import Statistics, ValueMap
