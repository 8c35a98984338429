"""Where images are read from, and how: the option of that name, and the series that it opens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypedDict

from ..formats import is_pattern, matching
from ..store import StoreLike, find_collection, group_or_place
from ..support import CHANNELS, INTEGER, Options, declarations, need, option, required, shown
from ..values import check_padding
from .array_image import ArrayImage
from .arraylike import IndexedArray
from .channels import Channels, as_channels
from .collections import CollectedImages, chosen_paths, opened_together, path_of
from .opening import as_image, as_level, open_stack
from .stack import ImageStack, is_image, is_located
from .told import with_io

SourceLike = StoreLike | IndexedArray | ImageStack
"""What `open_image` opens, or an image that is open already."""


def _check_fields(name: str, fields: object) -> object:
    is_pattern = fields is None or (isinstance(fields, str) and bool(fields))
    need(is_pattern, name, fields, "a path in the plate such as 'B/03/0', or a pattern of some")
    return fields


@dataclass(frozen=True, repr=False)
class Source(Options):
    """Where images are read from, and how.

    Parameters
    ----------
    place
        What `open_image` opens, an `ImageStack`, or a list of these: a series. A pattern of paths
        (`"run/*.tif"`) is a series of what it matches, a plate, a well or a group of
        bioformats2raw one of all its images.
    axes, channels, padding, level, image
        As in `open_image`; an `ImageStack` has its own. Of a group of bioformats2raw `image` is
        the path or index of one.
    fields
        Of a plate or a well, those to take: a path (`"B/03/0"`) or a pattern (`"B/*/0"`).

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
        help="Channels to use, by index, range a:b or name; all by default.",
        example=(0,),
    )
    padding: str | float = option(
        "reflect",
        check=lambda _, padding: check_padding(padding),
        shows_in="source.padding",
        help="reflect, edge or a number.",
        example="edge",
    )

    level: int = option(
        0,
        parser=INTEGER,
        check=as_level,
        shows_in="source",
        help="Level of a pyramid (OME-Zarr, TIFF, Imaris); 0 is the finest.",
        example=1,
    )
    image: int | str | None = option(
        None,
        check=as_image,
        shows_in="source",
        help="Of several images in one group or file: index or name.",
        example="second",
    )

    fields: str | None = option(
        None,
        check=_check_fields,
        shows_in="source",
        help="Fields of a plate: B/03/0, or a pattern such as B/*/0.",
        example="A/2/*",
    )

    def resolved(self) -> Source:
        """The same, where a group of images is the series of them, opened.

        Raises
        ------
        FileNotFoundError, ValueError
            If there are none, or none that was asked for.
        """
        if self.is_series:
            return self
        if is_pattern(self.place):
            return replace(self, place=matching(self.place))  # type: ignore[arg-type] # a path
        found = find_collection(self.place)
        if found is None:
            if self.fields is not None:
                raise ValueError(
                    f"fields is {shown(self.fields)}, and the source is no plate; leave it out."
                )
            return self
        collection, places, name = found
        alone = replace(self, fields=None)
        if collection.kind == "series" and self.image is not None:
            path = path_of(collection, self.image, name)
            return replace(alone, place=places[path], image=None)
        chosen = {path: places[path] for path in chosen_paths(collection, self.fields, name)}

        def open_one(place: StoreLike) -> ArrayImage:
            return alone.open_one(group_or_place(place, collection.zarr_format))

        return Source(CollectedImages(opened_together(chosen, open_one, name), collection))

    @property
    def is_series(self) -> bool:
        return isinstance(self.place, list | tuple)

    @property
    def collected(self) -> CollectedImages | None:
        """The images of a plate, a well or a series, where the source is resolved from one."""
        return self.place if isinstance(self.place, CollectedImages) else None

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
            raise ValueError(f"The source is {series!r}, an empty list; give at least one image.")
        images = [self._opened(place, ndim) for place in places]
        _check_alike(images)
        return with_io(images, io)

    def open_one(self, place: StoreLike | IndexedArray, ndim: int | None = None) -> ArrayImage:
        """An image, opened with these options."""
        return open_stack(
            place,
            axes=self.axes,
            channels=self.channels,
            padding=self.padding,
            level=self.level,
            image=self.image,
            ndim=ndim,
        )

    def _opened(self, place: SourceLike, ndim: int | None) -> ImageStack:
        if not is_image(place):
            return self.open_one(place, ndim)  # type: ignore[arg-type] # whatever it is, it says
        settings = (told for told in declarations(Source).values() if not told.is_required)
        if any(getattr(self, told.name) != told.default for told in settings):
            raise ValueError(
                f"The source {place.source} is opened already; give axes, channels, padding, level "
                "and image to open_image instead."
            )
        return _for_ndim(place, ndim)


class SourceWords(TypedDict, total=False):
    """The flat words of `Source`."""

    axes: str | None
    channels: Channels | None
    padding: str | float
    level: int
    image: int | str | None
    fields: str | None


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
