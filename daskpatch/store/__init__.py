"""Zarr stores: where arrays lie, how they are opened, created, read and written."""

from .arrays import CACHE_BYTES, StoredArray, check_io
from .location import Location, locate, without_secrets
from .nodes import create_array, create_group, existing_node, open_node
from .ome import OmeLevel, is_ome, ome_level

__all__ = [
    "CACHE_BYTES",
    "Location",
    "OmeLevel",
    "StoredArray",
    "check_io",
    "create_array",
    "create_group",
    "existing_node",
    "is_ome",
    "locate",
    "ome_level",
    "open_node",
    "without_secrets",
]
