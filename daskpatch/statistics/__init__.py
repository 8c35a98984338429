"""What the values of whole images are like, found in one pass over them, out of core."""

from .accumulation import Accumulator, conclude, encode_known, merge_encoded
from .boxes import Boxes, box_voxels, bytes_needed
from .measurement import measure, statistics_of
