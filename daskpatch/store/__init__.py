"""Zarr stores: where arrays lie, how they are found, created, read and written."""

from .arrays import CACHE_BYTES, StoredArray, check_io, check_io_at, tensorstore_opens
from .finding import FoundArray, find_array, is_stored, members_of
from .location import Location, locate, without_secrets
from .nodes import (
    Occupant,
    create_array,
    create_group,
    format_at,
    is_zip,
    occupant,
    replace_members,
)

__all__ = [
    "CACHE_BYTES",
    "FoundArray",
    "Location",
    "Occupant",
    "StoredArray",
    "check_io",
    "check_io_at",
    "create_array",
    "create_group",
    "find_array",
    "format_at",
    "is_stored",
    "is_zip",
    "locate",
    "members_of",
    "occupant",
    "replace_members",
    "tensorstore_opens",
    "without_secrets",
]
