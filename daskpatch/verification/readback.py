"""An output read back and compared with its receipts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

from dask.system import CPU_COUNT

from ..deciding import TilesLike
from ..engine import Window, progress_of
from ..image import SourceLike
from ..model import Model, ModelLike
from ..output import Output, check_written_to
from ..receipts import Report
from ..store import StoreLike, locate
from ..support import as_count, as_flag, counted, html_table
from .block_check import Bad, BlockCheck
from .groups import broken_groups
from .mending import mend, mend_built, repair_plan
from .outputs import RecordedBlocks, RecordedRun, recorded_run

_LISTED = 20
"""Bad blocks that are named one by one."""


@dataclass(frozen=True)
class Verification:
    """What became of an output's blocks.

    Attributes
    ----------
    ok
        Whether every block is there, as it was written.
    bad
        Indices of the blocks that are not.
    reasons
        Why, by index: `never written` (no receipt), `missing` (written, but objects of it are
        gone), `changed` (other voxels than were written), `corrupt` (cannot be read) or `unlike
        the record` (the array has another shape, dtype or fill value now: then only blocks with
        receipts are named, or the first one).
    total
        Blocks of the output.
    passes
        The same of each further pass, by name.
    repaired
        The report of the run that mended them, or None.
    arrays
        Of bad blocks of several arrays, by index: the ways to those that are bad, from where these
        part. None for blocks that were never written, and for changed ones of runs that were
        begun before each array had a digest of its own.
    groups
        What is wrong with groups that arrays lie in, by their names: readers would not find what
        is there.
    """

    ok: bool
    bad: tuple[int, ...]
    reasons: dict[int, str]
    total: int
    passes: dict[str, Verification] = field(default_factory=dict)
    repaired: Report | None = None
    arrays: dict[int, tuple[str, ...]] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "ok": self.ok,
            "bad": list(self.bad),
            "reasons": {str(index): reason for index, reason in self.reasons.items()},
            "arrays": {str(index): list(names) for index, names in self.arrays.items()},
            "total": self.total,
            "passes": {name: found.to_dict() for name, found in self.passes.items()},
            "repaired": None if self.repaired is None else self.repaired.to_dict(),
            "groups": dict(self.groups),
        }

    def __str__(self) -> str:
        further = [f"{name}: {found}" for name, found in self.passes.items() if not found.ok]
        mended = [] if self.repaired is None else [f"repaired: {self.repaired}"]
        around = [f"{name}: {reason}" for name, reason in self.groups.items()]
        return "\n".join([self._of_blocks(), *further, *around, *mended])

    def _repr_html_(self) -> str:
        rows = [("blocks", self._of_blocks())]
        rows += [(name, str(found)) for name, found in self.passes.items()]
        shown = list(self.reasons.items())[:_LISTED]
        rows += [
            ("bad" if number == 0 else "", f"block {index}{self._of_arrays(index)}: {reason}")
            for number, (index, reason) in enumerate(shown)
        ]
        rows += list(self.groups.items())
        rows += [] if self.repaired is None else [("repaired", str(self.repaired))]
        return html_table("daskpatch verification", rows)

    def _of_blocks(self) -> str:
        if not self.bad:
            is_one = self.total == 1
            return (
                "the block is as it was written"
                if is_one
                else (f"all {self.total:,} blocks are as they were written")
            )
        counts = Counter(self.reasons.values())
        kinds = ", ".join(f"{count} {reason}" for reason, count in counts.items())
        named = [f"{index}{self._of_arrays(index)}" for index in self.bad[:_LISTED]]
        shown = ", ".join(named) + (", …" if len(self.bad) > _LISTED else "")
        are = "is" if len(self.bad) == 1 else "are"
        of = counted(self.total, "block")
        return f"{len(self.bad):,} of {of} {are} bad ({kinds}): {shown}"

    def _of_arrays(self, index: int) -> str:
        names = self.arrays.get(index, ())
        return f" of {' and '.join(names)}" if names else ""


def verify(
    output: StoreLike,
    *,
    repair: bool = False,
    model: ModelLike | None = None,
    source: SourceLike | Sequence[SourceLike] | None = None,
    patching: TilesLike | None = None,
    post: ModelLike | None = None,
    model_id: str | None = None,
    post_id: str | None = None,
    skip_empty: ModelLike | None = None,
    mask: SourceLike | Sequence[SourceLike] | None = None,
    threads: int | None = None,
    progress: bool = True,
) -> Verification:
    """Read an output back and compare every block with the digest in its receipt.

    Parameters
    ----------
    output
        Path, URL or store of the array, or of the group of a series.
    repair
        Compute bad blocks again, of the prediction and of the levels of its pyramid, and what
        levels were computed of these. The model must be the one that the run began with; no record
        makes code run. Levels that `daskpatch.pyramid` built need none.
    model, model_id, post_id
        For the repair, as in `plan`.
    source, mask, patching, post, skip_empty
        For the repair: the source and the mask, where they are not in a store, a strategy that is
        not daskpatch's own, the function that the run applied to its blocks, and the one that said
        which are empty.
    threads
        Blocks that are read at a time; by default one per processor.
    progress
        Whether to show a bar.

    Raises
    ------
    FileNotFoundError
        If there is no record of a run.
    ValueError
        If the repair's model, source or tiling is not the run's, or is missing, or if there is
        nothing yet that could be repaired.

    Examples
    --------
    >>> import numpy as np, zarr, daskpatch
    >>> store = zarr.storage.MemoryStore()
    >>> image = np.ones((64, 64), "uint8")
    >>> report = daskpatch.predict(
    ...     image, np.negative, store, axes="YX", patch_size=32, overlaps=8, progress=False
    ... )
    >>> print(verify(store, progress=False))
    the block is as it was written
    """
    as_flag("repair", repair)
    run = recorded_run(output)
    if repair:
        check_written_to(locate(output))
    if repair and model is None and run.images and not run.built:
        raise _needs_model()
    if repair and run.unbegun is not None:
        raise ValueError(
            f"{locate(output).name} has nothing that could be repaired: its prediction has not "
            "begun. Run it again with resume=True."
        )
    for blocks in run.blocks if repair else ():
        blocks.check_unedited()  # before a receipt is dropped
    n_threads = CPU_COUNT if threads is None else as_count("threads", threads)
    planned = None
    if repair and model is not None and run.images:  # refused before everything is read
        target = Output(
            _place(output), post=post, post_id=post_id, skip_empty=skip_empty, mask=mask
        )
        try:
            planned = repair_plan(
                run, Model(model, id=model_id), target, source=source, patching=patching
            )
        except ValueError:
            _check_groups(run, output)
            raise
    found = _check(run.main, n_threads, progress=progress)
    passes = {
        name: _check([b for b in run.further if b.name == name], n_threads, progress=progress)
        for name in sorted({blocks.name for blocks in run.further})
    }
    repaired = None
    bad = {run.main[0].name: found.bad, **{name: one.bad for name, one in passes.items()}}
    of_built = {blocks.name for blocks in run.built}
    if repair and planned is None and any(bad[name] for name in bad.keys() - of_built):
        raise _needs_model()
    if planned is not None and any(bad.values()):
        repaired = mend(planned, output, bad, progress=progress)
    if repair and run.built and any(bad.values()):
        rebuilt = mend_built(recorded_run(output, read_only=False), bad, source, progress=progress)
        repaired = rebuilt if repaired is None else repaired + rebuilt
    groups = broken_groups(run, locate(output))
    ok = found.ok and all(one.ok for one in passes.values()) and not groups
    return replace(found, ok=ok, passes=passes, repaired=repaired, groups=groups)


def _check_groups(run: RecordedRun, output: StoreLike) -> None:
    """Tell of groups that are none, where a run could not be planned again."""
    broken = broken_groups(run, locate(output))
    if broken:
        reasons = ". ".join(f"{name}: {reason}" for name, reason in broken.items())
        raise ValueError(f"{reasons}. Repair it after that.") from None


def _needs_model() -> ValueError:
    return ValueError("A repair needs the model: give model=, the one that the run began with.")


def _place(output: StoreLike) -> StoreLike:
    """The output that a run wrote, by whichever of its places it is named: array, image, labels."""
    run = recorded_run(output, read_only=False)
    (image, *_), named = run.images, locate(output)
    if image.document.is_series or image.place.parts == named.parts:
        return output
    return image.place.given


def _check(recorded: Sequence[RecordedBlocks], threads: int, *, progress: bool) -> Verification:
    """The blocks of one pass compared with their receipts."""
    check = BlockCheck(recorded)
    indices = (index for number in range(len(recorded)) for index in check.indices(number))
    window = Window(check, indices, key=f"daskpatch-verify-{uuid4().hex}", threads=threads)
    found: dict[int, Bad] = {}
    total = sum(blocks.grid.n_voxels_before(blocks.grid.n_cells) for blocks in recorded)
    with progress_of(total, 0, shown=progress) as advance:
        for outcome in window:
            if outcome.error is not None:
                raise outcome.error
            is_bad, voxels = outcome.result
            advance(voxels)
            if is_bad is not None:
                found[outcome.index] = is_bad
    bad = tuple(sorted(found))
    return Verification(
        ok=not bad,
        bad=bad,
        reasons={index: found[index].reason for index in bad},
        total=sum(blocks.grid.n_cells for blocks in recorded),
        arrays={index: found[index].arrays for index in bad if found[index].arrays},
    )
