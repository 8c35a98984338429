"""From what the trial showed to a plan: layout, cost, memory, threads."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from dask.system import CPU_COUNT

from ..block import Prediction
from ..dimensions import Dimensions
from ..image import ArrayImage, ImageStack
from ..patching import Patching, TileGrid
from ..store import StoredArray, tensorstore_opens
from .cost import cost_of
from .layout import Layout, Room, choose_layout
from .memory import available_memory, check_memory, memory_of
from .plan import Plan
from .request import Request
from .target import Target, check_fits
from .trial import Trial


def decide(
    prediction: Prediction,
    patching: Patching,
    trial: Trial,
    target: Target | None,
    request: Request,
    *,
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
            prediction, layout, threads=threads, working=trial.working_bytes, has_cache=has_cache
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
        is_series=is_series,
        io=back_end,
        model_id=model_id,
        replan=partial(
            decide,
            prediction,
            patching,
            trial,
            target,
            is_series=is_series,
            model_id=model_id,
        ),
    )


def stored_dtype(dtype: np.dtype[Any] | None, target: Target | None, trial: Trial) -> np.dtype[Any]:
    """What is stored: what was asked for, or an existing array's, or the model's own."""
    if target is not None and target.array is not None:
        existing = target.array.dtype
        if dtype is not None and dtype != existing:
            raise ValueError(
                f"dtype is {dtype}, the output array {target.name} has {existing}; leave dtype out."
            )
        return existing
    return trial.signature.dtype if dtype is None else dtype


def _layout(prediction: Prediction, target: Target | None, request: Request, room: Room) -> Layout:
    dims = _largest(prediction.outputs)
    chunks, shards = request.chunks, request.shards
    if target is not None and target.array is not None:
        if chunks is not None or shards is not None:
            raise ValueError(
                f"chunks and shards are those of the output array {target.name}; leave them out."
            )
        check_fits(target.array, dims, target.name)
        chunks, shards = target.array.chunks, target.array.shards
    return choose_layout(
        dims,
        _steps(prediction.grids),
        chunks=chunks,
        shards=shards,
        block_shape=request.block_shape,
        room=room,
    )


def _room(
    prediction: Prediction, trial: Trial, limit: int, threads: int, *, has_cache: bool
) -> Room:
    """What a block may take: half of a thread's share of the memory."""
    largest = max(image.data_dtype.itemsize for image in prediction.images)
    return Room(
        seconds_per_voxel=trial.seconds / math.prod(trial.tile_shape),
        bytes_per_voxel=2.0 * prediction.dtype.itemsize + largest,
        bytes_per_thread=limit / 2 / threads,
        threads=threads,
        has_cache=has_cache,
    )


def _largest(outputs: tuple[Dimensions, ...]) -> Dimensions:
    """Axes of a series with the largest size along each: one layout serves all images."""
    shape = tuple(map(max, zip(*(dims.shape for dims in outputs), strict=True)))
    return replace(outputs[0], shape=shape)


def _steps(grids: tuple[TileGrid, ...]) -> tuple[int, ...]:
    return tuple(map(max, zip(*(grid.step for grid in grids), strict=True)))


def _back_end(images: tuple[ImageStack, ...], target: Target | None, io: str) -> str:
    """The back end that reads the first image; where it is no Zarr array, the one that writes."""
    image = images[0]
    if isinstance(image, ArrayImage) and isinstance(image.array, StoredArray):
        return image.array.backend_name
    if io != "auto":
        return io
    folder = None if target is None else target.location.local_path
    return "tensorstore" if tensorstore_opens(folder) else "zarr"
