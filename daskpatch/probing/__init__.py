"""What a model is like: how far it looks, on which grid it works, what it costs."""

from .description import description_beside, read_description
from .influence import Profile
from .loading import as_probe
from .measurement import probe, with_costs
from .result import Probe
from .sizes import AxisSizes
from .speed import Cost

__all__ = [
    "AxisSizes",
    "Cost",
    "Probe",
    "Profile",
    "as_probe",
    "description_beside",
    "probe",
    "read_description",
    "with_costs",
]
