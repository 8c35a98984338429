"""A prediction compared with the run that it goes on with: what it began with, what is there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from typing import Any

from ..deciding import Decided, Samples, decide_anew, results_on
from ..output import KnownLevels, Layout, Target, check_own, check_unedited, facts_of
from ..receipts import Document, GoingOn, LayoutRecord, Record, RunDocument
from ..store import StoredArray, existing_array
from ..support import DaemonThreads
from .known_inputs import KnownInputs
from .same_model import check_same_results
from .same_run import check_begun_alike, fingerprint_of

_READERS = 8


@dataclass(frozen=True)
class Resumption:
    """What is asked for, to be compared with records.

    Parameters
    ----------
    going_on
        What whoever asks does with the output.
    """

    decided: Decided
    inputs: KnownInputs
    going_on: GoingOn

    @property
    def target(self) -> Target:
        """Where its output lies."""
        assert self.decided.target is not None, "checked before a run"
        return self.decided.target

    def check(self) -> None:
        """Refuse to go on with a run that began otherwise.

        Raises
        ------
        ValueError
            If it did, or the model has no identity.
        FileExistsError
            If something is at the place, and no record.
        """
        self._check_told()
        is_taken = self.target.is_taken  # first: another part may be beginning the record just now
        begun = [
            Record(place).document() for place in self.target.record_places(self.decided.recipe)
        ]
        # Of a series that lost members the others go on, and those are computed again.
        if is_taken and not any(begun):
            raise FileExistsError(f"{self.target.name} {self._why_not_begun()}")
        documents = {n: document for n, document in enumerate(begun) if document is not None}
        for number, document in documents.items():
            self._compared(number, document, self.decided)
        self._check_results(documents.values())

    def _why_not_begun(self) -> str:
        """Why what is at the place is no output that this run could go on with."""
        if self.target.is_level_of_ours:
            image = self.target.name.rstrip("/").rpartition("/")[0]
            return (
                f"is an array of an OME-Zarr image that daskpatch wrote; name the image, {image}."
            )
        if not self.target.is_ours:
            return "exists, and daskpatch did not make it; give another output."
        there, paths = self.target.begun_with(), self.target.array_paths(self.decided.recipe)
        if there and list(there) != paths:
            was, now = (", ".join(path or "one" for path in each) for each in (there, paths))
            return (
                f"cannot be resumed: its run began with the arrays {was}, and the model gives "
                f"{now}. Give the model that it began with, its arrays in the same order, or "
                "overwrite=True to start anew."
            )
        return (
            "cannot be resumed: it has no record of a run of one image, or a series, that gave "
            "such arrays, or that was deleted. Give the source and the model that it began with, "
            "another output, or overwrite=True, alone, to start anew."
        )

    def check_there(self) -> None:
        """Refuse an output that lacks an array whose blocks are written, by its record.

        What is made anew would be empty, and count as done. So is what somebody else put there.
        """
        if self.target.array is not None:
            return
        placed = self.target.places(self.decided.recipe)
        with DaemonThreads(_READERS, "daskpatch-io") as pool:
            arrays = list(pool.map(existing_array, chain.from_iterable(placed)))
        for array in filter(None, arrays):
            check_own(array)
        found = iter(arrays)
        for places in placed:
            # Of one that lacks its metadata alone the chunks are there, and are found again.
            gone = [place for place in places if next(found) is None and not place.is_occupied]
            # Without a record there are no receipts: that image was not begun.
            if gone and Record(places[0]).document() and len(Record(places[0]).receipts()):
                raise ValueError(
                    f"The output {gone[0].name} is gone, and the record says that blocks of it are "
                    "written. daskpatch.verify(…, repair=True, model=…) writes them again; "
                    "overwrite=True starts anew."
                )

    def _check_told(self) -> None:
        identity = self.decided.identity
        assert identity is not None, "looked at for every output"
        for what, code in identity.codes.items():
            if code.told is None:
                fix = (
                    "a function that holds nothing but plain values, or a value"
                    if what == "skip_empty"
                    else f"{what}_id, a text of your own that changes when the {what} does"
                )
                raise ValueError(
                    f"The {what} {code.shared.handle.name} has no identity that a later run could "
                    f"be compared with ({code.lacks}); give {fix}."
                )

    def decided_of(self, documents: Sequence[Document]) -> Decided:
        """What is decided, with all that the records say and nobody asked for otherwise.

        Raises
        ------
        ValueError
            If the run began otherwise.
        """
        decided = self.decided
        for number, document in enumerate(documents):
            decided = self._compared(number, document, decided)
        self._check_results(documents)
        return with_levels(decided, documents)

    def _compared(self, number: int, document: Document, decided: Decided) -> Decided:
        """What is decided, with the recorded layout in what was not asked for.

        Raises
        ------
        ValueError
            If the run began otherwise.
        """
        target, output = self.target, decided.options.output
        if not isinstance(document, RunDocument):
            raise ValueError(f"The record of {target.name} is of another kind of pass.")
        begun, layout = document.fingerprint.layout, decided.layout
        if target.array is not None:
            self._check_given(target.array, document)
        # What the user did not ask for was the first machine's choice, and stays that.
        free = [name for name in LayoutRecord.__struct_fields__ if getattr(output, name) is None]
        taken_over = {name: getattr(begun, name) for name in free}
        current = fingerprint_of(self.decided, self.inputs, number, replace(layout, **taken_over))
        check_begun_alike(document, current, decided, target.name, self.going_on)
        if LayoutRecord(**asdict(layout)) == begun:
            return decided
        if target.array is not None:  # chunks and shards are the array's own
            free = [name for name in free if name == "block_shape"]
        wanted = {name: taken_over[name] for name in free if taken_over[name] is not None}
        options = replace(decided.options, output=replace(output, **wanted))
        return decide_anew(decided, options, target)

    def _check_results(self, documents: Iterable[Document]) -> None:
        """Refuse a model that gives other values: after all else, which may be why it does."""
        current = self.decided.identity
        for document in documents:
            recorded = document.identity if isinstance(document, RunDocument) else None
            if recorded is None or recorded.results is None or current is None:
                continue
            # A call that failed in the plan may have done so by chance.
            if recorded.cut != current.cut or current.results is None:
                current = replace(current, results=self._results_on(recorded.cut), cut=recorded.cut)
            check_same_results(recorded, current, self.target.name, self.going_on)

    def _results_on(self, cut: tuple[int, ...] | None) -> tuple[Samples, ...] | None:
        """What the model gives on as much of the trial tile as a record says."""
        decided = self.decided
        return results_on(cut, decided.options, decided.recipe.images, decided.tiling)

    def _check_given(self, array: StoredArray, document: RunDocument) -> None:
        """Refuse an array of the user's that was edited since the run began."""
        (told,), dims = document.fingerprint.output.values(), self.decided.recipe.outputs[0][0]
        layout = document.fingerprint.layout
        placed = next(iter(document.arrays.values()), None)
        facts = facts_of(
            array,
            dims.shape,
            told.dtype,
            layout=Layout(layout.chunks, layout.shards, layout.block_shape),
            fill_value=None if placed is None else placed.fill_value,
        )
        check_unedited(array.location, facts)


def with_levels(decided: Decided, documents: Sequence[Document | None]) -> Decided:
    """The same, with the recorded levels: what sources say of their scale may be edited."""
    recorded = {
        number: document
        for number, document in enumerate(documents)
        if isinstance(document, RunDocument) and document.levels is not None
    }
    factors = {number: tuple(document.levels or ()) for number, document in recorded.items()}
    methods: Any = next((d.downsample for d in recorded.values() if d.downsample), ())
    planned = decided.pyramid
    if methods in ((), planned.methods) and all(
        tuple(level.factors[0] for level in planned.images[number]) == levels
        for number, levels in factors.items()
    ):
        return decided
    known = KnownLevels(factors, methods)
    return decide_anew(decided, decided.options, decided.target, levels=known)
