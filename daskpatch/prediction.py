"""The verbs of the main job: `plan` and `predict`."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from dask.system import CPU_COUNT

from .block import Prediction
from .conversion import is_number
from .dimensions import Dimensions
from .image import ArrayImage, ImageStack, open_stack, with_io
from .model import NoIdentityError, SharedModel, as_handle
from .patching import AlignedPatching, Patching, grids_of
from .planning import Plan
from .planning.decision import decide, stored_dtype
from .planning.memory import as_bytes, at_least_one, available_memory, check_tile
from .planning.request import Request
from .planning.target import as_target
from .planning.trial import Trial, run_trial, trial_tile
from .receipts import Report
from .store import check_io


def plan(
    source: Any,
    model: Any,
    output: Any | None = None,
    *,
    axes: str | None = None,
    channels: Sequence[int] | None = None,
    patch_size: int | Sequence[int] | None = None,
    overlaps: int | Sequence[int] = 0,
    align: int | Sequence[int] = 1,
    min_size: int | Sequence[int] = 1,
    patching: Patching | None = None,
    batch_size: int = 1,
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
    output's channels and dtype, and what the run costs. No output is touched.

    Parameters
    ----------
    source
        What `open_image` opens, an `ImageStack`, or a list of these: a series.
    model
        A callable from a batch `(N, C, (Z), Y, X)` in `input_dtype` to `(N, C', (Z), Y, X)`; a
        `torch.nn.Module`, `TorchModel`, `OnnxModel`, `"package.module:attribute"`,
        `"file.py:attribute"` or the path of an `.onnx` file.
    output
        Path, URL or zarr store of the array to create (of the group, for a series), or a zarr
        array of the prediction's shape. Without it the plan is for the lazy array alone.
    axes, channels, padding
        As in `open_image`.
    patch_size, overlaps, align, min_size
        Voxels per spatial axis (one number serves for all) of an `AlignedPatching`. Two sizes
        for a source with a Z axis predict it slice by slice.
    patching
        A strategy that returns `TileSpecs`, instead of these.
    batch_size
        Tiles per call of the model.
    chunks, shards, block_shape
        Voxels per axis of the output; one number serves for all. By default chunks fit the
        crops, there are no shards, and a block is worth a task and fits memory.
    dtype
        The output's; by default the model's own. To integers values are rounded to nearest and
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
    images = _open(source, axes, channels, padding, patch_size, patching, io)
    strategy = _strategy(images, patching, patch_size, overlaps, align, min_size)
    grids = grids_of(strategy, [image.data_shape for image in images])
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
    limit = request.memory_limit or available_memory()
    handle = as_handle(model)
    given = _number_dtype("input_dtype", input_dtype)
    stored = None if dtype is None else _number_dtype("dtype", dtype)
    check_tile(*trial_tile(images, grids), given, limit)
    identity = None if output is None else _identity(handle, model_id)
    side_by_side = (request.threads or CPU_COUNT) > 1
    trial = run_trial(images, grids, handle, input_dtype=given, side_by_side=side_by_side)
    prediction = Prediction(
        images=images,
        grids=grids,
        model=handle,
        signature=trial.signature,
        outputs=_outputs(images, trial),
        input_dtype=given,
        dtype=stored_dtype(stored, target, trial),
        batch_size=at_least_one("batch_size", batch_size),
    )
    return decide(
        prediction, strategy, trial, target, request, is_series=is_series, model_id=identity
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


def _identity(model: SharedModel, model_id: str | None) -> str | None:
    """What tells the model from others in a later run; None if nothing does."""
    if model_id is not None:
        if not isinstance(model_id, str) or not model_id:
            raise ValueError(
                f"model_id is {model_id!r}; needed is a text that changes when the model does."
            )
        return f"model_id {model_id}"
    try:
        return model.handle.identity()
    except NoIdentityError:
        return None


def _open(
    source: Any,
    axes: str | None,
    channels: Sequence[int] | None,
    padding: str | float,
    patch_size: Any,
    patching: Patching | None,
    io: str,
) -> tuple[ImageStack, ...]:
    """The source's images, for a model of as many spatial axes as there are sizes."""
    sources = list(source) if isinstance(source, list | tuple) else [source]
    if not sources:
        raise ValueError("The source is an empty list; give at least one image.")
    ndim = _n_spatial(patch_size, patching)
    images: list[ImageStack] = []
    for one in sources:
        if isinstance(one, ImageStack):
            if axes is not None or channels is not None or padding != "reflect":
                raise ValueError(
                    f"The source {one.source} is opened already; give axes, channels and "
                    "padding to open_image instead."
                )
            images.append(_as_wanted(one, ndim))
        else:
            images.append(open_stack(one, axes=axes, channels=channels, padding=padding, ndim=ndim))
    named = {image.original_axes for image in images}
    if len(named) > 1 or len({len(image.data_shape) for image in images}) > 1:
        raise ValueError(
            "The images of a series must have the same axes; these have "
            f"{', '.join(sorted(named))}."
        )
    return tuple(with_io(image, io) for image in images)


