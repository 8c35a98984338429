"""Zarr stores: where arrays lie, how they are found, created, read and written."""

from .absence import noticing
from .answers import Answers, answered_by
from .arrays import StoredArray, check_io_at
from .backends import BACK_ENDS, BackEnd, back_end_at, check_io
from .backoff import at_first, with_backoff, with_backoff_async
from .enclosing import Surrounding, around, format_among, format_at, surroundings
from .encoding import encoding_seconds
from .finding import (
    StoreLike,
    check_single,
    find_array,
    find_collection,
    group_or_place,
    is_array,
    is_stored,
    members_of,
)
from .foreign_files import format_at_path, format_named
from .guard import Flushable, guarded_by, writing
from .labels import LABELS, check_labels, label_names, list_label
from .location import Location, locate
from .nodes import (
    V2_ATTRIBUTES,
    BrokenError,
    Node,
    attributes_at,
    attributes_of,
    create_array,
    document_at,
    ensure_group,
    existing_array,
    is_zip,
    node_at,
    own_attributes,
    own_document,
)
from .objects import Objects, plain_name
from .occupancy import MOST_CELLS, Occupancy, occupancy_of
from .ome import OmeImage, OmeLevel, Places, image_version_at, level_paths_at
from .plates import OME_XML, Collection, Plate
from .sight import ChangedError
from .syncing import flush_metadata
