"""Where results go: targets, layouts, the arrays that are made."""

from .layout import BlockBudget, Layout, choose_layout, per_axis
from .output import DTypes, Output, OutputWords
from .target import Target, as_target, check_fits, check_own, is_lossy
