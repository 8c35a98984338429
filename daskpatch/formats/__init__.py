"""Files of other formats: thin adapters over the libraries that read them."""

from .file_array import FileArray
from .finding import find_file
from .reader import Choice, Facts, Reader
