"""Files of other formats: thin adapters over the libraries that read them."""

from .file_array import FileArray
from .finding import find_file
from .patterns import is_pattern, matching
from .places import places_along
from .reader import Facts
from .sequence import FileSequence
