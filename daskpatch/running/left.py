"""Which blocks a pass has still to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..deciding import Selection
from .ledger import are_among, without


@dataclass(frozen=True)
class Left:
    """The selected blocks that are not among those done, in ascending order."""

    selection: Selection
    done: NDArray[np.uint64]

    def __contains__(self, index: object) -> bool:
        if not isinstance(index, int) or index not in self.selection:
            return False
        return not are_among(np.asarray([index], np.uint64), self.done)[0]

    def __iter__(self) -> Iterator[int]:
        return without(iter(self.selection), self.done)

    def at(self, places: range) -> Iterator[int]:
        """Those at some places of the selection's order."""
        return without(self.selection.at(places), self.done)
