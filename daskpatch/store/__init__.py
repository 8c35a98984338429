"""Zarr stores: where arrays lie, how they are found, created, read and written."""

from .arrays import CACHE_BYTES, StoredArray, check_io, check_io_at, tensorstore_opens
from .backoff import with_backoff, with_backoff_async
from .finding import FoundArray, find_array, is_stored, members_of
from .location import Location, locate, without_secrets
from .nodes import (
    Occupant,
    attributes_at,
    create_array,
    delete_members,
    delete_metadata,
    enclosing_array,
    ensure_group,
    existing_array,
    format_at,
    is_zip,
    occupant,
)
from .objects import Objects

__all__ = [
    "CACHE_BYTES",
    "FoundArray",
    "Location",
    "Objects",
    "Occupant",
    "StoredArray",
    "attributes_at",
    "check_io",
    "check_io_at",
    "create_array",
    "delete_members",
    "delete_metadata",
    "enclosing_array",
    "ensure_group",
    "existing_array",
    "find_array",
    "format_at",
    "is_stored",
    "is_zip",
    "locate",
    "members_of",
    "occupant",
    "tensorstore_opens",
    "with_backoff",
    "with_backoff_async",
    "without_secrets",
]
