"""The box of the source that is predicted, as part of each array of results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..geometry import Dimensions, ranges_of
from ..image import ImageStack, dimensions_of
from ..model import Sizing
from ..output import Output
from ..support import shown


def with_plain_box(output: Output, images: Sequence[ImageStack]) -> Output:
    """The same option, its box as one slice for each axis of the source, from start to stop.

    Raises
    ------
    ValueError
        If the box does not fit the source, cuts channels, or the source is a series.
    """
    if output.box is None:
        return output
    if len(images) > 1:
        raise ValueError(
            f"box is {shown(output.box)}, a part of one image, and the source is a series of "
            f"{len(images)}; predict them one by one."
        )
    dims = dimensions_of(images[0])
    ranges = ranges_of(output.box, dims.shape, word="box", of="the source")
    channels = dict(zip(dims.axes, ranges, strict=True)).get("C")
    if channels is not None and len(channels) < dims.n_channels:
        raise ValueError(
            f"box is {shown(output.box)}, which takes channels {channels.start}:{channels.stop} of "
            f"{dims.n_channels}, and the model sees all that are chosen; choose them with "
            "channels=, and leave C whole (:)."
        )
    return replace(output, box=tuple(slice(each.start, each.stop) for each in ranges))


def part_of(made: Dimensions, output: Output, source: Dimensions, sizing: Sizing) -> Dimensions:
    """What is written of an array of results, whose box is plain.

    Raises
    ------
    ValueError
        If the box holds no voxel of the result.
    """
    if output.box is None:
        return made
    box: dict[str, slice] = dict(zip(source.axes, output.box, strict=True))  # type: ignore[arg-type]
    box.pop("C", None)  # which is whole
    spatial = [box[axis] for axis in made.spatial_axes]
    start = sizing.output_shape(tuple(each.start for each in spatial))
    stop = sizing.output_shape(tuple(each.stop for each in spatial))
    if not all(a < b for a, b in zip(start, stop, strict=True)):
        raise ValueError(
            f"box is {shown(output.box)}, which holds no voxel of the result: along its axes of "
            f"space it has {', '.join(map(str, sizing.scale))} for one of the source. Give a "
            "larger one."
        )
    ranges = {axis: range(each.start, each.stop) for axis, each in box.items()}
    ranges |= dict(zip(made.spatial_axes, map(range, start, stop), strict=True))
    return made.part(ranges)
