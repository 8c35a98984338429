"""Where results go, and how they lie there: the option of that name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import DTypeLike

from ..block import Assembly, AssemblyWords, Skipping, SkippingWords
from ..geometry import FactorsLike, RegionLike, Sizes, as_factors, plain_sizes
from ..store import StoreLike
from ..support import (
    DTYPES,
    FACTORS,
    NAME,
    NAMES,
    OME,
    PYRAMID,
    REGION,
    SIZES,
    as_dtype,
    as_flag,
    is_integer,
    need,
    option,
    shown,
    with_parameters_of_bases,
)
from ..values import DOWNSAMPLES, Downsample
from .label_images import check_label_name

DTypes = DTypeLike | Mapping[str, DTypeLike]
"""A dtype for all arrays, or some by name."""


def _check_dtypes(name: str, dtype: object) -> object:
    for one in dtype.values() if isinstance(dtype, Mapping) else [dtype]:
        if one is not None:
            as_dtype(name, one)
    return dict(dtype) if isinstance(dtype, Mapping) else dtype


def check_sizes(name: str, sizes: object) -> int | tuple[int, ...] | None:
    """Voxels per axis, one number for all, or None.

    Raises
    ------
    ValueError
        If it is none of these.
    """
    plain = None if sizes is None else plain_sizes(sizes)
    is_given = sizes is None or plain is not None
    need(is_given, name, sizes, "an integer, or one per axis of the output")
    return plain


Ome = Literal["0.4", "0.5"]


def _check_ome(name: str, ome: object) -> object:
    is_known = ome is None or isinstance(ome, bool) or ome in ("0.4", "0.5")
    need(is_known, name, ome, "True, False, '0.4', '0.5' or None")
    return ome


def _check_names(name: str, names: object) -> object:
    kept = tuple(names) if isinstance(names, list | tuple) else names
    are_names = isinstance(kept, tuple) and all(isinstance(each, str) for each in kept)
    need(kept is None or are_names, name, names, "a list of texts, one per channel of the output")
    return kept


def _check_pyramid(name: str, pyramid: object) -> object:
    is_known = pyramid in ("auto", None) or (is_integer(pyramid) and int(pyramid) > 0)
    need(is_known, name, pyramid, "'auto', a number of levels beside full resolution, or None")
    return int(pyramid) if is_integer(pyramid) else pyramid


def _unless_auto(pyramid: object) -> object:
    return None if pyramid == "auto" else pyramid


def _check_downsample(name: str, downsample: object) -> object:
    is_known = downsample is None or downsample in DOWNSAMPLES
    need(is_known, name, downsample, f"one of {', '.join(map(repr, DOWNSAMPLES))}, or None")
    return downsample


@with_parameters_of_bases
@dataclass(frozen=True, repr=False)
class Output(Skipping, Assembly):
    """Where results go, and how they lie there; how they are assembled, and what is skipped.

    Parameters
    ----------
    place
        Path, URL or zarr store of the array to create (of the group, for a series or several
        arrays), or a zarr array of the prediction's shape. Without it there is only the lazy
        array.
    dtype
        The output's (of several arrays, one for all or a dict by name); by default the model's
        own. To integers values are rounded to nearest and clipped, NaN becomes 0 and is counted.
    chunks, shards, block_shape
        Voxels per axis of the output; one number serves for all. By default chunks fit the
        crops, there are no shards, and a block is worth a task and fits memory.
    overwrite
        Whether a run may delete an array or a group that daskpatch made, at the output's place;
        other files there stay.
    ome
        Whether it is an OME-Zarr image (of several arrays or a series, a group of images): its
        arrays lie in groups with axes, scale, translation and channels, `out.zarr/0`. `"0.4"` and
        `"0.5"` are its versions; True takes that of the group around it, else 0.5. By default it
        is one where the source is. Its axes are in the order time, channel, space.
    channel_names
        Of an OME-Zarr image, in which viewers show them: one per channel of the output. By default
        the source's, where there are as many.
    label_image
        The name of a label image that it is, in the image at `place`: `"nuclei"` is written to
        `place/labels/nuclei`, and named in the list of `place/labels`. An image that is there
        stays as it is, the source too, if the place of the label image is named itself:
        `"image.zarr/labels/nuclei"`. It has integers and no channels. `overwrite` deletes it alone.
    pyramid
        How many levels beside full resolution an OME-Zarr image has. By default axes of space are
        halved until none of them is longer than 256, those of longer voxels later; of a 2-D model
        the first level leaves Z alone. A label image in an image has as many levels as that. None
        builds none. A bare array has none.
    downsample
        How a voxel is made of its cell of the level before: `"mean"` (integers rounded half to
        even), `"mode"` (the most frequent, the smallest of equals), `"max"`, `"stride"` (the
        first). By default label images, and integers of the model's own without a `dtype`, take
        the mode; all else the mean.
    factors
        Instead of halvings: per level, voxels of the level before per voxel. A number for all axes
        of space, or one for each, or for each axis of the output: `[(1, 2, 2), (2, 2, 2)]`.
    box
        Only this box of the source is predicted and written, as an output of its own: slices in
        voxels of the source, in its axes. Its voxels are those of the whole prediction: what tiles
        need around it is read. Chunks and blocks are counted from its corner.

    Raises
    ------
    ValueError, TypeError
        If an option is not what it needs to be.

    Examples
    --------
    >>> Output("predicted.zarr", chunks=64)
    Output(place='predicted.zarr', chunks=64)
    """

    place: StoreLike | None = option(
        None, word=None, flag=None, help="Where it is written.", example=None
    )
    dtype: DTypes | None = option(
        None,
        parser=DTYPES,
        check=_check_dtypes,
        shows_in="output",
        restore=lambda outputs: {name: output["dtype"] for name, output in outputs.items()},
        help="The output's dtype (or name=dtype,…); else the model's.",
        example="float64",
    )
    chunks: Sizes | None = option(
        None,
        parser=SIZES,
        check=check_sizes,
        shows_in="layout.chunks",
        help="Chunks of the output.",
        example=8,
    )
    shards: Sizes | None = option(
        None,
        parser=SIZES,
        check=check_sizes,
        shows_in="layout.shards",
        help="Shards of the output.",
        example=24,
    )
    block_shape: Sizes | None = option(
        None,
        parser=SIZES,
        check=check_sizes,
        shows_in="layout.block_shape",
        help="What is computed and written at a time.",
        example=24,
    )
    overwrite: bool = option(
        False, check=as_flag, help="Delete an array that is there.", example=True
    )

    ome: bool | Ome | None = option(
        None,
        parser=OME,
        bare="yes",
        check=_check_ome,
        help="Write an OME-Zarr image: yes, no, 0.4 or 0.5; as the source by default.",
        example="0.5",
    )
    channel_names: Sequence[str] | None = option(
        None,
        parser=NAMES,
        check=_check_names,
        help="Names of the output's channels, for OME-Zarr.",
        example=("membrane", "nuclei"),
    )

    label_image: str | None = option(
        None,
        parser=NAME,
        check=check_label_name,
        guard="treatment.label_image",
        help="The label image of this name in the image at OUTPUT: OUTPUT/labels/NAME.",
        example="nuclei",
    )

    pyramid: int | Literal["auto"] | None = option(
        "auto",
        parser=PYRAMID,
        check=_check_pyramid,
        guard="treatment.pyramid",
        record=lambda output: "none" if output.pyramid is None else _unless_auto(output.pyramid),
        restore=lambda recorded: None if recorded == "none" else recorded,
        help="Levels beside full resolution, of OME-Zarr: a number, auto or none.",
        example=1,
    )
    downsample: Downsample | None = option(
        None,
        parser=DOWNSAMPLES,
        check=_check_downsample,
        guard="treatment.downsample",
        help="How levels are made; mode for labels and else mean by default.",
        example="max",
    )
    factors: Sequence[FactorsLike] | None = option(
        None,
        parser=FACTORS,
        check=lambda name, factors: None if factors is None else as_factors(name, factors),
        guard="treatment.factors",
        help="Voxels of the level before per voxel, level by level: 1,2,2/2,2,2.",
        example=(2,),
    )

    box: RegionLike | None = option(
        None,
        parser=REGION,
        guard="treatment.box",
        record=lambda output: output.box_ends,
        restore=lambda recorded: tuple(slice(*ends) for ends in recorded),
        help="Write only this box of the source: 0:64,:,:.",
        example=(..., slice(0, 12)),
    )

    def _check(self) -> None:
        Assembly._check(self)
        Skipping._check(self)
        if self.label_image is not None:
            self._check_label_image()
        if self.factors is not None and self.pyramid is None:
            raise ValueError("factors= are those of levels, and pyramid is None; leave one out.")

    def _check_label_image(self) -> None:
        name = self.label_image
        if self.ome is False:
            raise ValueError(
                f"label_image is {name!r}, and ome=False asks for a bare array; label images are "
                "those of OME-Zarr: leave one out."
            )
        if self.channel_names is not None:
            raise ValueError(
                f"channel_names is {shown(self.channel_names)}, and the label image {name} has no "
                "channels; leave them out."
            )

    @property
    def box_ends(self) -> list[list[int]] | None:
        """Start and stop along each axis of the source, of a box that a plan made plain."""
        box: Any = self.box
        return None if box is None else [[each.start, each.stop] for each in box]


class OutputWords(AssemblyWords, SkippingWords, total=False):
    """The flat words of `Output`."""

    dtype: DTypes | None
    chunks: Sizes | None
    shards: Sizes | None
    block_shape: Sizes | None
    overwrite: bool
    ome: bool | Ome | None
    channel_names: Sequence[str] | None
    label_image: str | None
    pyramid: int | Literal["auto"] | None
    downsample: Downsample | None
    factors: Sequence[FactorsLike] | None
    box: RegionLike | None
