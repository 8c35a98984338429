"""What a model is like: how far it looks, on which grid it works, what it costs."""

from .influence import Profile
from .measurement import probe
from .result import Probe
from .sizes import AxisSizes
from .speed import Cost

__all__ = ["AxisSizes", "Cost", "Probe", "Profile", "probe"]
