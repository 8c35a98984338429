"""How a block is made of the results of its tiles: the options that say so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypedDict

import numpy as np

from ..model import ModelLike, SharedModel, shared_model
from ..support import NAME, Options, as_id, option, shown
from ..values import STITCHES, check_stitch

Stitch = Literal["crop", "gaussian", "linear"]


@dataclass(frozen=True, repr=False, kw_only=True)
class Assembly(Options):
    """How a block is made of the results of its tiles; what it says travels to workers.

    Parameters
    ----------
    stitch
        `"crop"`: each voxel from the tile in whose crop it lies. `"gaussian"`, `"linear"`: from
        all tiles that cover it, weighted (see docs/seams.md).
    post
        A function of each stitched block before it is written, one sample at a time: from an
        array `C(Z)YX` (or a dict of them, if the model gives several) to one of the same size,
        with other values, channels or dtype; or its name, as a model's.
    post_id
        What tells `post` from others when a run is resumed; by default a digest of its code.

    Raises
    ------
    ValueError, TypeError
        If an option is not what it needs to be.
    """

    stitch: Stitch = option(
        "crop",
        parser=STITCHES,
        check=lambda _, stitch: check_stitch(stitch),
        guard="treatment.stitch",
        say=lambda output, _: (
            f"overlapping tiles blended with {output.stitch} weights" if output.blends else ""
        ),
        help="How tiles meet.",
        example="linear",
    )
    post: ModelLike | None = option(
        None,
        parser=NAME,
        check=lambda _, post: None if post is None else shared_model(post, "post"),
        guard="treatment.post",
        record=lambda output: None if output.function is None else output.function.handle.name,
        restore=lambda _: None,
        say=lambda output, _: (
            "" if output.function is None else f"then {output.function.handle.name}, block by block"
        ),
        help="Applied to each block before it is written: file.py:name.",
        example=np.negative,
    )
    post_id: str | None = option(
        None,
        check=as_id,
        shows_in="post",
        help="Tells post from others, where its code cannot.",
        example="another",
    )

    def _check(self) -> None:
        if self.post_id is not None and self.post is None:
            raise ValueError(
                f"post_id is {shown(self.post_id)}, which stands for what post= does; give post= "
                "too."
            )

    @property
    def function(self) -> SharedModel | None:
        """`post`, as it travels."""
        return None if self.post is None else shared_model(self.post)

    @property
    def blends(self) -> bool:
        """Whether a voxel comes from all tiles that reach it, not from one."""
        return self.stitch != "crop"


class AssemblyWords(TypedDict, total=False):
    """The flat words of `Assembly`."""

    stitch: Stitch
    post: ModelLike | None
    post_id: str | None
