"""An output made ready for a run: compared with its record, claimed, cleared or joined."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from ..block import block_grids
from ..receipts import (
    FORMAT,
    Claim,
    ClaimedError,
    Fingerprint,
    Part,
    Record,
    as_json,
    check_same,
    refuse_claimed,
)
from ..statistics import Statistics
from ..store import StoredArray, without_secrets
from .fingerprint import fingerprints_of
from .ledger import Ledger
from .provenance import provenance_of, statistics_as_json
from .target import Target

if TYPE_CHECKING:
    from .plan import Plan


@dataclass(frozen=True)
class Opened:
    """An output that this run may write: its plan (with the layout that it has), arrays, ledger."""

    plan: Plan
    arrays: tuple[tuple[StoredArray, ...], ...]
    ledger: Ledger
    claim: Claim


@contextmanager
def opened(
    plan: Plan,
    target: Target,
    part: Part,
    *,
    resume: bool,
    measure: Callable[[], tuple[Statistics, ...]],
) -> Iterator[Opened]:
    """Claim an output and make it ready, for the time of a `with` block.

    Statistics that the record of an earlier run has are those of this one; else they are
    measured, once the output is claimed.

    Raises
    ------
    FileExistsError
        If something else is at the place.
    ClaimedError
        If somebody else writes it.
    ValueError
        If it is to be resumed, and began otherwise.
    """
    records = _records(plan)
    if not resume:
        target.check()
        for record in target.earlier_records():
            refuse_claimed(record, part)
    refuse_claimed(records[0], part)
    fields = check_resumable(plan) if resume else _fingerprints(plan)
    with Claim(records[0], part) as claim:
        _know_statistics(plan, records, fields, measure, resume=resume)
        if claim.is_lost:
            raise ClaimedError(f"{records[0].name} was taken over by another driver meanwhile.")
        if not resume:
            target.clear(plan.prediction)
            for record in records:
                record.clear()
        for data_idx, record in enumerate(records):
            begun = record.run() or record.begin(_run_document(plan, data_idx, fields[data_idx]))
            plan = _as_begun(plan, begun, fields[data_idx])
        # What another part began with meanwhile counts.
        _know_statistics(plan, records, fields, measure, resume=True)
        arrays = target.create(
            plan.prediction, plan.layout, provenance=provenance_of(plan), io=plan.request.io
        )
        yield Opened(plan, arrays, Ledger(records, _firsts(plan), part), claim)


def check_resumable(plan: Plan) -> list[Fingerprint]:
    """Refuse to go on with a run that began otherwise; the fingerprints of the plan's images.

    Raises
    ------
    ValueError
        If it did, or the model has no identity.
    FileExistsError
        If something is at the place, and no record.
    """
    target = plan.target
    assert target is not None
    records = _records(plan)
    if plan.model_id is None:
        raise ValueError(
            f"The model {plan.model_name} has no identity that a later run could be compared "
            "with; give daskpatch.plan a model_id, a text of your own that changes when the model "
            "does."
        )
    is_taken = target.is_taken  # first: another part may be beginning the record just now
    begun = [record.run() for record in records]
    if is_taken and begun[0] is None:
        raise FileExistsError(
            f"{target.name} exists and has no record of a run that could be resumed; give another "
            "output, or overwrite=True to delete it first."
        )
    fields = _fingerprints(plan)
    for run, one in zip(begun, fields, strict=True):
        if run is not None:
            _as_begun(plan, run, one)
    return fields


def _know_statistics(
    plan: Plan,
    records: list[Record],
    fields: list[Fingerprint],
    measure: Callable[[], tuple[Statistics, ...]],
    *,
    resume: bool,
) -> None:
    """See to it that the plan knows its statistics: those of the record, or of these images."""
    if not plan.measures:
        return
    runs = [record.run() if resume else None for record in records]
    recorded = [run["statistics"] for run in runs if run is not None]
    sources = [one["source"] for one in fields]
    known = plan.known
    if len(recorded) == len(records):
        known.statistics = tuple(map(Statistics.from_dict, recorded))
    elif known.statistics is None or known.sources not in (None, sources):
        known.statistics = measure()
    known.sources = sources


def _records(plan: Plan) -> list[Record]:
    """One per image: inside its first array."""
    assert plan.target is not None
    return [Record(arrays[0]) for arrays in plan.target.places(plan.prediction)]


def _fingerprints(plan: Plan) -> list[Fingerprint]:
    return fingerprints_of(plan.prediction, plan.patching, plan.treatment, plan.model_id)


def _as_begun(plan: Plan, run: dict[str, Any], fields: Fingerprint) -> Plan:
    """The plan with the recorded layout in what was not asked for.

    Raises
    ------
    ValueError
        If the run began otherwise.
    """
    assert plan.target is not None
    recorded = run["fingerprint"]["layout"]
    current = as_json(asdict(plan.layout))
    free = [name for name in current if getattr(plan.request, name) is None]
    current |= {name: recorded[name] for name in free}
    check_same(run["fingerprint"], {**fields, "layout": current}, plan.target.name)
    if as_json(asdict(plan.layout)) == recorded:
        return plan
    if plan.target.array is not None:
        free = ["block_shape"]  # chunks and shards are the array's own
    wanted: dict[str, Any] = {n: tuple(recorded[n]) for n in free if recorded[n] is not None}
    return replace(plan.replan(replace(plan.request, **wanted)), known=plan.known)


def _run_document(plan: Plan, data_idx: int, fields: Fingerprint) -> dict[str, Any]:
    grid = block_grids(plan.prediction, plan.block_shape)[data_idx]
    statistics = statistics_as_json(plan)
    return {
        "format": FORMAT,
        "created": time.time(),
        "fingerprint": {**fields, "layout": as_json(asdict(plan.layout))},
        "blocks": {
            "first": _firsts(plan)[data_idx],
            "shape": list(grid.cell_shape),
            "merge": list(grid.merge),
        },
        "source": without_secrets(plan.images[data_idx].source),
        "model": plan.model_name,
        "is_series": plan.is_series,
        "statistics": None if statistics is None else statistics[data_idx],
    }


def _firsts(plan: Plan) -> tuple[int, ...]:
    """The flat index of each image's first block."""
    firsts, first = [], 0
    for grid in block_grids(plan.prediction, plan.block_shape):
        firsts.append(first)
        first += grid.n_cells
    return tuple(firsts)
