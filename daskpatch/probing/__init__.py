"""What a model is like: how far it looks, on which grid it works, what it costs."""

from .description import description_beside, read_description
from .examination import costs_of, probe
from .findings import Probe
from .influence import Profile
from .loading import as_probe
from .probed_model import ProbedModel
from .remembered import Remembered, digest_of_values
from .sizes import AxisSizes, measure_sizes
from .speed import Budget, CallCost
