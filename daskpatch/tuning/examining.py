"""What is known of a model before its tiles are chosen: stated, remembered, or found out now."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ..deciding import FirstLook, PlanOptions
from ..image import ImageStack, varied_place
from ..probing import (
    Budget,
    CallCost,
    Probe,
    Remembered,
    costs_of,
    description_beside,
    digest_of_values,
    probe,
    read_description,
)
from ..statistics import statistics_of
from ..support import converted

_SECONDS = 10.0
"""For measuring the cost of tiles, where no probe was given, at most."""


@dataclass(frozen=True)
class _Measured:
    """What calls take, and what it was allowed to take to find that out."""

    budget: Budget
    costs: tuple[CallCost, ...]


def measured_probe(options: PlanOptions, images: Sequence[ImageStack], look: FirstLook) -> Probe:
    """What is known of the model, costs included; measured where it is not known yet.

    A bioimage.io description beside the model's file is believed. What is measured is remembered,
    unless the limits say otherwise.

    Raises
    ------
    ValueError
        If what is known is of a model for other images.
    """
    known = options.tiles.known
    beside = description_beside(options.model.shared.handle.file)
    if known is None and beside is not None:
        known = read_description(beside)
    if known is not None:
        known.check_input(*images[0].data_shape[1:])
    if known is not None and known.costs:
        return known
    if known is None:
        known = _probed(options, images, look.remembered)
    return replace(known, costs=_costs(known, options, images, look.remembered))


def _probed(options: PlanOptions, images: Sequence[ImageStack], remembered: Remembered) -> Probe:
    """How far the model looks, on which grid, and what it takes: seen on noise and on a sample."""
    sample = _sample(images[len(images) // 2], options)
    ndim, channels = len(images[0].data_shape) - 2, images[0].data_shape[1]
    asked = {
        "ndim": ndim,
        "channels": channels,
        "input_dtype": options.model.dtype.str,
        "sample": digest_of_values(sample),
    }
    kept = remembered.recall(asked, Probe.of)
    if kept is not None:
        return kept
    found = probe(
        options.model.shared,
        ndim=ndim,
        channels=channels,
        sample=sample,
        input_dtype=options.model.dtype,
        seconds=0,
    )
    remembered.keep(asked, found.to_dict())
    return found


def _costs(
    known: Probe, options: PlanOptions, images: Sequence[ImageStack], remembered: Remembered
) -> tuple[CallCost, ...]:
    voxels = sum(image.data_shape[0] * math.prod(image.data_shape[2:]) for image in images)
    threads = options.limits.n_threads
    budget = Budget(
        _SECONDS,
        largest=max(math.prod(image.data_shape[2:]) for image in images),
        of_run=voxels / threads,
    )
    described = known.to_dict()
    asked = {name: described[name] for name in ("channels", "input_dtype", "sizes", "align")}
    asked["threads"] = threads
    kept = remembered.recall(asked, lambda found: converted(found, _Measured))
    if kept is not None and kept.budget.covers(budget):
        return kept.costs
    measured = _Measured(budget, costs_of(known, options.model.shared, budget))
    remembered.keep(asked, asdict(measured))
    return measured.costs


def _sample(image: ImageStack, options: PlanOptions) -> Any:
    """A place of an image where values differ, as the model will see it."""
    is_flat = len(image.data_shape) == 4
    values = varied_place(image, 256 if is_flat else 96, judged=64 if is_flat else 32)
    normalize = options.normalize
    if normalize.kind is None:
        return values
    mapped = np.empty(values.shape, options.model.dtype)
    normalize.fill(mapped, values, statistics_of(values, normalize).value_map)
    return mapped
