"""Where results go: targets, layouts, the arrays that are made."""

from .layout import BlockBudget, Layout, choose_layout, per_axis
from .ome import in_order, wanted_version
from .output import DTypes, Output, OutputWords
from .target import Target, as_target, check_fits, check_own, is_lossy
