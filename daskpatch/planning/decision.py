"""From what the trial showed to a plan: layout, cost, memory, threads."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from dask.system import CPU_COUNT

from ..block import Prediction
from ..geometry import Dimensions
from ..image import ArrayImage, ImageStack
from ..model import Output
from ..patching import Patching
from ..statistics import box_voxels, bytes_needed
from ..store import StoredArray, tensorstore_opens
from ..values import number_dtype
from .choice import Choice
from .cost import cost_of
from .layout import Layout, Room, choose_layout
from .memory import available_memory, check_memory, memory_of, stitched_bytes
from .plan import Plan
from .request import Request
from .target import Target, check_fits
from .treatment import Treatment
from .trial import Trial


def decide(
    prediction: Prediction,
    patching: Patching,
    trial: Trial,
    target: Target | None,
    request: Request,
    *,
    treatment: Treatment,
    choice: Choice | None,
    is_series: bool,
    model_id: str | None,
) -> Plan:
    """A plan from what the trial showed: layout, cost, memory. Costs the same at any size."""
    back_end = _back_end(prediction.images, target, request.io)
    has_cache = back_end == "tensorstore"
    limit = request.memory_limit or available_memory()
    threads = request.threads or CPU_COUNT
    while True:
        room = _room(prediction, trial, limit, threads, has_cache=has_cache)
        layout = _layout(prediction, target, request, room)
        memory = memory_of(
            prediction,
            layout,
            threads=threads,
            working=trial.working_bytes,
            statistics=_statistics_bytes(prediction, treatment, limit, threads),
            has_cache=has_cache,
        )
        if memory.peak <= limit or threads == 1 or request.threads is not None:
            break
        threads = max(threads // 2, 1)
    check_memory(memory, limit, "the memory_limit")
    if target is not None:
        target.check_layout(layout)
    return Plan(
        prediction=prediction,
        patching=patching,
        layout=layout,
        memory=memory,
        cost=cost_of(prediction, layout.block_shape),
        trial=trial,
        target=target,
        request=request,
        treatment=treatment,
        choice=choice,
        is_series=is_series,
        io=back_end,
        model_id=model_id,
        replan=partial(
            decide,
            prediction,
            patching,
            trial,
            target,
            treatment=treatment,
            choice=choice,
            is_series=is_series,
            model_id=model_id,
        ),
    )


def _statistics_bytes(
    prediction: Prediction, treatment: Treatment, limit: int, threads: int
) -> int:
    """What the pass over the images takes, where values are normalised by what they are like."""
    normalization = treatment.normalization
    if normalization is None or normalization.constants is not None:
        return 0
    voxels = box_voxels(limit, threads)
    return bytes_needed(prediction.images, normalization, voxels=voxels, threads=threads)


def check_dtypes(dtype: Any) -> None:
    """Refuse what is no dtype of numbers, nor a mapping of them by name."""
    for one in dtype.values() if isinstance(dtype, Mapping) else [dtype]:
        if one is not None:
            number_dtype("dtype", one)


def stored_outputs(dtype: Any, target: Target | None, trial: Trial) -> tuple[Output, ...]:
    """What is stored: in the dtype that was asked for, or an existing array's, or as it comes.

    `dtype` is one for all arrays, or some by name.

    Raises
    ------
    ValueError
        If it is none, or names no array, or is not that of an existing array.
    """
    by_name = dict(dtype) if isinstance(dtype, Mapping) else {}
    names = [output.name for output in trial.stored]
    if unknown := [name for name in by_name if name not in names]:
        given = ", ".join(map(repr, names)) if names != [""] else "one array: give its dtype alone"
        raise ValueError(f"dtype names {', '.join(map(repr, unknown))}; the model gives {given}.")
    if target is not None and target.array is not None:
        return _as_existing(by_name.get("", None if by_name else dtype), target, trial)
    wanted = {name: by_name.get(name, None if by_name else dtype) for name in names}
    return tuple(
        output
        if wanted[output.name] is None
        else replace(output, dtype=number_dtype("dtype", wanted[output.name]).name)
        for output in trial.stored
    )


def _as_existing(dtype: Any, target: Target, trial: Trial) -> tuple[Output, ...]:
    assert target.array is not None
    if len(trial.stored) > 1:
        names = ", ".join(output.name for output in trial.stored)
        raise ValueError(
            f"The model gives several arrays ({names}), which are written to a group; give a path, "
            "a URL or a store as output, not an array."
        )
    existing = target.array.dtype
    if dtype is not None and number_dtype("dtype", dtype) != existing:
        raise ValueError(
            f"dtype is {dtype}, the output array {target.name} has {existing}; leave dtype out."
        )
    return (replace(trial.stored[0], dtype=existing.name),)


def _layout(prediction: Prediction, target: Target | None, request: Request, room: Room) -> Layout:
    dims = _largest(prediction.primary)
    chunks, shards = request.chunks, request.shards
    if target is not None and target.array is not None:
        if chunks is not None or shards is not None:
            raise ValueError(
                f"chunks and shards are those of the output array {target.name}; leave them out."
            )
        check_fits(target.array, dims, target.name)
        chunks, shards = target.array.chunks, target.array.shards
    layout = choose_layout(
        dims,
        _steps(prediction),
        chunks=chunks,
        shards=shards,
        block_shape=request.block_shape,
        room=room,
    )
    if len(prediction.stored) > 1 and "C" in dims.axes:
        _check_channels(dims, layout)
    return layout


def _check_channels(dims: Dimensions, layout: Layout) -> None:
    """Refuse blocks that share out the channels of one of several arrays."""
    block = layout.block_shape[dims.axes.index("C")]
    if block < dims.n_channels:
        raise ValueError(
            f"block_shape {layout.block_shape} holds {block} of {dims.n_channels} channels; where "
            "the model gives several arrays, a block takes all channels of each."
        )


def _room(
    prediction: Prediction, trial: Trial, limit: int, threads: int, *, has_cache: bool
) -> Room:
    """What a block may take: half of a thread's share of the memory."""
    largest = max(image.data_dtype.itemsize for image in prediction.images)
    scale = float(math.prod(prediction.signature.scale))
    channels = prediction.stored[0].channels
    stored = 2.0 * prediction.stored_itemsize + stitched_bytes(prediction) / channels
    return Room(
        seconds_per_voxel=trial.seconds / math.prod(trial.tile_shape) / scale / channels,
        bytes_per_voxel=stored + largest / scale,
        bytes_per_thread=limit / 2 / threads,
        threads=threads,
        has_cache=has_cache,
        shared=_shared(prediction),
    )


