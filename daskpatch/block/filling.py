"""Regions of images predicted, into new arrays or into those that are there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import Region
from ..model import Results
from .coverage import Tile, bounding_box, needed_tiles, parts_of, tile_sizes
from .emptiness import may_be_stored
from .recipe import Prediction
from .sample import Sample, calls_of, predicted
from .stitching import Destination
from .workspace import Tally, Workspace


@dataclass(frozen=True)
class OutputBox:
    """A box of one of the stored arrays, and where its voxels go."""

    output: int
    region: Region
    values: NDArray[Any]


def predict_region(
    prediction: Prediction,
    data_idx: int,
    region: Region,
    output: int = 0,
    workspace: Workspace | None = None,
) -> NDArray[Any]:
    """The prediction of one box of one image, in the stored dtype and order of axes.

    Raises
    ------
    ModelError
        If the model fails on a tile, or gives another shape or a dtype that cannot be stored.
    """
    values = np.empty(region.shape, prediction.dtypes[output])
    box = OutputBox(output, region, values)
    fill_region(prediction, data_idx, [box], workspace or Workspace(), Tally())
    return values


def fill_region(
    prediction: Prediction,
    data_idx: int,
    boxes: Sequence[OutputBox],
    workspace: Workspace,
    tally: Tally,
    block: int | None = None,
) -> None:
    """`predict_region` into arrays that are there already: boxes of the same samples and place.

    `block` is the index of the block that they are of, where its reads are counted.
    """
    calls = calls_of(prediction, data_idx)
    boxes = [box for box in boxes if box.region.n_voxels]
    dims = prediction.outputs[data_idx][boxes[0].output]
    for sample_idx, position in dims.samples_of(boxes[0].region):
        targets = [_destination(prediction, data_idx, box, position) for box in boxes]
        Sample(prediction, data_idx, sample_idx, targets, calls, workspace, tally, block).predict()


def is_known_empty(prediction: Prediction, data_idx: int, region: Region) -> bool:
    """Whether nothing of a box of the first array is given to the model; nothing is read for it."""
    occupancy = prediction.occupancy(data_idx)
    if occupancy is None and not prediction.masks:
        return False
    dims = prediction.outputs[data_idx][0]
    parts = parts_of(prediction, data_idx, region)
    samples = [sample_idx for sample_idx, _ in dims.samples_of(region)]
    if prediction.masks and not any(
        prediction.masks[data_idx].may_touch(sample_idx, part, sizing.scale)
        for sample_idx in samples
        for sizing, part in parts
    ):
        return True
    if occupancy is None:
        return False
    box = bounding_box(prediction.grids[data_idx], needed_tiles(prediction, data_idx, parts))
    image = prediction.images[data_idx]
    return not any(may_be_stored(image, occupancy, sample_idx, box) for sample_idx in samples)


def stitched_sample(
    prediction: Prediction, data_idx: int, sample_idx: int, region: Region
) -> Results:
    """All that the model gives for a (Z)YX box of one sample, stitched, before `post`: `C(Z)YX`.

    The box is one of the input, of whole voxels of every array.
    """
    targets = []
    signature = prediction.signature
    for output, sizing in zip(signature.outputs, signature.sizings, strict=True):
        part = sizing.output_region(region)
        values = np.empty((output.channels, *part.shape), output.dtype)
        targets.append(Destination(output.name, slice(None), sizing, part, values))
    # Before `post`: what it makes of a place is not what it makes of a block; nor is what is empty.
    stitched = replace(prediction.assembly, post=None, post_id=None)
    plain = replace(prediction, assembly=stitched, emptiness=None, masks=())
    calls = calls_of(prediction, data_idx)
    Sample(plain, data_idx, sample_idx, targets, calls, Workspace(), Tally()).predict()
    return {to.name: to.values for to in targets}


def predicted_tile(
    prediction: Prediction, data_idx: int, sample_idx: int, tile: Tile, region: Region
) -> Results:
    """What one tile gives for a (Z)YX box that it covers, of whole voxels of all arrays: `C(Z)YX`.

    Raises
    ------
    ModelError
        If the model does not take the tile.
    """
    image = prediction.images[data_idx]
    given = image.extract_patch(sample_idx, None, [t.start for t in tile], tile_sizes(tile))

    def specs() -> dict[str, Any]:
        return dict(prediction.grids[data_idx].specs_of(data_idx, sample_idx, tile))

    results = predicted(prediction, data_idx, given, specs)

    def part(name: str) -> tuple[slice, ...]:
        sizing = prediction.signature.of(name)
        return sizing.output_region(region).slices_within(sizing.given(tile))

    return {name: values[(slice(None), *part(name))] for name, values in results.items()}


def _destination(
    prediction: Prediction, data_idx: int, box: OutputBox, position: tuple[int, ...]
) -> Destination:
    """One sample's place in a box."""
    dims = prediction.outputs[data_idx][box.output]
    values: Any = dims.canonical(box.values)
    return Destination(
        prediction.stored[box.output].name,
        dims.channel_part(box.region),
        prediction.sizings[box.output],
        dims.spatial_part(box.region),
        values[position],
    )
