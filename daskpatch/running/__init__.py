"""Passes carried out: claimed, begun or joined, run block by block, recorded."""

from .driver import carry_out
from .level_pass import LEVEL, level_passes
from .level_set import LevelSet, Origin
from .order import passes_in_order
from .pass_run import Crew
from .passes import Ends, Leavings, Pass
from .prediction_pass import PredictionPass
from .run import Run, RunWords
from .staffing import check_crew, crew_of
from .statistics_cache import StatisticsCache
