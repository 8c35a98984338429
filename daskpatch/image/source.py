"""Where images are read from, and how: the option of that name, and the series that it opens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from ..store import StoreLike
from ..support import CHANNELS, Options, option, required
from ..values import check_padding
from .arraylike import IndexedArray
from .channels import Channels, as_channels
from .opening import open_stack
from .stack import ImageStack, is_image, is_located, with_io

SourceLike = StoreLike | IndexedArray | ImageStack
"""What `open_image` opens, or an image that is open already."""


@dataclass(frozen=True, repr=False)
class Source(Options):
    """Where images are read from, and how.

    Parameters
    ----------
    place
        What `open_image` opens, an `ImageStack`, or a list of these: a series.
    axes, channels, padding
        As in `open_image`; an `ImageStack` has its own.

    Examples
    --------
    >>> import numpy as np
    >>> source = Source(np.zeros((4, 64, 64)), axes="ZYX")
    >>> source.open()[0].data_shape
    (1, 1, 4, 64, 64)
    """

    place: SourceLike | Sequence[SourceLike] = required(
        word=None, flag=None, shows_in="source", help="What is read.", example=None
    )
    axes: str | None = option(
        None,
        shows_in="source.axes",
        help="The source's axes, of STCZYX; by default from its metadata.",
        example="TYX",
    )
    channels: Channels | None = option(
        None,
        parser=CHANNELS,
        check=lambda _, channels: as_channels(channels),
        shows_in="source.channels",
        help="Channels to use, by index or name; all by default.",
        example=(0,),
    )
    padding: str | float = option(
        "reflect",
        check=lambda _, padding: check_padding(padding),
        shows_in="source.padding",
        help="reflect, edge or a number.",
        example="edge",
    )

    @property
    def is_series(self) -> bool:
        return isinstance(self.place, list | tuple)

    def open(self, *, ndim: int | None = None, io: str = "auto") -> tuple[ImageStack, ...]:
        """The images, for a model of `ndim` spatial axes, read through a back end.

        Raises
        ------
        FileNotFoundError, ValueError, TypeError
            If there are none, one cannot be opened, or they don't go together.
        """
        series: Any = self.place if self.is_series else [self.place]
        places: list[SourceLike] = list(series)
        if not places:
            raise ValueError("The source is an empty list; give at least one image.")
        images = [self._opened(place, ndim) for place in places]
        _check_alike(images)
        return with_io(images, io)

    def _opened(self, place: SourceLike, ndim: int | None) -> ImageStack:
        if not is_image(place):
            return open_stack(
                place,  # type: ignore[arg-type] # whatever else it is, opening says
                axes=self.axes,
                channels=self.channels,
                padding=self.padding,
                ndim=ndim,
            )
        if self.axes is not None or self.channels is not None or self.padding != "reflect":
            raise ValueError(
                f"The source {place.source} is opened already; give axes, channels and "
                "padding to open_image instead."
            )
        return _for_ndim(place, ndim)


class SourceWords(TypedDict, total=False):
    """The flat words of `Source`."""

    axes: str | None
    channels: Channels | None
    padding: str | float


def _check_alike(images: Sequence[ImageStack]) -> None:
    """Refuse a series of images with other axes or channels."""
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


def _for_ndim(image: ImageStack, ndim: int | None) -> ImageStack:
    """An opened image for tiles of so many spatial axes: with 2, Z counts samples."""
    has = len(image.data_shape) - 2
    if ndim is not None and ndim > has:
        raise ValueError(
            f"Tiles have {ndim} spatial axes, the source {image.source} has {has}: its axes are "
            f"{image.original_axes}. Give {has} sizes."
        )
    if is_located(image) and ndim is not None:
        return image.with_ndim(ndim)
    return image
