"""Zarr stores: where arrays lie, how they are found, created, read and written."""

from .arrays import CACHE_BYTES, StoredArray, check_io
from .finding import FoundArray, arrays_in_group, find_array, is_stored
from .location import Location, locate, without_secrets
from .nodes import Occupant, create_array, create_group, occupant

__all__ = [
    "CACHE_BYTES",
    "FoundArray",
    "Location",
    "Occupant",
    "StoredArray",
    "arrays_in_group",
    "check_io",
    "create_array",
    "create_group",
    "find_array",
    "is_stored",
    "locate",
    "occupant",
    "without_secrets",
]
