"""Patches that somebody chose."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..geometry import given
from .sequence import Strategy
from .types import PatchSpecs


@dataclass(frozen=True, init=False, repr=False)
class FixedPatching(Strategy[PatchSpecs]):
    """The given patches (or tiles), in the given order; O(n) memory by nature.

    Parameters
    ----------
    fixed_patch_specs
        `PatchSpecs` or `TileSpecs`, of any image stacks in any order.

    Raises
    ------
    ValueError
        If a spec lacks a field of `PatchSpecs`.

    Examples
    --------
    >>> spec = {"data_idx": 1, "sample_idx": 0, "coords": (0, 8), "patch_size": (8, 8)}
    >>> FixedPatching([spec]).get_patch_indices(1)
    (0,)
    """

    _items: tuple[tuple[tuple[str, Any], ...], ...]

    def __init__(self, fixed_patch_specs: Iterable[PatchSpecs]) -> None:
        items = tuple(_frozen(i, specs) for i, specs in enumerate(fixed_patch_specs))
        object.__setattr__(self, "_items", items)

    @property
    def fixed_patch_specs(self) -> list[PatchSpecs]:
        """Copies of the specs."""
        return list(self)

    @property
    def n_patches(self) -> int:
        return len(self._items)

    def get_patch_spec(self, index: int) -> PatchSpecs:
        """The patch of an index, a copy."""
        if not 0 <= index < len(self._items):
            raise IndexError(f"index {index} is out of range for {len(self._items)} patches")
        return dict(self._items[index])  # type: ignore[return-value]

    def get_patch_indices(self, data_idx: int) -> tuple[int, ...]:
        """The indices of one image stack's patches."""
        return tuple(i for i, specs in enumerate(self) if specs["data_idx"] == data_idx)

    def __repr__(self) -> str:
        return f"FixedPatching({self.fixed_patch_specs!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.fixed_patch_specs,)


def _frozen(position: int, specs: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    if not isinstance(specs, Mapping):
        raise ValueError(
            f"fixed_patch_specs[{position}] is {given(specs)}; needed is a PatchSpecs, a "
            "dictionary."
        )
    missing = sorted(PatchSpecs.__required_keys__ - specs.keys())
    if missing:
        raise ValueError(
            f"fixed_patch_specs[{position}] lacks {', '.join(missing)}; a PatchSpecs has data_idx, "
            "sample_idx, coords and patch_size."
        )
    return tuple((key, _plain(value)) for key, value in specs.items())


def _plain(value: int | Sequence[int]) -> int | tuple[int, ...]:
    entries: Any = value  # arrays are no sequences to Python
    return tuple(map(int, entries)) if hasattr(entries, "__len__") else int(entries)
