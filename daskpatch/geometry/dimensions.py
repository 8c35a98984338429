"""The named axes of an array, and how they stand for the canonical S C (Z) Y X.

`axes` is a subset of STCZYX that holds Y and X, in the array's own order. Samples count S
slowest, then T, then Z where the model is 2-D and Z is folded in.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import product
from operator import add

import numpy as np
from numpy.typing import NDArray

from .per_axis import Scale
from .region import Region, unravel
from .short_repr import given

_CANONICAL = "STCZYX"


@dataclass(frozen=True, slots=True)
class Dimensions:
    """Axes and shape of an array whose spatial axes are (Z)YX.

    Of a part of another array `origin` is where it begins in it, and `whole` that one's shape;
    samples and places in space are counted in the whole. Of a result `scale` is how many voxels it
    has per voxel of the source, along (Z)YX; empty for one.

    >>> dims = Dimensions("TYXC", (5, 64, 48, 3), ndim=2)
    >>> dims.data_shape
    (5, 3, 64, 48)
    >>> dims.part({"T": range(2, 4), "Y": range(16, 64)}).spatial_part(Region.whole((2, 48, 48, 3)))
    Region(start=(16, 0), stop=(64, 48))
    """

    axes: str
    shape: tuple[int, ...]
    ndim: int
    origin: tuple[int, ...] = ()
    whole: tuple[int, ...] = ()
    scale: Scale = ()

    def part(self, ranges: Mapping[str, range]) -> Dimensions:
        """Those of a part of the array, by axis; axes that are not named are whole."""
        along = [ranges.get(axis, range(n)) for axis, n in zip(self.axes, self.shape, strict=True)]
        return replace(
            self,
            shape=tuple(map(len, along)),
            origin=tuple(each.start for each in along),
            whole=self.shape,
        )

    def coarser(self, shape: tuple[int, ...]) -> Dimensions:
        """Those of a level of the array, which is counted from its own corner."""
        return Dimensions(self.axes, shape, self.ndim, scale=self.scale)

    @property
    def is_part(self) -> bool:
        return bool(self.origin)

    @property
    def spatial_origin(self) -> tuple[int, ...]:
        """Where it begins, (Z)YX; 0 of a whole array."""
        return self._select(self.origin, self.spatial_axes) if self.origin else (0,) * self.ndim

    @property
    def spatial_axes(self) -> str:
        return "ZYX"[-self.ndim :]

    @property
    def sample_axes(self) -> str:
        """The axes that count samples, slowest first."""
        return "".join(a for a in "STZ" if a in self.axes and a not in self.spatial_axes)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        return self._sizes(self.sample_axes)

    @property
    def n_samples(self) -> int:
        return math.prod(self.sample_shape)

    @property
    def n_channels(self) -> int:
        return self.shape[self.axes.index("C")] if "C" in self.axes else 1

    @property
    def spatial_shape(self) -> tuple[int, ...]:
        return self._sizes(self.spatial_axes)

    @property
    def data_shape(self) -> tuple[int, ...]:
        """`SC(Z)YX`."""
        return (self.n_samples, self.n_channels, *self.spatial_shape)

    def spread(self, sample: int, channel: int, spatial: tuple[int, ...]) -> tuple[int, ...]:
        """Numbers for samples, channels and spatial axes, in the array's own order of axes."""
        by_axis = dict.fromkeys("ST", sample) | {"C": channel, "Z": sample}
        by_axis |= dict(zip(self.spatial_axes, spatial, strict=True))
        return tuple(by_axis[axis] for axis in self.axes)

    def box(self, sample_idx: int, channels: slice, region: Region) -> tuple[slice, ...]:
        """One sample's channels and spatial box, as slices of the array (all axes kept)."""
        position = unravel(sample_idx, self.sample_shape)
        slices = dict(zip(self.sample_axes, (slice(i, i + 1) for i in position), strict=True))
        slices |= {"C": channels}
        slices |= dict(zip(self.spatial_axes, region.slices, strict=True))
        return tuple(slices[axis] for axis in self.axes)

    def canonical(self, array: NDArray[np.generic]) -> NDArray[np.generic]:
        """A view of an array with these axes: samples axes, then C, then (Z)YX."""
        order = [self.axes.index(a) for a in self.sample_axes]
        order += [self.axes.index("C")] if "C" in self.axes else []
        order += [self.axes.index(a) for a in self.spatial_axes]
        view = array.transpose(order)
        return view if "C" in self.axes else np.expand_dims(view, len(self.sample_axes))

    def samples_of(self, region: Region) -> Iterator[tuple[int, tuple[int, ...]]]:
        """The samples in a box of the array: index in the image, position in the box."""
        starts = self._select(self._in_whole(region.start), self.sample_axes)
        counts = self._select(region.shape, self.sample_axes)
        sizes = self._select(self.whole or self.shape, self.sample_axes)
        for position in product(*map(range, counts)):
            sample_idx = 0
            for i, start, size in zip(position, starts, sizes, strict=True):
                sample_idx = sample_idx * size + start + i
            yield sample_idx, position

    def spatial_part(self, region: Region) -> Region:
        """The (Z)YX part of a box of the array."""
        return Region(
            self._select(self._in_whole(region.start), self.spatial_axes),
            self._select(self._in_whole(region.stop), self.spatial_axes),
        )

    def channel_part(self, region: Region) -> slice:
        """The channels of a box of the array."""
        if "C" not in self.axes:
            return slice(0, 1)
        axis = self.axes.index("C")
        return slice(region.start[axis], region.stop[axis])

    def counterpart(self, other: Dimensions, region: Region) -> Region:
        """The box, for all channels, of an array that differs from another in channels and scale.

        The box begins on a voxel of either, and ends on one or at the array's end.

        >>> one, many = Dimensions("YX", (8, 8), 2), Dimensions("CYX", (3, 8, 8), 2)
        >>> many.counterpart(one, Region((0, 4), (4, 8)))
        Region(start=(0, 0, 4), stop=(3, 4, 8))
        >>> half = Dimensions("YX", (5, 5), 2, scale=(Fraction(1, 2),) * 2)
        >>> half.counterpart(Dimensions("YX", (9, 9), 2), Region((0, 4), (4, 9)))
        Region(start=(0, 2), stop=(2, 5))
        """
        ratios = dict(zip(self.spatial_axes, self.ratios_to(other), strict=True))
        start, stop = {"C": 0}, {"C": self.n_channels}
        sizes = dict(zip(self.axes, self.shape, strict=True))
        of_other = zip(other.axes, region.start, region.stop, other.shape, strict=True)
        for axis, a, b, end in of_other:
            if axis != "C":
                size, ratio = sizes[axis], ratios.get(axis, Fraction(1))
                start[axis] = min(int(a * ratio), size)
                stop[axis] = size if b == end else min(int(b * ratio), size)
        return Region(tuple(start[a] for a in self.axes), tuple(stop[a] for a in self.axes))

    def ratios_to(self, other: Dimensions) -> Scale:
        """Voxels per voxel of another array of the same source, along (Z)YX."""
        one = (Fraction(1),) * self.ndim
        return tuple(
            mine / theirs
            for mine, theirs in zip(self.scale or one, other.scale or one, strict=True)
        )

    def spatial_entries(self, values: tuple[int, ...]) -> tuple[int, ...]:
        """The entries of the spatial axes, (Z)YX, of numbers given per axis of the array."""
        return self._select(values, self.spatial_axes)

    def predicted(
        self, channels: int, spatial_shape: tuple[int, ...], scale: Scale = ()
    ) -> Dimensions:
        """The dimensions of a prediction: every axis keeps its place.

        C is added before the first spatial axis if there was none and the model gives more
        than one channel.
        """
        axes = self.axes
        if "C" not in axes and channels > 1:
            # In front of space, where channels are looked for.
            place = min(axes.index(a) for a in "ZYX" if a in axes)
            axes = axes[:place] + "C" + axes[place:]
        sizes = dict(zip(self.axes, self.shape, strict=True)) | {"C": channels}
        sizes |= dict(zip(self.spatial_axes, spatial_shape, strict=True))
        return Dimensions(axes, tuple(sizes[a] for a in axes), self.ndim, scale=scale)

    def _in_whole(self, place: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(map(add, self.origin, place)) if self.origin else place

    def _sizes(self, axes: str) -> tuple[int, ...]:
        return self._select(self.shape, axes)

    def _select(self, values: tuple[int, ...], axes: str) -> tuple[int, ...]:
        return tuple(values[self.axes.index(a)] for a in axes)


def counterparts(outputs: Sequence[Dimensions], region: Region) -> list[Region]:
    """A box of the first of several arrays of one source, and what it is in each.

    >>> one, many = Dimensions("CYX", (2, 8, 8), 2), Dimensions("CYX", (3, 8, 8), 2)
    >>> [box.shape for box in counterparts([one, many], Region((0, 0, 4), (1, 4, 8)))]
    [(1, 4, 4), (3, 4, 4)]
    """
    first, *others = outputs
    return [region, *(dims.counterpart(first, region) for dims in others)]


def differing_scales(outputs: Sequence[Dimensions]) -> list[tuple[str, ...]]:
    """The scale of each of several arrays, as texts; empty where all have the same.

    >>> half = Dimensions("YX", (5, 5), 2, scale=(Fraction(1, 2),) * 2)
    >>> differing_scales([Dimensions("YX", (9, 9), 2, scale=(Fraction(1),) * 2), half])
    [('1', '1'), ('1/2', '1/2')]
    """
    scales = [tuple(map(str, dims.scale)) for dims in outputs]
    return scales if len(set(scales)) > 1 else [()] * len(scales)


def whole_voxels(outputs: Sequence[Dimensions]) -> tuple[int, ...]:
    """Voxels of the first of several arrays, along its axes, that hold whole ones of each.

    >>> half = Dimensions("YX", (5, 5), 2, scale=(Fraction(1, 2),) * 2)
    >>> whole_voxels([Dimensions("YX", (9, 9), 2), half])
    (2, 2)
    """
    first, *others = outputs
    ratios = zip(*(dims.ratios_to(first) for dims in others), strict=True)
    spatial = tuple(math.lcm(*(ratio.denominator for ratio in along)) for along in ratios)
    return first.spread(1, 1, spatial or (1,) * first.ndim)


def check_axes(axes: str, shape: tuple[int, ...]) -> str:
    """Axes in upper case, if they fit an array of this shape.

    Raises
    ------
    ValueError
        If they don't; the message shows the shape.
    """
    checked = axes.upper() if isinstance(axes, str) else ""
    unknown = set(checked) - set(_CANONICAL)
    if not checked or unknown or len(set(checked)) != len(checked):
        raise ValueError(
            f"axes {given(axes, 60)} must be different letters of {_CANONICAL} (samples, time, "
            f"channels, Z, Y, X), one per axis of the array's shape {shape}, for example "
            f"axes={example_axes(len(shape))!r}."
        )
    if not {"Y", "X"} <= set(checked):
        raise ValueError(f"axes {given(axes, 60)} must hold Y and X; the array's shape is {shape}.")
    if len(checked) != len(shape):
        raise ValueError(
            f"axes {given(axes, 60)} names {len(checked)} axes, the array has {len(shape)}: its "
            f"shape is {shape}. Give one letter per axis, for example "
            f"axes={example_axes(len(shape))!r}."
        )
    return checked


def example_axes(ndim: int) -> str:
    """Axes that an array of so many dimensions often has."""
    return {2: "YX", 3: "ZYX", 4: "CZYX", 5: "TCZYX"}.get(ndim, _CANONICAL)


def check_count(ndim: int, name: str) -> None:
    """Refuse arrays of fewer axes than two, or more than there are names for.

    Raises
    ------
    ValueError
        If it is one.
    """
    if not 2 <= ndim <= len(_CANONICAL):
        axes = "axis" if ndim == 1 else "axes"
        raise ValueError(
            f"{name} has {ndim} {axes}; needed are 2 (YX) to {len(_CANONICAL)} ({_CANONICAL}). Add "
            "axes of one voxel (array[None]), or choose along some."
        )
