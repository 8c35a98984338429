"""Whether tiles show in the stitched result: measured, on the user's own data."""

from .checking import check_seams
from .verdict import SeamReport
