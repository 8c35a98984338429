"""Files of other formats: thin adapters over the libraries that read them."""

from .file_array import FileArray
from .file_lookup import find_file
from .file_sequence import FileSequence
from .patterns import is_pattern, matching
from .reader import Facts
from .voxel_places import places_along