def _as_wanted(image: ImageStack, ndim: int | None) -> ImageStack:
    """An opened image for tiles of so many spatial axes: with 2, Z counts samples."""
    has = len(image.data_shape) - 2
    if ndim is not None and ndim > has:
        raise ValueError(
            f"Tiles have {ndim} spatial axes, the source {image.source} has {has}: its axes are "
            f"{image.original_axes}. Give {has} sizes."
        )
    if isinstance(image, ArrayImage) and ndim is not None:
        return replace(image, dimensions=replace(image.dimensions, ndim=ndim))
    return image


def _n_spatial(patch_size: Any, patching: Patching | None) -> int | None:
    """How many spatial axes the tiles have, where that is said."""
    if patching is not None:
        _check_strategy(patching)
    elif np.ndim(patch_size) > 0:
        if len(patch_size) not in (2, 3):
            raise ValueError(
                f"patch_size {tuple(patch_size)} has {len(patch_size)} entries; needed are two "
                "(YX) or three (ZYX), or one number for all."
            )
        return len(patch_size)
    if patching is not None and patching.n_patches > 0:
        return len(patching.get_patch_spec(0)["coords"])
    return None


def _check_strategy(patching: Any) -> None:
    """Refuse what does not follow the `Patching` protocol, a class instead of its instance too."""
    names = ("n_patches", "get_patch_spec", "get_patch_indices")
    if isinstance(patching, type) or not all(hasattr(patching, name) for name in names):
        raise TypeError(
            f"patching is {patching!r}; needed is a strategy (an instance), for example "
            "TiledPatching(data_shapes, patch_size, overlaps)."
        )


def _strategy(
    images: tuple[ImageStack, ...],
    patching: Patching | None,
    patch_size: Any,
    overlaps: Any,
    align: Any,
    min_size: Any,
) -> Patching:
    if patching is None:
        if patch_size is None:
            raise ValueError(
                "Tiles have no size: give patch_size (voxels per spatial axis, or one number), or "
                "a strategy as patching."
            )
        shapes = [image.data_shape for image in images]
        return AlignedPatching(shapes, patch_size, overlaps, align, min_size)
    others = {"overlaps": (overlaps, 0), "align": (align, 1), "min_size": (min_size, 1)}
    given = [] if patch_size is None else ["patch_size"]
    given += [
        name for name, (value, default) in others.items() if not np.array_equal(value, default)
    ]
    if given:
        raise ValueError(
            f"Give patching or {', '.join(given)}, not both: the strategy has its own sizes."
        )
    return patching


def _outputs(images: tuple[ImageStack, ...], trial: Trial) -> tuple[Dimensions, ...]:
    signature = trial.signature
    return tuple(
        _dimensions(image).predicted(
            signature.channels, signature.output_shape(tuple(image.data_shape[2:]))
        )
        for image in images
    )


def _dimensions(image: ImageStack) -> Dimensions:
    if isinstance(image, ArrayImage):
        return image.dimensions
    axes, shape = image.original_axes, tuple(image.original_data_shape)
    return Dimensions(axes, shape, len(image.data_shape) - 2)


def _number_dtype(name: str, value: Any) -> np.dtype[Any]:
    try:
        dtype: np.dtype[Any] = np.dtype(value)
    except TypeError:
        dtype = np.dtype(object)
    if value is None or not is_number(dtype):
        raise ValueError(
            f"{name} is {value!r}; needed is a dtype of integers, floats (to 64 bits) or booleans."
        )
    return dtype
