"""Image stacks: any array, seen as S C (Z) Y X."""

from .array_image import ArrayImage
from .arraylike import IndexedArray
from .axis_labels import axis_name_of, labels_along, uneven_axes
from .content import SAMPLES, identity_of_image, token_of
from .drawing import drawing_of
from .facts import information
from .given_chunks import given_chunks_of, held_array_of, with_chunks, without_chunks
from .leaves import places_of
from .mask import Mask, ReadBox, mask_of, unseen_cells
from .opening import open_image, open_sequence, open_stack
from .source import Source, SourceLike, SourceWords
from .stack import ImageStack, LocatedImage
from .told import (
    absent_value_of,
    back_end_of,
    boxes_of,
    channel_names_of,
    chunk_nbytes_of,
    chunks_of,
    coordinates_of,
    dimensions_of,
    is_at_hand,
    is_chunked,
    is_held_by_cluster,
    is_placed,
    is_unlisted,
    location_of,
    locations_of,
    look_at_all,
    ome_version_of,
    padding_of,
    stored_array_of,
    why_endangered,
    why_not_portable,
    with_delays,
    with_io,
)
from .varied import varied_place
