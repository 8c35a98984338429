"""The verbs of the main job: `plan` and `predict`."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from os import PathLike
from typing import Any

from dask.system import CPU_COUNT

from .block import Prediction
from .geometry import Dimensions
from .image import ImageStack, dimensions_of, open_series
from .model import NoIdentityError, Output, Signature
from .patching import Patching, TileGrid, grids_of
from .planning import Plan
from .planning.choosing import choose, probed
from .planning.decision import check_dtypes, decide, stored_outputs
from .planning.memory import as_bytes, at_least_one, available_memory, check_tile
from .planning.request import Request
from .planning.target import as_target
from .planning.tiling import Tiling, check_geometry, is_auto
from .planning.treatment import Treatment, as_treatment
from .planning.trial import Trial, run_trial, trial_tile
from .probing import Probe, as_probe
from .receipts import Report
from .store import check_io
from .values import as_normalization


def plan(
    source: Any,
    model: Any,
    output: Any | None = None,
    *,
    axes: str | None = None,
    channels: Sequence[int] | None = None,
    patch_size: int | Sequence[int] | str | None = None,
    overlaps: int | Sequence[int] | str | None = None,
    align: int | Sequence[int] | None = None,
    min_size: int | Sequence[int] | None = None,
    scale: Any | None = None,
    margin: int | Sequence[Any] | None = None,
    probe: Probe | str | PathLike[str] | None = None,
    patching: Patching | None = None,
    batch_size: int | str = 1,
    stitch: str = "crop",
    augment: str | Sequence[str] | None = None,
    post: Any | None = None,
    normalize: Any | None = None,
    normalize_over: str = "image",
    normalize_per_channel: bool = True,
    normalize_fraction: float = 1.0,
    denormalize: bool = False,
    chunks: int | Sequence[int] | None = None,
    shards: int | Sequence[int] | None = None,
    block_shape: int | Sequence[int] | None = None,
    dtype: Any | None = None,
    input_dtype: Any = "float32",
    padding: str | float = "reflect",
    memory_limit: int | str | None = None,
    threads: int | None = None,
    io: str = "auto",
    overwrite: bool = False,
    model_id: str | None = None,
) -> Plan:
    """Decide everything about a tiled prediction, and compute none of it.

    Reads one tile from the middle of the source and runs the model on it once; that gives the
    output's channels and dtype, and what the run costs. What is left to `"auto"` is chosen from a
    probe of the model, which takes up to a minute unless it is given. No output is touched.

    Parameters
    ----------
    source
        What `open_image` opens, an `ImageStack`, or a list of these: a series.
    model
        A callable from a batch `(N, C, (Z), Y, X)` in `input_dtype` to `(N, C', (Z), Y, X)`, or a
        tuple or dict of such arrays: each is an array of the output then. A `torch.nn.Module`,
        `TorchModel`, `OnnxModel`, `"package.module:attribute"`, `"file.py:attribute"` or the path
        of an `.onnx` file.
    output
        Path, URL or zarr store of the array to create (of the group, for a series or several
        arrays), or a zarr array of the prediction's shape. Without it the plan is for the lazy
        array alone.
    axes, channels, padding
        As in `open_image`.
    patch_size, overlaps
        Voxels per spatial axis (one number serves for all) of an `AlignedPatching`, or `"auto"`:
        the tiles whose run is the fastest of those that give the whole image's result and fit
        memory; `plan.choice` says why. Two sizes for a source with a Z axis predict it slice by
        slice.
    align, min_size
        Of an `AlignedPatching`; by default what the probe found, else 1.
    scale, margin
        For a model whose result has another size than its tile: voxels of the output per voxel of
        the input, and the voxels that it cuts off each side (a number, or per axis a number or a
        pair). By default what the probe or the trial found. The output has ceil(n * scale) voxels.
    probe
        What is known of the model: a `Probe`, or the path of a saved one or of a bioimage.io
        `rdf.yaml`.
    patching
        A strategy that returns `TileSpecs`, instead of these.
    batch_size
        Tiles per call of the model, or `"auto"`. Where memory runs out in a run, it is lowered.
    stitch
        `"crop"`: each voxel from the tile in whose crop it lies. `"gaussian"`, `"linear"`: from
        all tiles that cover it, weighted (see `daskpatch.values.weights.weights`).
    augment
        `"flips"`, `"rot90"` or both: tiles are predicted in all these positions, and the results
        turned back and averaged. Flips are along all axes, turns in the plane of Y and X.
    post
        A function of each stitched block before it is written, one sample at a time: from an
        array `C(Z)YX` (or a dict of them, if the model gives several) to one of the same size,
        with other values, channels or dtype; or its name, as a model's.
    normalize
        Values are mapped before the model sees them, the same way all over the image:
        `"zscore"`, `"minmax"`, `"percentile"` (1 to 99.8) or `("percentile", low, high)`, whose
        statistics are measured once, when the run begins or the lazy array is first used; or
        constants, which are not: `{"mean": …, "std": …}` or `{"low": …, "high": …}`, numbers or
        one per channel.
    normalize_over, normalize_per_channel, normalize_fraction
        Statistics of each `"image"` or of the whole `"series"`; of each channel or of all
        together; and the share of the chunks that is read for them.
    denormalize
        Whether the model's results are mapped back.
    chunks, shards, block_shape
        Voxels per axis of the output; one number serves for all. By default chunks fit the
        crops, there are no shards, and a block is worth a task and fits memory.
    dtype
        The output's (of several arrays, one for all or a dict by name); by default the model's
        own. To integers values are rounded to nearest and
        clipped, NaN becomes 0 and is counted.
    input_dtype
        What the model is given.
    memory_limit
        Bytes, or text such as `"8 GB"`, for one worker; by default what the machine has.
    threads
        Blocks in work at a time; by default one per processor.
    io
        `"auto"`, `"zarr"` or `"tensorstore"`.
    overwrite
        Whether `run` may delete an array, or a group of daskpatch's, at the output's place.
    model_id
        What tells the model from others when a run is resumed; by default a digest of its code
        and weights, which models that hold open files or compiled objects don't have.

    Raises
    ------
    ValueError
        If options don't fit each other, the source or the output.
    FileNotFoundError, TypeError
        If the source or the model is none.
    ImportError
        If an optional package is missing; the extra to install is named.
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
    check_io(io)
    check_dtypes(dtype)
    known = as_probe(probe)
    tiling = Tiling(patch_size, overlaps, align, min_size, patching, blends=stitch != "crop")
    images = open_series(
        source, axes=axes, channels=channels, padding=padding, ndim=tiling.n_axes(known), io=io
    )
    is_series = isinstance(source, list | tuple)
    target = (
        None
        if output is None
        else as_target(output, images, overwrite=overwrite, is_series=is_series, io=io)
    )
    request = Request(
        chunks=chunks,
        shards=shards,
        block_shape=block_shape,
        threads=None if threads is None else at_least_one("threads", threads),
        memory_limit=None if memory_limit is None else as_bytes(memory_limit),
        io=io,
    )
    treatment = as_treatment(
        model,
        data_shape=images[0].data_shape,
        input_dtype=input_dtype,
        stitch=stitch,
        augment=augment,
        post=post,
        normalization=as_normalization(
            normalize,
            over=normalize_over,
            per_channel=normalize_per_channel,
            fraction=normalize_fraction,
        ),
        denormalize=denormalize,
        scale=scale,
        margin=margin,
    )
    batch = batch_size if is_auto(batch_size) else at_least_one("batch_size", batch_size)
    choice = None
    if tiling.is_auto or is_auto(batch):
        known = probed(treatment, images, known)
        tiling, choice = choose(tiling, batch, images, known, treatment, target, request)
        batch = choice.chosen.batch_size
    if known is not None:
        known.check_input(*images[0].data_shape[1:])
        tiling, treatment = tiling.with_probe(known), treatment.with_probe(known)
    identity = None if output is None else _identity(treatment, model_id)
    strategy, trial = _tried(tiling, images, treatment, request, known)
    stored = stored_outputs(dtype, target, trial)
    prediction = Prediction(
        images=images,
        grids=_grids(strategy, images),
        model=treatment.model,
        signature=trial.signature,
        stored=stored,
        outputs=_outputs(images, trial.signature, stored),
        input_dtype=treatment.input_dtype,
        batch_size=int(batch),
        stitch=treatment.stitch,
        positions=treatment.positions,
        post=treatment.post,
        denormalize=denormalize,
    )
    return decide(
        prediction,
        strategy,
        trial,
        target,
        request,
        treatment=treatment,
        choice=choice,
        is_series=is_series,
        model_id=identity,
    )


