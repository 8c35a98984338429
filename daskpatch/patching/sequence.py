"""What every strategy shares: Python's sequence protocol, and value semantics."""

from __future__ import annotations

from abc import abstractmethod
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import fields
from itertools import accumulate
from typing import Any, Generic, TypeVar, overload

from .types import Patching, PatchSpecs

SpecsT = TypeVar("SpecsT", bound=PatchSpecs)


class SpecSequence(Sequence[SpecsT]):
    """Some of a strategy's specs, made when they are asked for.

    >>> from daskpatch import TiledPatching
    >>> TiledPatching([(1, 1, 10**6, 10**6)], (64, 64), (16, 16)).tile_specs[-2:]
    <434013887 … 434013888 of 434013889 specs of TiledPatching>
    """

    def __init__(self, patching: Patching, indices: range) -> None:
        self._patching = patching
        self._indices = indices

    def __len__(self) -> int:
        return len(self._indices)

    @overload
    def __getitem__(self, index: int) -> SpecsT: ...
    @overload
    def __getitem__(self, index: slice) -> SpecSequence[SpecsT]: ...
    def __getitem__(self, index: int | slice) -> SpecsT | SpecSequence[SpecsT]:
        if isinstance(index, slice):
            return SpecSequence(self._patching, self._indices[index])
        spec: Any = self._patching.get_patch_spec(self._indices[index])
        return spec  # type: ignore[no-any-return]

    def __iter__(self) -> Iterator[SpecsT]:
        get: Any = self._patching.get_patch_spec
        return map(get, self._indices)

    def __repr__(self) -> str:
        name, total = type(self._patching).__name__, self._patching.n_patches
        if not self._indices:
            return f"<none of {total} specs of {name}>"
        return f"<{self._indices[0]} … {self._indices[-1]} of {total} specs of {name}>"


class Strategy(Sequence[SpecsT], Generic[SpecsT]):
    """Base of the frozen dataclasses in this package: a sequence of specs.

    Equality, hash, repr and pickle are those of the constructor's arguments.
    """

    @property
    @abstractmethod
    def n_patches(self) -> int: ...

    @abstractmethod
    def get_patch_spec(self, index: int) -> SpecsT: ...

    @abstractmethod
    def get_patch_indices(self, data_idx: int) -> Sequence[int]: ...

    def _set(self, **values: object) -> None:
        """Store fields, while the strategy is made."""
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return self.n_patches

    @overload
    def __getitem__(self, index: int) -> SpecsT: ...
    @overload
    def __getitem__(self, index: slice) -> SpecSequence[SpecsT]: ...
    def __getitem__(self, index: int | slice) -> SpecsT | SpecSequence[SpecsT]:
        return SpecSequence[SpecsT](self, range(self.n_patches))[index]

    def __iter__(self) -> Iterator[SpecsT]:
        return iter(SpecSequence[SpecsT](self, range(self.n_patches)))

    def __reduce__(self) -> tuple[Any, ...]:
        arguments = tuple(getattr(self, f.name) for f in fields(self) if f.init)  # type: ignore[arg-type]
        return type(self), arguments


class Offsets:
    """Where the patches of each image stack begin in the flat index of a series.

    >>> Offsets([30, 20, 1]).find(31)
    (1, 1)
    """

    __slots__ = ("_ends",)

    def __init__(self, counts: Sequence[int]) -> None:
        self._ends = (0, *accumulate(counts))

    @property
    def total(self) -> int:
        return self._ends[-1]

    def find(self, index: int) -> tuple[int, int]:
        """The image stack of a flat index, and the index within it.

        Raises
        ------
        IndexError
            If the index is not in `range(total)`.
        """
        if not 0 <= index < self._ends[-1]:
            raise IndexError(f"index {index} is out of range for {self._ends[-1]} patches")
        data_idx = bisect_right(self._ends, index) - 1
        return data_idx, index - self._ends[data_idx]

    def indices(self, data_idx: int) -> range:
        """The flat indices of one image stack.

        Raises
        ------
        IndexError
            If there is no such image stack.
        """
        if not 0 <= data_idx < len(self._ends) - 1:
            raise IndexError(
                f"data_idx {data_idx} is out of range for {len(self._ends) - 1} image stacks"
            )
        return range(self._ends[data_idx], self._ends[data_idx + 1])
