"""What a model is like: how far it looks, on which grid it works, what it costs."""

from .description import description_beside, read_description
from .examination import probe, with_costs
from .findings import Probe
from .influence import Profile
from .loading import as_probe
from .probed_model import ProbedModel
from .sizes import AxisSizes, measure_sizes
from .speed import CallCost