def _shared(prediction: Prediction) -> tuple[int, ...]:
    """Output voxels per axis that blended blocks compute beyond their own: whole tiles."""
    if not prediction.blends:
        return (0,) * len(prediction.signature.scale)
    grid = prediction.grids[len(prediction.grids) // 2]
    middle = tuple(grid.tiles([n // 2 for n in grid.counts]))
    overlap = prediction.signature.overlap(middle, grid.step)
    step = prediction.signature.output_shape(grid.step)
    return tuple(-(-o // s) * s for o, s in zip(overlap, step, strict=True))


def _largest(outputs: tuple[Dimensions, ...]) -> Dimensions:
    """Axes of a series with the largest size along each: one layout serves all images."""
    shape = tuple(map(max, zip(*(dims.shape for dims in outputs), strict=True)))
    return replace(outputs[0], shape=shape)


def _steps(prediction: Prediction) -> tuple[int, ...]:
    """Distance of neighbouring crops in the output, per spatial axis."""
    steps = (prediction.signature.output_shape(grid.step) for grid in prediction.grids)
    return tuple(map(max, zip(*steps, strict=True)))


def _back_end(images: tuple[ImageStack, ...], target: Target | None, io: str) -> str:
    """The back end that reads the first image; where it is no Zarr array, the one that writes."""
    image = images[0]
    if isinstance(image, ArrayImage) and isinstance(image.array, StoredArray):
        return image.array.backend_name
    if io != "auto":
        return io
    folder = None if target is None else target.location.local_path
    return "tensorstore" if tensorstore_opens(folder) else "zarr"
