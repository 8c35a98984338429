"""What is known of a model before a plan calls it: what it is made of, and what was found out."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from numpy.typing import NDArray

from ..model import CallableModel, Contents, Look, NoIdentityError, SharedModel
from ..output import Target
from ..patching import PatchSpecs
from ..probing import Remembered
from .plan_options import PlanOptions
from .trial_tile import TrialTile


@dataclass(frozen=True)
class FirstLook:
    """A look at model and functions before they are called: what a call changes is told by it.

    Attributes
    ----------
    shared
        The model.
    contents
        What model, `post` and `skip_empty` are made of; by name, those that can tell.
    former
        What told them apart in records of before, where there may be one and a call changes it.
    """

    shared: SharedModel
    contents: Mapping[str, Contents] = field(default_factory=dict, repr=False)
    former: str | None = None
    remembers: bool = True
    _read: dict[int, tuple[PatchSpecs, NDArray[Any]]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, options: PlanOptions, target: Target | None) -> FirstLook:
        """Look at what a plan is about to call; for a target so that a later run knows it."""
        shared, remembers = options.model.shared, options.limits.cache_probe
        if target is None:
            return cls(shared, remembers=remembers)
        contents, codes = {}, codes_of(options)
        for name, (code, given_id) in codes.items():
            if given_id is None:
                # Weights of the model once, for what is remembered of it too.
                look = Look(weights=remembers and name == "model")
                with suppress(NoIdentityError):
                    contents[name] = code.handle.contents(look)
        may_change = any(isinstance(code.handle, CallableModel) for code, _ in codes.values())
        former = options.former_identity() if may_change and _may_be_resumed(target) else None
        return cls(shared, contents, former, remembers)

    def patch_of(self, tile: TrialTile) -> NDArray[Any]:
        """The voxels of the trial tile, `C(Z)YX`, which nobody changes; the last one is kept.

        Raises
        ------
        OSError
            If they cannot be read.
        """
        specs, voxels = self._read.get(tile.data_idx, (None, None))
        if voxels is None or specs != tile.specs:
            voxels = tile.read()
            self._read[tile.data_idx] = tile.specs, voxels
        return voxels

    @cached_property
    def remembered(self) -> Remembered:
        """What was found out about the model by earlier plans."""
        if not self.remembers:
            return Remembered(None)
        return Remembered.of(self.shared, self.contents.get("model"))


def _may_be_resumed(target: Target) -> bool:
    """Whether a record may be there; a store is not asked: it may refuse to list."""
    place = target.location
    return not target.overwrite and (place.local_path is None or place.is_occupied)


def codes_of(options: PlanOptions) -> dict[str, tuple[SharedModel, str | None]]:
    """Model and functions of a plan by name, and the text that vouches for each, if any."""
    codes = {"model": (options.model.shared, options.model.id)}
    if options.output.function is not None:
        codes["post"] = (options.output.function, options.output.post_id)
    if options.output.predicate is not None:
        codes["skip_empty"] = (options.output.predicate, None)
    return codes