def predict(
    source: Any,
    model: Any,
    output: Any,
    *,
    threads: int | None = None,
    **options: Any,
) -> Report:
    """Plan and run in one.

    Takes the options of `plan` and of `Plan.run`, raises what they raise, and returns the
    report.

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
    of_run = {name: options.pop(name) for name in _RUN_OPTIONS & options.keys()}
    planned = plan(source, model, output, threads=threads, **options)
    return planned.run(threads=threads, **of_run)


_RUN_OPTIONS = inspect.signature(Plan.run).parameters.keys() - {"self", "threads"}


def _identity(treatment: Treatment, model_id: str | None) -> str | None:
    """What tells model and `post` from others in a later run; None if nothing does."""
    if model_id is not None and (not isinstance(model_id, str) or not model_id):
        raise ValueError(
            f"model_id is {model_id!r}; needed is a text that changes when the model does."
        )
    try:
        post = "" if treatment.post is None else f" post {treatment.post.handle.identity()}"
        if model_id is not None:
            return f"model_id {model_id}{post}"
        return f"{treatment.model.handle.identity()}{post}"
    except NoIdentityError:
        return None if model_id is None else f"model_id {model_id}"


def _tried(
    tiling: Tiling,
    images: tuple[ImageStack, ...],
    treatment: Treatment,
    request: Request,
    known: Probe | None,
) -> tuple[Patching, Trial]:
    """The strategy, and what the model gave for one of its tiles.

    Where that has another size than the tile, the strategy is one that allows for it.
    """
    strategy = tiling.strategy(images, treatment.margin)
    grids = _grids(strategy, images)
    limit = request.memory_limit or available_memory()
    check_tile(*trial_tile(images, grids), treatment.input_dtype, limit)
    side_by_side = (request.threads or CPU_COUNT) > 1
    trial = run_trial(images, grids, treatment, side_by_side=side_by_side)
    if known is not None and not treatment.says_size:
        known.check_sizes(trial.signature.scale, trial.signature.margin)
    if not trial.signature.keeps_size:
        strategy = tiling.for_signature(images, trial.signature)
        check_geometry(trial.signature, _grids(strategy, images))
    return strategy, trial


def _grids(strategy: Patching, images: tuple[ImageStack, ...]) -> tuple[TileGrid, ...]:
    return grids_of(strategy, [image.data_shape for image in images])


def _outputs(
    images: tuple[ImageStack, ...], signature: Signature, stored: tuple[Output, ...]
) -> tuple[tuple[Dimensions, ...], ...]:
    """Per image, the dimensions of each array that is stored."""
    return tuple(
        tuple(
            dimensions_of(image).predicted(
                output.channels, signature.output_shape(tuple(image.data_shape[2:]))
            )
            for output in stored
        )
        for image in images
    )
