"""The images of a series, all with the same axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from .opening import open_stack
from .stack import ArrayImage, ImageStack, with_io


def open_series(
    source: Any,
    *,
    axes: str | None,
    channels: Sequence[int] | None,
    padding: str | float,
    ndim: int | None,
    io: str,
) -> tuple[ImageStack, ...]:
    """The images of a source, or of a list of them, as `open_stack` opens one.

    Raises
    ------
    ValueError
        If there are none, or their axes differ, or one is opened already, and otherwise.
    """
    sources = list(source) if isinstance(source, list | tuple) else [source]
    if not sources:
        raise ValueError("The source is an empty list; give at least one image.")
    images: list[ImageStack] = []
    for one in sources:
        if isinstance(one, ImageStack):
            if axes is not None or channels is not None or padding != "reflect":
                raise ValueError(
                    f"The source {one.source} is opened already; give axes, channels and "
                    "padding to open_image instead."
                )
            images.append(_for_ndim(one, ndim))
        else:
            images.append(open_stack(one, axes=axes, channels=channels, padding=padding, ndim=ndim))
    named = {image.original_axes for image in images}
    if len(named) > 1 or len({len(image.data_shape) for image in images}) > 1:
        raise ValueError(
            "The images of a series must have the same axes; these have "
            f"{', '.join(sorted(named))}."
        )
    if len({image.data_shape[1] for image in images}) > 1:
        raise ValueError(
            "The images of a series must have as many channels each; these have "
            f"{', '.join(str(image.data_shape[1]) for image in images)}. Choose some (channels=…)."
        )
    return tuple(with_io(image, io) for image in images)


def _for_ndim(image: ImageStack, ndim: int | None) -> ImageStack:
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
