"""What is decided about a run before its first block, as data."""

from .choice import Candidate, Choice
from .decided import Decided
from .decision import as_stored, decide, decide_anew, makes_ome
from .first_look import FirstLook
from .identity import Code, Identity, Samples, code_identity, identify, results_on
from .limits import Limits, LimitsWords, available_memory
from .memory import Memory, check_chunks, check_memory
from .pace import Pace
from .plan_options import KINDS, PlanOptions, PlanWords
from .seen_voxels import SeenVoxels
from .selection import Selection
from .strategy import bind_tiles
from .tiles import Tiles, TilesLike, is_auto
