"""The passes of a plan, in order: one more is an entry here."""

from __future__ import annotations

from ..deciding import Decided
from ..reading import SAMPLED_BYTES, SampledChunks
from ..receipts import Record
from .level_pass import level_passes
from .mask_pass import MaskPass
from .passes import Pass
from .prediction_pass import PredictionPass
from .resumption import with_levels
from .statistics_cache import StatisticsCache
from .statistics_pass import StatisticsPass
from .stored_pass import StoredPass


def passes_in_order(
    decided: Decided,
    measured: StatisticsCache,
    n_threads: int,
    *,
    keeps_sample: bool = False,
    resumes: bool = False,
) -> list[Pass]:
    """What a run does, with so many threads in a process.

    One in this process `keeps_sample`: what tells its images from others serves its blocks. One
    that resumes has the levels that it began with.
    """
    if resumes and decided.target is not None:
        places = decided.target.record_places(decided.recipe)
        decided = with_levels(decided, [Record(place).document() for place in places])
    memory = decided.memory
    kept = min(SAMPLED_BYTES, memory.chunks, memory.beside_statistics) if keeps_sample else 0
    prediction = PredictionPass(
        decided, measured, side_by_side=n_threads > 1, sampled=SampledChunks(kept)
    )
    levels: tuple[Pass, ...] = ()
    if decided.target is not None:
        levels = tuple(level_passes(prediction.level_set, prediction.grids))
    passes: list[Pass] = []
    if decided.recipe.normalize.measures:
        passes.append(StatisticsPass.before(prediction, decided.statistics_voxels(n_threads)))
    if decided.recipe.emptiness is not None:
        passes.append(StoredPass.before(prediction))
    if decided.recipe.masks:
        passes.append(MaskPass.before(prediction))
    return [*passes, prediction, *levels]
