"""What tells a model, and what functions do, from others in a later run."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from typing import Any

import msgspec
from numpy.typing import NDArray

from ..image import ImageStack, varied_place
from ..model import Contents, Look, NoIdentityError, Parts, SharedModel, load
from ..probing import Remembered, digest_of_values
from ..support import converted
from ..values import ResultSample, Samples
from .first_look import FirstLook, codes_of
from .noise import noise_like
from .plan_options import PlanOptions
from .seen_voxels import SeenVoxels
from .strategy import Tiling
from .trial import as_a_worker
from .trial_tile import TrialTile

_log = logging.getLogger("daskpatch")

_SIDE = 64
"""Voxels along each axis of the places where an image is looked at."""


@dataclass(frozen=True)
class Code:
    """A model, or `post`: what it is made of, or the text that vouches for it.

    Attributes
    ----------
    contents
        None where it has a text, or where something in it cannot be told: `lacks` says what.
    left_out
        Attributes and variables that a call of it changes.
    before
        What it was made of before it was called.
    """

    id: str | None
    shared: SharedModel
    contents: Contents | None = None
    left_out: tuple[str, ...] = ()
    lacks: str = ""
    before: Contents | None = None

    @cached_property
    def told(self) -> Parts | str | None:
        """What is recorded of it, as it was when it was looked at."""
        return self.id if self.contents is None else self.without(self.left_out)

    def now(self) -> Parts | str | None:
        """What would be recorded of it by now: `told`, unless somebody changed it."""
        if self.contents is None:
            return self.id
        return self.shared.handle.contents(Look(left_out=self.left_out)).parts(self.left_out)

    def changed_by_now(self) -> tuple[str, ...]:
        """Attributes and variables that calls of it have changed since."""
        if self.before is None:
            return self.left_out
        return self.shared.handle.contents(Look(before=self.before)).changed_since(self.before)

    def without(self, left_out: tuple[str, ...]) -> Parts:
        """Its parts, without what some attributes and variables hold."""
        assert self.contents is not None, "asked of what could be told"
        contents = self.contents
        if left_out:  # what is left out may have been met first, and told instead of a second place
            contents = self.shared.handle.contents(Look(left_out=left_out))
        return contents.parts(left_out)


@dataclass(frozen=True)
class Identity:
    """What tells model and functions from others.

    Attributes
    ----------
    codes
        By name: `model`, and `post` and `skip_empty` where there are such.
    results
        What the model gave for the trial tile and, where an array of that is the same everywhere,
        for noise like the tile and like the image; None where it gives other values when it is
        called again.
    cut
        Voxels per spatial axis of the middle of the trial tile, where `results` are of that.
    seen
        The voxels that the model was called on; None where none was tried.
    former
        What told them from others in records of before; None where it is as it was before a call.
    """

    codes: Mapping[str, Code]
    results: tuple[Samples, ...] | None
    cut: tuple[int, ...] | None = None
    seen: SeenVoxels | None = None
    former: str | None = None

    def text(self) -> str | None:
        """All of it as one text; None where something cannot be told."""
        texts = {name: _text(code, f"{name}_id") for name, code in self.codes.items()}
        told = [text if name == "model" else f" {name} {text}" for name, text in texts.items()]
        return None if None in texts.values() else "".join(map(str, told))


def _text(code: Code, word: str) -> str | None:
    told = code.told
    if isinstance(told, Parts):
        return hashlib.sha256(msgspec.json.encode(asdict(told))).hexdigest()
    return None if told is None else f"{word} {told}"


def identify(
    options: PlanOptions, images: tuple[ImageStack, ...], tiling: Tiling, look: FirstLook
) -> Identity:
    """Look at model and `post` after their trial; what a call changed since is no part of them.

    The model is called once more, unless it gave what it is remembered to give.
    """
    tile = _tile_of(options, images, tiling, tiling.trial.seen.cut)
    results = _results(options, tile, tiling, look)
    codes = {
        name: _code(name, shared, given_id, look.contents.get(name))
        for name, (shared, given_id) in codes_of(options).items()
    }
    seen = SeenVoxels.of(tile, look.patch_of(tile))
    return Identity(codes, results, tile.cut, seen, look.former)


def results_on(
    cut: tuple[int, ...] | None,
    options: PlanOptions,
    images: tuple[ImageStack, ...],
    tiling: Tiling,
) -> tuple[Samples, ...] | None:
    """What the model gives for the middle of the trial tile, or for all of it, called anew."""
    look = FirstLook(options.model.shared, remembers=False)
    return _results(options, _tile_of(options, images, tiling, cut), tiling, look)


def _tile_of(
    options: PlanOptions,
    images: tuple[ImageStack, ...],
    tiling: Tiling,
    cut: tuple[int, ...] | None,
) -> TrialTile:
    """Of the tiles that the run has: a later run finds it at once, whatever its trial needed."""
    return TrialTile.of(images, tiling.grids, options.model, options.normalize).cut_to(cut)


def code_identity(options: PlanOptions) -> Identity:
    """What model and `post` are made of, where no run is planned; neither is called."""
    codes = {
        name: _code(name, shared, given_id, None)
        for name, (shared, given_id) in codes_of(options).items()
    }
    return Identity(codes, None)


def _code(name: str, shared: SharedModel, given_id: str | None, before: Contents | None) -> Code:
    if given_id is not None:
        return Code(given_id, shared)
    try:
        contents = shared.handle.contents(Look(before=before))
        left_out = () if before is None else contents.changed_since(before)
        code = Code(None, shared, contents, left_out, before=before)
        code.told  # noqa: B018 (now: it may lack what cannot be told)
    except NoIdentityError as error:
        return Code(None, shared, lacks=re.sub(r"^model\b", name, str(error)))
    if left_out:
        _log.info(
            "%s changes when it is called, in %s: a resumed run does not compare that.",
            name,
            ", ".join(left_out),
        )
    return code


def _results(
    options: PlanOptions, tile: TrialTile, tiling: Tiling, look: FirstLook
) -> tuple[Samples, ...] | None:
    """Samples of what the model gives; None where it does not give the same twice."""
    patch = look.patch_of(tile)
    is_trial = tile.specs == tiling.trial.seen.specs
    side_by_side = options.limits.n_threads > 1
    twice = partial(_twice, tile, remembered=look.remembered, side_by_side=side_by_side)
    found = [twice(patch, dict(tiling.trial.samples) if is_trial else None)]
    are_constant = [sample.is_constant for sample in (found[0] or {}).values()]
    if are_constant and all(are_constant):
        found.append(twice(noise_like(patch, patch), None))
    if any(are_constant):  # the tile may be background, of which noise shows nothing either
        found.append(twice(noise_like(varied_place(tile.image, _SIDE), patch), None))
    kept = tuple(samples for samples in found if samples is not None)
    return kept if len(kept) == len(found) else None


def _twice(
    tile: TrialTile,
    patch: NDArray[Any],
    first: Samples | None,
    *,
    remembered: Remembered,
    side_by_side: bool,
) -> Samples | None:
    value_map = tile.value_map(patch)
    loaded = load(tile.model.shared)
    asked = {"results": digest_of_values(tile.batch_of(patch, value_map))}

    def sampled() -> Samples:
        batch = tile.batch_of(patch, value_map)
        results = as_a_worker(lambda: loaded(batch), side_by_side=side_by_side)
        return {name: ResultSample.of(values) for name, values in results.items()}

    try:
        first = sampled() if first is None else first
        if _are_same(first, remembered.recall(asked, _samples_of)):
            return first
        second = sampled()
    except Exception as error:  # noqa: BLE001 (the user's own code; a run tries such blocks again)
        _log.warning("The model failed when it was called on the trial tile again: %s", error)
        return None
    if not _are_same(first, second):
        return None
    remembered.keep(asked, msgspec.to_builtins(first))
    return first


def _are_same(first: Samples, second: Samples | None) -> bool:
    return (
        second is not None
        and first.keys() == second.keys()
        and not any(sample.how_differs(second[name]) for name, sample in first.items())
    )


def _samples_of(kept: object) -> Samples:
    return converted(kept, Samples)
