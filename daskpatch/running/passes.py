"""What a pass is: one way over all blocks of something, resumable by itself.

A plan is a list of passes that run in order. The driver knows nothing else of them, so that
threads, clusters, parts, receipts and interruptions serve them all. A new one is a dataclass:

```
@dataclass(frozen=True)
class Doubled(Pass):
    name = "doubled"
    ...
    places = …   where its records lie: one array for each of its grids
    grids = …    its blocks
    def job(self, ends, pacing): …   creates what it writes; the rest is the base's
```
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar, TypeVar
from uuid import uuid4

from ..deciding import Memory, Selection
from ..engine import Job
from ..geometry import RegularGrid
from ..receipts import (
    RESUMED,
    ArrayRecord,
    BlocksRecord,
    Document,
    GoingOn,
    Json,
    PassDocument,
    Receipt,
    Record,
    Totals,
    as_json,
    check_same,
)
from ..store import Location
from ..support import Pacing
from .job import FusedLevel
from .run import Run

PassT = TypeVar("PassT", bound="Pass")

Ends = Mapping[str, object]
"""What passes found in the end, by their names, as JSON values."""

Leavings = Iterator[bytes]
"""What blocks left, by ascending index."""


class Pass(ABC):
    """One pass; see the module.

    Attributes
    ----------
    is_first
        Whether its record has no folder of its own: the prediction.
    is_shared
        Whether parts share out its blocks; else each part does what nobody has done yet.
    end_type
        Of what it finds in the end, which lies in its record as JSON.
    """

    is_first: ClassVar[bool] = False
    is_shared: ClassVar[bool] = True
    end_type: ClassVar[Any] = object

    grids: tuple[RegularGrid, ...]

    @property
    @abstractmethod
    def name(self) -> str:
        """Of its record: `.daskpatch/passes/NAME/`; a class variable will do."""

    @property
    @abstractmethod
    def places(self) -> Sequence[Location]:
        """The arrays inside whose prefixes its records lie: one for each grid."""

    @abstractmethod
    def job(self, ends: Ends, pacing: Pacing) -> Job:
        """Create what it writes, unless that is there; what a block's index is given to.

        The job gives a `Receipt`, and stores what the block leaves beside it (`Record.leave`).
        """

    @property
    def arrays(self) -> Sequence[ArrayRecord]:
        """What it writes, by the way there from the output; one for each grid, or none."""
        return ()

    @cached_property
    def blocks(self) -> Selection:
        """All its blocks, in the order in which they are done."""
        return Selection.of(self.grids)

    @property
    def going_on(self) -> GoingOn:
        """What is done with what an earlier run began."""
        return RESUMED

    @property
    def n_voxels(self) -> int | None:
        """What its receipts' voxels sum up to, where these are not the blocks' own."""
        return None

    @property
    def memory(self) -> Memory | None:
        """What a worker holds; None where that is little."""
        return None

    @property
    def fingerprint(self) -> Json:
        """What its blocks depend on."""
        return {}

    @property
    def settings(self) -> Json:
        """What is taken from the record when it is resumed, whatever would be chosen now."""
        return {}

    def records(self, pacing: Pacing) -> list[Record]:
        """One for each grid."""
        name = "" if self.is_first else self.name
        return [Record(place, name, pacing=pacing) for place in self.places]

    def check(self, run: Run) -> None:  # noqa: B027 (most have nothing in the way)
        """Refuse what is in the way, before anything is written."""

    def beside(self, pacing: Pacing) -> Sequence[Record]:  # noqa: ARG002 (the interface)
        """Records of others who may write what it writes: none may hold a claim there."""
        return ()

    def check_in_tasks(self) -> None:  # noqa: B027 (most wait for nothing)
        """Refuse what tasks of a cluster could not do without waiting for others of its tasks.

        Raises
        ------
        ValueError
            If there is something.
        """

    def check_portable(self) -> None:  # noqa: B027 (most travel)
        """Refuse what worker processes could not use.

        Raises
        ------
        ValueError
            If there is something.
        """

    def known_end(self, *, resumes: bool) -> object | None:  # noqa: ARG002 (the interface)
        """What it would find in the end, where that is known and it need not run; else None."""
        return None

    def following(self: PassT, before: Pass) -> PassT:  # noqa: ARG002 (the interface)
        """The pass after the one before as its record began it, whose grids may be others."""
        return self

    def cleared(self: PassT, records: Sequence[Record], *, keep: Collection[str]) -> PassT:  # noqa: ARG002
        """The pass, of which nothing is left of an earlier run; records of passes to keep stay."""
        for record in records:
            record.clear()
        return self

    def document(self, number: int, ends: Ends) -> Document:  # noqa: ARG002 (the interface)
        """What the record of a grid begins with."""
        grid = self.grids[number]
        return PassDocument(
            name=self.name,
            created=time.time(),
            fingerprint=as_json(self.fingerprint),
            settings=as_json(self.settings),
            of=grid.shape,
            blocks=BlocksRecord(self.blocks.firsts[number], grid.cell_shape, grid.merge),
            arrays=tuple(self.arrays[number : number + 1]),
            run_id=uuid4().hex,
        )

    def as_begun(self: PassT, documents: Sequence[Document]) -> PassT:
        """The pass as its record began it: with the recorded grid.

        Raises
        ------
        ValueError
            If it began otherwise.
        """
        grids = self.grids_of(documents)
        return replace(self, grids=grids)  # type: ignore[type-var] # subclasses are dataclasses

    def grids_of(self, documents: Sequence[Document]) -> tuple[RegularGrid, ...]:
        """The recorded grids.

        Raises
        ------
        ValueError
            If it began otherwise.
        """
        grids = []
        for place, found in zip(self.places, documents, strict=True):
            if not isinstance(found, PassDocument):
                raise ValueError(f"The record of {place.name} is of another pass.")
            name = f"{self.name} of {place.name}"
            check_same(found.fingerprint, self.fingerprint, name, self.going_on)
            grids.append(found.blocks.grid(found.of))
        return tuple(grids)

    def changed(self, numbers: Sequence[int], pacing: Pacing) -> Mapping[int, str]:  # noqa: ARG002
        """Of some grids those whose source is no longer what it was in the beginning, in words."""
        return {}

    def computing(self) -> AbstractContextManager[None]:
        """Around the computing of blocks in this process."""
        return nullcontext()

    def notice(self, receipt: Receipt, totals: Totals) -> None:  # noqa: B027 (most say nothing)
        """Look at a block that is done, and is in the totals; the place for a warning."""

    def explained(self, error: BaseException) -> tuple[dict[str, Any] | None, BaseException]:
        """Why a block failed: the tile that it was, where that is known, and the first reason."""
        return None, error

    @property
    def goes_along(self) -> bool:
        """Whether blocks of the prediction may do some of its blocks, too."""
        return False

    @property
    def numbers(self) -> Mapping[int, int]:
        """Which of its grids is that of an image, by the image's number."""
        return {}

    def fused(self, pacing: Pacing) -> Mapping[int, FusedLevel]:  # noqa: ARG002 (the interface)
        """What blocks of the prediction write for it, by the number of the image."""
        return {}

    def show(self, images: Collection[int]) -> None:  # noqa: B027 (most show nothing)
        """Tell viewers of what it writes of some images."""

    def with_further(self: PassT, further: Sequence[Pass]) -> PassT:  # noqa: ARG002 (the interface)
        """The pass whose blocks also do those of others that go along, which have begun.

        Its job gives receipts of all: one per pass, in this order, as far as a block does them.
        """
        return self

    def below(self, index: int) -> Iterable[int] | None:  # noqa: ARG002 (the interface)
        """The blocks of the pass before that a block needs; None where it needs them all."""
        return None

    def end(self, leavings: Leavings) -> object | None:  # noqa: ARG002 (the interface)
        """What the pass finds once all blocks are done, as JSON values; None for nothing."""
        return None


def check_exclusive(passes: Sequence[Pass]) -> None:
    """Refuse passes of which two write one array, or have one name.

    Raises
    ------
    ValueError
        If there are such.
    """
    writers: dict[str, str] = {}
    names: set[str] = set()
    for each in passes:
        if each.name in names:
            raise ValueError(f"Two passes are called {each.name}; give each a name of its own.")
        names.add(each.name)
        for array in each.arrays:
            if array.path in writers:
                raise ValueError(
                    f"The passes {writers[array.path]} and {each.name} both write "
                    f"{array.path or 'the output'}; each array is written by one pass: give the "
                    "second an array of its own."
                )
            writers[array.path] = each.name
