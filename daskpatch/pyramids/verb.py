"""The verb `pyramid`: levels beside an image that is there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Unpack

from ..deciding import Limits, LimitsWords
from ..geometry import FactorsLike, Sizes
from ..output import Output
from ..receipts import Report, Totals
from ..running import Run, RunWords, carry_out, check_crew, crew_of, level_passes
from ..store import StoreLike
from ..support import refuse_unknown, taken, with_signature
from ..values import Downsample
from .missing_levels import check_free, levels_over
from .pyramid_image import PyramidImage, begun_at, subject_of


class PyramidWords(LimitsWords, RunWords):
    """The flat words of limits and of how to run."""


@with_signature(Limits, Run)
def pyramid(
    image: StoreLike,
    output: StoreLike | None = None,
    *,
    axes: str | None = None,
    pyramid: int | Literal["auto"] = "auto",
    downsample: Downsample | None = None,
    factors: Sequence[FactorsLike] | None = None,
    chunks: Sizes | None = None,
    shards: Sizes | None = None,
    limits: Limits | None = None,
    run: Run | None = None,
    **words: Unpack[PyramidWords],
) -> Report:
    """Build the pyramid of an image that is there, or complete it, out of core.

    Levels that the image has stay as they are; further ones are computed of the last, lie beside
    it, and are listed when they are done. Whatever ends a run, `resume=True` goes on with it;
    `status` and `verify` take the image, and a repair needs no model.

    Parameters
    ----------
    image
        Path, URL or store of an OME-Zarr image (0.4 or 0.5); or of an array in a group that says
        nothing of images, labels or plates: that becomes an image, with the array as level 0. A
        label image, too: `image.zarr/labels/nuclei`. Not a plate or a series.
    output
        A new image, into whose level 0 the finest level is copied, voxel by voxel. An array in no
        group needs one.
    axes
        Of an array that does not say its axes: of TCZYX, in this order.
    pyramid
        How many levels there are to be beside level 0; by default as in `Output`.
    downsample
        As in `Output`: by default the mode of label images, the mean of all else.
    factors
        As in `Output`, of the levels that are added.
    chunks, shards
        Voxels per axis of new arrays; by default those of the array that they are made of.
    limits, run
        `Limits`, with the words `memory_limit`, `threads`, `durable` and `io` (levels read nothing
        twice, and no tiles are chosen: `cache` and `cache_probe` do nothing); `Run`, with those of
        `Plan.run` except `region`.

    Returns
    -------
    Report
        Of what was written; of 0 blocks where the image has these levels.

    Raises
    ------
    FileNotFoundError
        If there is no image.
    FileExistsError
        If something else is where a level is to lie.
    ValueError
        If options don't fit the image, it is none of these, or was resumed otherwise.
    ClaimedError
        If somebody else writes the image.
    MemoryError
        If the peak is above `memory_limit`.
    RunFailed
        If blocks failed, or could not be written; what was written stays.

    Examples
    --------
    >>> import numpy as np, zarr
    >>> group = zarr.create_group({})
    >>> array = group.create_array("raw", data=np.ones((64, 64), "u1"), chunks=(32, 32))
    >>> report = pyramid(array, axes="YX", pyramid=2, progress=False)
    >>> group["1"].shape, group["2"].shape
    ((32, 32), (16, 16))
    """
    left: dict[str, Any] = dict(words)
    refuse_unknown(left, "pyramid", Limits, Run)
    limits = taken(Limits, limits, left, "limits")
    how = taken(Run, run, left, "run")
    asked = Output(
        pyramid=pyramid, downsample=downsample, factors=factors, chunks=chunks, shards=shards
    )
    if how.region is not None:
        raise ValueError("A pyramid is built of the whole image; leave region out.")
    if asked.pyramid is None:
        raise ValueError("pyramid is None, and there is nothing to build; give a number or 'auto'.")
    subject = subject_of(image, output, axes=axes, io=limits.io, first=None)
    if how.resumes and output is None:
        # What began with level 0 copied the image there.
        begun = [number for number in begun_at(subject.group) if number > 0]
        if begun:  # the last one; what was begun before it is done
            subject = subject_of(image, None, axes=axes, io=limits.io, first=begun[-1])
    return _build(subject, asked, limits, how)


def rebuild(
    group: StoreLike,
    source: StoreLike | None,
    first: int,
    *,
    axes: str,
    factors: Sequence[FactorsLike],
    downsample: Downsample,
    run: Run,
) -> Report:
    """Build again what has no receipt any more, of levels from the first on; `source` is copied."""
    limits = Limits()
    if source is None:
        subject = subject_of(group, None, axes=None, io=limits.io, first=first)
    else:
        subject = subject_of(source, group, axes=axes, io=limits.io, first=first)
    return _build(subject, Output(factors=factors, downsample=downsample), limits, run)


def _build(subject: PyramidImage, asked: Output, limits: Limits, how: Run) -> Report:
    levels = levels_over(subject, asked, limits)
    if levels is None:
        return Totals().report()
    check_free(subject, levels, resumes=how.resumes)
    image = subject.base
    passes = list(level_passes(levels, ()))
    crew = crew_of(how, limits.threads, levels.memory.threads, images=[image])
    check_crew(passes, crew, limits, how.resources)
    if how.interruption is not None and how.interruption.is_requested:
        raise KeyboardInterrupt("Nothing was written.")
    return carry_out(passes, how, crew, is_durable=limits.durable)
