"""Tile, overlap and batch left to "auto": chosen from a probe of the model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
from dask.system import CPU_COUNT
from numpy.typing import NDArray

from ..image import ImageStack, dimensions_of
from ..probing import (
    Probe,
    description_beside,
    probe,
    read_description,
    with_costs,
)
from ..statistics import statistics_of
from .choice import Alternative, Choice
from .layout import per_axis
from .memory import available_memory
from .request import Request
from .search import Search
from .target import Target
from .tiling import Tiling
from .treatment import Treatment

_SECONDS = 10.0
"""For measuring the cost of tiles, where no probe was given."""


_SHOWN = 5
"""Alternatives that are told of."""


def probed(treatment: Treatment, images: Sequence[ImageStack], known: Probe | None) -> Probe:
    """What is known of the model, costs included; measured where it is not known yet.

    A bioimage.io description beside the model's file is believed.
    """
    beside = description_beside(treatment.model.handle.file)
    if known is None and beside is not None:
        known = read_description(beside)
    largest = max(math.prod(image.data_shape[2:]) for image in images)
    if known is not None:
        return with_costs(known, treatment.model, _SECONDS, largest)
    return probe(
        treatment.model,
        ndim=len(images[0].data_shape) - 2,
        channels=images[0].data_shape[1],
        sample=_sample(images[len(images) // 2], treatment),
        input_dtype=treatment.input_dtype,
        seconds=_SECONDS,
        largest=largest,
    )


def _sample(image: ImageStack, treatment: Treatment) -> Any:
    """A place of an image where values differ, as the model will see it."""
    shape = image.data_shape[2:]
    side = 256 if len(shape) == 2 else 96
    size = tuple(min(n, side) for n in shape)
    places = product(*({0, (n - m) // 2, n - m} for n, m in zip(shape, size, strict=True)))
    sample_idx = image.data_shape[0] // 2
    values = max(
        (image.extract_patch(sample_idx, None, start, size) for start in places), key=_structure
    )
    if treatment.normalization is None:
        return values
    mapped = np.empty(values.shape, treatment.input_dtype)
    statistics_of(values, treatment.normalization).value_map.apply(mapped, values)
    return mapped


def _structure(values: NDArray[Any]) -> float:
    finite = values[np.isfinite(values)].astype("f8")
    return float(finite.std()) if finite.size == values.size else 0.0


def choose(
    tiling: Tiling,
    batch_size: int | str,
    images: Sequence[ImageStack],
    known: Probe,
    treatment: Treatment,
    target: Target | None,
    request: Request,
) -> tuple[Tiling, Choice]:
    """The tiling of the fastest run, and what else there was.

    Raises
    ------
    ValueError
        If sizes are to be chosen for a strategy that has its own, or nothing fits the model.
    MemoryError
        If no tiling fits memory.
    """
    if tiling.patching is not None:
        raise ValueError(
            "batch_size 'auto' goes with patch_size, not with patching: give batch_size a number."
        )
    known.check_input(*images[0].data_shape[1:])
    search = Search(
        tiling.with_probe(known),
        batch_size,
        tuple(images),
        known,
        treatment,
        threads=request.threads or CPU_COUNT,
        keeps_threads=request.threads is not None,
        limit=request.memory_limit or available_memory(),
        units=_write_units(known, images, treatment, target, request),
    )
    found = sorted(search.alternatives(), key=lambda option: option.seconds)
    fitting = [option for option in found if not option.reason]
    if not fitting:
        if not found:
            raise ValueError(
                f"No tile fits: patch_size is {tiling.patch_size!r}, overlaps are "
                f"{tiling.overlaps!r}, and {known.name} has a halo of {known.halo} voxels on "
                f"multiples of {search.grid}, with tiles of {known.min_size} at least. Leave more "
                "of them to 'auto', or give tiles larger than their overlaps."
            )
        least = min(found, key=lambda option: option.model_memory)
        raise MemoryError(
            f"No tiling fits the memory_limit; the least that was found: {least}. Raise it, or "
            "lower threads or batch_size."
        )
    chosen = fitting[0]
    rejected = tuple(_telling(chosen, found))
    decided = tiling.decided(chosen.patch_size, chosen.overlaps)
    return decided, Choice(chosen, search.why, rejected)


def _telling(chosen: Alternative, found: Sequence[Alternative]) -> Iterator[Alternative]:
    """The best of the others, one for each size of tile that is clearly another."""
    seen = [math.prod(chosen.patch_size)]
    for option in found:
        voxels = math.prod(option.patch_size)
        if option is chosen or any(0.6 < voxels / other < 1.6 for other in seen):
            continue
        seen.append(voxels)
        slower = option.seconds / chosen.seconds
        yield option if option.reason else replace(option, reason=f"{slower:.2f} times the time")
        if len(seen) > _SHOWN:
            return


def _write_units(
    known: Probe,
    images: Sequence[ImageStack],
    treatment: Treatment,
    target: Target | None,
    request: Request,
) -> tuple[int, ...] | None:
    """Voxels of the input per write unit, per spatial axis, where they are given."""
    sizes: Any = request.shards or request.chunks
    if target is not None and target.array is not None:
        sizes = target.array.shards or target.array.chunks
    if sizes is None:
        return None
    image, shape = images[0], images[0].data_shape[2:]
    made = tuple(math.ceil(n * scale) for n, scale in zip(shape, known.scale, strict=True))
    output = dimensions_of(image).predicted(known.out_channels, made)
    if treatment.post is not None and not isinstance(sizes, int) and len(sizes) != len(output.axes):
        return None  # post may add or drop channels; what does not fit is refused later
    own = output.spatial_entries(per_axis("chunks or shards", sizes, output))
    units = (
        math.ceil(unit / scale) if unit < n * scale else 0
        for unit, scale, n in zip(own, known.scale, shape, strict=True)
    )
    return tuple(units)
