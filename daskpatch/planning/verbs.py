"""The verbs of the main job: `plan` and `predict`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Unpack

from ..deciding import (
    KINDS,
    FirstLook,
    Limits,
    PlanOptions,
    PlanWords,
    Tiles,
    TilesLike,
    bind_tiles,
    check_chunks,
    decide,
    identify,
    is_auto,
)
from ..image import Source, SourceLike
from ..model import Model, ModelLike
from ..output import Output, as_target
from ..receipts import Report
from ..running import Run, RunWords
from ..store import StoreLike
from ..support import refuse_unknown, taken, with_signature
from ..tuning import choose, measured_probe
from ..values import Normalize, NormalizeLike
from .plans import Plan, refuse_both


@with_signature(*KINDS)
def plan(
    source: SourceLike | Sequence[SourceLike] | Source,
    model: ModelLike | Model,
    output: StoreLike | Output | None = None,
    *,
    tiles: TilesLike | Tiles | None = None,
    normalize: NormalizeLike | Normalize | None = None,
    limits: Limits | None = None,
    **words: Unpack[PlanWords],
) -> Plan:
    """Decide everything about a tiled prediction, and compute none of it.

    Reads one tile from the middle of the source and runs the model on it once; that gives the
    output's channels and dtype, and what the run costs. Batches of more than one tile are tried
    with two: a model must not mix them. Where there is an output it is run once
    more: values that come out the same tell the model from others in a later run. If it gives
    integers, a neighbour of that tile shows whether they are ids of objects, which differ from tile
    to tile: a warning says so. Where a probe says which sizes the model takes, all this is seen on
    a small tile, and what a whole one costs is remembered. What is left to `"auto"` is chosen from
    a probe of the model, which takes minutes where the model is slow, unless it is given. No output
    is touched.

    Each of the first six takes the plain thing or the value of its name. The other options are
    flat words, and belong to these values: give either a word, `plan(…, patch_size=64)`, or a
    value that has it, `plan(…, tiles=Tiles(patch_size=64))`, not both.

    Parameters
    ----------
    source
        What `open_image` opens, an `ImageStack`, or a list of these: a series; a plate, a well or
        a group of bioformats2raw is the series of its images. `Source` has the words `axes`,
        `channels`, `padding`, `level`, `image` and `fields`.
    model
        A callable from a batch `(N, C, (Z), Y, X)` to `(N, C', (Z), Y, X)`, a `torch.nn.Module`,
        or whatever else `Model` takes, which has the words `input_dtype`, `scale`, `margin`,
        `augment` and `model_id`.
    output
        Path, URL or zarr store of the array to create (of the group, for a series or several
        arrays), or a zarr array of the prediction's shape. Without it the plan is for the lazy
        array alone. `Output` has the words `dtype`, `chunks`, `shards`, `block_shape`, `overwrite`,
        `ome`, `channel_names`, `label_image`, `pyramid`, `downsample`, `factors`, `box`, `stitch`,
        `post`, `post_id`, `skip_empty`, `mask` and `fill`.
    tiles
        A strategy, as `patching`. `Tiles` has the words `patch_size`, `overlaps`, `align`,
        `min_size`, `batch_size`, `patching` and `probe`.
    normalize
        How values are mapped before the model sees them, the same way all over the image:
        `"zscore"`, `"percentile"`, constants. `Normalize` has the words `normalize_over`,
        `normalize_per_channel`, `normalize_fraction` and `denormalize`.
    limits
        `Limits`, with the words `memory_limit`, `threads`, `io`, `cache`, `durable` and
        `cache_probe`.

    Raises
    ------
    ValueError
        If options don't fit each other, the source or the output.
    FileNotFoundError, TypeError
        If the source or the model is none, or there is no such option.
    ImportError
        If an optional package is missing, the extra to install is named; or what a name stands for
        is not there.
    MemoryError
        If the peak is above `memory_limit`; the knob to turn is named.
    RuntimeError
        If the model fails on the trial tile, or gives another shape; chained from its error.

    Examples
    --------
    >>> import numpy as np
    >>> image = np.arange(64 * 64).reshape(64, 64)
    >>> tiled = plan(image, lambda batch: batch * 2, axes="YX", patch_size=32, overlaps=8)
    >>> tiled.n_tiles, tiled.view[3, :4]
    (9, array([384., 386., 388., 390.], dtype=float32))
    """
    options = PlanOptions.of(
        "plan",
        dict(words),
        source=source,
        model=model,
        output=output,
        tiles=tiles,
        normalize=normalize,
        limits=limits,
    )
    options = replace(options, source=options.source.resolved())
    images = options.source.open(ndim=options.tiles.ndim, io=options.limits.io)
    check_chunks(images, options.limits)
    target = as_target(options.output, images, source=options.source, io=options.limits.io)
    look = FirstLook.of(options, target)
    known, choice = options.tiles.known, None
    if options.tiles.is_auto or is_auto(options.tiles.batch_size):
        known = measured_probe(options, images, look)
        options, choice = choose(options, images, known, target)
    if known is not None:
        known.check_input(*images[0].data_shape[1:])
        options = options.with_probe(known)
    tiling = bind_tiles(options, images, look, known)
    identity = None if target is None else identify(options, images, tiling, look)
    return Plan(decide(options, images, tiling, target=target, choice=choice, identity=identity))


class PredictWords(PlanWords, RunWords):
    """The flat words of all options of a prediction."""


@with_signature(*KINDS, Run)
def predict(
    source: SourceLike | Sequence[SourceLike] | Source,
    model: ModelLike | Model,
    output: StoreLike | Output,
    *,
    tiles: TilesLike | Tiles | None = None,
    normalize: NormalizeLike | Normalize | None = None,
    limits: Limits | None = None,
    run: Run | None = None,
    **words: Unpack[PredictWords],
) -> Report:
    """Plan and run in one.

    Takes the options of `plan` and of `Plan.run` (those of `Run`), raises what they raise, and
    returns the report.

    Examples
    --------
    >>> import numpy as np, zarr
    >>> store = zarr.storage.MemoryStore()
    >>> image = np.ones((64, 64), "uint8")
    >>> report = predict(
    ...     image, np.negative, store, axes="YX", patch_size=32, overlaps=8, progress=False
    ... )
    >>> zarr.open(store)[0, :3]
    array([-1., -1., -1.], dtype=float32)
    """
    left: dict[str, Any] = dict(words)
    refuse_unknown(left, "predict", *KINDS, Run)
    how = taken(Run, run, left, "run")
    threads = limits.threads if isinstance(limits, Limits) else left.get("threads")
    planned = plan(source, model, output, tiles=tiles, normalize=normalize, limits=limits, **left)
    refuse_both(planned, how)
    return planned.run(how, threads=threads)
