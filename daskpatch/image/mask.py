"""Where an image is to be predicted: an image of the same space, at any resolution."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import Dimensions, Overlay, Region, long_unit, unravel
from ..store import MOST_CELLS, Occupancy
from ..support import shown, what_is
from .opening import find, open_stack
from .source import SourceLike
from .stack import ImageStack, LocatedImage, is_image, is_located
from .told import coordinates_of, dimensions_of, is_placed

Windows = list[tuple[int, int]]


ReadBox = Callable[[tuple[slice, ...]], NDArray[Any]]
"""Gives a box of an array, in its own axes."""


@dataclass(frozen=True)
class Mask:
    """An image whose voxels that are not 0 say where another one is to be predicted.

    Attributes
    ----------
    along
        By axis of the mask, how it lies on the other image; axes that this lacks have one voxel.
    of
        The other image's axes.
    cells
        What is in it, where a run has read it.
    most_cells
        How many there may be of all masks of a run together: a byte each.
    """

    image: LocatedImage
    along: Mapping[str, Overlay]
    of: Dimensions
    cells: Occupancy | None = None
    most_cells: int = MOST_CELLS

    def needed(
        self,
        sample_idx: int,
        region: Region,
        scale: tuple[Fraction, ...],
        read: ReadBox | None = None,
    ) -> NDArray[np.bool_]:
        """Which voxels of a (Z)YX region of a result touch the mask, in one sample.

        `scale` is how many voxels the result has per voxel of the image, `read` gives boxes of the
        mask where they are not to be read anew.

        Raises
        ------
        OSError
            If the mask cannot be read.
        """
        windows = self._windows(sample_idx, region, scale)
        box = self._around(windows)
        if box is None:
            return np.zeros(region.shape, bool)
        is_known = self.cells is not None and self.cells.is_exact
        inside = self.cells.cells[box.slices] if self.cells and is_known else self.read(box, read)
        for axis, (along, first) in enumerate(zip(windows, box.start, strict=True)):
            inside = _any_of(inside, axis, along, first)
        axes, spatial = self.image.dimensions.axes, self.of.spatial_axes
        # Along others than those of space, and those of space that it lacks, it is the same.
        order = [axes.index(a) for a in spatial if a in axes]
        others = [i for i in range(len(axes)) if i not in order]
        plain = inside.transpose(others + order).reshape([inside.shape[i] for i in order])
        missing = [i for i, a in enumerate(spatial) if a not in axes]
        return np.broadcast_to(np.expand_dims(plain, tuple(missing)), region.shape)

    def may_touch(self, sample_idx: int, region: Region, scale: tuple[Fraction, ...]) -> bool:
        """Whether `needed` may find a voxel, as far as that is known without reading."""
        return self.box(sample_idx, region, scale) is not None

    def box(self, sample_idx: int, region: Region, scale: tuple[Fraction, ...]) -> Region | None:
        """What `needed` reads of the mask, in its own axes; None where it is known to be empty."""
        return self._around(self._windows(sample_idx, region, scale))

    def _around(self, windows: list[Windows]) -> Region | None:
        box = _around(windows)
        is_empty = box is None or not (self.cells is None or self.cells.is_any_in(box.slices))
        return None if is_empty else box

    def with_delays(self, delays: tuple[float, ...]) -> Mask:
        """The same mask, waited for as long."""
        return replace(self, image=self.image.with_delays(delays))

    def nbytes_of(self, shape: tuple[int, ...], scale: tuple[Fraction, ...]) -> int:
        """Bytes that `needed` holds for a region of so many voxels: what is read, and its sums."""
        sizes = dict(zip(self.of.spatial_axes, zip(shape, scale, strict=True), strict=True))
        dims, read = self.image.dimensions, 1
        for axis, n in zip(dims.axes, dims.shape, strict=True):
            if axis in sizes:
                size, per = sizes[axis]
                read *= min(n, math.ceil(self.along[axis].step * size / per) + 2)
        return read * (self.image.data_dtype.itemsize + 8) + 2 * self.image.chunk_nbytes

    def _windows(
        self, sample_idx: int, region: Region, scale: tuple[Fraction, ...]
    ) -> list[Windows]:
        """Along each axis of the mask, its voxels that each voxel of the region touches."""
        position = unravel(sample_idx, self.of.sample_shape)
        places = {
            a: (i, i + 1, Fraction(1)) for a, i in zip(self.of.sample_axes, position, strict=True)
        }
        for axis, start, stop, per in zip(
            self.of.spatial_axes, region.start, region.stop, scale, strict=True
        ):
            places[axis] = (start, stop, 1 / per)
        dims = self.image.dimensions
        return [
            self.along[axis].touched(*places[axis], other=n) if axis in places else [(0, n)]
            for axis, n in zip(dims.axes, dims.shape, strict=True)
        ]

    def read(self, box: Region, read: ReadBox | None = None) -> NDArray[np.bool_]:
        """Which voxels of a box of the mask, in its own axes, are not 0; NaN counts as 0.

        Raises
        ------
        OSError
            If they cannot be read.
        """
        values: Any = (self.image.read_box if read is None else read)(box.slices)
        there: NDArray[np.bool_] = np.asarray(values != 0)
        return there & ~np.isnan(values) if values.dtype.kind == "f" else there


def unseen_cells(masks: Sequence[Mask], number: int) -> Occupancy:
    """One of several masks, of which nothing was seen yet; cells are shared among them."""
    mask = masks[number]
    shape = mask.image.dimensions.shape
    return Occupancy.of_shape(shape, (1,) * len(shape), mask.most_cells // len(masks) or 1)


def _around(windows: list[Windows]) -> Region | None:
    """The box of the mask that holds all windows; None where one axis has none with voxels."""
    touched = [[window for window in along if window[0] < window[1]] for along in windows]
    if not all(touched):
        return None
    return Region(
        tuple(min(low for low, _ in along) for along in touched),
        tuple(max(high for _, high in along) for along in touched),
    )


def _any_of(
    values: NDArray[np.bool_], axis: int, windows: Windows, first: int
) -> NDArray[np.bool_]:
    """Along one axis that begins at a voxel, whether any voxel of each window is true."""
    lows, highs = np.asarray([(a - first, b - first) if a < b else (0, 0) for a, b in windows]).T
    if (highs - lows == 1).all():
        one: NDArray[np.bool_] = values.take(lows, axis)
        return one
    before = np.zeros((*values.shape[:axis], 1, *values.shape[axis + 1 :]), np.int32)
    sums = np.concatenate([before, values.cumsum(axis, dtype=np.int32)], axis)
    found: NDArray[np.bool_] = sums.take(highs, axis) > sums.take(lows, axis)
    return found


def mask_of(mask: SourceLike, image: ImageStack) -> Mask:
    """A mask, opened and laid on an image: by the places of both, else by their sizes.

    Raises
    ------
    FileNotFoundError, TypeError
        If there is no image.
    ValueError
        If it is of another space.
    """
    opened = _opened(mask, image)
    of, dims = dimensions_of(image), opened.dimensions
    surplus = [
        a for a, n in zip(dims.axes, dims.shape, strict=True) if a not in of.axes or a == "C"
    ]
    several = [axis for axis in surplus if dims.shape[dims.axes.index(axis)] > 1]
    if several:
        part = "open_image(mask, channels=[0])" if several == ["C"] else "the array's array[0]"
        raise ValueError(
            f"The mask {opened.source} has axes {dims.axes!r} of {dims.shape}, the source "
            f"{of.axes!r}; needed is one without {', '.join(several)}: choose a part "
            f"(in Python {part}), or store that by itself."
        )
    along = {a: _overlay(a, opened, image) for a in dims.axes if a not in surplus}
    found = Mask(opened, along, of)
    _check_space(found, image)
    return found


def _opened(mask: SourceLike, image: ImageStack) -> LocatedImage:
    if is_image(mask):
        if not is_located(mask):
            raise TypeError(f"The mask is {what_is(mask)}; needed is what open_image gives.")
        return mask
    try:
        return _found(mask, image)
    except (FileNotFoundError, TypeError, ValueError) as error:
        kinds = (FileNotFoundError, TypeError, ValueError)
        kind = next(each for each in kinds if isinstance(error, each))
        raise kind(f"mask is {shown(mask)}, which cannot be opened: {error}") from error


def _found(mask: SourceLike, image: ImageStack) -> LocatedImage:
    given: Any = mask
    found = find(given)
    shape = found.array.shape
    of = dimensions_of(image)
    if found.axes is not None or len(shape) not in (len(of.axes), 2, 3):
        return open_stack(given)
    axes = of.axes if len(shape) == len(of.axes) else "ZYX"[-len(shape) :]
    return open_stack(given, axes=axes)


def _overlay(axis: str, mask: LocatedImage, image: ImageStack) -> Overlay:
    """How a mask lies on an image along one axis."""
    of, dims = dimensions_of(image), mask.dimensions
    size, other = of.shape[of.axes.index(axis)], dims.shape[dims.axes.index(axis)]
    if not is_placed(image) or mask.coordinates is None:
        return Overlay.of_sizes(size, other)
    told = coordinates_of(image)
    here, there = told.axes.index(axis), mask.coordinates.axes.index(axis)
    units = [
        None if unit is None else long_unit(unit)
        for unit in (told.units[here], mask.coordinates.units[there])
    ]
    if None not in units and units[0] != units[1]:
        raise ValueError(
            f"The mask {mask.source} is in {units[1]} along {axis}, the source in {units[0]}; give "
            "one in the same units."
        )
    if 0 in (told.scale[here], mask.coordinates.scale[there]):
        raise ValueError(
            f"The scale of the mask {mask.source} is {mask.coordinates.scale[there]:g} along "
            f"{axis}, that of the source {told.scale[here]:g}; with one of 0 neither can be laid "
            "on the other. Put the metadata right, or give the mask as an array."
        )
    return Overlay.of_places(
        told.scale[here],
        told.translation[here],
        mask.coordinates.scale[there],
        mask.coordinates.translation[there],
    )


def _check_space(mask: Mask, image: ImageStack) -> None:
    """Refuse a mask that lies beside the image, or has sizes that are no coarser ones of it."""
    of, dims = mask.of, mask.image.dimensions
    sizes = {a: (of.shape[of.axes.index(a)], dims.shape[dims.axes.index(a)]) for a in mask.along}
    for axis, (size, other) in sizes.items():
        low, high = mask.along[axis].touched(0, 1, Fraction(size), other)[0]
        if low >= high:
            raise ValueError(
                f"The mask {mask.image.source} lies beside the source {image.source} along {axis}, "
                "by the scale and translation of both; give one of the same space."
            )
    is_by_size = not (is_placed(image) and is_placed(mask.image))
    ratios = {Fraction(other, size) for axis, (size, other) in sizes.items() if axis in "YX"}
    if (
        is_by_size
        and not all(map(_is_factor, *zip(*sizes.values(), strict=True)))
        and len(ratios) > 1
    ):
        raise ValueError(
            f"The mask {mask.image.source} has shape {shown(dims.shape)} ({dims.axes}), the source "
            f"{shown(of.shape)} ({of.axes}): no whole factor of it, nor the same along Y and X. "
            "Give a mask of the same extent, or one with scale and translation (OME-Zarr, xarray)."
        )


def _is_factor(size: int, other: int) -> bool:
    """Whether an axis of so many voxels is another one made coarser or finer by a whole number."""
    if other >= size:
        return other % size == 0
    return any(other in (size // f, -(-size // f)) for f in (size // other, -(-size // other)))
