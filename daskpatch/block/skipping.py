"""What of an image is not given to the model: the options that say so."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np

from ..image import SourceLike
from ..model import ModelHandle, ModelLike, SharedModel, shared_model
from ..support import FILE, NUMBER, SKIP_EMPTY, Options, is_number, need, option, shown

SkipEmpty = bool | float | ModelLike
"""True, a value, or a function of a block's voxels."""


def _check_skip_empty(name: str, skip: Any) -> object:
    if skip is None or isinstance(skip, bool | np.bool_):
        return True if skip else None
    if is_number(skip) or isinstance(skip, float):  # NaN is a value, too
        return skip.item() if isinstance(skip, np.generic) else skip
    if not (callable(skip) or isinstance(skip, str | os.PathLike | SharedModel | ModelHandle)):
        raise TypeError(
            f"{name} is {shown(skip)}; needed is True, a number, or a function (or its name, "
            "file.py:name)."
        )
    return shared_model(skip, name)


def _restored_emptiness(told: Any) -> object:
    return None if isinstance(told, dict) else _restored_number(told)  # no record makes code run


def _check_fill(name: str, fill: Any) -> float:
    is_one = is_number(fill) or isinstance(fill, float)  # NaN is a value, too
    need(is_one, name, fill, "a number")
    plain: float = fill.item() if isinstance(fill, np.generic) else fill
    return plain


def _as_json(value: Any) -> object:
    """What JSON has no number for, by its name."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _restored_number(told: Any) -> object:
    return float(told) if isinstance(told, str) else told


@dataclass(frozen=True, repr=False, kw_only=True)
class Skipping(Options):
    """What of an image is not given to the model.

    Parameters
    ----------
    skip_empty
        What is not given to the model: True skips blocks of which nothing is stored, with their
        halo (they are not read either); a number skips those, too, whose voxels are all that value;
        a function of a block's voxels with their halo, `C(Z)YX`, those of which it says True.
        What the model makes of such a tile is computed once, and stands for the results: with True
        or a number the output is the same as without.
    mask, fill
        Only voxels that touch a voxel of the mask which is not 0 are predicted, and `fill` is
        stored elsewhere: tiles outside are not computed. A path, URL or array at any resolution (of
        a series, a list of them) of the same space as the source: by the scale and translation of
        both, where they have some, else of the same extent.

    Raises
    ------
    ValueError, TypeError
        If an option is not what it needs to be.
    """

    skip_empty: SkipEmpty | None = option(
        None,
        parser=SKIP_EMPTY,
        bare="yes",
        check=_check_skip_empty,
        guard="treatment.skip_empty",
        record=lambda output: output.told_of_empty,
        restore=_restored_emptiness,
        say=lambda output, _: output.said_of_empty,
        help="Skip blocks of which nothing is stored; also of this value, or by file.py:name.",
        example=0,
    )

    mask: SourceLike | Sequence[SourceLike] | None = option(
        None,
        parser=FILE,
        guard="treatment.mask",
        record=lambda _: None,  # by whoever looked at it: its voxels tell it
        say=lambda output, _: (
            "" if output.mask is None else f"only where the mask is, else {output.fill}"
        ),
        help="Only where this image of the same space is not 0.",
        example="mask.zarr",
    )
    fill: float = option(
        0,
        parser=NUMBER,
        check=_check_fill,
        guard="treatment.fill",
        record=lambda output: _as_json(output.fill) if output.fill != 0 else None,
        restore=_restored_number,
        help="What is stored outside of the mask.",
        example=-1,
    )

    def _check(self) -> None:
        if self.fill != 0 and self.mask is None:
            raise ValueError(
                f"fill is {shown(self.fill)}, which is stored outside of a mask; give mask= too."
            )

    @property
    def predicate(self) -> SharedModel | None:
        """The function that says which blocks are empty, as it travels."""
        return self.skip_empty if isinstance(self.skip_empty, SharedModel) else None

    @property
    def told_of_empty(self) -> object:
        """What a record has of `skip_empty`; what tells a function is beside its model."""
        skip: Any = self.skip_empty
        return (
            _as_json(skip) if self.predicate is None else {"function": self.predicate.handle.name}
        )

    @property
    def said_of_empty(self) -> str:
        """What the plan says of it."""
        if self.skip_empty is None:
            return ""
        if self.predicate is not None:
            also = f", or of which {self.predicate.handle.name} says so"
        else:
            also = "" if self.skip_empty is True else f", or that are all {self.skip_empty}"
        return f"not for blocks that are empty: of which nothing is stored{also}"


class SkippingWords(TypedDict, total=False):
    """The flat words of `Skipping`."""

    skip_empty: SkipEmpty | None
    mask: SourceLike | Sequence[SourceLike] | None
    fill: float
