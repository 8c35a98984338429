"""Plans and the verbs that make them: what is decided, and what can be done with it."""

from .plans import Plan, check_repairable, passes_of, prediction_of
from .verbs import plan, predict
