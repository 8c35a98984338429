"""Whether tiles show in the stitched result: measured, on the user's own data."""

from .checking import check_seams
from .report import SeamReport

__all__ = ["SeamReport", "check_seams"]
