"""Everything about `"auto"`: tiles, overlaps and batches chosen from a probe of the model."""

from .choosing import choose, measured_probe
