"""Where results go: targets, layouts, the arrays that are made."""

from .admission import as_target, check_kind, check_written_to
from .clearing import KEY
from .creation import (
    Shown,
    check_fits,
    create_arrays,
    create_level,
    list_labels,
    list_level,
)
from .edits import OutputFacts, check_own, check_unedited, edited, facts_of
from .harm import check_around
from .label_images import check_labels_made
from .layout import BlockBudget, Layout, choose_layout, larger_blocks, per_axis
from .level_layouts import (
    KnownLevels,
    Level,
    Pyramid,
    pyramid_of,
    pyramid_over,
    result_coordinates,
)
from .masking import check_fill, holds, masks_of
from .ome_metadata import image_attributes, in_order, wanted_version, with_level
from .output import DTypes, Output, OutputWords
from .target import Target, is_lossy, is_taken, written_around
