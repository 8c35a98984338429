"""What is decided about a run before its first block, as data."""

from .agreement import check_geometry
from .choice import Candidate, Choice
from .cost import Cost, cost_of
from .decided import Decided
from .decision import as_stored, decide, decide_anew
from .identity import Code, Identity, code_identity, contents_before, identify
from .limits import Limits, LimitsWords, available_memory
from .memory import Memory, check_chunks, check_memory
from .plan_options import KINDS, PlanOptions, PlanWords
from .selection import Selection
from .strategy import Tiling, bind_tiles
from .tiles import Tiles, TilesLike, TilesWords, is_auto
from .trial import Trial
