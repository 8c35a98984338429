"""Everything about `"auto"`: tiles, overlaps and batches chosen from a probe of the model."""

from .choosing import choose
from .examining import measured_probe
