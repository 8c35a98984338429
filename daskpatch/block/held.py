"""Regions of images whose chunks a cluster holds: a task is given the chunks that it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any, NamedTuple

from numpy.typing import NDArray

from ..geometry import Region
from ..image import (
    ImageStack,
    boxes_of,
    given_chunks_of,
    held_array_of,
    with_chunks,
    without_chunks,
)
from .coverage import bounding_box, needed_tiles
from .filling import predict_region
from .recipe import Prediction


class HeldChunk(NamedTuple):
    """A chunk of an image, or of its mask, by its place in the grid of chunks."""

    is_of_mask: bool
    position: tuple[int, ...]


def held_arrays(prediction: Prediction, data_idx: int) -> dict[bool, Any]:
    """The Dask arrays of an image (False) and of its mask (True) that a cluster holds."""
    images: dict[bool, ImageStack] = {False: prediction.images[data_idx]}
    if prediction.masks:
        images[True] = prediction.masks[data_idx].image
    arrays = {is_of_mask: held_array_of(image) for is_of_mask, image in images.items()}
    return {is_of_mask: array for is_of_mask, array in arrays.items() if array is not None}


def without_held(prediction: Prediction) -> Prediction:
    """A prediction without what a cluster holds of its images: tasks can have it."""
    return _with_images(prediction, lambda _, image: without_chunks(image))


def held_chunks(
    bare: Prediction, data_idx: int, output: int, region: Region
) -> tuple[HeldChunk, ...]:
    """What a box of an output is predicted from, of a prediction `without_held`."""
    dims = bare.outputs[data_idx][output]
    part = (bare.sizings[output], dims.spatial_part(region))
    box = bounding_box(bare.grids[data_idx], needed_tiles(bare, data_idx, [part]))
    samples = [sample_idx for sample_idx, _ in dims.samples_of(region)]
    found = (chunk for each in samples for chunk in _touched(bare, data_idx, each, box))
    return tuple(dict.fromkeys(found))


def predict_with(
    bare: Prediction,
    data_idx: int,
    output: int,
    region: Region,
    given: Mapping[HeldChunk, NDArray[Any]],
) -> NDArray[Any]:
    """`predict_region` of a prediction `without_held`, with the chunks that `held_chunks` names."""

    def furnished(is_of_mask: bool, image: ImageStack) -> ImageStack:
        own = {chunk.position: a for chunk, a in given.items() if chunk.is_of_mask is is_of_mask}
        return with_chunks(image, own)

    return predict_region(_with_images(bare, furnished), data_idx, region, output)


def _with_images(prediction: Prediction, changed: Callable[[bool, Any], Any]) -> Prediction:
    return replace(
        prediction,
        images=tuple(changed(False, image) for image in prediction.images),
        masks=tuple(replace(m, image=changed(True, m.image)) for m in prediction.masks),
    )


def _touched(bare: Prediction, data_idx: int, sample_idx: int, box: Region) -> Iterator[HeldChunk]:
    """The chunks that a (Z)YX box of an image touches, which may exceed it."""
    image = bare.images[data_idx]
    chunks = given_chunks_of(image)
    if chunks is not None:
        for read in boxes_of(image, sample_idx, box) or ():
            yield from (HeldChunk(False, position) for position in chunks.positions(read))
    if not bare.masks:
        return
    mask = bare.masks[data_idx]
    chunks = given_chunks_of(mask.image)
    inside = box.clipped_to(tuple(image.data_shape[2:]))
    touched = mask.box(sample_idx, inside, (Fraction(1),) * len(inside.shape))
    if chunks is not None and touched is not None:
        yield from (HeldChunk(True, position) for position in chunks.positions(touched.slices))
