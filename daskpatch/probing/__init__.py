"""What a model is like: how far it looks, on which grid it works, what it costs."""

from .influence import Profile
from .measurement import probe, with_costs
from .result import Probe, as_probe
from .sizes import AxisSizes
from .speed import Cost

__all__ = ["AxisSizes", "Cost", "Probe", "Profile", "as_probe", "probe", "with_costs"]
