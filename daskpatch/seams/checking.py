"""`check_seams`: the stitched result against larger contexts, at some seams of the user's data."""

from __future__ import annotations

import time
from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np

from ..block import Prediction, stitched_sample
from ..engine import progress_of
from ..model import Results
from ..planning import Plan, prediction_of
from ..support import as_count, shown
from ..values import Values, are_renumbered, deviations_of, difference_of
from .comparison import LEAST_DEVIATION, Comparison, Difference, jumps, largest_by_distance
from .places import Place, choose_places
from .references import References, grid_of, references, shortened
from .verdict import SeamReport, verdict_of

_NOISE_FACTOR = 3.0

_NEAR = 0.5
"""The nearer part of the planes around a seam; those beyond are the control."""

_CONCENTRATED = 4.0
"""How much larger differences near seams are than inside, where it is the overlap that lacks."""


_BEFORE_POST = (
    " That is of what post is given: it sees one block at a time, and what it numbers or fits is "
    "each block's own."
)


def check_seams(
    plan: Plan, *, places: int = 4, tolerance: float = 1e-4, seed: int = 0, progress: bool = True
) -> SeamReport:
    """Measure whether the tiles of a plan show in its result, on the plan's own data.

    A few seams are looked at along each axis, where the image has structure. The voxels around
    them, stitched as the run would stitch them (before `post`), are compared with the same voxels
    out of one tile about twice as long, and out of such a tile on a shifted grid.

    Parameters
    ----------
    plan
        Of any model and tiling; its output is not needed, nothing is written. Statistics for
        `normalize` are measured if they are not known yet.
    places
        Seams per spatial axis.
    tolerance
        Differences up to this many standard deviations of the result count as none.
    seed
        Of the choice of seams.
    progress
        Whether to show a bar.

    Raises
    ------
    ValueError, TypeError
        If an option is out of range, or there is no plan.
    ModelError
        If the model fails.

    Examples
    --------
    >>> import numpy as np, daskpatch
    >>> def smooth(batch):
    ...     padded = np.pad(batch, ((0, 0), (0, 0), (2, 2), (0, 0)), mode="reflect")
    ...     return sum(padded[:, :, i : i + batch.shape[2]] for i in range(5)) / 5
    >>> image = np.random.default_rng(0).normal(size=(200, 80))
    >>> exact, guessed = (
    ...     daskpatch.plan(image, smooth, axes="YX", patch_size=64, overlaps=overlap)
    ...     for overlap in (4, 0)
    ... )
    >>> check_seams(exact, progress=False).ok, check_seams(guessed, progress=False).ok
    (True, False)
    """
    if not isinstance(plan, Plan):
        raise TypeError(
            f"plan is {shown(plan)}; needed is what daskpatch.plan gives, for example "
            "daskpatch.plan(source, model, patch_size=64, overlaps=16)."
        )
    count = as_count("places", places)
    if not isinstance(seed, int) or seed < 0:
        raise ValueError(f"seed is {shown(seed)}; needed is an integer, 0 or more.")
    if not isinstance(tolerance, Real) or not tolerance >= 0:
        raise ValueError(f"tolerance is {shown(tolerance)}; needed is a number, 0 or more.")
    begin = time.perf_counter()
    prediction = prediction_of(plan)
    chosen = [
        place
        for axis in range(len(prediction.signature.scale))
        for place in choose_places(prediction, axis, count, seed)
    ]
    comparison, apart, tiles = Comparison(prediction.signature), dict[str, Values](), 0.0
    total = sum(place.region.n_voxels for place in chosen)
    with progress_of(total, 0, shown=progress, name="seams") as advance:
        for number, place in enumerate(chosen):
            stitched = _stitched(prediction, place)
            found = references(prediction, place)
            comparison.add(place, stitched, _both(found))
            if number == 0:
                apart = _apart(stitched, _stitched(prediction, place))
            tiles += _tiles(prediction, place, found)
            advance(place.region.n_voxels)
    return _report(
        prediction,
        comparison,
        chosen,
        tolerance=float(tolerance),
        noise=_largest(apart, comparison.deviations()),
        tiles=tiles,
        begin=begin,
    )


