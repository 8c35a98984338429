"""A model found out about, as a black box."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Literal

import numpy as np
import psutil
from numpy.typing import DTypeLike, NDArray

from ..geometry import as_sizes
from ..image import ImageStack, SourceLike, open_stack
from ..model import ModelLike, advice_on_axes, load, restrained, shared_model
from ..support import as_dtype, holds_numbers, is_number, peak_memory, shown
from .equivariance import LARGEST, align_of, measure_shifts, needed_size
from .findings import Probe
from .influence import Influence, Profile, farthest
from .probed_model import ProbedModel, RefusedError, Shape
from .sizes import AxisSizes, find_size, measure_sizes
from .speed import Budget, CallCost, measure_costs

_log = logging.getLogger("daskpatch")

_TOLERANCE = 1e-6
"""Standard deviations of the result: what float32 sums differ by."""

_FIRST_PLACES = 4
"""Places that are looked at before the grid is known: one alone may show nothing of a threshold."""

_ACROSS = {1: 64, 2: 64, 3: 32}
"""Voxels along the other axes, by the number of axes."""

_LITTLE = 0.75
"""Of a plane of the result: where no more of it changes, by any change of the input, little is
seen on one image. Of a network nearly all changes, of an opening or the distances in a mask few."""

_ACROSS_OF_LITTLE = {1: 256, 2: 256, 3: 32}
_IMAGES_OF_LITTLE = {1: 4, 2: 4, 3: 2}

_SHORTEST = 64
"""Voxels along the axis that is looked at, at first."""

_CHANGED = 16
"""Planes at one end of an image that are changed at least; in the others it is seen how far.
Where nothing of that is seen, half of them are changed: a model may give nothing near an end."""

_GROWTH = 1.5
"""Of the next longer image, where an influence reaches the end of one."""

_LONGEST = {1: 4096, 2: 1024, 3: 256}
"""Voxels along the axis that is looked at, after which a model counts as global."""

_End = Literal["seen", "global", "memory"]
"""How the search for the end of the influence ended: what took too much memory is not global."""

SampleLike = NDArray[Any] | SourceLike
"""An array `(C, (Z), Y, X)` or `((Z), Y, X)`, or an image."""

_SHARE = 0.5
"""Of the free memory that the next larger image may be expected to take."""


def probe(
    model: ModelLike,
    *,
    ndim: int,
    channels: int = 1,
    sample: SampleLike | None = None,
    tolerance: float | None = None,
    input_dtype: DTypeLike = "float32",
    patch_size: int | Sequence[int] | None = None,
    axes: str | None = None,
    seconds: float = 20.0,
    largest: int | None = None,
) -> Probe:
    """Find out how far a model looks, on which grid it works, what it takes and what it costs.

    The model is a black box: planes of its input are changed, images are shifted, and the results
    compared, for every phase of the model's grid.

    Parameters
    ----------
    model
        As in `plan`: a callable of `(N, C, (Z), Y, X)`, a `torch.nn.Module`, a name, …
    ndim
        Spatial axes of its input: 2 for `(N, C, Y, X)`, 3 for `(N, C, Z, Y, X)`.
    channels
        Of its input.
    sample
        An image that the model is made for: an array `(C, (Z), Y, X)` or `((Z), Y, X)`, or a
        path, a URL, a Zarr array, an `ImageStack`, of whose first sample the middle is read. It is
        used beside noise, which then has its mean and standard deviation.
    tolerance
        Changes up to this many standard deviations of the result count as none; None: 1e-6.
        0.0 asks for bit equality, which running sums and some convolutions on GPUs do not have.
    input_dtype
        What the model is given.
    patch_size
        A size that the model takes; by default one is looked for.
    axes
        The sample's, where it does not name them, as in `open_image`.
    seconds, largest
        For measuring the cost: time, and voxels of the largest tile of interest (None: as many as
        time and memory allow). 0 seconds leave it out.

    Raises
    ------
    ValueError
        If the model takes nothing that it is given, or an argument is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from daskpatch import probe
    >>> def smooth(batch):
    ...     padded = np.pad(batch, ((0, 0), (0, 0), (1, 1), (0, 0)))
    ...     return (padded[:, :, :-2] + padded[:, :, 1:-1] + padded[:, :, 2:]) / 3
    >>> found = probe(smooth, ndim=2, seconds=0)
    >>> found.halo, found.align, found.is_global
    ((1, 0), (1, 1), False)
    """
    if isinstance(ndim, bool) or ndim not in (2, 3):
        raise ValueError(f"ndim is {shown(ndim)}; needed is the number of spatial axes: 2 or 3.")
    if tolerance is not None and not _is_amount(tolerance):
        raise ValueError(
            f"tolerance is {shown(tolerance)}; needed is a number, 0 or more, or None."
        )
    if not _is_amount(seconds):
        raise ValueError(f"seconds is {shown(seconds)}; needed is a number, 0 or more.")
    ndim = int(ndim)
    (channels,) = as_sizes("channels", channels, 1, least=1)
    if largest is not None:
        (largest,) = as_sizes("largest", largest, 1, least=1)
    known = None if patch_size is None else as_sizes("patch_size", patch_size, ndim, least=1)
    handle = shared_model(model)
    dtype = as_dtype("input_dtype", input_dtype)
    given = None if sample is None else _as_sample(sample, ndim, channels, axes)
    subject = ProbedModel(load(handle), channels, ndim, dtype, given)
    _check_axes(handle.handle.name, subject)
    known = subject.model.fixed_size if known is None else known
    taken = find_size(subject, known)
    sizes = measure_sizes(subject, taken)
    if any(size.scale == 0 for size in sizes):
        raise ValueError(
            f"The size of what {handle.handle.name} gives does not follow from its tile's, axis by "
            "axis, so that tiles cannot be stitched; needed is a model whose result grows with "
            "its tile."
        )
    result = subject(subject.noise(taken, 0)[None])
    if not np.isfinite(result).any():
        raise ValueError(
            f"{handle.handle.name} gave no finite value for noise, so nothing can be told from "
            "it; give a sample of what it is made for (sample=…)."
        )
    limit = _TOLERANCE if tolerance is None else float(tolerance)
    along = []
    with restrained():
        for axis, name in enumerate("ZYX"[-ndim:]):
            _log.info("probing %s along %s", handle.handle.name, name)
            along.append(_Axis(subject, sizes, axis, limit).measure())
    if seconds:
        _log.info("timing tiles of %s, for up to %g s", handle.handle.name, seconds)
    aligns = tuple(found.align for found in along)
    return Probe(
        name=handle.handle.name,
        channels=channels,
        input_dtype=dtype.name,
        out_channels=result.shape[1],
        dtype=result.dtype.name,
        halo_sides=tuple(found.halo_sides for found in along),
        align=aligns,
        sizes=sizes,
        is_global=any(found.is_global for found in along),
        is_cut_short=any(found.is_cut_short for found in along),
        shows_little=any(found.shows_little for found in along),
        effect=max(found.effect for found in along),
        tolerance=limit,
        profiles=tuple(found.profile for found in along),
        costs=measure_costs(subject, sizes, tuple(n or 1 for n in aligns), Budget(seconds, largest))
        if seconds
        else (),
    )


def _check_axes(name: str, subject: ProbedModel) -> None:
    """Refuse a network of other spatial axes, where it says how many it has."""
    fixed = subject.model.fixed_size
    axes = subject.model.spatial_axes if fixed is None else len(fixed)
    if axes not in (None, subject.ndim):
        raise ValueError(
            f"{name} has {axes} spatial axes, and ndim is {subject.ndim}. "
            f"{advice_on_axes(axes, subject.ndim)} probe takes it with ndim={axes}."
        )


def costs_of(found: Probe, model: ModelLike, budget: Budget) -> tuple[CallCost, ...]:
    """What calls of a model take of which all else is known."""
    subject = ProbedModel(
        load(shared_model(model)), found.channels, found.ndim, np.dtype(found.input_dtype)
    )
    return measure_costs(subject, found.sizes, found.grid, budget)


@dataclass(frozen=True)
class _Found:
    profile: Profile
    halo_sides: tuple[int, int]
    align: int | None
    is_global: bool = False
    is_cut_short: bool = False
    shows_little: bool = False
    effect: float = 0.0


class _Axis:
    """Halo and grid along one axis."""

    def __init__(
        self, subject: ProbedModel, sizes: Sequence[AxisSizes], axis: int, tolerance: float
    ) -> None:
        self._subject, self._axis, self._tolerance = subject, axis, tolerance
        self._sizes, self._all_sizes = sizes[axis], sizes
        self._influence = cache(self._influence_on)
        self._influence_of_little = cache(self._influence_of_little_on)

    def measure(self) -> _Found:
        profile, n, end = self._grown(_SHORTEST + self._sizes.margin, _FIRST_PLACES)
        if end == "global":
            return self._measure_global(n)
        align, ends = self._align(profile.reach(self._tolerance), is_global=False)
        if end != "memory" and align != 1:
            profile, n, end = self._grown(n, align or LARGEST)
            if end == "global":
                return self._measure_global(n)
        before, behind = map(max, profile.reach(self._tolerance), ends)
        sides = _rounded((before, behind), align)
        return _Found(
            profile,
            sides,
            align,
            is_cut_short=end == "memory",
            shows_little=self._influence(n).share < _LITTLE,
        )

    def _measure_global(self, n: int) -> _Found:
        """What stands out from the influence of all on all is the halo."""
        influence = self._influence(n)
        profile = influence.of_planes(self._middle(n, _FIRST_PLACES))
        align, _ = self._align(profile.reach(2 * profile.plateau()), is_global=True)
        profile |= influence.of_planes(self._middle(n, align or LARGEST))
        sides = _rounded(profile.reach(2 * profile.plateau()), align)
        effect = influence.of_context(max(sides))
        return _Found(profile, sides, align, is_global=True, effect=effect)

    def _influence_on(self, n: int) -> Influence:
        shape = self._shape(n, _ACROSS[self._subject.ndim])
        return Influence(self._subject, shape, self._axis, self._sizes)

    def _influence_of_little_on(self, n: int) -> Influence:
        shape = self._shape(n, _ACROSS_OF_LITTLE[self._subject.ndim])
        n_images = _IMAGES_OF_LITTLE[self._subject.ndim]
        return Influence(self._subject, shape, self._axis, self._sizes, n_images)

    def _shape(self, n: int, across: int) -> Shape:
        sizes = enumerate(self._all_sizes)
        return tuple(n if i == self._axis else along.at_least(across) for i, along in sizes)

    def _middle(self, n: int, count: int) -> range:
        first = n // 2 - min(count, n) // 2
        return range(first, min(first + count, n))

    def _grown(self, n: int, period: int) -> tuple[Profile, int, _End]:
        """The profile on an image, at least n long, in which the influence comes to an end.

        And its length, and how it ended: neither by time, nor as global for lack of memory, or
        another machine would tell otherwise.
        """
        longest = _LONGEST[self._subject.ndim]
        profile, longer = None, self._sizes.at_least(max(n, 4 * period + self._sizes.margin))
        while True:
            try:
                with peak_memory() as peak:
                    longer_profile, seen = self._profile(longer, period)
            except MemoryError:
                if profile is None:
                    raise
                return profile, n, "memory"
            profile, n = longer_profile, longer
            shows_any = any(profile.before) or any(profile.behind)
            is_longest = self._sizes.step == 0 or n >= longest
            # A model that leaves out what is near the ends may give nothing for a short image.
            if max(profile.reach(self._tolerance)) < seen and (shows_any or is_longest):
                return profile, n, "seen"
            if is_longest:
                return profile, n, "global"
            longer = self._sizes.at_least(min(math.ceil(_GROWTH * n), longest))
            if 2 * longer / n * peak[0] > _SHARE * psutil.virtual_memory().available:
                return profile, n, "memory"

    def _profile(self, n: int, period: int) -> tuple[Profile, int]:
        """The largest influence over the places of one period, as far as the image shows it whole.

        And how far that is.
        """
        influence = self._influence(n)
        up, down = -(-_CHANGED // period) * period, (n - _CHANGED) // period * period
        influence.of_all_before(up)
        if influence.share < _LITTLE:
            with suppress(RefusedError, MemoryError):  # else what one image shows
                more = self._influence_of_little(n)
                more.of_all_before(up)
                influence = more
        if not influence.of_all_before(up):  # a result may begin further on
            up = n // 2 // period * period
        if not influence.of_all_behind(down):
            down = -(-(n // 2) // period) * period
        seen = min(n - up, down) - max(period, LARGEST // 2) - 2
        look = partial(farthest, period=period, tolerance=self._tolerance, enough=seen)
        before = look(lambda i: influence.of_all_before(up + i))
        behind = look(lambda i: influence.of_all_behind(down - i))
        return Profile(before, behind), seen

    def _align(
        self, reach: tuple[int, int], *, is_global: bool
    ) -> tuple[int | None, tuple[int, int]]:
        """The grid, and how far from the ends of a tile its result is another one."""
        n = self._sizes.at_least(needed_size(reach) + self._sizes.margin)
        if self._sizes.step == 0:
            return 1, (0, 0)  # a model of one size has one grid: that of its tiles
        across, shifts = _ACROSS[self._subject.ndim], None
        for width in (across // 2, across):
            with suppress(RefusedError, MemoryError):
                shifts = measure_shifts(
                    self._subject,
                    self._shape(n, width),
                    self._axis,
                    self._sizes,
                    reach,
                    is_global=is_global,
                )
            if shifts is None:
                return None, (0, 0)
            if not shifts.is_blank:
                break
        assert shifts is not None, "one width was looked at"
        return align_of(shifts.changes, is_global=is_global), shifts.ends


def _rounded(sides: tuple[int, int], align: int | None) -> tuple[int, int]:
    """Up to whole steps of the grid."""
    step = align or 1
    before, behind = (-(-side // step) * step for side in sides)
    return before, behind


def _as_sample(sample: SampleLike, ndim: int, channels: int, axes: str | None) -> NDArray[Any]:
    if isinstance(sample, np.ndarray) and axes is None:
        values = sample
    else:
        values = _middle(sample, ndim, axes)
    values = values[None] if values.ndim == ndim else values
    if values.ndim != ndim + 1 or len(values) != channels or values.size == 0:
        raise ValueError(
            f"The sample has shape {values.shape}; needed are {channels} channels and {ndim} "
            f"spatial axes: ({channels}, {'Z, ' if ndim == 3 else ''}Y, X)."
        )
    if not holds_numbers(values.dtype):
        raise ValueError(f"The sample has dtype {values.dtype}; needed are numbers.")
    return values


def _middle(source: SampleLike, ndim: int, axes: str | None) -> NDArray[Any]:
    """The middle of an image, of its first sample."""
    image = source if isinstance(source, ImageStack) else open_stack(source, axes=axes, ndim=ndim)
    shape = image.data_shape[2:]
    size = tuple(min(n, _ACROSS[ndim] * 4) for n in shape)
    start = tuple((n - m) // 2 for n, m in zip(shape, size, strict=True))
    return image.extract_patch(0, None, start, size)


def _is_amount(value: float) -> bool:
    return is_number(value) and 0 <= value < math.inf