def _report(
    prediction: Prediction,
    comparison: Comparison,
    chosen: list[Place],
    *,
    tolerance: float,
    noise: float,
    tiles: float,
    begin: float,
) -> SeamReport:
    differences = comparison.scaled()
    by_distance = largest_by_distance(differences)
    near = max(int(len(by_distance) * _NEAR), 1)
    inside = float(by_distance[near:].max()) if len(by_distance) > near else 0.0
    difference = float(by_distance.max())
    limit = max(tolerance, _NOISE_FACTOR * noise)
    jump, jump_inside = jumps(differences)
    cause = None
    if noise > tolerance:
        cause = "random"
    elif difference > limit:
        cause = _cause(prediction, differences, difference, inside, limit)
    grids = prediction.grids[0].axes
    picture, row = _picture(differences)
    verdict = verdict_of(cause, difference, inside, noise, [grid_of(axis) for axis in grids])
    if prediction.assembly.function is not None:
        verdict += _BEFORE_POST
    return SeamReport(
        ok=cause is None,
        verdict=verdict if chosen else "No seams: each sample is one tile.",
        difference=difference,
        inside=inside,
        by_distance=tuple(by_distance.tolist()),
        jump=jump,
        jump_inside=jump_inside,
        noise=noise,
        tolerance=tolerance,
        limit=limit,
        cause=cause,
        places=len(chosen),
        tiles=tiles,
        seconds=time.perf_counter() - begin,
        picture=picture,
        seam_row=row,
    )


def _stitched(prediction: Prediction, place: Place) -> Results:
    return stitched_sample(prediction, place.data_idx, place.sample_idx, place.region)


def _both(found: References) -> list[Results]:
    return [found.plain] if found.shifted is None else [found.plain, found.shifted]


def _apart(one: Results, other: Results) -> dict[str, Values]:
    """The largest difference of each channel, by array."""
    return {
        name: np.abs(difference_of(one[name], other[name])).reshape(len(one[name]), -1).max(axis=1)
        for name in one
    }


def _largest(apart: Mapping[str, Values], deviations: Mapping[str, Values]) -> float:
    """The largest of all differences, each in the standard deviations of its channel."""
    return max((float((apart[name] / deviations[name]).max()) for name in apart), default=0.0)


def _tiles(prediction: Prediction, place: Place, found: References) -> float:
    """Tiles computed for a place: two (or more, blended) stitched ones and the references."""
    tiling = prediction.grids[place.data_idx].axes[place.axis]
    references_ = len(_both(found)) * found.size / tiling.tile(0).size
    return 2 + references_


def _cause(
    prediction: Prediction,
    differences: list[Difference],
    difference: float,
    inside: float,
    limit: float,
) -> str:
    """Why the stitched result is another: told by what else changes it at the worst place.

    A global model answers with another result when the tile ends elsewhere, far away; one whose
    grid is coarser than the tiles' when the tile begins a step of theirs further.
    """
    worst = max(differences, key=_height)
    place = worst.place
    found = references(prediction, place)
    shorter = shortened(prediction, place, found.size)
    stitched = _stitched(prediction, place)
    seam = place.axis + 1, worst.seam_row
    # Before the seam it has one tile's numbering, behind it another's.
    if any(are_renumbered(stitched[name], found.plain[name], seam) for name in stitched):
        return "labels"
    if shorter is not None and _effect(found.plain, shorter) > limit:
        return "global"
    if found.shifted is not None and _effect(found.plain, found.shifted) > limit:
        return "grid"
    if prediction.assembly.blends:
        return "blend"
    return "global" if shorter is None and difference <= _CONCENTRATED * inside else "halo"


def _effect(one: Results, other: Results) -> float:
    """The largest difference, in standard deviations of the result there."""
    deviations = {name: deviations_of(values, LEAST_DEVIATION) for name, values in one.items()}
    return _largest(_apart(one, other), deviations)


def _height(difference: Difference) -> float:
    """How large it is where it is largest."""
    return float(np.abs(difference.values).max())


def _picture(differences: list[Difference]) -> tuple[Any, int]:
    """The worst place's difference in a plane across its seam, which runs along rows."""
    if not differences:
        return None, 0
    worst_one = max(differences, key=_height)
    place, values = worst_one.place, worst_one.values
    worst = np.unravel_index(int(np.abs(values).argmax()), values.shape)
    spatial = values[worst[0]]
    other = next(i for i in reversed(range(spatial.ndim)) if i != place.axis)
    index: list[Any] = [int(i) for i in worst[1:]]
    index[place.axis] = index[other] = slice(None)
    plane = spatial[tuple(index)]
    plane = plane if place.axis < other else plane.T
    return plane, worst_one.seam_row
